"""How frames leave the program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from appliance.dataplane.abi import PROBE_PREFIX
from appliance.dataplane.enums import Reason
from appliance.model import Address

PROBE_NET = 10
"""Destination number N is 10.0.0.0 + N to the prober."""
STEERED = 1 << 23
"""Set in such an address, N names a client's address and the service: the slots choose the destination."""
CHOSEN_SHIFT = 48
"""From here on, what is known of an answer says by how much the number chosen is above the one called (16 bits)."""


class Action(Enum):
    """What becomes of a frame: to the host, nowhere, back out of its interface, or out of another one."""

    PASS = "pass"
    DROP = "drop"
    TX = "tx"
    REDIRECT = "redirect"


ACTIONS = {
    **dict.fromkeys(
        (
            Reason.NOT_IP,
            Reason.NOT_VIP,
            Reason.TAGGED,
            Reason.UNTAGGED,
            Reason.QINQ,
            Reason.VIP_SOURCE,
            Reason.NEIGHBOUR,
            Reason.NO_ROUTE,
        ),
        Action.PASS,
    ),
    **dict.fromkeys((Reason.FORWARD, Reason.ECHO, Reason.TOO_BIG, Reason.RETURN), Action.TX),
    **dict.fromkeys((Reason.PROBE_SENT, Reason.PROBE_ANSWER), Action.REDIRECT),
}
"""What follows from a reason; a drop from all others, but for UNKNOWN_PORT and RESET, which have two outcomes."""


@dataclass(frozen=True)
class Exit:
    """How a frame left. `destination` is a number, 0 where none is known; `interface` an index, for REDIRECT."""

    action: Action
    reason: Reason
    destination: int
    frame: bytes
    interface: int = 0


class AnswerKey(NamedTuple):
    """The answer that a probe waits for: where it comes from (behind NAT the backend), and the port it goes to."""

    vip: Address
    vip_port: int
    own_port: int
    protocol: int


def leaving(reason: Reason, frame: bytes, destination: int = 0, interface: int = 0) -> Exit:
    """An exit whose action follows from its reason."""
    return Exit(ACTIONS.get(reason, Action.DROP), reason, destination, frame, interface)


def probe_address(number: int, family: int) -> Address:
    """How the prober calls a destination whose VIP is of this family."""
    return IPv6Address(PROBE_PREFIX + number) if family == 6 else IPv4Address((PROBE_NET << 24) + number)
