"""What should be: from configuration, health, host and what operators said to what the tables are to hold. Pure.

A backend is, in this order of precedence:

  none       its first check has not finished, and nothing is remembered of it;
  dead       it does not answer, or it answers wrongly and `on_down` is `cut`;
  draining   the operator or the configuration says so (drain, disabled, weight 0, removed), or it answers wrongly;
  available  otherwise.

A service is up with at least `need` backends available; a VIP is up when all its configured services are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from appliance.control.nexthop import interface_for, own_address
from appliance.control.shares import Shares
from appliance.control.state import Pair, State
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, ProbeLink
from appliance.dataplane.enums import DeadPolicy
from appliance.dataplane.enums import State as Receives
from appliance.model import (
    Address,
    Backend,
    Config,
    Health,
    Host,
    OnDead,
    OnDown,
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

HealthOf = Callable[[ServiceKey, Address], Health]


@dataclass
class Openings:
    """Which services have had their first table, and since when the others have had something to put into one."""

    opened: set[ServiceKey] = field(default_factory=set)
    since: dict[ServiceKey, float] = field(default_factory=dict)

    def ready(self, service: Service, health: HealthOf, now: float) -> bool:
        """Whether the service may have a table; `now` in monotonic seconds."""
        if service.key in self.opened:
            return True
        known = [health(service.key, backend.address) for backend in service.backends if backend.enabled]
        if Health.UP not in known:
            self.since.pop(service.key, None)
            return True
        started = self.since.setdefault(service.key, now)
        if Health.UNKNOWN in known and now - started < OPENING:
            return False
        self.opened.add(service.key)
        self.since.pop(service.key, None)
        return True

    def next_due(self) -> float | None:
        """When a service opens although verdicts are missing, monotonic seconds; None while none waits."""
        return min(self.since.values()) + OPENING if self.since else None

    def keep(self, services: set[ServiceKey]) -> None:
        """Forget services that are gone."""
        self.opened &= services
        self.since = {key: since for key, since in self.since.items() if key in services}


@dataclass(frozen=True)
class ServiceState:
    """A service as seen from outside."""

    up: bool
    available: int


@dataclass(frozen=True)
class Plan:
    """The desired tables, and what follows for services and VIPs."""

    desired: Desired
    services: Mapping[ServiceKey, ServiceState]
    wanted: frozenset[Address]
    """Next hops whose MAC addresses are needed."""


def receives(service: Service, backend: Backend, health: Health, state: State) -> Receives:
    """What a backend may receive."""
    pair = (service.key, backend.address)
    if health is Health.UNKNOWN:
        return Receives.NONE
    if health is Health.DEAD or (health is Health.WRONG and service.on_down is OnDown.CUT):
        return Receives.DEAD
    leaves = pair in state.drains or pair in state.leaving
    if leaves or not backend.enabled or backend.weight == 0 or health is Health.WRONG:
        return Receives.DRAINING
    return Receives.AVAILABLE


def hop_to(host: Host, address: Address) -> Hop | None:
    """The way to a backend on one of the balancer's own subnets; None while its MAC is not known."""
    interface = interface_for(host, address)
    if interface is None or not isinstance(address, IPv4Address):
        return None
    mac = host.neighbours.get((interface.index, address))
    if mac is None:
        return None
    return Hop(interface.index, mac + interface.mac, own_address(interface, address))


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
    shares: Shares | None = None,
    time: int = 0,
) -> Plan:
    """Decide what the tables should hold. `now` in monotonic seconds, `time` in coarse ones, by which `shares` go.

    Where it is known that only the health of some services (`dirty`) has changed since the plan `before`, the others
    are taken from there: one verdict must not cost a look at thousands of backends.
    """
    config = state.config
    services: list[DesiredService] = []
    outcome: dict[ServiceKey, ServiceState] = {}
    wanted: set[Address] = set()
    hops: dict[Address, Hop | None] = {}
    clean: dict[ServiceKey, DesiredService] = {}
    if before is not None and dirty is not None:
        touched = {*dirty, *openings.since}
        clean = {one.key: one for one in before.desired.services if one.key not in touched}
        wanted.update(before.wanted)
    for service in state.services():
        key, members, available = service.key, [], 0
        if before is not None and key in clean:
            services.append(clean[key])
            outcome[key] = before.services[key]
            continue
        ready = openings.ready(service, health, now)
        for backend in service.backends:
            address = backend.address
            if address not in hops:
                hops[address] = hop_to(host, address)
                wanted.add(address)
            gets = receives(service, backend, health(key, address), state)
            if not ready and gets is Receives.AVAILABLE:
                gets = Receives.NONE
            available += gets is Receives.AVAILABLE
            weight = backend.weight if gets is Receives.AVAILABLE else 0
            members.append(Member(address, weight, gets, hops[address]))
        if shares is not None:
            members = shares.weigh(service, members, time)
        outcome[key] = ServiceState(available >= service.need, available)
        services.append(
            DesiredService(
                key,
                tuple(members),
                grace(config, key),
                POLICY[service.on_dead],
                tracking=service.tracking is not Tracking.NONE,
                remember_all=service.tracking is Tracking.ALL,
                sticky=service.sticky,
            )
        )
    vips = {service.key.vip: False for service in services}
    configured: dict[Address, list[bool]] = {}
    for service in config.services:
        configured.setdefault(service.key.vip, []).append(outcome[service.key].up)
    vips.update({vip: all(states) for vip, states in configured.items()})
    desired = Desired(
        services=tuple(services),
        vips=vips,
        seed=seed,
        idle=max(1, round(config.idle)),
        pass_unknown_port=config.unknown_port is UnknownPort.PASS,
        probe=probe,
    )
    return Plan(desired, outcome, frozenset(wanted))


def dead_while_leaving(state: State, health: HealthOf) -> list[Pair]:
    """Those that leave and do not answer any more: nothing is left to wait for."""
    return [pair for pair in state.leaving if health(*pair) is Health.DEAD]
