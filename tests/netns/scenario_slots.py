"""Where the flows of a scenario lie in the running program's tables, read past the daemon from the pinned maps."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.abi import ASK_PREVIOUS
from appliance.dataplane.generation import Generation
from appliance.dataplane.hashing import flow_hash, slot_of
from appliance.dataplane.header import layout_digest
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.tables import Tables
from appliance.errors import KernelError
from appliance.model import ServiceKey
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.standing import Standing


@dataclass(frozen=True)
class Place:
    """A flow's slot; `now` and `was` are None where the slot has no backend, or the slots of before are asked."""

    slot: int
    tracked: bool
    now: IPv4Address | None
    was: IPv4Address | None


def generations(pins: Path) -> list[Path]:
    """Return the directories of the pinned generations, oldest first; there are two while one takes over."""
    layout = pins / layout_digest()
    found = list(layout.iterdir()) if layout.is_dir() else []
    return sorted(found, key=lambda directory: int(directory.name.partition("-")[0]))


class Slots(Standing):
    """The slots of the running generation. Only reads; opened anew whenever the generation may have changed."""

    def __init__(self, pins: Path) -> None:
        """Open the newest generation that is whole. Raises LabError where there is none."""
        found = wait_for("the data plane's pins", lambda: _open(pins), 5)
        assert found is not None
        self._generation = found
        self.tables = Tables(self._generation.memory)

    def close(self) -> None:
        """Let go of the maps."""
        self._generation.close()

    def owners(self, service: ServiceKey) -> set[IPv4Address | None]:
        """Return the backends that new flows go to."""
        table, base = self._table(service)
        return {self._name(base, index) for index in set(table.owners())}

    def all_owners(self, service: ServiceKey) -> list[IPv4Address | None]:
        """Return the backend of each slot that new flows go to."""
        table, base = self._table(service)
        return [self._name(base, index) for index in table.owners()]

    def answers(self, service: ServiceKey) -> list[tuple[IPv4Address | None, IPv4Address | None]]:
        """Return where each slot sends new flows, and older ones that nothing is remembered of."""
        table, base = self._table(service)
        memory, first = table.memory, table.first
        words = memory.slots[first : first + table.count].tolist()
        names = {index: self._name(base, index) for index in {word & (memory.tracked - 1) for word in words}}
        found = []
        for number, word in enumerate(words):
            now = names[word & (memory.tracked - 1)]
            was = memory.histories.get(first + number, "was") if word & memory.tracked else None
            found.append((now, now if was is None else self._name(base, was)))
        return found

    def tracked(self, service: ServiceKey) -> set[int]:
        """Return the numbers of the tracked slots."""
        return set(self._table(service)[0].tracked)

    def place(self, service: ServiceKey, source: str, port: int) -> Place:
        """Return the place of the flow from this source."""
        memory = self._generation.memory
        table, base = self._table(service)
        coefficients = memory.coefficients()
        flow = flow_hash(coefficients, ip_address(source), port, service.vip, service.port, int(service.protocol))
        number = slot_of(flow, table.count)
        found = table.slot(number)
        return Place(number, found.tracked, self._name(base, found.now), self._name(base, found.was))

    def table(self, service: ServiceKey) -> SlotTable:
        """The slots of a service, as the program has them. Raises LabError where it has none."""
        return self._table(service)[0]

    def _table(self, service: ServiceKey) -> tuple[SlotTable, int]:
        table, entry = self.tables.slots(service), self.tables.entry(service)
        if table is None or entry is None:
            raise LabError(f"{service} is not in the tables")
        return table, entry.destinations

    def _name(self, base: int, index: int) -> IPv4Address | None:
        known = index and index != ASK_PREVIOUS
        address = self._generation.memory.backend(base + index) if known else None
        assert address is None or isinstance(address, IPv4Address)
        return address


def _open(pins: Path) -> Generation | None:
    for directory in reversed(generations(pins)):
        try:
            return Generation.open(directory, read_possible_cpus())
        except KernelError:
            continue  # half made, or being removed
    return None
