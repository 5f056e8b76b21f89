"""One running instance without its event loop: what is known, and how it becomes tables. All methods are synchronous.

The daemon calls in with what happened; this decides (plan.py) and applies (dataplane/sync.py), always from the whole
desired state, so that a step that failed is made good by the next one.
"""

from __future__ import annotations

import copy
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.control import forwarding, requirements, store
from appliance.control.clock import CoarseClock
from appliance.control.kept_slots import KeptSlots
from appliance.control.links import Links
from appliance.control.overrides import Overrides
from appliance.control.plan import Openings, Plan, dead_while_leaving, plan
from appliance.control.shares import Shares
from appliance.control.state import Pair, State
from appliance.control.trouble import Alarm, Trouble, alarms, summaries, without_ipv6
from appliance.dataplane.desired import ProbeLink
from appliance.dataplane.enums import State as Receives
from appliance.dataplane.flowcount import FlowCount
from appliance.dataplane.shape import ONE_BUFFER_MTU, Shape
from appliance.dataplane.sync import DataPlane, Prepared
from appliance.errors import HostError
from appliance.health.client import Target
from appliance.health.governor import Governor
from appliance.health.judge import HealthTable, of_our_form
from appliance.model import Address, Backend, Config, Forward, Health, Host, ServiceKey, XdpMode
from appliance.model_address import differing
from appliance.net import namespace
from appliance.paths import Root

ASSUMED = {
    Receives.AVAILABLE: Health.UP,
    Receives.DRAINING: Health.UP,
    Receives.DEAD: Health.DEAD,
}
"""What the tables that an earlier process left say of a backend of which no verdict is remembered."""


@dataclass
class Instance:
    """Everything that makes up the balancer's decisions."""

    root: Root
    data: DataPlane
    state: State
    host: Callable[[], Host]
    health: HealthTable = field(default_factory=HealthTable)
    governor: Governor = field(default_factory=Governor)
    assumed: dict[Pair, Health] = field(default_factory=dict)
    openings: Openings = field(default_factory=Openings)
    shares: Shares = field(default_factory=Shares)
    flows: FlowCount = field(default_factory=FlowCount)
    clock: CoarseClock = field(default_factory=lambda: CoarseClock(1, 0.0))
    seed: bytes = b""
    probe: ProbeLink | None = None
    probe_end: namespace.ProbeLink | None = None
    current: Plan | None = None
    vips_since: dict[Address, float] = field(default_factory=dict)
    adopted: bool = False
    """Whether this process went on with what another one left."""
    told: frozenset[Trouble] = frozenset()
    """The troubles that alarms have told of."""
    saved: int = 0
    """How often the state file was replaced at once."""
    saving: threading.Lock = field(default_factory=threading.Lock)
    """Held while the state file is being replaced."""
    blocks: bool = False
    """Whether the program is to look at sources although nothing is blocked yet."""
    apart: bool = False
    """Whether the probe namespace is somebody else's to make, enter and remove (groundwork.py)."""
    slots: KeptSlots = field(default_factory=KeptSlots)
    links: Links = field(init=False)

    def __post_init__(self) -> None:
        self.links = Links(self.data)

    def verdict(self, service: ServiceKey, address: Address) -> Health:
        """The health of a backend that is acted on."""
        return self.governor.effective(service, address, self.found(service, address))

    def found(self, service: ServiceKey, address: Address) -> Health:
        """What checks say of a backend, or the last process's tables, whether that is acted on or not."""
        found = self.health.health(service, address)
        return self.assumed.get((service, address), found) if found is Health.UNKNOWN else found

    def shape(self, config: Config, host: Host | None = None) -> Shape:
        """The shape that a configuration needs beside what still drains and what runs; on this host.

        With a `host`, another thread may ask while no reload can begin.
        """
        host = host or self.host()
        trial = copy.copy(self.state)
        trial.leaving, trial.overrides = dict(self.state.leaving), Overrides()
        trial.reconfigure(config, self.clock.at(time.monotonic()))
        configured = {id(service) for service in config.services}  # to compare thousands with each other takes long
        extra = tuple(service for service in trial.services() if id(service) not in configured)
        narrow = len({interface.mtu for interface in host.interfaces}) > 1
        mtu = self._largest_mtu(config, host)
        fleet = self.openings.fleet_slots
        shape = self.data.shape_wanted(config, self.seed_for(config), extra, mtu, narrow=narrow, fleet=fleet)
        return replace(shape, blocks=shape.blocks or self.blocks or bool(self.state.blocks.entries))

    def _largest_mtu(self, config: Config, host: Host) -> int:
        return max((one.mtu for one in host.interfaces if one.name in config.interfaces), default=0)

    def make_probe_link(self) -> None:
        """Make the probe namespace and its veth; or find them, where they are somebody else's to make."""
        end = namespace.probe_link(self.root) if self.apart else namespace.ensure(self.root)
        self.probe_end = end
        # An address that nobody has does no harm: without IPv6 inside, no probe of an IPv6 VIP is sent.
        address6 = end.peer_address6 or namespace.PEER_ADDRESS6
        self.probe = ProbeLink(end.host_index, end.peer_mac + end.host_mac, end.peer_address, address6)

    def adopt(self, *, look: bool = False) -> bool:
        """Take over what an earlier process left in the kernel and on disk; returns whether programs were running.

        To `look` only is to change nothing: that process may still be there.
        """
        running = self.adopted = self.data.adopt(look=look)
        if self.data.tables is not None and self.data.generation is not None:
            memory = self.data.generation.memory
            self.clock = CoarseClock(memory.time, time.monotonic())
            for key in self.data.tables.tracked():
                for address, number in self.data.tables.numbers(key).items():
                    if memory.state(number) in ASSUMED:
                        self.assumed[key, address] = ASSUMED[memory.state(number)]
                slots = self.data.tables.slots(key)
                if slots is not None and any(slots.owners()):
                    self.openings.opened.add(key)
                self.shares.ramps.known.add(key)
            living = {pair for pair, health in self.assumed.items() if health is Health.UP}
            self.shares.ramps.present.update(living)
        else:
            self.clock = CoarseClock(1, time.monotonic())
        self.openings.closed = not running and self.state.config.fleet is not None
        return running

    def restore(self, saved: Mapping[str, Any]) -> int:
        """Take over the state file; returns how many entries made no sense, but for backends that have gone since."""
        self.openings.fleet_slots, refused = self.slots.restore(saved.get("slots"))
        refused += self.state.restore(saved) + self.shares.ramps.restore(saved.get("ramps"))
        refused += self.governor.restore(saved.get("governor"), time.monotonic())
        self.links.stripping.restore(saved.get("vlan_stripping"))
        living = [pair for pair, health in self.assumed.items() if health is not Health.DEAD]
        self.state.inherit(living, self.clock.at(time.monotonic()))
        self.health.configure(self.state.services(), time.time())
        if "health" in saved:
            self.health.restore(saved["health"])
            refused += not of_our_form(saved["health"])
        return refused

    def save(self) -> None:
        """Replace the state file."""
        with self.saving:
            self.saved += 1
            store.save_state(self.root.state_file, self.kept() | {"health": self.health.snapshot()})

    @property
    def unsaved(self) -> bool:
        """Whether something happened on its own that the state file should tell, beside verdicts."""
        return self.links.stripping.unsaved or self.shares.ramps.unsaved

    def kept(self) -> dict[str, Any]:
        """What the state file holds beside the verdicts; never empty."""
        return self.state.snapshot() | {
            "vlan_stripping": self.links.stripping.snapshot(),
            "ramps": self.shares.ramps.snapshot(),
            "governor": self.governor.snapshot(),
            "slots": self.slots.snapshot(self.data.tables),
        }

    def seed_for(self, config: Config) -> bytes:
        """The seed in force: the configured one, else the generated one."""
        return config.hash_seed or store.seed(self.root)

    def replan(self, dirty: Collection[ServiceKey] | None = None, most: int | None = None) -> Plan:
        """Bring the tables to what is now desired. Raises PlanError with nothing changed where they are too small.

        `dirty` names the services whose health has changed, where nothing else has. With `most`, only so many are
        looked at now, and `left` of the plan names the others.
        """
        now = time.monotonic()
        made = plan(
            self.state,
            self.verdict,
            self.host(),
            seed=self.seed,
            now=now,
            openings=self.openings,
            probe=self.probe,
            before=self.current,
            dirty=dirty,
            most=most,
            shares=self.shares,
            time=self.clock.at(now),
        )
        self.data.apply(made.desired)
        before = self.current.desired.vips if self.current else {}
        if made.desired.vips is not before:
            # What the last process announced need not prove itself again.
            since = now if self.current or not self.adopted else now - self.state.config.hold_down
            self.vips_since |= dict.fromkeys(differing(before, made.desired.vips), since)
        self.current = made
        return made

    def reconfigure(self, config: Config, prepared: Prepared) -> None:
        """Put a configuration in force; on any failure the former one stays in force, whole."""
        requirements.interfaces(config, self.host(), self.state.config.interfaces)
        former = (self.state, self.seed, self.openings.apart(), self.shares.apart())
        known = self.health.snapshot()
        self.data.install(prepared)
        try:
            self.state = copy.copy(self.state)
            self.state.leaving = dict(former[0].leaving)
            self.state.reconfigure(config, self.clock.at(time.monotonic()))
            self.seed = self.seed_for(config)
            self.health.configure(self.state.services(), time.time())
            self.openings.keep({service.key for service in self.state.services()})
            self.shares.ramps.keep({service.key for service in self.state.services()})
            self.save()
            self.replan()
            self.links.settle(config, self.host(), time.monotonic(), strict=True)
        except BaseException:
            self.state, self.seed, self.openings, self.shares = former
            self.health.configure(self.state.services(), time.time())
            self.health.restore(known)
            self.replan()
            self.links.settle(self.state.config, self.host(), time.monotonic())
            self.save()
            raise

    def attach(self, *, patient: bool = False) -> None:
        """Attach to the probe veth and the configured interfaces, tables being full.

        Where `patient`, none of them needs to be there yet.
        """
        if not patient:
            requirements.interfaces(self.state.config, self.host())
        self.attach_probe()
        self.links.settle(self.state.config, self.host(), time.monotonic(), strict=True)

    def attach_probe(self) -> None:
        """Attach to both ends of the probe veth; to ours alone, where the namespace is somebody else's."""
        if self.probe_end is None:
            return
        if self.apart:
            self.data.attach_probe(self.probe_end.host_index)
            return
        index = namespace.run_in_namespace(self.root, lambda: socket.if_nametoindex(self.root.veth_peer))
        self.data.attach_probe(
            self.probe_end.host_index, index, lambda make: namespace.run_in_namespace(self.root, make)
        )

    def follow_probe_link(self) -> bool:
        """Where the veth is somebody else's to make: go on with the new one if it was made anew. Tells whether it was.

        Raises HostError, KernelError.
        """
        if not self.apart or self.probe_end is None:
            return False
        try:
            index = socket.if_nametoindex(self.root.veth)
        except OSError:
            return False  # nobody can be asked to make it; checks fail, and the units tell
        if index == self.probe_end.host_index:
            return False
        self.make_probe_link()
        self.attach_probe()
        return True

    def remove(self) -> None:
        """Take everything off the host: the data plane, what was switched on the interfaces, the probe namespace."""
        self.data.remove(keep_place=self.apart)
        self.links.stripping.put_back()
        if not self.apart:
            namespace.remove(self.root)

    def keep_attached(self) -> None:
        """Bring the program back to where it is missing; when the host changed, and every second."""
        self.links.settle(self.state.config, self.host(), time.monotonic())

    def reattach(self, name: str) -> XdpMode:
        """Detach from a configured interface and attach again. Raises HostError where there is none, KernelError."""
        return self.links.renew(self.state.config, self.host(), name, time.monotonic())

    def outgrown(self) -> tuple[int, ...]:
        """The MTUs of the interfaces, ascending, where the running program is not made for such; else nothing.

        The largest may mean longer frames than it takes; that they differ, that it must look at what it sends.
        """
        running, host = self.data.shape(), self.host()
        mtus = {interface.mtu for interface in host.interfaces}
        if running is None:
            return ()
        longer = self._largest_mtu(self.state.config, host) > ONE_BUFFER_MTU and not running.multi_buffer
        return tuple(sorted(mtus)) if longer or (len(mtus) > 1 and not running.narrow) else ()

    def tick(self) -> None:
        """Move the coarse clock; several times a second."""
        self.data.set_time(self.clock.at(time.monotonic()))

    def sweep(self) -> bool:
        """Settle slots, and let go of those whose drain is over; once a second. Returns whether to plan anew."""
        turn = False
        if self.data.tables is not None and self.current is not None:
            asked = self.data.tables.asks()
            self.data.tables.sweep(self.current.desired.services)
            # Another service may wait for its hash to change.
            turn = asked and not self.data.tables.asks()
        gone = self.state.expire(self.clock.at(time.monotonic()), dead_while_leaving(self.state, self.verdict))
        if gone:
            self.health.configure(self.state.services(), time.time())
        return turn or bool(gone)

    def alarms(self) -> list[Alarm]:
        """What began or ended since this was last asked of what the host lacks."""
        before, after = self.told, self._lacks() | (self.current.troubles if self.current else frozenset())
        self.told = after
        return alarms(before, after)

    def notes(self) -> list[str]:
        """What an operator should know beside the troubles of the plan, in sentences; most often nothing."""
        return summaries(self._lacks())

    def _lacks(self) -> frozenset[Trouble]:
        """What the host itself lacks, by its settings."""
        services, names = self.state.services(), self.state.config.interfaces
        lacking = self.probe_end is not None and self.probe_end.peer_address6 is None
        return forwarding.troubles(names, services) | (without_ipv6(services) if lacking else frozenset())

    def reweigh(self) -> set[ServiceKey]:
        """The services in which weights are to change, by slow start or load; once a second."""
        generation, current = self.data.generation, self.current
        counts = generation is not None and generation.shape.tracks_all
        if not self.shares.ramps.since and not counts:
            return set()
        services = self.state.services()
        due = self.shares.ramps.due(services, self.clock.at(time.monotonic()))
        if generation is None or current is None or not counts:
            return due
        if self.flows.step(generation.memory, current.desired.idle):
            members = {one.key: one.members for one in current.desired.services}
            due |= self.shares.observe(services, members, self.active_flows)
        return due

    def active_flows(self, key: ServiceKey, *, own: bool = False) -> dict[Address, int]:
        """About how many flows each backend has of a service that remembers all: of all nodes, or this one's `own`."""
        entry = self.data.tables.entry(key) if self.data.tables is not None else None
        if self.data.tables is None or entry is None or not entry.remember_all or not self.flows.known:
            return {}
        found, others = self.data.tables.numbers(key), {} if own else self.flows.elsewhere(key)
        return {one: self.flows.flows(number) + others.get(one, 0) for one, number in found.items()}

    def configured(self, key: ServiceKey, address: Address) -> Backend:
        """Return a backend as the configuration has it. Raises HostError if it has none such."""
        services = {service.key: service for service in self.state.config.services}
        if key not in services:
            known = ", ".join(str(k) for k in list(services)[:8]) or "none"
            raise HostError(f"there is no service {key}; configured: {known}")
        backends = {backend.address: backend for backend in services[key].backends}
        if address not in backends:
            raise HostError(f"{key} has no backend {address}; it has {', '.join(map(str, backends)) or 'none'}")
        return backends[address]

    def targets(self) -> list[Target]:
        """What the prober is to check, and at which private address."""
        found = []
        for service in self.state.services():
            numbers = self.data.tables.numbers(service.key) if self.data.tables else {}
            for backend in service.backends:
                number = numbers.get(backend.address)
                if number is not None and service.checks and self.can_probe(service.key):
                    nat = namespace.nat_address(number, service.key.vip.version)
                    mapped = (backend.port or service.key.port) if service.forward is Forward.NAT else None
                    way = (mapped, service.tunnel, service.clamp_mss)
                    found.append(Target(service.key, backend.address, nat, service.checks, *way))
        return found

    def can_probe(self, service: ServiceKey) -> bool:
        """Whether probes of this service's family can be sent here."""
        return service.vip.version == 4 or (self.probe_end is not None and self.probe_end.peer_address6 is not None)


def state_for(config: Config) -> State:
    """The state of a first start."""
    return State(config)


def data_plane(root: Root) -> DataPlane:
    """The data plane of a root, nothing opened yet."""
    return DataPlane(root.pins, root.state / "programs", requirements.read_possible_cpus())
