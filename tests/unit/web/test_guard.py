"""Who may look: names that are ours and those that are not, and what one says of oneself."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model_console import Console
from appliance.web.guard import challenge, is_ours, may_look
from tests.profile import PARSER_INPUTS

NAMES = ("lb1", "LB1.example.com")
PASSWORD = Console(user="operator", password="päss:word")
TOKEN = Console(token="a-token")
BOTH = Console(user="operator", password="päss:word", token="a-token")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:9090", True),
        ("10.1.10.5:80", True),
        ("[::1]", True),
        ("[2001:db8::5]:9090", True),
        ("localhost", True),
        ("LocalHost:9090", True),
        ("lb1", True),
        ("lb1.EXAMPLE.com:9090", True),
        ("lb1.example.com.", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:9090", False),
        ("lb1.example.com.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1:9090@evil.example", False),
        ("127.0.0.1:port", False),
        ("[::1", False),
        ("[evil.example]", False),
        ("[::1]evil.example", False),
        ("::1", False),
        ("lb1:", False),
        ("lb1 ", False),
        ("127.1", False),
        ("0x7f000001", False),
    ],
)
def test_by_which_name(host: str, ours: bool) -> None:
    assert is_ours(host, NAMES) is ours


@settings(max_examples=PARSER_INPUTS)
@given(st.text(max_size=40), st.text(max_size=60))
def test_any_header_is_answered(host: str, authorization: str) -> None:
    assert is_ours(host, NAMES) in (True, False)
    assert may_look(authorization, BOTH) is False


def basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("said", "console", "may"),
    [
        ("", Console(), True),
        ("", PASSWORD, False),
        ("Basic " + basic("operator:päss:word"), PASSWORD, True),
        ("basic  " + basic("operator:päss:word"), BOTH, True),
        ("Basic " + basic("operator:other"), PASSWORD, False),
        ("Basic " + basic("other:päss:word"), PASSWORD, False),
        ("Basic " + basic(":"), TOKEN, False),
        ("Basic no-base64!", PASSWORD, False),
        ("Basic /w==", PASSWORD, False),
        ("Bearer a-token", TOKEN, True),
        ("bearer a-token", BOTH, True),
        ("Bearer", TOKEN, False),
        ("Bearer ", PASSWORD, False),
        ("Bearer other", TOKEN, False),
        ("Negotiate a-token", TOKEN, False),
    ],
)
def test_who_one_says_one_is(said: str, console: Console, may: bool) -> None:
    assert may_look(said, console) is may


def test_what_is_asked_for() -> None:
    assert challenge(PASSWORD) == 'Basic realm="vc5", charset="UTF-8"'
    assert challenge(TOKEN) == 'Bearer realm="vc5"'
    assert challenge(BOTH) == 'Basic realm="vc5", charset="UTF-8", Bearer realm="vc5"'
