"""What there is to say of a fleet at one moment: who fills it in, who shows it and who counts share this. Pure.

`as_json` is the member `fleet` of the status and the answer to request `fleet`; its names are contracts. Moments
(`since`) are wall-clock seconds, all other times are spans in seconds. Keys are told by their ids alone: the first
octets of their SHA-256 (envelope.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.fleet.difference import Difference, Ranges
from appliance.fleet.members import SyncState
from appliance.fleet.naming import Named, labels
from appliance.fleet.orders import Why
from appliance.fleet.records import NodeState
from appliance.model_address import Endpoint


@dataclass(frozen=True)
class NodeStatus:
    """One node: this one, or another as it was heard last. Digests are DIGEST octets each, all 0 where unknown."""

    name: str
    address: Endpoint | None
    """Where it speaks from; None of this node, where routes say which address it has."""
    state: NodeState
    since: float
    """When it was first heard; of this node, when it was started."""
    version: str
    life: int
    """64 bits, random at each start of its daemon."""
    configuration: bytes = b""
    tables: bytes = b""
    health: bytes = b""
    """All 0 also where all backends are up."""
    tracked_slots: int = 0
    flows: int = 0
    """Remembered ones."""
    packets: int = 0
    """A second."""
    isolated: bool = False
    """Whether it takes itself for cut off."""
    own: bool = False
    heard: float = 0.0
    """Seconds ago; 0 of this node."""
    lost: int = 0
    """Datagrams of its stream that had to be asked for again."""
    resyncs: int = 0
    """How often its stream could not be mended, and everything had to be asked for."""
    behind: int = 0
    """Datagrams of its stream that are told and not learnt yet."""
    sync: SyncState = SyncState.DONE
    """Whether this node has all that it knows."""
    differs: bool = False
    """Whether its configuration or its hash seed is another than this node's (control/fleet_digests.py)."""

    def as_json(self, label: str) -> dict[str, Any]:
        """As JSON carries it; `label` is what to call it (naming.py)."""
        return {
            "name": self.name,
            "label": label,
            "address": None if self.address is None else str(self.address),
            "own": self.own,
            "life": f"{self.life:016x}",
            "state": self.state.name.lower(),
            "since": self.since,
            "version": self.version,
            "configuration": hexadecimal(self.configuration),
            "tables": hexadecimal(self.tables),
            "health": hexadecimal(self.health),
            "tracked_slots": self.tracked_slots,
            "flows": self.flows,
            "packets_per_second": self.packets,
            "isolated": self.isolated,
            "heard": self.heard,
            "lost": self.lost,
            "resyncs": self.resyncs,
            "behind": self.behind,
            "sync": self.sync.value,
            "configuration_differs": self.differs,
        }


@dataclass(frozen=True)
class Absent:
    """A node that was there, and is not there now."""

    name: str
    address: Endpoint
    since: float
    why: Why

    @property
    def missing(self) -> bool:
        """Whether nobody meant it: it has not said goodbye."""
        return self.why is Why.SILENT

    def as_json(self, label: str) -> dict[str, Any]:
        """As JSON carries it; `label` is what to call it (naming.py)."""
        return {
            "name": self.name,
            "label": label,
            "address": str(self.address),
            "since": self.since,
            "why": str(self.why),
            "missing": self.missing,
        }


@dataclass(frozen=True)
class Flow:
    """What went in one direction since the exchange began; octets are those of datagrams, without headers of UDP."""

    datagrams: int = 0
    octets: int = 0
    octets_per_second: float = 0.0
    records: int = 0

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "datagrams": self.datagrams,
            "bytes": self.octets,
            "bytes_per_second": self.octets_per_second,
            "records": self.records,
        }


@dataclass(frozen=True)
class Traffic:
    """What the exchange has counted since it began."""

    sent: Flow = Flow()
    received: Flow = Flow()
    refused: Mapping[str, int] = field(default_factory=dict)
    """Datagrams that were not used, by every reason that there is (`Drop` of envelope.py)."""
    unknown: int = 0
    """Records of kinds that this version does not know."""
    lost: int = 0
    """Datagrams of others that had to be asked for again."""
    repeated: int = 0
    """Datagrams that others asked for again."""
    too_old: int = 0
    """Those of them that were not kept any more."""
    shed: int = 0
    """Remembered flows that were not told, because of `rate`."""
    resyncs: int = 0
    """How often the stream of another could not be mended."""
    syncs: int = 0
    """Whole states that were learnt."""
    served: int = 0
    """Whole states and tables that were told."""
    tracked_slots: int = 0
    """Tracked slots that were told to others."""
    sync_seconds: float | None = None
    """How long the last learning of a whole state took; None: there was none."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "sent": self.sent.as_json(),
            "received": self.received.as_json(),
            "refused": dict(self.refused),
            "unknown_records": self.unknown,
            "lost": self.lost,
            "repeated": self.repeated,
            "too_old": self.too_old,
            "shed": self.shed,
            "resyncs": self.resyncs,
            "syncs": self.syncs,
            "served": self.served,
            "tracked_slots_told": self.tracked_slots,
            "sync_seconds": self.sync_seconds,
        }


@dataclass(frozen=True)
class FleetStatus:
    """All of it."""

    node: NodeStatus
    """This node; its `own` is true."""
    members: tuple[NodeStatus, ...] = ()
    """The others that are there."""
    absent: tuple[Absent, ...] = ()
    """Those that were there."""
    unheard: tuple[Endpoint, ...] = ()
    """Configured peers that have not been heard since the exchange began."""
    keys: tuple[bytes, ...] = ()
    """Ids of the keys; the first signs."""
    group: Endpoint | None = None
    peers: tuple[Endpoint, ...] = ()
    trouble: str = ""
    """Why nothing can be sent or received, in words; empty where it can."""
    waiting_for: tuple[str, ...] = ()
    """While this node learns: what it waits for, in words."""
    learning: float = 0.0
    """How many seconds are left until it announces its routes even so; 0 when it has learnt."""
    traffic: Traffic = Traffic()
    differences: tuple[Difference, ...] = ()
    more_differences: int = 0
    """How many there are beside these."""
    lasting: int = 0
    """How many of all of them have been there for longer than a moment."""

    @property
    def missing(self) -> int:
        """How many nodes that were there have fallen silent."""
        return sum(one.missing for one in self.absent)

    @property
    def well(self) -> bool:
        """Whether all that were there are there, and do not differ for longer than a moment; and all can be told."""
        return not (self.missing or self.lasting or self.trouble)

    @property
    def labels(self) -> Mapping[Named, str]:
        """What to call each node of which anything is said."""
        there: list[Named] = [(one.name, one.address) for one in (self.node, *self.members)]
        return labels([*there, *((one.name, one.address) for one in self.absent)])

    def as_json(self, ranges: tuple[Ranges, ...] | None = None) -> dict[str, Any]:
        """As JSON carries it; with `ranges` in the answer to a request for one service, without in all others."""
        called = self.labels
        found: dict[str, Any] = {
            "well": self.well,
            "nodes": [one.as_json(called[one.name, one.address]) for one in (self.node, *self.members)],
            "absent": [one.as_json(called[one.name, one.address]) for one in self.absent],
            "unheard": [str(one) for one in self.unheard],
            "keys": [key.hex() for key in self.keys],
            "group": None if self.group is None else str(self.group),
            "peers": [str(peer) for peer in self.peers],
            "trouble": self.trouble,
            "waiting_for": list(self.waiting_for),
            "learning": self.learning,
            "traffic": self.traffic.as_json(),
            "differences": [replace(one, label=_other(one, called)).as_json() for one in self.differences],
            "more_differences": self.more_differences,
            "lasting": self.lasting,
            "missing": self.missing,
        }
        if ranges is not None:
            found["ranges"] = [replace(one, label=_other(one, called)).as_json() for one in ranges]
        return found


def _other(one: Difference | Ranges, called: Mapping[Named, str]) -> str:
    """Return what to call the other node, which may have gone since; empty: by its name."""
    return called.get((one.node, one.address), "")


def hexadecimal(digest: bytes) -> str:
    """Return a digest as digits; nothing of one that is not known."""
    return digest.hex() if any(digest) else ""
