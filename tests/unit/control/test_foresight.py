"""A configuration's text on its way to the daemon: whole, bounded, or refused."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.compose import MAX_CHARACTERS
from appliance.control.foresight import unpacked
from appliance.errors import ControlError


def packed(data: bytes) -> str:
    """As the command sends it."""
    return base64.b64encode(zlib.compress(data)).decode("ascii")


@given(st.text(max_size=200))
def test_what_is_sent_arrives(text: str) -> None:
    assert unpacked(packed(text.encode())) == text


def test_the_longest_text() -> None:
    assert len(unpacked(packed(b"#" * MAX_CHARACTERS))) == MAX_CHARACTERS


REFUSED = {
    "nothing": "",
    "no text at all": 7,
    "no base64": "späß",
    "no zlib": base64.b64encode(b"services: []").decode(),
    "cut off": packed(bytes(range(128)) * 8)[:40],
    "not UTF-8": packed(b"\xff"),
    "a bomb": packed(bytes(MAX_CHARACTERS + 1)),
}


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_what_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(ControlError):
        unpacked(given)


@given(st.text(max_size=60))
def test_nothing_else_comes_out_of_it(text: str) -> None:
    try:
        unpacked(text)
    except ControlError:
        pass
