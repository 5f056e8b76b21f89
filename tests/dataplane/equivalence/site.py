"""A site that changes by chance: services and backends that come, go, die, return, drain, and change weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random

from appliance.dataplane.abi import TOO_BIG_RATE
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, Outlet, ProbeLink
from appliance.dataplane.encapsulation import encapsulation
from appliance.dataplane.enums import DeadPolicy, Refusal, State
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.model import Address, Forward, Network, Protocol, ServiceKey, Tunnel, TunnelKind
from tests.dataplane.equivalence.pair import LOOPBACK, Pair
from tests.dataplane.frames import BALANCER

VIPS = [IPv4Address(text) for text in ("203.0.113.10", "203.0.113.11", "198.18.255.255")]
KEYS = [
    *(ServiceKey(vip, port, Protocol.TCP) for vip in VIPS for port in (80, 443)),
    *(ServiceKey(vip, port, Protocol.UDP) for vip in VIPS for port in (53, 443)),
]
VIPS6 = [IPv6Address("2001:db8:5::10"), IPv6Address("2001:db8:5::11"), IPv6Address("2001:db8:ffff::cb00:710a")]
KEYS6 = [
    ServiceKey(vip, port, protocol) for vip in VIPS6 for port, protocol in ((80, Protocol.TCP), (53, Protocol.UDP))
]
BACKENDS = [IPv4Address("10.1.10.10") + number for number in range(20)]
BACKENDS6 = [IPv6Address("2001:db8:10::10") + number for number in range(20)]
OWN6 = (IPv6Address("2001:db8:10::5"), IPv6Address("2001:db8:10::"))
BLOCKED: list[Network] = [
    *(IPv4Network(text) for text in ("198.51.100.7/32", "198.51.100.8/31", "198.51.104.0/21", "192.0.2.0/24")),
    *(IPv6Network(text) for text in ("2001:db8:9::7/128", "2001:db8:9::8/126", "2001:db8:77::/48", "2001:db9::/32")),
    *(IPv4Network(text) for text in ("198.51.96.0/20", "203.0.113.0/24", "10.1.0.0/16")),
    IPv6Network("2001:c00::/22"),
]
"""Of clients, beside them in the same /20 or /32, of strangers, VIPs and backends; short and long."""
VLANS = (1, 10, 2047, 4094)
OWN = (IPv4Address("10.1.10.5"), IPv4Address("10.1.0.0"))
PROBE = ProbeLink(7, bytes.fromhex("0200000000aa0200000000ab"), IPv4Address("169.254.255.255"))
OUTLETS = ((LOOPBACK, None), (3, None), (LOOPBACK, 7), (3, 4094))
"""Interface and tag of the ways out that routes may name."""
IDLES = (5, 12, 100, 900)
MOST_SERVICES = 7
MTUS = (1500, 1500, 140, 9000)
"""Of ways to backends, where packets may be too long for them."""
STEPS = (1, 1, 2, 3, 4, 5, 6, 9, 10, 11, 29, 30, 31, 59, 60, 61, 900, 16383, 16384, 16385, 32768)
"""Seconds by which time advances: around the lives of flows, and around half of the clock."""


def hop_to(address: Address, generation: int = 0, shape: Shape | None = None) -> Hop:
    """The way to a backend, with another MAC address for each generation, and a tag where the shape has tags."""
    host = int(address) & 0xFF
    vlan = None
    if shape is not None and shape.tagged:
        vlan = VLANS[(host + generation) % len(VLANS)]
        if shape.mixed and host % 3 == 0:
            vlan = None
    own = (OWN6 if address.version == 6 else OWN)[host % 2]
    interface = (2, 3, LOOPBACK)[host // 2 % 3]
    mtu = (150, 1500, 1400, 240)[host % 4] if shape is not None and shape.narrow else 1500
    if shape is not None and shape.tunnels:
        mtu = MTUS[(host + generation) % len(MTUS)]
    return Hop(interface, bytes([2, 0, generation, 1, 10, host]) + BALANCER, own, vlan, mtu)


def member(address: Address, state: State = State.AVAILABLE, weight: int = 1, shape: Shape | None = None) -> Member:
    """A backend whose MAC address is known."""
    return Member(address, weight if state is State.AVAILABLE else 0, state, hop_to(address, shape=shape))


def backends_of(key: ServiceKey, tunnel: Tunnel | None = None, shape: Shape | None = None) -> list[Address]:
    """Who may serve a service: through a tunnel, backends of either family, if the program knows it."""
    if tunnel is None or shape is None or tunnel.kind is TunnelKind.DSCP:
        return [*BACKENDS6] if key.vip.version == 6 else [*BACKENDS]
    every: list[Address] = [*BACKENDS, *BACKENDS6]
    return [one for one in every if str(encapsulation(tunnel, one)) in shape.tunnels]


def tunnels_of(shape: Shape) -> list[Tunnel | None]:
    """The tunnels that a program knows, of each kind with and without what is an option."""
    kinds = [kind for kind in TunnelKind if any(name.startswith(kind) for name in shape.tunnels)]
    made = [Tunnel(kind, 6080, checksum, code) for kind in kinds for checksum, code in ((True, 46), (False, 1))]
    return [*made, None]


def port_behind(key: ServiceKey) -> int | None:
    """Where the backends of a service listen behind NAT: nowhere two services' do."""
    place = [*KEYS, *KEYS6].index(key)
    return 8000 + place if place else None


def vips_of(shape: Shape) -> list[Address]:
    """The VIPs of the families that a program serves."""
    return [*VIPS, *VIPS6] if shape.ipv6 else [*VIPS]


@dataclass
class Site:
    """What is desired, and how it changes. All chance comes from the generator that is handed in."""

    pair: Pair
    desired: Desired
    time: int
    changes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def opened(cls, pair: Pair, random: Random) -> Site:
        """Empty both tables and set up a few services."""
        pair.clear()
        idle = random.choice(IDLES)
        up = {vip: random.random() < 0.8 for vip in vips_of(pair.plain.shape)}
        ways = {index: Outlet(*random.choice(OUTLETS)) for index in range(1, 8)}
        outlets = ways if pair.plain.shape.nat else {}
        desired = Desired(vips=up, seed=random.randbytes(16), idle=idle, probe=PROBE, outlets=outlets)
        site = cls(pair, desired, random.choice((100, 1000, 32760, 65530, 1 << 31)))
        pair.at(site.time)
        for _ in range(3):
            site._add_service(random)
        site._apply("open")
        return site

    def step(self, random: Random) -> None:
        """One change of the world."""
        moves: tuple[tuple[int, Callable[[Random], None]], ...] = (
            (5, self._die),
            (3, self._return),
            (3, self._drain),
            (2, self._weigh),
            (2, self._add_backend),
            (2, self._remove_backend),
            (1, self._add_service),
            (1, self._remove_service),
            (2, self._policy),
            (1, self._vip),
            (1, self._unknown_port),
            (1, self._hop),
            (2, self._seed),
            (2, self._sticky),
            (1, self._remember_all),
            (1, self._poke),
            (1, self._spend),
            *([(2, self._block)] if self.pair.plain.shape.blocks else []),
            (3, self._advance),
            (3 if self.pair.plain.shape.tunnels else 0, self._tunnel),
            *(((3, self._forward),) if self.pair.plain.shape.nat else ()),
        )
        move = random.choices([move for _, move in moves], [weight for weight, _ in moves])[0]
        move(random)
        self._apply(move.__name__.strip("_"))
        if random.random() < 0.5:
            self._advance(random)
        if random.random() < 0.3:
            self.pair.sweep(self.desired)

    def _apply(self, what: str) -> None:
        self.pair.apply(what, self.desired)
        self.changes[what] = self.changes.get(what, 0) + 1

    def _service(self, random: Random) -> DesiredService:
        return random.choice(self.desired.services)

    def _put(self, service: DesiredService) -> None:
        own = tuple(replace(one, port=port_behind(service.key)) for one in service.members)
        service = replace(service, members=own)
        kept = [other for other in self.desired.services if other.key != service.key]
        services = tuple(sorted([*kept, service], key=lambda each: each.key))
        self.desired = replace(self.desired, services=services)

    def _put_member(self, service: DesiredService, new: Member) -> None:
        kept = [other for other in service.members if other.address != new.address]
        self._put(replace(service, members=tuple(sorted([*kept, new], key=lambda each: int(each.address)))))

    def _member(self, random: Random, *states: State) -> tuple[DesiredService, Member] | None:
        found = [(service, one) for service in self.desired.services for one in service.members if one.state in states]
        return random.choice(found) if found else None

    def _set_state(self, random: Random, state: State, *before: State) -> None:
        if found := self._member(random, *before):
            service, one = found
            self._put_member(service, replace(one, state=state, weight=int(state is State.AVAILABLE)))

    def _die(self, random: Random) -> None:
        self._set_state(random, State.DEAD, State.AVAILABLE, State.DRAINING)

    def _return(self, random: Random) -> None:
        self._set_state(random, State.AVAILABLE, State.DEAD, State.DRAINING, State.NONE)

    def _drain(self, random: Random) -> None:
        self._set_state(random, State.DRAINING, State.AVAILABLE)

    def _weigh(self, random: Random) -> None:
        if found := self._member(random, State.AVAILABLE):
            self._put_member(found[0], replace(found[1], weight=random.choice((1, 2, 10))))

    def _add_backend(self, random: Random) -> None:
        service = self._service(random)
        shape = self.pair.plain.shape
        possible = set(backends_of(service.key, service.tunnel, shape))
        absent = sorted(possible - {one.address for one in service.members}, key=int)
        if absent and len(service.members) < 7:
            state = random.choice((State.AVAILABLE, State.AVAILABLE, State.NONE))
            new = self._probed(service.key, member(random.choice(absent), state, shape=shape))
            self._put_member(service, new if random.random() < 0.8 else replace(new, hop=None))

    def _remove_backend(self, random: Random) -> None:
        service = self._service(random)
        if len(service.members) > 1:
            gone = random.choice(service.members)
            self._put(replace(service, members=tuple(one for one in service.members if one != gone)))

    def _add_service(self, random: Random) -> None:
        absent = [key for key in self._keys() if key not in {service.key for service in self.desired.services}]
        if len(self.desired.services) >= MOST_SERVICES or not absent:
            return
        key = random.choice(absent)
        shape = self.pair.plain.shape
        tunnel = random.choice(tunnels_of(shape))
        some = random.sample(backends_of(key, tunnel, shape), random.randint(1, 5))
        members = tuple(self._probed(key, member(address, shape=shape)) for address in sorted(some, key=int))
        grace = 30 if key.protocol is Protocol.UDP else self.desired.idle
        policy, tracking = random.choice(tuple(DeadPolicy)), key.port != 53
        made = DesiredService(key, members, grace, policy, tracking=tracking, tunnel=tunnel)
        remembers = tracking and shape.tracks_all and random.random() < 0.25
        made = replace(made, remember_all=remembers, sticky=random.random() < 0.25)
        self._put(self._translated(made, random))

    def _probed(self, key: ServiceKey, one: Member) -> Member:
        """The member, with an address of the VIP's family for its probes."""
        own = OWN6 if key.vip.version == 6 else OWN
        return one if one.address.version == key.vip.version else replace(one, source=own[int(one.address) % 2])

    def _tunnel(self, random: Random) -> None:
        """Another tunnel, if it leads to the backends that are there."""
        service, shape = self._service(random), self.pair.plain.shape
        tunnel = random.choice(tunnels_of(shape)) if service.forward is Forward.DSR else None
        if {one.address for one in service.members} <= set(backends_of(service.key, tunnel, shape)):
            self._put(replace(service, tunnel=tunnel))

    def _translated(self, service: DesiredService, random: Random) -> DesiredService:
        """The service with NAT, mostly, where the program has it. No two share a port of a backend."""
        if not self.pair.plain.shape.nat or service.tunnel is not None or random.random() < 0.3:
            return replace(service, forward=Forward.DSR)
        return replace(service, forward=Forward.NAT, clamp=random.choice((0, 0, 536, 1400)))

    def _forward(self, random: Random) -> None:
        self._put(self._translated(self._service(random), random))

    def _keys(self) -> list[ServiceKey]:
        return [*KEYS, *KEYS6] if self.pair.plain.shape.ipv6 else KEYS

    def _remove_service(self, random: Random) -> None:
        if len(self.desired.services) > 2:
            gone = self._service(random)
            services = tuple(service for service in self.desired.services if service != gone)
            self.desired = replace(self.desired, services=services)

    def _policy(self, random: Random) -> None:
        self._put(replace(self._service(random), on_dead=random.choice(tuple(DeadPolicy))))

    def _vip(self, random: Random) -> None:
        vip = random.choice(vips_of(self.pair.plain.shape))
        self.desired = replace(self.desired, vips={**self.desired.vips, vip: not self.desired.vips[vip]})

    def _unknown_port(self, random: Random) -> None:
        self.desired = replace(self.desired, pass_unknown_port=not self.desired.pass_unknown_port)

    def _hop(self, random: Random) -> None:
        service = self._service(random)
        one = random.choice(service.members)
        self._put_member(service, replace(one, hop=hop_to(one.address, random.randrange(4), self.pair.plain.shape)))

    def _seed(self, random: Random) -> None:
        """A hash change, where the program can ask the generation before and nobody asks it yet."""
        tables = self.pair.tables[1]
        entries = [tables.entry(service.key) for service in self.desired.services]
        if self.pair.plain.shape.previous and not any(entry and entry.previous_count for entry in entries):
            self.desired = replace(self.desired, seed=random.randbytes(16))

    def _block(self, random: Random) -> None:
        self.desired = replace(self.desired, blocked=tuple(random.sample(BLOCKED, random.choice((0, 1, 1, 2, 3)))))

    def _sticky(self, random: Random) -> None:
        """A hash change of one service; it waits for its turn, or for ever where the program cannot ask."""
        service = self._service(random)
        self._put(replace(service, sticky=not service.sticky))

    def _remember_all(self, random: Random) -> None:
        """Preferably of a service of whose flows some are remembered already."""
        service, tracked = self._service(random), self.pair.tables[1].tracked()
        busiest = max(self.desired.services, key=lambda one: tracked.get(one.key, 0), default=service)
        service = busiest if not busiest.remember_all else service
        if service.tracking and self.pair.plain.shape.tracks_all:
            self._put(replace(service, remember_all=not service.remember_all))

    def _poke(self, random: Random) -> None:
        """What another CPU may see amid a change: the destination is written, its slots are not yet."""
        service = self._service(random)
        placed = self.pair.tables[1].numbers(service.key)
        if not placed:
            return
        number, state = random.choice(sorted(placed.values())), random.choice(tuple(State)[1:])
        refusal = Refusal.DEAD if state is State.DEAD else Refusal.NOTHING
        present = self.pair.plain.identities.get(number, "tunnel")
        if present and refusal is Refusal.NOTHING:
            refusal = Refusal.TUNNEL

        def write(memory: Memory) -> None:
            memory.destinations.put(number, "state", state)
            memory.destinations.put(number, "refusal", refusal)

        self.pair.both(f"destination {number} is {state.name}", write)

    def _spend(self, random: Random) -> None:
        """Nearly as many answers as a CPU may give in one second."""
        spent, time = random.choice((TOO_BIG_RATE - 1, TOO_BIG_RATE)), self.time

        def write(memory: Memory) -> None:
            for cpu in range(memory.shape.cpus):
                memory.notes.put(cpu, "time", time)
                memory.notes.put(cpu, "spent", spent)

        self.pair.both(f"{spent} answers", write)

    def _advance(self, random: Random) -> None:
        idle = self.desired.idle
        seconds = random.choice((*STEPS, idle - 1, idle, idle, idle + 1, 2 * idle, 2 * idle + 1))
        self.time = (self.time + seconds) % (1 << 32)
        self.pair.at(self.time)
