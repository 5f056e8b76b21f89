"""What the daemon and the prober say to each other of a drill's flows: JSON, one message on a line (messages.py).

daemon -> prober   {"flows": [[NUMBER, ADDRESS, SOURCE PORT], ...], "vip": VIP, "port": PORT, "protocol": 6 or 17,
                    "check": {...} or null, "authority": CERTIFICATES, "pace": SECONDS}
                   the flows that are to be open, all of them: those that are not named any more are closed. On each,
                   what the check asks is asked once in `pace` seconds; without a check nothing is sent but TCP's own
                   keepalive probes
prober -> daemon   {"flows": [[NUMBER, STATE, WORDS, ANSWERED, WRONG], ...]}
                   the flows of which there is news. ANSWERED counts questions, WRONG those of them whose answer the
                   check would not take

A number is never used again by one daemon. Neither side trusts the other's bytes: everything here checks types and
ranges and raises ValueError that says what is wrong.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.health.checks import decode_check, encode_check, integer, seconds, text
from appliance.health.diagnostic import printable
from appliance.model import Address, Check, Protocol

MOST_FLOWS = 1000
"""That an operator may ask for."""
MOST_AT_ONCE = MOST_FLOWS + 100
"""With those that a drill opens and closes by the way."""
PIECE = 50
"""Flows in one message of the prober."""
WORDS = 120
"""Characters that say how a flow ended; with their escapes a whole message stays below MAX_REPORT (messages.py)."""
_MOST = 1 << 53
_AUTHORITY = 1 << 20
_KEYS = {"flows", "vip", "port", "protocol", "check", "authority", "pace"}


class FlowState(StrEnum):
    """How a flow is doing."""

    OPEN = "open"
    ENDED = "ended"
    """The server has closed it in good order, with nothing under way."""
    BROKEN = "broken"
    """It was open, and was reset, or is not answered any more."""
    FAILED = "failed"
    """It did not come to be open: refused, reset, or not answered."""
    UNSENT = "unsent"
    """Nothing could be sent, for a reason on our side."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A flow: to this private address, from this source port."""

    number: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Order:
    """All flows that are to be open. Times are seconds."""

    flows: tuple[Wanted, ...]
    vip: Address
    port: int
    protocol: Protocol
    check: Check | None = None
    authority: str = ""
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class FlowNews:
    """What is new of a flow; the counts are since it was opened."""

    number: int
    state: FlowState
    words: str = ""
    answered: int = 0
    wrong: int = 0


def encode_order(order: Order) -> bytes:
    """Return the message that names all flows."""
    message = {
        "flows": [[flow.number, str(flow.address), flow.port] for flow in order.flows],
        "vip": str(order.vip),
        "port": order.port,
        "protocol": int(order.protocol),
        "check": encode_check(order.check) if order.check else None,
        "authority": order.authority,
        "pace": order.pace,
    }
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def is_order(line: bytes) -> bool:
    """Whether a line of the daemon's is about flows, and not a schedule."""
    return line.startswith(b'{"flows":')


def decode_order(line: bytes) -> Order:
    """Read the message that names all flows; raises ValueError."""
    try:
        message = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"flows: not JSON: {printable(str(error))}") from None
    if not isinstance(message, dict) or message.keys() != _KEYS or not isinstance(message["flows"], list):
        raise ValueError(f"not flows: they need the keys {', '.join(sorted(_KEYS))}")
    if len(message["flows"]) > MOST_AT_ONCE:
        raise ValueError(f"more than {MOST_AT_ONCE} flows")
    flows = tuple(_wanted(item, f"flows[{index}]") for index, item in enumerate(message["flows"]))
    if len({flow.number for flow in flows}) != len(flows):
        raise ValueError("two flows have the same number")
    protocol = message["protocol"]
    if isinstance(protocol, bool) or protocol not in tuple(Protocol):
        raise ValueError(f"protocol: {printable(repr(protocol))} is neither TCP nor UDP")
    check = message["check"]
    return Order(
        flows,
        _address(message["vip"], "vip"),
        integer(message["port"], "port", 1, 65535),
        Protocol(protocol),
        None if check is None else decode_check(check, "check"),
        text(message["authority"], "authority", _AUTHORITY),
        seconds(message["pace"], "pace"),
    )


def encode_news(news: Sequence[FlowNews]) -> Iterator[bytes]:
    """Yield the messages that tell of flows."""
    for at in range(0, len(news), PIECE):
        rows = [
            [one.number, str(one.state), one.words[:WORDS], one.answered, one.wrong] for one in news[at : at + PIECE]
        ]
        yield json.dumps({"flows": rows}, separators=(",", ":")).encode() + b"\n"


def is_news(message: object) -> bool:
    """Whether a message of the prober's is about flows."""
    return isinstance(message, dict) and message.keys() == {"flows"}


def decode_news(message: Mapping[str, Any]) -> tuple[FlowNews, ...]:
    """Read what the prober tells of flows; raises ValueError."""
    rows = message["flows"]
    if not isinstance(rows, list) or len(rows) > PIECE:
        raise ValueError(f"flows: not a list of at most {PIECE}")
    return tuple(_news(item, f"flows[{index}]") for index, item in enumerate(rows))


def _news(item: object, where: str) -> FlowNews:
    if not isinstance(item, list) or len(item) != 5:
        raise ValueError(f"{where}: news are [number, state, words, answered, wrong]")
    number, state, words, answered, wrong = item
    if not isinstance(state, str) or state not in tuple(FlowState):
        raise ValueError(f"{where}: {printable(repr(state))} is no state of a flow")
    return FlowNews(
        integer(number, f"{where}: number", 1, _MOST),
        FlowState(state),
        printable(text(words, f"{where}: words", WORDS)),
        integer(answered, f"{where}: answered", 0, _MOST),
        integer(wrong, f"{where}: wrong", 0, _MOST),
    )


def _wanted(item: object, where: str) -> Wanted:
    if not isinstance(item, list) or len(item) != 3:
        raise ValueError(f"{where}: a flow is [number, address, source port]")
    return Wanted(
        integer(item[0], f"{where}: number", 1, _MOST),
        _address(item[1], f"{where}: address"),
        integer(item[2], f"{where}: source port", 1024, 65535),
    )


def _address(value: object, where: str) -> Address:
    try:
        return ipaddress.ip_address(text(value, where, 64))
    except ValueError:
        raise ValueError(f"{where}: {printable(repr(value))} is not an IP address") from None
