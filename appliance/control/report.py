"""What the daemon tells of itself; web/document.py makes the body of `/status.json` of it.

Field names are a contract; fields are only ever added.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.control.announcing import Announcing, Standing
from appliance.control.overrides import What, as_json
from appliance.control.plan import Plan
from appliance.control.rates import COUNTERS, PER_SECOND, Rates
from appliance.control.receivers import receives
from appliance.control.state import State
from appliance.control.trouble import summaries
from appliance.control.ways import Ways
from appliance.dataplane.desired import Hop, Member
from appliance.dataplane.enums import Reason
from appliance.dataplane.enums import State as Receives
from appliance.dataplane.sync import DataPlane
from appliance.health.governor import Governor
from appliance.health.judge import HealthTable
from appliance.health.quorum import DOWN
from appliance.model import Address, Backend, Health, Interface, Service, ServiceKey
from appliance.model_bgp import Announce
from appliance.routing.policy import DRAINED


def no_flows(service: ServiceKey) -> Mapping[Address, int]:
    """Where nobody counts."""
    return {}


@dataclass(frozen=True)
class Facts:
    """What the daemon knows of itself. Times are monotonic seconds, `wall` and `loaded_at` wall-clock ones."""

    version: str
    pid: int
    started: float
    now: float
    wall: float
    file: str
    loaded_at: float
    generation: int
    prober: Mapping[str, Any]
    warnings: tuple[dict[str, Any], ...]
    vips_since: Mapping[Address, float]
    learned_at: float = -math.inf
    """Until then nothing is announced (announcing.py)."""
    loop: Mapping[str, Any] = field(default_factory=dict)
    active_flows: Callable[[ServiceKey], Mapping[Address, int]] = no_flows
    """How many flows each backend of a service has, where that is known (instance.py)."""
    governor: Governor = field(default_factory=Governor)
    rates: Rates = field(default_factory=Rates)
    drained: bool = False
    """Whether the whole node is drained, or about to be stopped."""
    withdrawn: bool = False
    """Whether that is so far that no routes are left."""
    last: Collection[Address] | None = None
    """The VIPs that no other node announces (announcing.py)."""
    services_since: Mapping[ServiceKey, float] = field(default_factory=dict)
    """Wall-clock seconds since when services are up or down; the others since the start."""


def overview(facts: Facts, state: State, plan: Plan, data: DataPlane, interfaces: list[Interface]) -> dict[str, Any]:
    """Everything but the services."""
    memory = data.generation.memory if data.generation else None
    tracked = data.tables.tracked() if data.tables else {}
    reasons = {str(reason): memory.reason(reason) for reason in Reason} if memory else {}
    used = memory.flows_used() if memory and any(tracked.values()) else 0
    announcing = Announcing(state.config)
    governor = facts.governor
    standing = Standing(facts.now, facts.learned_at, governor.isolated, governor.alone, facts.withdrawn, facts.last)
    return {
        "version": facts.version,
        "pid": facts.pid,
        "time": round(facts.wall, 3),
        "rates_over_s": round(facts.rates.seconds, 3),
        "uptime_s": round(facts.now - facts.started, 3),
        "mode": str(state.config.mode),
        "interfaces": [
            {
                "name": interface.name,
                "index": interface.index,
                "attach": str(data.attachments.links[interface.name].mode)
                if interface.name in data.attachments.links
                else "none",
                "mac": interface.mac.hex(":"),
                "address": ", ".join(str(address) for address in interface.addresses),
                "mtu": interface.mtu,
                "up": interface.up,
                "standby": interface.standby,
            }
            for interface in interfaces
        ]
        + [
            {"name": name, "index": 0, "attach": "missing", "mac": "", "address": ""}
            | {"mtu": 0, "up": False, "standby": False}
            for name in state.config.interfaces
            if all(name != interface.name for interface in interfaces)
        ],
        "prober": dict(facts.prober),
        "vips": [
            _vip(vip, facts, announcing, standing, up=up, drained=facts.drained)
            for vip, up in sorted(plan.desired.vips.items(), key=lambda item: (item[0].version, int(item[0])))
        ],
        "reasons": {name: count for name, count in reasons.items() if count},
        "flow_table": {
            "size": memory.shape.sets * 8 if memory else 0,
            "used": used,
            "refused": reasons.get(str(Reason.REFUSED), 0),
        },
        "loop": dict(facts.loop),
        "clock_s": memory.time if memory else 0,
        "config": {"file": facts.file, "loaded_at": facts.loaded_at, "generation": facts.generation},
        "warnings": [
            *facts.warnings,
            *({"severity": "warning", "message": line} for line in summaries(plan.troubles)),
        ],
    }


def _vip(
    vip: Address, facts: Facts, announcing: Announcing, standing: Standing, *, up: bool, drained: bool
) -> dict[str, Any]:
    since = facts.vips_since.get(vip, facts.now)
    told = announcing.of(vip, up=up, since=since, standing=standing)
    row = {"vip": str(vip), "up": up, "since_s": round(facts.now - since, 3)}
    if drained and told.how is Announce.YES:
        return row | {"announce": str(Announce.DEMOTE), "reason": DRAINED}
    return row | {"announce": str(told.how.usual), "reason": told.reason}


def services(
    facts: Facts,
    state: State,
    plan: Plan,
    health: HealthTable,
    assumed: Mapping[tuple[ServiceKey, Address], Health],
    data: DataPlane,
) -> Iterator[dict[str, Any]]:
    """What there is to say of each service, as it is when it is asked for."""
    members = {one.key: one.members for one in plan.desired.services}
    for service in state.services():
        yield _service(service, facts, state, plan, members.get(service.key, ()), health, assumed, data)


def _service(
    service: Service,
    facts: Facts,
    state: State,
    plan: Plan,
    members: tuple[Member, ...],
    health: HealthTable,
    assumed: Mapping[tuple[ServiceKey, Address], Health],
    data: DataPlane,
) -> dict[str, Any]:
    key = service.key
    outcome = plan.services.get(key)
    table = data.tables.slots(key) if data.tables else None
    entry = data.tables.entry(key) if data.tables else None
    numbers = data.tables.numbers(key) if data.tables else {}
    memory = data.generation.memory if data.generation else None
    owners = Counter(table.owners()) if table else Counter()
    hops = {member.address: member.hop for member in members}
    gets = {member.address: member.state for member in members}
    active = facts.active_flows(key)
    backends: list[dict[str, Any]] = []
    for backend in service.backends:
        pair = (key, backend.address)
        verdict = health.health(*pair)
        if verdict is Health.UNKNOWN:
            verdict = assumed.get(pair, verdict)
        kept = facts.governor.kept_for(*pair, verdict)
        standing = health.standing(*pair)
        number = numbers.get(backend.address)
        slots = owners.get(number - entry.destinations, 0) if number is not None and entry else 0
        said = state.overrides.of(*pair)
        drain = said.get(What.DRAIN)
        mac = memory.destinations.bytes_of(number, "mac_head", 6).hex(":") if memory and number is not None else ""
        backends.append(
            {
                "address": str(backend.address),
                "weight": backend.weight,
                "enabled": backend.enabled,
                "fallback": backend.fallback,
                "state": _state(
                    receives(service, backend, facts.governor.effective(*pair, verdict), state),
                    gets.get(backend.address),
                    backend,
                ),
                "health": str(verdict),
                "kept_by": kept if kept and verdict in DOWN else None,
                "taken_out_by": kept if kept and verdict is Health.UP else None,
                "drained_by": drain.who if drain else "removed" if pair in state.leaving else None,
                "overrides": [as_json(what, override) for what, override in sorted(said.items())],
                "since_s": round(facts.wall - standing.since, 3) if standing else None,
                "diagnostic": standing.diagnostic if standing else "",
                "took_ms": round(standing.last_ns / 1e6, 3) if standing else None,
                "active_flows": active.get(backend.address),
                "slots": slots,
                "share": round(slots / entry.slot_count, 4) if entry else 0.0,
                "mac": "" if mac == "00:00:00:00:00:00" else mac,
            }
            | _way(service, plan.ways, hops.get(backend.address), backend.address)
            | (counters := _counters(memory, number))
            | facts.rates.of(*pair, counters)
        )
    totals: dict[str, int] = {name: sum(int(backend[name]) for backend in backends) for name in COUNTERS}
    speeds = {name: round(sum(backend[name] for backend in backends), 1) for name in PER_SECOND}
    if memory and entry:
        totals["drops"] += memory.counter(entry.destinations, "drops")
    return {
        "service": str(key),
        "vip": str(key.vip),
        "port": key.port,
        "proto": str(key.protocol),
        "name": service.name,
        "description": service.description,
        "up": bool(outcome and outcome.up),
        "pending": bool(outcome and outcome.pending),
        "need": service.need,
        "critical": service.critical,
        "available": outcome.available if outcome else 0,
        "on_dead": str(service.on_dead),
        "on_down": str(service.on_down),
        "sticky": bool(entry and entry.sticky),
        "slots": entry.slot_count if entry else 0,
        "tracked_slots": len(table.tracked) if table else 0,
        **totals,
        **speeds,
        "since_s": round(facts.wall - facts.services_since.get(key, facts.wall - facts.now + facts.started), 3),
        "scheduler": str(service.scheduler),
        "backends": backends,
    }


def _state(own: Receives, planned: Receives | None, backend: Backend) -> str:
    """What a backend receives, in a word; a fallback that is not needed is on standby."""
    if backend.fallback and own is Receives.AVAILABLE and planned is Receives.DRAINING:
        return "standby"
    return own.name.lower()


def _way(service: Service, ways: Ways, hop: Hop | None, backend: Address) -> dict[str, Any]:
    """How a backend is reached, and what is missing for it."""
    way = ways.of(service, backend)
    troubles, unresolved = ways.troubles_of(service, backend), way.unresolved() if hop is None else None
    told = {
        "interface": way.egress.name if way.egress else "",
        "vlan": way.tag,
        "via": str(way.via) if way.via else None,
        "own": str(way.own),
        "mtu": way.mtu,
    }
    return {
        "way": told if way.neighbour else None,
        "troubles": [
            {"reason": str(trouble.lack), "message": trouble.text}
            for trouble in (*troubles, *([unresolved] if unresolved else []))
        ],
    }


def _counters(memory: Any, number: int | None) -> dict[str, int]:
    if memory is None or number is None:
        return dict.fromkeys(COUNTERS, 0)
    return {name: memory.counter(number, name) for name in COUNTERS}
