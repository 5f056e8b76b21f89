"""What the exchange counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.fleet.envelope import Drop, Kind


@dataclass
class Counters:
    """Since the exchange began. Octets are those of datagrams, without headers of UDP and IP."""

    heard: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Datagrams of members that were used."""
    heard_octets: int = 0
    dropped: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))
    sent: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Datagrams; of what goes to each peer, each copy."""
    sent_octets: int = 0
    published: int = 0
    """Records, as they stand in datagrams."""
    learnt: int = 0
    unknown: int = 0
    """Records of kinds that this version does not know."""
    lost: int = 0
    """Datagrams of members' streams that had to be asked for again."""
    repeated: int = 0
    """Datagrams of the own stream that were sent again."""
    too_old: int = 0
    """Those that a member asked for, and that were not kept any more."""
    shed: int = 0
    """Remembered flows that were not told, because the rate did not allow it."""
    resyncs: int = 0
    """How often a stream could not be mended."""
    syncs: int = 0
    """Whole states that were learnt from a member."""
    served: int = 0
    """Whole states and tables that were told to a member."""
