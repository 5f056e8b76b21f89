"""How each VIP is to be announced to routers, and why not as usual. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.config.kinds import duration_text
from appliance.model import Address, Config

ISOLATED = (
    "most backends of unrelated services stopped to answer at once, so this node seems to be cut off from them; "
    "see to its links and switches; the tables stay as they were"
)

DISABLED = "disabled in the configuration"


class Announce(StrEnum):
    """What routers are to be told of a VIP."""

    YES = "yes"
    DEMOTE = "demote"
    """As a last resort."""
    NO = "no"


@dataclass(frozen=True)
class Announcement:
    """How, and why not as usual."""

    how: Announce
    reason: str = ""


def disabled(config: Config) -> frozenset[Address]:
    """The VIPs that the configuration's mark keeps from being announced, whatever their health."""
    return frozenset(service.key.vip for service in config.services if not service.vip_enabled)


def announcement(config: Config, *, up: bool, for_seconds: float, isolated: bool, enabled: bool = True) -> Announcement:
    """Return how a VIP is to be announced that has been up (or down) for so long."""
    if not enabled:
        return Announcement(Announce.NO, DISABLED)
    if not up:
        return Announcement(Announce.NO, "down")
    if for_seconds < config.hold_down:
        return Announcement(Announce.NO, f"up for less than {duration_text(config.hold_down)} (hold_down)")
    if isolated:
        return Announcement(Announce.DEMOTE if config.demote else Announce.NO, ISOLATED)
    return Announcement(Announce.YES)
