"""What `vc5 drops` is told: for each reason how many packets were dropped, and the last of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.dataplane.drops import Dropped
from appliance.dataplane.enums import DROPS, REASON_TEXT, Reason
from appliance.dataplane.frame_text import line
from appliance.errors import ControlError

SHOWN = 60
"""Characters of a wrong name that are repeated."""


def wanted(given: object) -> Reason | None:
    """Read the reason that a request is about; None for all. Raises ControlError that lists those that there are."""
    if given is None:
        return None
    for reason in DROPS:
        if given == str(reason):
            return reason
    names = ", ".join(map(str, DROPS))
    raise ControlError(f"{str(given)[:SHOWN]!r} is no reason why packets are dropped; the reasons are {names}")


def told(
    reason: Reason, count: int, packets: Iterable[Dropped], interfaces: Mapping[int, str], boot: float
) -> dict[str, Any]:
    """Return a reason with its packets as JSON carries them, the newest first.

    `interfaces` are names by index; `boot` is the wall-clock time at which CLOCK_MONOTONIC was 0.
    """
    return {
        "reason": str(reason),
        "meaning": REASON_TEXT[reason],
        "count": count,
        "packets": [_packet(one, interfaces, boot) for one in packets],
    }


def _packet(one: Dropped, interfaces: Mapping[int, str], boot: float) -> dict[str, Any]:
    return {
        "at": round(boot + one.at / 1e9, 6),
        "interface": interfaces.get(one.interface, f"index {one.interface}"),
        "length": one.length,
        "data": one.octets.hex(),
        "text": line(one.octets, one.length),
    }
