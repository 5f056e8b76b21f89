"""Who is there: the other nodes, as this one knows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from appliance.fleet.records import Facts, View
from appliance.model_address import Endpoint

SILENCE = 3.5
"""Seconds without a word after which a member is gone; it says HELLO each second."""
MEMBERS = 56
"""Other nodes, at most; that many fit into a HELLO."""


class SyncState(Enum):
    """Whether this node has what a member knows."""

    WAITING = "waiting"
    """It is to be asked."""
    ASKING = "asking"
    DONE = "done"


@dataclass(eq=False)
class Member:
    """One life of another node. What is in here changes as it speaks; read it, and write nothing."""

    life: int
    """64 bits, random at each start of its daemon."""
    address: Endpoint
    """Where its last HELLO came from."""
    facts: Facts
    """Of its last HELLO."""
    joined_at: float
    heard_at: float
    """Seconds, of the clock that the exchange is given."""
    hears_us: bool = True
    """Whether its last HELLO had a nonce of ours: if not, datagrams pass one way only."""
    view: View | None = None
    """The last one that has come whole."""
    sync: SyncState = SyncState.WAITING
    told: int = 0
    """The number of the last datagram of its stream, as its HELLO had it."""
    taken: int = 0
    """The number of the last one whose records this node has learnt."""
    losses: int = 0
    """Datagrams of its stream that had to be asked for again."""
    resyncs: int = 0
    """How often the stream could not be mended, and everything had to be asked for."""

    whole_at: float = -inf
    """When its latest HELLO came that was taken in as a whole, with all that its stream had said before."""
    knows_since: float = -inf
    """When this node said what that member had taken in, as a whole, before its latest HELLO."""

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.facts.name
