"""What the daemon has to say to those who measure: a snapshot of numbers, for `/metrics` and `vc5 metrics`.

Numbers of packets are read from the program's own counters, where they outlive the daemon; those of probes and reloads
are in an array of the kernel's as well (tally.py), changes of verdicts in the state file. Text is made of it elsewhere
(telemetry/exposition.py): that costs more than all of this, and nothing here has to wait for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import thread_time
from typing import TYPE_CHECKING, Any

from appliance import __version__
from appliance.control.misrouting import Misrouting
from appliance.control.rates import Rates
from appliance.control.socket import Encoded
from appliance.control.tally import Tally
from appliance.control.timing import Timing
from appliance.dataplane.abi import BLOCKED_LIMIT
from appliance.dataplane.desired import DesiredService
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.generation import Generation
from appliance.dataplane.header import layout_digest
from appliance.errors import HostError
from appliance.model import Health, ProbeResult, Service, ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon
    from appliance.control.instance import Instance

TURN = 0.005
"""Seconds of processor time after which others have their turn."""
EXITS = tuple(reason for reason in Reason if Reason.FORWARD < reason < Reason.TRACKED_HIT)
"""What the program counts by reason; what it forwards, it counts by destination alone."""
DECISIONS = tuple(reason for reason in Reason if reason >= Reason.TRACKED_HIT)
NOTHING = (0, 0, 0, 0)


class Measuring:
    """The numbers of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.tally = Tally()
        self.rates = Rates()
        self.timing = Timing(daemon)
        self.misrouting = Misrouting(daemon)
        self.sources: list[Callable[[], Mapping[str, Any]]] = [self.misrouting.meter.numbers]
        """Whoever else counts: each gives numbers by the names of telemetry/metrics.py, without the prefix."""
        self._since: dict[ServiceKey, tuple[bool, float]] = {}

    def probed(self, result: ProbeResult) -> None:
        """Count a probe."""
        check = self._daemon.instance.health.check(result)
        if check is not None:
            self.tally.probe(check.kind, result.outcome, result.diagnostic, result.total_ns)

    async def snapshot(self) -> Encoded:
        """Return the snapshot (telemetry/readings.py), put together in as many turns of the loop as it takes.

        Each service is told of as it is when its turn comes. Raises HostError while the daemon is still starting.
        """
        if self._daemon.instance.current is None:
            raise HostError("the daemon is still starting")
        pieces = ['{"services": [']
        began = thread_time()
        for told in self._services():
            pieces += [json.dumps(told), ", "]
            if thread_time() - began > TURN:
                await asyncio.sleep(0)
                began = thread_time()
        if len(pieces) > 1:
            pieces.pop()
        await asyncio.sleep(0)
        return Encoded([*pieces, "], ", json.dumps(self._head(), allow_nan=False)[1:]])

    def _services(self) -> Iterator[list[Any]]:
        """Yield what there is to say of each service; a plan that is made meanwhile begins with the next snapshot."""
        plan, now = self._daemon.instance.current, time.time()
        assert plan is not None
        known, self._since = self._since, {}
        for service, desired in zip(plan.ordered, plan.desired.services, strict=True):
            key, standing = service.key, plan.services[service.key]
            if plan is not self._daemon.instance.current and key not in _places(self._daemon):
                continue  # a reload has removed it meanwhile, with its counters
            was = known.get(key)
            self._since[key] = was if was is not None and was[0] is standing.up else (standing.up, now)
            told = self._service(service, desired)
            yield [str(key), service.name, int(standing.up), told[0], standing.available, service.need, *told[1:]]

    def _service(self, service: Service, desired: DesiredService) -> list[Any]:
        """Return how many backends are configured, since when it is as it is, its sums, its backends."""
        instance, key = self._daemon.instance, service.key
        counts = counted(instance, key)
        first = entry.destinations if instance.data.tables and (entry := instance.data.tables.entry(key)) else 0
        numbers = instance.data.tables.numbers(key) if instance.data.tables else {}
        gets = {member.address: member.state for member in desired.members}
        active, leaving = instance.active_flows(key), instance.state.leaving
        backends, configured = [], 0
        for backend in service.backends:
            address = backend.address
            configured += not leaving or (key, address) not in leaving
            number = numbers.get(address)
            carried = counts[number - first] if number is not None and counts else NOTHING
            transitions, since = instance.health.changes(key, address)
            well = instance.found(key, address) is Health.UP
            receives = gets.get(address) is State.AVAILABLE
            row = (str(address), int(well), int(receives), transitions, active.get(address), since, *carried)
            backends.append(row)
        return [configured, self._since[key][1], sums(counts), backends]

    def _head(self) -> dict[str, Any]:
        """Return all but the services."""
        daemon, wall, now = self._daemon, time.time(), time.monotonic()
        instance, plan = daemon.instance, daemon.instance.current
        vips = plan.desired.vips if plan else {}
        return {
            "version": __version__,
            "abi": layout_digest(),
            "time": wall,
            "started": wall - (now - daemon.started),
            "compat": instance.state.config.compat_metrics,
            "backends": instance.state.config.backend_metrics,
            "vips_since": {str(vip): wall - (now - instance.vips_since.get(vip, now)) for vip in vips},
            "probes": self.tally.probes(),
            "numbers": {
                "vip_up": {str(vip): int(up) for vip, up in vips.items()},
                **self._own(),
                **self._kernel(),
                **{name: number for source in self.sources for name, number in source().items()},
            },
        }

    def _own(self) -> dict[str, Any]:
        """What the daemon knows of itself."""
        daemon, turns = self._daemon, self._daemon.pulse.turns()
        plan, links = daemon.instance.current, daemon.instance.data.attachments.links
        return {
            "prober_up": int(not daemon.judging.prober_gone),
            "prober_restarts_total": daemon.prober.restarts,
            "health_frozen": int(bool(daemon.judging.frozen())),
            "isolated": int(daemon.instance.governor.isolated),
            "outvoted_backends": len(daemon.instance.governor.quorum.rulings),
            "interface_attached": {name: int(name in links) for name in daemon.instance.state.config.interfaces},
            "sync_pending": len(plan.left) if plan else 0,
            "event_loop_lag_seconds": turns.recent,
            "event_loop_stalls_total": turns.stalls,
            "config_last_reload_success": int(not daemon.refusal),
            "config_last_reload_timestamp_seconds": daemon.loaded_at,
            "config_reloads_total": self.tally.reloads(),
        }

    def _kernel(self) -> dict[str, Any]:
        """What the program and its tables say."""
        data = self._daemon.instance.data
        generation, tables = data.generation, data.tables
        if generation is None or tables is None:
            return {}
        memory, shape = generation.memory, generation.shape
        entries = [entry for key in tables.tracked() if (entry := tables.entry(key))]
        plan = self._daemon.instance.current
        used = {
            "flows": (memory.flows_used(), shape.sets * 8),
            "services": (len(entries), shape.service_limit),
            "destinations": (sum(entry.capacity for entry in entries), shape.destinations),
            "slots": (sum(entry.slot_count + entry.previous_count for entry in entries), shape.slots),
            "blocked": (len(plan.desired.blocked) if plan else 0, BLOCKED_LIMIT),
        }
        return {
            "verdicts_total": {str(reason): memory.reason(reason) for reason in EXITS},
            "tracking_total": {str(reason): memory.reason(reason) for reason in DECISIONS},
            "map_entries": {name: count for name, (count, _) in used.items()},
            "map_max_entries": {name: most for name, (_, most) in used.items()},
            **_runs(generation),
        }


def _places(daemon: Daemon) -> Mapping[ServiceKey, int]:
    return daemon.instance.current.places if daemon.instance.current else {}


def counted(instance: Instance, key: ServiceKey) -> list[tuple[int, ...]]:
    """Return the counters (`packets octets flows drops`) of all destinations a service has ever had; none without."""
    tables, generation = instance.data.tables, instance.data.generation
    entry = tables.entry(key) if tables else None
    return generation.memory.counts(entry.destinations, entry.capacity) if generation and entry else []


def sums(counts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what a service has carried altogether."""
    return tuple(sum(column) for column in zip(*counts, strict=True)) if counts else NOTHING


def _runs(generation: Generation) -> dict[str, Any]:
    """What the kernel measures of programs, while it does (kernel.bpf_stats_enabled)."""
    runs = {name: program.run_statistics() for name, program in generation.programs.items()}
    counted = {name: one for name, one in runs.items() if one.runs}
    return {
        "program_runs_total": {name: one.runs for name, one in counted.items()},
        "program_run_seconds_total": {name: one.nanoseconds / 1e9 for name, one in counted.items()},
    }
