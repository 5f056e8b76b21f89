"""What this node has told the fleet of itself, and what has changed since: the records to publish. Pure.

Level-triggered like the rest: `changes` holds what is true against what was told, and gives the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

from appliance.control.state import Pair
from appliance.fleet.records import (
    DIGEST,
    Announced,
    Announces,
    BackendLoad,
    Down,
    How,
    Load,
    Override,
    Overrides,
    Record,
    ServiceDown,
    ServiceLoad,
    TableDigest,
    Tables,
    View,
)
from appliance.model import Address, Health, ServiceKey

PIECE = 200
"""Entries of one record."""
T = TypeVar("T")

DownSince = Mapping[Pair, tuple[Health, float]]
"""The backends that are taken for down, how, and since when (seconds of the wall clock)."""


def view(down: DownSince, now: float) -> View:
    """Return the whole health view. The digest covers who is down, not since when."""
    services: dict[ServiceKey, list[Down]] = {}
    digest = blake2b(digest_size=DIGEST)
    for (key, address), (health, since) in sorted(down.items(), key=lambda item: (item[0][0], int(item[0][1]))):
        services.setdefault(key, []).append(Down(address, health is Health.DEAD, max(0, int(now - since))))
        digest.update(f"{key} {address}\n".encode())
    told = tuple(ServiceDown(key, tuple(found)) for key, found in services.items())
    return View(digest.digest() if told else bytes(DIGEST), told)


class Told:
    """What was told last, piece by piece."""

    def __init__(self) -> None:
        self.view = bytes(DIGEST)
        """The digest of the view that was told; before the first one, of a view in which all are up."""
        self.whole = View(bytes(DIGEST), ())
        """The view as it was when it was looked at last."""
        self._said_view = False
        self.tables: dict[ServiceKey, TableDigest] = {}
        self._digest: bytes | None = None
        """Of all tables; None: they have changed since it was made."""
        self._announces: dict[Address, How] = {}
        self._load: dict[ServiceKey, dict[Address, int]] = {}
        self._said: dict[Pair, str] = {}

    def changed_view(self, down: DownSince, now: float) -> Iterator[Record]:
        """Yield the view, if it is another one."""
        found = self.whole = view(down, now)
        if not self._said_view or found.digest != self.view:
            self._said_view, self.view = True, found.digest
            yield found

    def changed_tables(self, some: Iterable[TableDigest]) -> Iterator[Record]:
        """Yield those of some tables that are other ones."""
        changed = [one for one in some if self.tables.get(one.service) != one]
        if changed:
            self.tables, self._digest = self.tables | {one.service: one for one in changed}, None
        for piece in pieces(changed):
            yield Tables(piece)

    def changed_services(self, kept: Iterable[ServiceKey]) -> Iterator[Record]:
        """Yield which services are gone; all but these are."""
        staying = set(kept)
        gone = [TableDigest(key, 0, bytes(DIGEST), bytes(DIGEST)) for key in self.tables if key not in staying]
        if gone:
            self.tables, self._digest = {key: one for key, one in self.tables.items() if key in staying}, None
        for piece in pieces(gone):
            yield Tables(piece)

    def changed_announces(self, now: Mapping[Address, How]) -> Iterator[Record]:
        """Yield how VIPs are announced, those that are announced otherwise than was told."""
        gone = dict.fromkeys(self._announces.keys() - now.keys(), How.NO)
        changed = {vip: how for vip, how in {**gone, **now}.items() if self._announces.get(vip) is not how}
        self._announces = dict(now)
        for piece in pieces([Announced(vip, how) for vip, how in changed.items()]):
            yield Announces(piece)

    def changed_load(self, now: Mapping[ServiceKey, Mapping[Address, int]]) -> Iterator[Record]:
        """Yield the active flows of backends of which there are more or fewer; of one that is gone there are 0."""
        changed: list[ServiceLoad] = []
        for key in sorted(self._load.keys() | now.keys()):
            before, after = self._load.get(key, {}), now.get(key, {})
            every = sorted(before.keys() | after.keys(), key=int)
            counts = {one: after.get(one, 0) for one in every if before.get(one, 0) != after.get(one, 0)}
            if counts:
                changed.append(_service_load(key, counts))
        self._load = {key: dict(flows) for key, flows in now.items()}
        for piece in pieces(changed):
            yield Load(piece)

    def changed_overrides(self, now: Mapping[Pair, str]) -> Iterator[Record]:
        """Yield what operators say of backends, where they say something else, or nothing any more."""
        every = sorted(self._said.keys() | now.keys(), key=lambda pair: (pair[0], int(pair[1])))
        changed = [Override(*pair, now.get(pair, "")) for pair in every if self._said.get(pair) != now.get(pair)]
        self._said = dict(now)
        for piece in pieces(changed):
            yield Overrides(piece)

    def everything(self, down: DownSince, now: float) -> Iterator[Record]:
        """Yield all that was told of this node, for one that knows nothing."""
        yield view(down, now)
        for tables in pieces(self.tables.values()):
            yield Tables(tables)
        for announced in pieces([Announced(vip, how) for vip, how in self._announces.items()]):
            yield Announces(announced)
        for load in pieces([_service_load(key, flows) for key, flows in self._load.items()]):
            yield Load(load)
        for said in pieces([Override(*pair, words) for pair, words in self._said.items()]):
            yield Overrides(said)

    def digest(self) -> bytes:
        """The digest of all tables."""
        if self._digest is None:
            found = blake2b(digest_size=DIGEST)
            for key in sorted(self.tables):
                one = self.tables[key]
                found.update(f"{key} {one.slot_count} ".encode() + one.slots)
            self._digest = found.digest()
        return self._digest


def _service_load(key: ServiceKey, flows: Mapping[Address, int]) -> ServiceLoad:
    return ServiceLoad(key, tuple(BackendLoad(address, count) for address, count in flows.items()))


def pieces(entries: Iterable[T], size: int = PIECE) -> Iterator[tuple[T, ...]]:
    """Yield entries in tuples of at most `size`."""
    left = iter(entries)
    while piece := tuple(islice(left, size)):
        yield piece
