"""What daemon and prober say of a drill's flows: what goes in comes out, and garbage is refused with words."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.diagnostic import printable
from appliance.health.drill import (
    MOST_AT_ONCE,
    PIECE,
    WORDS,
    FlowNews,
    FlowState,
    Order,
    Wanted,
    decode_order,
    encode_news,
    encode_order,
    is_order,
)
from appliance.health.messages import MAX_REPORT, decode_from_prober
from appliance.health.ports import DRILL_PORTS, RAW_PORTS, SOCKET_PORTS
from appliance.model import Check, CheckKind, Protocol
from tests.profile import PARSER_INPUTS

VIP = ip_address("203.0.113.10")
ORDERS = {
    "none": Order((), VIP, 80, Protocol.TCP),
    "https": Order(
        (Wanted(1, ip_address("10.128.0.17"), 8192), Wanted(2, ip_address("fd76:6335::80:11"), 16383)),
        VIP,
        443,
        Protocol.TCP,
        Check(CheckKind.HTTPS, 443, verify=True, ca="/ca.pem"),
        "PEM",
        2.5,
    ),
    "udp": Order(
        (Wanted(7, ip_address("10.128.0.1"), 9000),), VIP, 53, Protocol.UDP, Check(CheckKind.UDP, 53, send=b"\0")
    ),
}
NEWS = tuple(FlowNews(number, state, "words", number, 1) for number, state in enumerate(FlowState, 1))


@pytest.mark.parametrize("name", ORDERS)
def test_what_is_ordered_arrives(name: str) -> None:
    line = encode_order(ORDERS[name])
    assert is_order(line)
    assert line.endswith(b"\n")
    assert decode_order(line) == ORDERS[name]


def test_what_is_new_arrives() -> None:
    [line] = encode_news(NEWS)
    assert decode_from_prober(line) == NEWS


def test_much_news_goes_in_messages_that_are_not_too_long() -> None:
    many = [FlowNews(number, FlowState.BROKEN, "\u4e2d" * 500, 1 << 50, 1 << 50) for number in range(1, 120)]
    lines = list(encode_news(many))
    assert len(lines) == -(-len(many) // PIECE)
    assert max(map(len, lines)) < MAX_REPORT
    told = [one for line in lines for one in decode_from_prober(line)]  # type: ignore[union-attr]
    assert told == [replace(one, words=printable("\u4e2d" * WORDS)) for one in many]


GOOD: dict[str, Any] = json.loads(encode_order(ORDERS["https"]))
BAD_ORDERS = {
    "another key": GOOD | {"more": 1},
    "a flow that is a number": GOOD | {"flows": [3]},
    "a flow without a port": GOOD | {"flows": [[1, "10.0.0.1"]]},
    "a reserved port": GOOD | {"flows": [[1, "10.0.0.1", 80]]},
    "no address": GOOD | {"flows": [[1, "localhost", 8192]]},
    "one number twice": GOOD | {"flows": [[1, "10.0.0.1", 8192], [1, "10.0.0.1", 8193]]},
    "too many": GOOD | {"flows": [[number, "10.0.0.1", 8192] for number in range(1, MOST_AT_ONCE + 2)]},
    "another protocol": GOOD | {"protocol": 132},
    "a protocol that is true": GOOD | {"protocol": True},
    "a protocol that is a list": GOOD | {"protocol": [6]},
    "no check": GOOD | {"check": {}},
    "no pace": GOOD | {"pace": 0},
}


@pytest.mark.parametrize("name", BAD_ORDERS)
def test_bad_orders_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_order(json.dumps(BAD_ORDERS[name]).encode())


BAD_NEWS: dict[str, Any] = {
    "no list": 3,
    "a number": [3],
    "too short": [[1, "open", "", 0]],
    "another state": [[1, "sleeping", "", 0, 0]],
    "a state that is a list": [[1, ["open"], "", 0, 0]],
    "number 0": [[0, "open", "", 0, 0]],
    "long words": [[1, "open", "x" * (WORDS + 1), 0, 0]],
    "a count below 0": [[1, "open", "", -1, 0]],
    "too much": [[1, "open", "", 0, 0]] * (PIECE + 1),
}


@pytest.mark.parametrize("name", BAD_NEWS)
def test_bad_news_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_from_prober(json.dumps({"flows": BAD_NEWS[name]}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=7),
    max_leaves=12,
)


@pytest.mark.hypothesis
@settings(max_examples=PARSER_INPUTS)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON), JSON, st.binary(max_size=20))
def test_nothing_but_value_errors_comes_of_garbage(values: dict[str, Any], news: Any, raw: bytes) -> None:
    lines = (json.dumps(GOOD | values).encode(), raw, b'{"flows":' + raw, json.dumps({"flows": news}).encode())
    for line in lines:
        for decode in (decode_order, decode_from_prober):
            said = ""
            try:
                decode(line)
            except ValueError as error:
                said = str(error)
            assert said.isprintable()


def test_a_drill_has_ports_of_its_own() -> None:
    assert not set(DRILL_PORTS) & (set(SOCKET_PORTS) | set(RAW_PORTS))
    assert len(DRILL_PORTS) > 4 * MOST_AT_ONCE
