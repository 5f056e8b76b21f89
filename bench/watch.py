"""Watches the tables of a running daemon from outside, through its pins: when did a service stop using a backend?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane import lookup
from appliance.dataplane.generation import Generation
from appliance.dataplane.header import layout_digest
from appliance.model import ServiceKey

PERIOD = 0.0002
"""Seconds between two looks. A change is seen up to so much late, so a measured time is rather too long than short."""


@dataclass(frozen=True)
class _Watched:
    """Where a service's slots lie in the table, in bytes, and the words that name a backend in them."""

    start: int
    stop: int
    words: tuple[int, int]
    width: int

    def uses(self, table: bytes) -> bool:
        """Whether any slot names the backend for new flows."""
        slots = (
            memoryview(table)[self.start : self.stop].cast("H") if self.width == 2 else table[self.start : self.stop]
        )
        return any(word in slots for word in self.words)


class TableWatch:
    """The slot table of the generation in force, mapped a second time."""

    def __init__(self, pins: Path) -> None:
        """Open the only generation below `pins`. Raises ValueError where there are none or several."""
        found = list((pins / layout_digest()).iterdir())
        if len(found) != 1:
            raise ValueError(f"{len(found)} generations are pinned below {pins}, not one")
        self._generation = Generation.open(found[0], read_possible_cpus())
        self._memory = self._generation.memory
        self._entries = lookup.entries(self._memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._generation.close()

    def until_unused(
        self, services: Iterable[ServiceKey], backend: IPv4Address, seconds: float, act: Callable[[], None]
    ) -> dict[ServiceKey, float]:
        """Call `act`, then look until no slot of any of the services names the backend for new flows.

        Returns for each service the moment at which that was seen, in wall-clock seconds: the prober's results carry
        such. Raises ValueError when some still do after `seconds`.
        """
        waiting = {key: self._watched(key, backend) for key in services}
        # Only what is watched is copied at each look, so that looking takes little of the processor.
        low = min(watched.start for watched in waiting.values())
        slots = self._memory.raw["vc5_slots"][low : max(watched.stop for watched in waiting.values())]
        waiting = {key: replace(w, start=w.start - low, stop=w.stop - low) for key, w in waiting.items()}
        before = bytes(slots)
        unused = [str(key) for key, watched in waiting.items() if not watched.uses(before)]
        if unused:
            raise ValueError(f"{backend} has no slots in {unused[0]} from the beginning")
        found: dict[ServiceKey, float] = {}
        act()
        deadline = time.monotonic() + seconds
        while waiting:
            present = bytes(slots)
            at = time.time()
            if present != before:
                before = present
                for key in [key for key, watched in waiting.items() if not watched.uses(present)]:
                    del waiting[key]
                    found[key] = at
            if time.monotonic() > deadline:
                raise ValueError(f"{backend} still has slots in {len(waiting)} services after {seconds:g} s")
            time.sleep(PERIOD)
        return found

    def _watched(self, service: ServiceKey, backend: IPv4Address) -> _Watched:
        entry = self._entries[service]
        for index in range(1, entry.capacity):
            number = entry.destinations + index
            if self._memory.identities.get(number, "used") and self._memory.backend(number) == backend:
                width = 2 if self._memory.shape.wide else 1
                stop = entry.slots + entry.slot_count
                return _Watched(entry.slots * width, stop * width, (index, index | self._memory.tracked), width)
        raise ValueError(f"{service} has no backend {backend} in its tables")
