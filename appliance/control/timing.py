"""How long a packet takes in the program, for those who look at a console.

Where the kernel measures programs (the sysctl kernel.bpf_stats_enabled, at the price of two looks at a clock for each
packet) that is told. Else a twin of the program, which shares the tables and writes into its own, is given packets of
a new flow to a service that is up, now and then while somebody looks: no packet of anybody's is touched by that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.control.explain import ROUTER
from appliance.dataplane.frame import Flow, build
from appliance.dataplane.generation import Generation
from appliance.dataplane.tables import Tables
from appliance.errors import KernelError, Vc5Error
from appliance.model import Mode, Service

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

AGAIN = 300.0
"""Seconds for which a measurement stands."""
REPEAT = 240
"""Runs on one frame, each of which gets what the one before made of it; fewer than its TIME_TO_LIVE."""
BATCHES = 64
TIME_TO_LIVE = 255
FROM_TRAFFIC, FROM_TEST_RUN = "traffic", "test-run"


class Timing:
    """The last measurement."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._runs = (0, 0)
        self._measured: float | None = None
        self._of = ""
        self._until = 0.0
        self._measuring = False

    def told(self) -> dict[str, float | str | None]:
        """Return `latency_ns` and what that is of; None while nothing is known."""
        traffic = self._traffic()
        if traffic is not None:
            return {"latency_ns": traffic, "latency_of": FROM_TRAFFIC}
        return {"latency_ns": self._measured, "latency_of": FROM_TEST_RUN if self._measured is not None else None}

    def look(self, now: float) -> None:
        """Measure anew where that is due, in monotonic seconds; comes back at once."""
        generation = self._daemon.instance.data.generation
        if generation is None or self._measuring or (generation.digest == self._of and now < self._until):
            return
        self._measuring, self._until = True, now + AGAIN
        self._daemon.go_on(self._measure())

    def _traffic(self) -> float | None:
        generation = self._daemon.instance.data.generation
        if generation is None:
            return None
        runs = [program.run_statistics() for program in generation.programs.values()]
        now = sum(one.runs for one in runs), sum(one.nanoseconds for one in runs)
        before, self._runs = self._runs, now
        ran, took = now[0] - before[0], now[1] - before[1]
        return round(took / ran, 1) if ran > 0 and before[0] and took >= 0 else None

    async def _measure(self) -> None:
        daemon = self._daemon
        try:
            async with daemon.reloading:
                data, plan = daemon.instance.data, daemon.instance.current
                up = next((one for one in plan.ordered if plan.services[one.key].up), None) if plan else None
                interfaces = daemon.watch.snapshot().interfaces
                if data.generation is None or up is None or not interfaces:
                    return
                config = daemon.instance.state.config
                tagged = config.mode is Mode.VLAN and not config.mixed_tags and config.vlans
                vlan = config.vlans[0].id if tagged else None
                self._of = data.generation.digest
                self._measured = await asyncio.to_thread(_twin_measured, daemon, up, interfaces[0].mac, vlan)
        except Vc5Error:
            self._measured = None
        finally:
            self._measuring = False


def _twin_measured(daemon: Daemon, service: Service, mac: bytes, vlan: int | None) -> float | None:
    twin = daemon.instance.data.twin()
    try:
        return measured(twin, service, mac, vlan)
    finally:
        twin.close()


def measured(twin: Generation, service: Service, mac: bytes, vlan: int | None) -> float | None:
    """Return the nanoseconds that a twin takes for a packet it forwards; None where it did not forward all of them."""
    key = service.key
    client = "[2001:db8::1]" if key.vip.version == 6 else "192.0.2.1"
    entry = Tables(twin.memory).entry(key)
    if entry is None:
        return None

    def forwarded() -> int:
        return sum(row[0] for row in twin.memory.counts(entry.destinations, entry.capacity))

    before, taken = forwarded(), []
    for port in range(1024, 1024 + BATCHES):
        vip = f"[{key.vip}]" if key.vip.version == 6 else str(key.vip)
        frame = build(
            Flow.parse(f"{key.protocol} {client}:{port} {vip}:{key.port}"),
            destination=mac,
            source=ROUTER,
            ttl=TIME_TO_LIVE,
            vlan=vlan,
        )
        try:
            taken.append(twin.programs["vc5_main"].test_run(frame, repeat=REPEAT).ns)
        except KernelError:
            return None
    return sorted(taken)[len(taken) // 2] if forwarded() - before == REPEAT * BATCHES else None
