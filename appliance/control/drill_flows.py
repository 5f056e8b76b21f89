"""The flows of one drill, as the daemon sees them: from which ports they come, how they are, and where they go."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from appliance.control.drill import Evidence, Seen, pace
from appliance.control.drill_start import Wish
from appliance.dataplane.lookup import Entry
from appliance.dataplane.steering import End, ports_to, sent_to, steered_address
from appliance.health.drill import FlowNews, FlowState, Order, Wanted
from appliance.health.ports import DRILL_PORTS
from appliance.model import Address, Forward, Protocol

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

MOST_SEEN = 20_000
"""Flows in one drill, with those that take the place of ended ones; each is a few hundred bytes."""
AT_ONCE = 64
"""Ports that are tried, and flows that are looked for, in one turn of the loop."""


class DrillStopped(Exception):
    """The drill cannot go on; says why."""


class Flows:
    """Orders flows from the prober, and writes down in `seen` what is known of them."""

    def __init__(self, daemon: Daemon, wish: Wish, seen: Evidence, numbers: Iterator[int], began: float) -> None:
        """`numbers` are never used twice; `began` is CLOCK_MONOTONIC seconds."""
        self._daemon = daemon
        self._wish = wish
        self._key = wish.service.key
        self._seen = seen
        self._numbers = numbers
        self._began = began
        self._wanted: dict[int, Wanted] = {}

    def now(self) -> float:
        """Seconds since the drill began."""
        return time.monotonic() - self._began

    def slots(self) -> tuple[Entry, list[int], dict[Address, int]]:
        """Where the service lies, who has its slots, and the numbers of its backends. Raises DrillStopped."""
        tables = self._daemon.instance.data.tables
        entry = tables.entry(self._key) if tables else None
        table = tables.slots(self._key) if tables else None
        numbers = tables.numbers(self._key) if tables else {}
        if entry is None or table is None or any(one.address not in numbers for one in self._wish.service.backends):
            raise DrillStopped("the service has changed")
        return entry, table.owners(), numbers

    async def ports(self, backend: Address, count: int) -> list[int]:
        """Return free source ports from which new flows go to a backend, as far as there are such."""
        generation = self._daemon.instance.data.generation
        if generation is None:
            raise DrillStopped("no program is loaded")
        entry, owners, numbers = self.slots()
        used = {flow.port for flow in self._seen.flows.values()}
        if len(used) > len(DRILL_PORTS) // 2:
            used = {wanted.port for wanted in self._wanted.values()}
        free = [port for port in DRILL_PORTS if port not in used]
        random.shuffle(free)
        found: list[int] = []
        tried = ports_to(generation.memory, entry, owners, self._key, numbers[backend], free)
        for place, port in enumerate(tried, 1):
            if port is not None:
                found.append(port)
            if len(found) == count:
                break
            if place % AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def open(self, backend: Address, count: int, step: int) -> None:
        """Have so many more flows through a backend. Raises DrillStopped where no port leads there."""
        found = await self.ports(backend, count)
        if len(found) < count:
            raise DrillStopped(f"of {len(DRILL_PORTS)} source ports only {len(found)} free ones lead to {backend}")
        self.begin(backend, found, step)

    def begin(self, backend: Address, ports: Iterable[int], step: int, *, new: bool = False) -> None:
        """Open flows from these ports, which the slots give to a backend, or gave until now."""
        number, family = self.slots()[2][backend], self._key.vip.version
        for port in ports:
            name = next(self._numbers)
            self._wanted[name] = Wanted(name, steered_address(number, family), port)
            self._seen.flows[name] = Seen(name, backend, port, self.now(), step, new=new)
        self._order()

    async def replace_ended(self, out: Address | None, step: int) -> None:
        """Open others in the place of flows that their servers have ended, but through the backend that is out."""
        ended = [flow for flow in self._seen.long(FlowState.ENDED) if not flow.closed and flow.backend != out]
        for flow in ended:
            if len(self._seen.flows) < MOST_SEEN:
                self._let_go(flow)
                found = await self.ports(flow.backend, 1)
                self.begin(flow.backend, found, step)

    def close_new(self) -> None:
        """Close those that were opened to see where new flows go."""
        self.look()
        for flow in self._seen.flows.values():
            if flow.new and not flow.closed:
                self._let_go(flow)
        self._order()

    def close_all(self) -> None:
        """Close all."""
        self._wanted.clear()
        self._order()

    def news(self, news: Iterable[FlowNews], step: int) -> None:
        """Take what the prober tells."""
        for one in news:
            flow = self._seen.flows.get(one.number)
            if flow is None or flow.closed or flow.ended is not None:
                continue
            flow.state, flow.words, flow.answered, flow.wrong = one.state, one.words, one.answered, one.wrong
            if one.state is not FlowState.OPEN:
                flow.ended, flow.ended_step = self.now(), step

    def look(self) -> None:
        """See where the program sends each flow."""
        generation = self._daemon.instance.data.generation
        if generation is None:
            return
        find, memory, ends = generation.maps["vc5_answers"].lookup, generation.memory, self._ends()
        for name in self._wanted:
            flow = self._seen.flows[name]
            if flow.state is not FlowState.OPEN:
                continue  # before its first packet, what stands there is of an earlier flow from that port
            number = sent_to(find, ends, flow.port, int(self._key.protocol))
            if number is None:
                continue
            if flow.first is None and self._key.protocol is Protocol.UDP:
                # A datagram may belong to an older flow: then a tracked slot sends it where that would be.
                flow.backend = memory.backend(number)
            flow.sent_to(memory.backend(number), self.now())

    def _ends(self) -> list[End]:
        if self._wish.service.forward is not Forward.NAT:
            return [(self._key.vip, self._key.port)]
        return [(backend.address, backend.port or self._key.port) for backend in self._wish.service.backends]

    def _let_go(self, flow: Seen) -> None:
        flow.closed = True
        self._wanted.pop(flow.number, None)

    def _order(self) -> None:
        flows, key, every = tuple(self._wanted.values()), self._key, pace(sum(self._wish.flows.values()))
        order = Order(flows, key.vip, key.port, key.protocol, self._wish.check, pace=every)
        self._daemon.prober.drill(order)
