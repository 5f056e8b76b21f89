"""The two directions of the socket: what goes in comes out, and garbage is refused with words."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.routing.bfd.messages import (
    MAX_TEXT,
    Become,
    BfdSession,
    Change,
    Farewell,
    Hello,
    Sessions,
    SessionState,
    Trouble,
    Wanted,
    decode_from_process,
    decode_to_process,
    encode_session,
    encode_wanted,
    line,
)
from appliance.routing.bfd.packet import Diagnostic, Drop, State
from tests.profile import PARSER_INPUTS

WANTED = (
    BfdSession(ip_address("10.1.10.252")),
    BfdSession(ip_address("fe80::1%eth0"), 0.05, 5),
    BfdSession(ip_address("2001:db8::1"), 60.0, 255, True, ip_address("2001:db8::2")),
)
STATE = SessionState(
    peer=ip_address("fe80::1%eth0"),
    multihop=True,
    state=State.DOWN,
    remote_state=State.INIT,
    diagnostic=Diagnostic.SILENCE,
    remote_diagnostic=31,
    why="the peer has not been heard for 0.9 s",
    since=1234.5,
    interval=0.3,
    detection=0.9,
    packets_in=7,
    packets_out=8,
    unsent=1,
    drops={Drop.HOPS: 3},
    trouble="cannot send to fe80::1%eth0: Network is unreachable",
    discriminator=0xFFFFFFFF,
    remote_discriminator=1,
    port=50000,
    remote_independent=True,
)


def test_what_the_daemon_says() -> None:
    assert decode_to_process(encode_wanted(WANTED, 120.0)) == Wanted(WANTED, 120.0)
    assert decode_to_process(line({"become": "/usr/share/vc5-appliance"})) == Become("/usr/share/vc5-appliance")
    assert isinstance(decode_to_process(line({"farewell": True})), Farewell)


def test_what_the_process_says() -> None:
    told = encode_session(STATE)
    assert decode_from_process(line({"changed": told})) == Change(STATE)
    assert decode_from_process(line({"sessions": [told], "drops": {"hops": 2}})) == Sessions((STATE,), {"hops": 2})
    hello = {"protocol": 1, "version": "0.1.0", "pid": 7, "gap": 0.06, "more": [1]}
    assert decode_from_process(line({"hello": hello})) == Hello(1, "0.1.0", 7, 0.06)
    assert decode_from_process(line({"trouble": ""})) == Trouble("")


def test_every_message_is_one_line() -> None:
    assert encode_wanted(WANTED, 1).count(b"\n") == 1
    assert line({"trouble": "a\nb"}).count(b"\n") == 1


def spoilt(**more: Any) -> dict[str, Any]:
    return encode_session(STATE) | more


MALFORMED: list[Any] = [
    *([], "x", 1, None, {}, {"sessions": {}}, {"sessions": [1], "drops": {}}, {"sessions": [], "drops": []}),
    *({"hello": 1}, {"hello": {}}, {"hello": {"protocol": 1, "version": "a\nb", "pid": 1}}, {"trouble": "x" * 501}),
    {"trouble": "\x1b[2J"},
    *({"changed": spoilt(peer=peer)} for peer in (None, 1, "", "10.0.0.256", "x" * 200)),
    *({"changed": spoilt(states=states)} for states in (None, [3], [3, 4], [3, -1], [True, 1], ["3", 1])),
    *({"changed": spoilt(since=since)} for since in (None, "now", -1, float("nan"), float("inf"))),
    *({"changed": spoilt(port=port)} for port in (65536, 1.5, None)),
    {"changed": spoilt(drops={"hops": -1})},
    {"changed": spoilt(why="x" * (MAX_TEXT + 1))},
]


@pytest.mark.parametrize("content", MALFORMED)
def test_what_the_process_may_not_say(content: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_from_process(json.dumps(content).encode())


ROW = ["10.0.0.1", False, None, 300000, 3]


@pytest.mark.parametrize(
    "row",
    [
        *([], "x", [*ROW, 1], ["x", *ROW[1:]], [ROW[0], 1, *ROW[2:]], [*ROW[:2], "::1", *ROW[3:]]),
        *([*ROW[:3], 999, 3], [*ROW[:3], 0.3, 3], [*ROW[:4], 0], [*ROW[:4], 256], [*ROW[:3], 1 << 32, 3]),
    ],
)
def test_what_the_daemon_may_not_say(row: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_to_process(line({"wanted": [row], "grace": 1}))
    for grace in (-1, "x", None, 86401):
        with pytest.raises(ValueError, match="grace"):
            decode_to_process(line({"wanted": [], "grace": grace}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["hello", "changed", "sessions", "trouble", "wanted", "grace", "become", "farewell", "drops"])


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=40) | st.dictionaries(KEYS, VALUES, max_size=3).map(lambda one: json.dumps(one).encode()))
def test_any_text_is_a_message_or_a_reason(text: bytes) -> None:
    for decode in (decode_to_process, decode_from_process):
        try:
            decode(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017


@settings(max_examples=PARSER_INPUTS)
@given(st.dictionaries(st.sampled_from(sorted(encode_session(STATE))), VALUES, max_size=3))
def test_a_session_with_some_values_changed(changes: dict[str, Any]) -> None:
    try:
        told = decode_from_process(line({"changed": encode_session(STATE) | changes}))
    except ValueError:
        return
    assert isinstance(told, Change)
    assert told.session.state in State


# State, diagnostic, the peer's state -> whether the path counts as broken (RFC 5882 sections 3.2 and 4.2).
BROKEN = [
    (State.UP, Diagnostic.NONE, State.UP, False),
    (State.DOWN, Diagnostic.NONE, State.DOWN, False),
    (State.DOWN, Diagnostic.SILENCE, State.DOWN, True),
    (State.DOWN, Diagnostic.NEIGHBOUR_DOWN, State.DOWN, True),
    (State.DOWN, Diagnostic.NEIGHBOUR_DOWN, State.ADMIN_DOWN, False),
    (State.INIT, Diagnostic.NONE, State.DOWN, False),
]


@pytest.mark.parametrize(("state", "diagnostic", "remote", "broken"), BROKEN)
def test_when_a_path_is_broken(state: State, diagnostic: Diagnostic, remote: State, broken: bool) -> None:
    one = STATE._replace(state=state, diagnostic=diagnostic, remote_state=remote)
    assert one.broken is broken


def test_in_words() -> None:
    assert STATE.diagnostic_words == "control detection time expired"
    assert STATE.remote_diagnostic_words == "diagnostic 31"
    assert STATE.bad == 3
