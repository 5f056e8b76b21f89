"""Syslog messages, held against the grammar of RFC 5424."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import __version__
from appliance.telemetry.alerts import rfc5424
from tests.profile import PARSER_INPUTS
from tests.unit.telemetry.alerts.samples import SERVICE, backend, document, read, vip

ELEMENT = r'\[[A-Za-z0-9@]{1,32}( [A-Za-z]{1,32}="([^"\\\]]|\\["\\\]])*")*\]'
GRAMMAR = re.compile(
    rf"<(?P<pri>\d{{1,3}})>1 (?P<at>-|\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z) (?P<host>[!-~]{{1,255}}) "
    rf"(?P<app>[!-~]{{1,48}}) (?P<process>[!-~]{{1,128}}) (?P<id>[!-~]{{1,32}}) (?P<data>-|({ELEMENT})+)"
    r"( (?P<text>.*))?",
    re.DOTALL,
)
PARAMETER = re.compile(r'([a-z]+)="((?:[^"\\\]]|\\["\\\]])*)"')


def parsed(content: bytes) -> dict[str, Any]:
    """Return the parts of a message."""
    found = GRAMMAR.fullmatch(content.decode("utf-8"))
    assert found is not None, content
    own = found["data"].partition(rfc5424.ELEMENT)[2]
    values = {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in PARAMETER.findall(own)}
    return {**found.groupdict(), "values": values}


def test_a_whole_message() -> None:
    assert rfc5424.message(read(vip(7)), "lb1", 812, 2048).decode() == (
        "<27>1 2026-11-22T08:00:07.000000Z lb1 vc5 812 vip-down "
        f'[origin software="vc5" swVersion="{__version__}"]'
        f'[vc5@32473 sequence="7" kind="vip" outcome="down" before="up" vip="203.0.113.10" reason="{SERVICE} is down"] '
        f"VIP 203.0.113.10 down: {SERVICE} is down"
    )


def test_what_is_escaped() -> None:
    reason = 'said "no]" \\o/'
    found = parsed(rfc5424.message(read(backend(1, 11, reason=reason)), "lb1", 1, 2048))
    assert found["values"]["reason"] == reason
    assert found["values"]["backend"] == "10.1.10.11"


@pytest.mark.parametrize(("reason", "marked"), [("plain", False), ("Größe", True)])
def test_the_byte_order_mark(reason: str, marked: bool) -> None:
    content = rfc5424.message(read(backend(1, 11, reason=reason)), "lb1", 1, 2048)
    assert (b"] \xef\xbb\xbfbackend" in content) is marked
    assert content.count(b"\xef\xbb\xbf") == marked


def test_what_is_not_known_is_nil() -> None:
    found = document(1, "alarm", "", "it burns")
    del found["@timestamp"]
    told = parsed(rfc5424.message(read(found), "", 0, 2048))
    assert (told["at"], told["host"], told["process"], told["id"]) == ("-", "-", "-", "alarm")


@pytest.mark.parametrize("most", range(600, 608))
def test_a_text_is_cut_between_characters(most: int) -> None:
    text = parsed(rfc5424.message(read(document(1, "alarm", "", "日" * 400)), "lb1", 1, most))["text"]
    assert set(text) == {"\ufeff", "日"}
    assert 100 < len(text) < 400


def test_a_frame_tells_its_bytes() -> None:
    content = rfc5424.message(read(backend(1, 11, reason="Größe")), "lb1", 1, 2048)
    length, _, rest = rfc5424.framed(content).partition(b" ")
    assert int(length) == len(rest) == len(content)


def test_what_the_host_s_own_gets() -> None:
    told = rfc5424.local(read(vip(7)), "vc5-alert", 12)
    assert re.fullmatch(rb"<27>Nov 2[12] \d\d:\d\d:07 vc5-alert\[12\]: VIP 203.0.113.10 down: .*", told)
    assert len(rfc5424.local(read(document(1, "alarm", "", "ü" * 9000)), "vc5-alert", 1)) <= rfc5424.LOCAL_BYTES


@given(st.text(max_size=600), st.text(max_size=300), st.sampled_from((600, 2048, 8192)))
@settings(max_examples=PARSER_INPUTS)
def test_every_message_is_one_and_fits(text: str, name: str, most: int) -> None:
    for found in (backend(1, 11, text or "dead", name or SERVICE, reason=text), document(2, "alarm", name, text)):
        content = rfc5424.message(read(found), name, 1, most)
        assert len(content) <= most
        parsed(content)
        assert b"\n" not in content
        assert b"\x00" not in content
