"""How much of a service's flows a reload would disturb: what `--max-disruption` counts, and in which words. Pure.

Of each service that the tables hold it is the largest of these:

  slots       the share of its slots that move, before the first verdicts on new backends or after them
  withdrawn   all, where its VIP is announced now and would not be: clients of all its services reach nobody here
  removed     all, where the service is not in the new configuration, whether or not it had a backend to answer

A service that is new disturbs nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance.control.differences import Change, ServiceDifference
from appliance.control.forecast import Move
from appliance.model import Address, ServiceKey

SHOWN = 8
"""So many services a refusal names."""


class Loss(StrEnum):
    """What disturbs the flows of a service."""

    NONE = ""
    SLOTS = "slots move"
    WITHDRAWN = "VIP withdrawn"
    REMOVED = "service removed"


@dataclass(frozen=True)
class Disruption:
    """The share of a service's flows that is disturbed, 0 to 1, and by what."""

    share: float = 0.0
    loss: Loss = Loss.NONE

    @property
    def total(self) -> bool:
        """Whether the service goes off the air here, whatever its slots say."""
        return self.loss in (Loss.WITHDRAWN, Loss.REMOVED)


def disruptions(
    moves: Mapping[ServiceKey, Move],
    differences: Mapping[ServiceKey, ServiceDifference],
    withdrawn: Collection[Address],
) -> dict[ServiceKey, Disruption]:
    """Say of every service what is lost; those without an entry lose nothing."""
    found: dict[ServiceKey, Disruption] = {}
    for key in sorted(moves.keys() | differences.keys()):
        change = differences[key].change if key in differences else Change.SAME
        move = moves.get(key, Move(0))
        if change is Change.REMOVED:
            found[key] = Disruption(1.0, Loss.REMOVED)
        elif change is not Change.ADDED and key.vip in withdrawn:
            found[key] = Disruption(1.0, Loss.WITHDRAWN)
        elif most := max(move.moved, move.at_once):
            found[key] = Disruption(most / move.slots, Loss.SLOTS)
    return found


def refusal(found: Mapping[ServiceKey, Disruption], moves: Mapping[ServiceKey, Move], most: float) -> str:
    """Say which services lose more than this share, the worst first; empty if none does."""
    worst = sorted((one for one in found.items() if one[1].share > most), key=lambda one: (-one[1].share, one[0]))
    told = [f"{key} {percent(lost.share)} ({_why(lost, moves.get(key, Move(0)))})" for key, lost in worst[:SHOWN]]
    return ", ".join([*told, *([f"and {len(worst) - SHOWN} more"] if len(worst) > SHOWN else [])])


def _why(lost: Disruption, move: Move) -> str:
    if lost.total:
        return str(lost.loss)
    return f"{max(move.moved, move.at_once)} of {move.slots} slots: {move.cause}"


def percent(share: float) -> str:
    """A share as text: 0 %, 33.4 %, 100 %; never rounded to 0 or to 100."""
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(99.9, max(0.1, share * 100)):.1f} %"
