"""What should be: from configuration, health, host and what operators said to what the tables are to hold. Pure.

What backends receive is decided in receivers.py. A service is up with at least `need` backends available; which VIPs
are up then is in vips.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.control.receivers import HealthOf, receivers
from appliance.control.shares import Shares
from appliance.control.state import Pair, State
from appliance.control.trouble import Trouble
from appliance.control.vips import ServiceState, vips_up
from appliance.control.ways import Ways
from appliance.dataplane.desired import Desired, DesiredService, Hop, ProbeLink
from appliance.dataplane.enums import DeadPolicy
from appliance.dataplane.enums import State as Receives
from appliance.model import (
    Address,
    Config,
    Health,
    Host,
    OnDead,
    Protocol,
    Service,
    ServiceKey,
    Tracking,
    UnknownPort,
)

POLICY = {OnDead.RESELECT: DeadPolicy.RESELECT, OnDead.RESET: DeadPolicy.RESET, OnDead.DROP: DeadPolicy.DROP}
OPENING = 1.0
"""Seconds for which a new service with a first good backend waits for the first verdicts on the others, so that its
table is right from its first packet and no slot has to be tracked."""
OVERLOAD = 5.0
"""Seconds at most, if verdicts come faster than they are taken in: each plan of a service would be made for nothing."""


@dataclass
class Openings:
    """Which services have had their first table, and since when the others have had something to put into one."""

    opened: set[ServiceKey] = field(default_factory=set)
    since: dict[ServiceKey, float] = field(default_factory=dict)
    held: float = 0.0
    """Until when verdicts are known to be there that have not been taken in yet."""
    closed: bool = False
    """Whether none may have its first table, for other nodes of the fleet have yet to say what theirs are like."""
    fleet_slots: Mapping[ServiceKey, int] = field(default_factory=dict)
    """How many slots services have at other nodes, or had here before a stop."""

    def apart(self) -> Openings:
        """A copy that can go its own way."""
        return Openings(set(self.opened), dict(self.since), self.held, self.closed, self.fleet_slots)

    def ready(self, service: Service, health: HealthOf, now: float) -> bool:
        """Whether the service may have a table; `now` in monotonic seconds."""
        if self.waits(service, health, now):
            return False
        if self.since.pop(service.key, None) is not None:
            self.opened.add(service.key)
        return True

    def waits(self, service: Service, health: HealthOf, now: float) -> bool:
        """Whether the service has a first good backend and waits for the first verdicts on others; `now` as above.

        It is as `due` says then, and a plan before that has nothing to put into its table.
        """
        if service.key in self.opened:
            return False
        known = [health(service.key, backend.address) for backend in service.backends if backend.enabled]
        if Health.UP not in known:
            self.since.pop(service.key, None)
            return False
        started = self.since.setdefault(service.key, now)
        return self.closed or (Health.UNKNOWN in known and now < self._end(started))

    def _end(self, started: float) -> float:
        return max(started + OPENING, min(self.held, started + OVERLOAD))

    def due(self, now: float) -> list[ServiceKey]:
        """The services that open now although verdicts are missing."""
        return [] if self.closed else [key for key, since in self.since.items() if now >= self._end(since)]

    def next_due(self) -> float | None:
        """When a service opens although verdicts are missing, monotonic seconds; None while none waits."""
        return self._end(min(self.since.values())) if self.since and not self.closed else None

    def keep(self, services: set[ServiceKey]) -> None:
        """Forget services that are gone."""
        self.opened &= services
        self.since = {key: since for key, since in self.since.items() if key in services}


@dataclass(frozen=True)
class Plan:
    """The desired tables, and what follows for services and VIPs."""

    desired: Desired
    services: Mapping[ServiceKey, ServiceState]
    neighbours: frozenset[tuple[int, Address]]
    """Interface index and address of the next hops whose MAC addresses are needed: backends on the link, gateways."""
    ways: Ways = field(compare=False)
    host: Host = field(compare=False)
    left: tuple[ServiceKey, ...] = field(default=(), compare=False)
    """Services whose turn has not come yet, the next ones first, one or the other twice: they stand here as they did in
    the plan before."""
    looks: frozenset[ServiceKey] = field(default=frozenset(), compare=False)
    """Services that were looked at; all others are as they were in the plan before."""
    ordered: tuple[Service, ...] = field(default=(), compare=False)
    places: Mapping[ServiceKey, int] = field(default_factory=dict, compare=False)
    """Where each service stands in `ordered`, and in the desired tables."""

    @property
    def wanted(self) -> frozenset[Address]:
        """The addresses of these next hops."""
        return frozenset(address for _, address in self.neighbours)

    @property
    def troubles(self) -> frozenset[Trouble]:
        """What the host lacks for the configuration in force, but for MAC addresses."""
        return self.ways.troubles


def grace(config: Config, key: ServiceKey) -> int:
    """Seconds after which new flows' answer also counts for unknown older ones."""
    return max(1, round(config.udp_grace if key.protocol is Protocol.UDP else config.idle))


def plan(
    state: State,
    health: HealthOf,
    host: Host,
    *,
    seed: bytes,
    now: float,
    openings: Openings,
    probe: ProbeLink | None = None,
    before: Plan | None = None,
    dirty: Collection[ServiceKey] | None = None,
    most: int | None = None,
    shares: Shares | None = None,
    time: int = 0,
    vips: Mapping[Address, bool] | None = None,
) -> Plan:
    """Decide what the tables should hold. `now` in monotonic seconds, `time` in coarse ones, by which `shares` go.

    `vips` are those that were up, if that is not what the plan `before` says.

    Where it is known that only the health of some services (`dirty`) has changed since the plan `before`, the others
    are taken from there: one verdict must not cost a look at thousands of backends. Of the host's changes, those of MAC
    addresses concern the services that use them; with other interfaces, routes or another configuration than that
    plan's, all are looked at.

    At most `most` services are looked at, those of `dirty` first; the others are `left` for the next plan, which must
    be made from this one. Services that `before` does not have, and those of another configuration, cannot wait.
    """
    config = state.config
    same = before is not None and before.ways.serve(config, host)
    ways = before.ways if before is not None and same else Ways(config, host)
    ordered = state.services()
    hops: dict[int, Hop | None] = {}  # by the identity of the way, which lives as long as all ways do
    partly = before is not None and same and dirty is not None
    services: list[DesiredService] = []
    outcome: dict[ServiceKey, ServiceState] = {}
    places: Mapping[ServiceKey, int] = {}
    looked, waiting = ordered, tuple[ServiceKey, ...]()
    if before is not None and before.ways.config is config and (partly or most is not None):
        first = dict.fromkeys(() if dirty is None else dirty) | dict.fromkeys(openings.due(now))
        first |= dict.fromkeys(_rerouted(before, ways, host, state) if partly else ())
        places = before.places if before.ordered is ordered else {one.key: at for at, one in enumerate(ordered)}
        if before.ordered is not ordered:  # backends leave, or have left: who is new cannot wait
            first = dict.fromkeys(one.key for one in ordered if one.key not in before.places) | first
            most = None if most is None else max(most, sum(1 for key in first if key not in before.places))
        rest = before.left if partly else tuple(dict.fromkeys((*before.left, *(one.key for one in ordered))))
        turn, waiting = _turns([key for key in first if key in places], rest, places, most)
        looked = tuple(ordered[places[key]] for key in turn)
        services, outcome = _as_before(before, ordered)
    for service in looked:
        key, members, available = service.key, [], 0
        ready = openings.ready(service, health, now)
        found, open_ = receivers(service, health, state)
        for backend, gets in zip(service.backends, found, strict=True):
            address = backend.address
            way = ways.of(service, address)
            if id(way) not in hops:
                hops[id(way)] = ways.hop(way, host.neighbours)
            if not ready and gets is Receives.AVAILABLE:
                gets, open_ = Receives.NONE, open_ + 1
            available += gets is Receives.AVAILABLE
            weight = backend.weight if gets is Receives.AVAILABLE else 0
            other = address.version != key.vip.version
            source = ways.source(way, key.vip.version) if other else None
            members.append(ways.member(backend, weight, gets, hops[id(way)], source))
        if shares is not None:
            members = shares.weigh(service, members, time)
        up = available >= service.need
        outcome[key] = ServiceState(up, available, not up and available + open_ >= service.need)
        made = DesiredService(
            key,
            tuple(members),
            grace(config, key),
            POLICY[service.on_dead],
            tracking=service.tracking is not Tracking.NONE,
            remember_all=service.tracking is Tracking.ALL,
            sticky=service.sticky,
            tunnel=service.tunnel,
            forward=service.forward,
            clamp=service.clamp_mss,
        )
        if places:
            services[places[key]] = made
        else:
            services.append(made)
    looks = frozenset(service.key for service in looked)
    places = places or {service.key: at for at, service in enumerate(ordered)}
    if before is not None and before.ordered is ordered:
        vips = _vips_again(ways, outcome, ordered, places, before, looks)
    else:
        vips = _vips(ways, outcome, ordered, before.desired.vips if before is not None else vips or {})
    desired = Desired(
        services=tuple(services),
        vips=vips,
        seed=seed,
        idle=max(1, round(config.idle)),
        pass_unknown_port=config.unknown_port is UnknownPort.PASS,
        probe=probe,
        blocked=state.blocks.networks(config.block),
        outlets=ways.outlets,
        fleet_slots=openings.fleet_slots,
    )
    if not state.leaving:
        neighbours = ways.neighbours
    elif before is not None and partly:
        neighbours = before.neighbours
    else:
        neighbours = ways.neighbours_of(state.services())
    return Plan(desired, outcome, neighbours, ways, host, waiting, looks, ordered, places)


def _turns(
    first: Sequence[ServiceKey], left: Sequence[ServiceKey], places: Mapping[ServiceKey, int], most: int | None
) -> tuple[Sequence[ServiceKey], tuple[ServiceKey, ...]]:
    """Who is looked at now, and who later: first these, then who was left. Thousands that wait are not gone through."""
    if len(first) + len(left) > 2 * len(places):
        left = tuple(dict.fromkeys(left))
    if most is None:
        return list(dict.fromkeys((*first, *(key for key in left if key in places)))), ()
    room = max(0, most - len(first))
    turn = dict.fromkeys((*first[:most], *(key for key in left[:room] if key in places)))
    return list(turn), (*first[most:], *left[room:])


def _as_before(
    before: Plan, ordered: tuple[Service, ...]
) -> tuple[list[DesiredService], dict[ServiceKey, ServiceState]]:
    """What the plan before says of these services; of those that it does not know, nothing that lasts."""
    if before.ordered is ordered:
        return list(before.desired.services), dict(before.services)
    known = {one.key: one for one in before.desired.services}
    services = [known.get(one.key) or DesiredService(one.key, (), 1) for one in ordered]
    return services, {one.key: before.services.get(one.key, ServiceState(False, 0)) for one in ordered}


def _rerouted(before: Plan, ways: Ways, host: Host, state: State) -> list[ServiceKey]:
    """The services with a backend whose next hop has another MAC address than it had, or none any more."""
    if before.host is host:
        return []
    then, now = before.host.neighbours, host.neighbours
    changed = {neighbour for neighbour in {*then, *now} if then.get(neighbour) != now.get(neighbour)}
    found = [key for neighbour in changed for key in ways.users.get(neighbour, ())]
    leaving = {key for key, _ in state.leaving}
    return found + [key for key in leaving if changed]


def _vips_again(
    ways: Ways,
    outcome: Mapping[ServiceKey, ServiceState],
    ordered: Sequence[Service],
    places: Mapping[ServiceKey, int],
    before: Plan,
    looks: Iterable[ServiceKey],
) -> Mapping[Address, bool]:
    """Which VIPs are up when only these services may have changed: one verdict costs no look at thousands of VIPs."""
    was = before.desired.vips
    touched = {key.vip for key in looks if before.services[key].told != outcome[key].told}
    if not touched:
        return was
    shared = {
        vip: [(ordered[places[key]], outcome[key]) for key in ways.sharers[vip]]
        for vip in touched
        if vip in ways.sharers
    }
    return dict(was) | dict.fromkeys(touched, False) | vips_up(shared, was)


def _vips(
    ways: Ways,
    outcome: Mapping[ServiceKey, ServiceState],
    ordered: Iterable[Service],
    before: Mapping[Address, bool],
) -> dict[Address, bool]:
    configured = {service.key: service for service in ordered if service.key.vip in ways.sharers}
    shared = {vip: [(configured[key], outcome[key]) for key in keys] for vip, keys in ways.sharers.items()}
    return {key.vip: False for key in outcome} | vips_up(shared, before)


def dead_while_leaving(state: State, health: HealthOf) -> list[Pair]:
    """Those that leave and do not answer any more: nothing is left to wait for."""
    return [pair for pair in state.leaving if health(*pair) is Health.DEAD]
