"""This node among the others of its fleet: tells what happens here, and acts on what the others say.

Level-triggered like the rest of the daemon. What is true is held against what was told (fleet_told.py, fleet_slots.py),
at once where something has changed and again from time to time; remembered flows come from the program's own ring
(fleet_flows.py). What others tell of the whole fleet, tracked slots and flows, goes into the tables; what they say of
themselves is kept (fleet_others.py) for whoever asks. The exchange itself is appliance/fleet.

A node that starts asks the others for what they know, and announces nothing before it has that, or `learn` is over.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from appliance.control.fleet_flows import FlowNews, FlowRound, FlowsLearnt
from appliance.control.fleet_last import Last
from appliance.control.fleet_others import Others
from appliance.control.fleet_slots import SlotsTold, learn_slots, learn_table
from appliance.control.fleet_tables import FleetTables
from appliance.control.fleet_told import Told
from appliance.control.fleet_voice import FleetVoice
from appliance.control.fleet_watch import FleetWatch
from appliance.control.plan import Plan, grace
from appliance.dataplane.flowcount import nobody
from appliance.dataplane.slotshare import retell
from appliance.errors import KernelError
from appliance.fleet.members import Member
from appliance.fleet.orders import Failed, Gone, Joined, Learn, Order, Synced, TableTold, Why
from appliance.fleet.records import Flows, NodeState, Record, Slots, TableOf, Tables, View
from appliance.fleet.runner import Runner
from appliance.fleet.session import Exchange
from appliance.fleet.socket import without_own
from appliance.model import Config, EventKind, ServiceKey
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

SOON = 0.02
"""Seconds for which verdicts gather before the view of them is told."""
SLICE = 0.005
"""Seconds of the loop's time that telling may take in one turn."""


class FleetNode:
    """What a daemon does with a fleet, as long as its configuration names one."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._loop: asyncio.AbstractEventLoop
        self.runner: Runner | None = None
        self.others = Others()
        self._config: Config | None = None
        self.peers: tuple[Endpoint, ...] = ()
        """The configured ones, without this node."""
        self.trouble = ""
        """Why nothing can be exchanged; empty where it can."""
        self._second = 0.0
        self._fresh()
        self.watch = FleetWatch(self)
        daemon.measuring.sources.append(self.watch.numbers)

    def _fresh(self) -> None:
        """Have told nothing and know nothing."""
        self.told = Told()
        self.voice = FleetVoice(self.daemon, self.told)
        self.slots = SlotsTold(self.voice.service, self.told)
        self.learnt, self._round = FlowsLearnt(), FlowRound()
        self.others = Others()
        self._news: FlowNews | None = None
        self._view_soon: asyncio.TimerHandle | None = None
        self._slots_soon: asyncio.Handle | None = None
        self.tables = FleetTables(self)
        self._early: list[Slots] = []
        self._last = Last()
        self._viewed = False
        """Whether another node has said what it finds since the judge was told."""

    # ---- beginning and end

    def begin(self) -> None:
        """Join the fleet, if there is one; before anything is announced."""
        self._loop = asyncio.get_running_loop()
        self._follow(time.monotonic())

    def look(self, now: float) -> None:
        """Several times a second: follow the configuration, tell what is due."""
        if self.daemon.instance.state.config is not self._config:
            self._follow(now)
        self.tables.look(now)
        if self.runner is None:
            return
        self._keep_last(now)
        if self._viewed:
            self._opinions()
        self._follow_program()
        self._learn_again(now)
        self.learnt.look(now)
        if now < self._second:
            return
        self._second = now + 1
        if not self.others and self.runner.socket is not None:
            self._try(self.runner.socket.rejoin)  # a membership of a group ends with its interface
        self._each_second(now)

    def close(self) -> None:
        """Say goodbye."""
        if self.runner is None:
            return
        if self._news is not None:
            self._news.take()
            self._news.close()
        for handle in (self._view_soon, self._slots_soon):
            if handle is not None:
                handle.cancel()
        self.runner.stop()
        self.runner = None
        self.daemon.instance.flows.foreign, self.daemon.instance.flows.elsewhere = None, nobody
        self._fresh()

    def _follow(self, now: float) -> None:
        """Go on with another configuration."""
        config = self._config = self.daemon.instance.state.config
        self.daemon.telling.showing.fleet = self.watch if config.fleet is not None else None
        if config.fleet is None:
            self.close()
            self._lacks("")
            return
        fleet = without_own(config.fleet)
        self.peers = fleet.peers
        self._try(lambda: self._go_on(fleet) if self.runner is not None else self._join(config, fleet, now))
        if self.runner is not None:
            self._configured(config)

    def _try(self, work: Callable[[], None]) -> None:
        """Do something to the sockets; what fails is told, and tried again."""
        try:
            work()
        except OSError as error:
            self._lacks(f"fleet: nothing can be exchanged: {error.strerror or error}")
            self._config = None
        else:
            self._lacks("")

    def _go_on(self, fleet: Fleet) -> None:
        assert self.runner is not None
        self.runner.configure(fleet)

    def _join(self, config: Config, fleet: Fleet, now: float) -> None:
        exchange = Exchange(fleet, self.voice, secrets.randbits(64), lambda: secrets.randbits(64), now)
        runner = Runner(fleet, exchange, self._loop, self._obey)
        runner.start()
        self.runner = runner

    def _configured(self, config: Config) -> None:
        self.voice.configured(config)
        self.daemon.go_on(self.voice.digested())
        self._last.configured(config)
        self.tell(list(self.told.changed_services(self._services())))
        self.slots.changed(self._services())
        self._slots_later()
        self.view_changed()

    def _services(self) -> list[ServiceKey]:
        tables = self.daemon.instance.data.tables
        return list(tables.tracked()) if tables is not None else []

    def _lacks(self, words: str) -> None:
        """Raise an alarm for what keeps the exchange from working, once."""
        if words and words != self.trouble:
            self.daemon.record(EventKind.ALARM, words)
        self.trouble = words

    # ---- telling

    def planned(self, plan: Plan) -> None:
        """Tell what a plan has changed; learn what others told before there were tables."""
        if self.runner is None:
            return
        tables = self.daemon.instance.data.tables
        if self._early and tables is not None and not self.daemon.instance.openings.closed:
            early, self._early = self._early, []
            for record in early:
                learn_slots(tables, record, joining=self.joining)
        self._learn_again(time.monotonic())
        self.slots.changed(plan.looks)
        self._slots_later()
        self.view_changed()

    def view_changed(self) -> None:
        """Have verdicts and announcements told."""
        if self._view_soon is None:
            self._view_soon = self._loop.call_later(SOON, self._tell_view)

    def _tell_view(self) -> None:
        self._view_soon = None
        records = [
            *self.told.changed_view(self.voice.down(), time.time()),
            *self.told.changed_announces(self.voice.announces()),
            *self.told.changed_overrides(self.voice.overrides()),
        ]
        self.tell(records)

    def _slots_later(self) -> None:
        if self._slots_soon is None:
            self._slots_soon = self._loop.call_soon(self._tell_slots)

    def _tell_slots(self) -> None:
        """Tell of tables, a slice of the loop's time after the other."""
        self._slots_soon = None
        tables = self.daemon.instance.data.tables
        if tables is None:
            return
        began = time.monotonic()
        for records in self.slots.records(tables):
            self.tell(records)
            if time.monotonic() - began > SLICE:
                break
        if self.slots.waiting:
            self._slots_soon = self._loop.call_later(0, self._tell_slots)

    def _follow_program(self) -> None:
        """Listen to the ring of the program that runs."""
        generation = self.daemon.instance.data.generation
        if generation is None or (self._news is not None and self._news.generation is generation):
            return
        if self._news is not None:
            self._news.close()
            self._news = None
        if not generation.shape.fleet:
            return
        try:
            self._news = FlowNews(generation, self.tell)
        except KernelError as error:
            self._lacks(f"fleet: remembered flows cannot be told: {error}")

    def _each_second(self, now: float) -> None:
        assert self.runner is not None
        tables, config = self.daemon.instance.data.tables, self.daemon.instance.state.config
        self.view_changed()
        if tables is None:
            return
        self.slots.due(tables, lambda key: retell(round(config.idle), grace(config, key)), self.others.differs, now)
        if self.slots.waiting:
            self._slots_later()
        if any(tables.tracked().values()) and tables.memory.shape.fleet:
            self.tell(list(self._round.step(tables.memory, self.learnt.foreign)))
        self.tables.compare(now)
        self.tables.grow(now)
        self._tell_load()
        self._opinions()
        self.watch.look(now)

    def _keep_last(self, now: float) -> None:
        """Say which VIPs that are down stay with this node as a last resort, and have routers hear of it."""
        assert self.runner is not None
        routing = self.daemon.routing
        if not self._last.keeps:
            routing.last = None
            return
        how = {vip: one.how for vip, one in routing.announced.by_vip.items()}
        told = self._last.look(self.runner.exchange.life, how, self.others, now)
        if told.entries:
            self.tell([told])
        if routing.last != self._last.kept:
            routing.last = self._last.kept
            routing.look(now)

    def _tell_load(self) -> None:
        """Tell how many flows this node counts, of services that share them out by that."""
        instance = self.daemon.instance
        instance.flows.foreign, instance.flows.elsewhere = self.learnt.foreign, self.others.flows
        if instance.current is not None and instance.flows.known:
            counted = [one.key for one in instance.current.desired.services if one.remember_all]
            load = {key: instance.active_flows(key, own=True) for key in counted}
            self.tell(list(self.told.changed_load(load)))

    def tell(self, records: Sequence[Record]) -> None:
        """Tell all others."""
        if self.runner is not None and records:
            self.runner.publish(records)

    # ---- hearing

    @property
    def joining(self) -> bool:
        """Whether this node has answered nobody yet."""
        return self.voice.doing is NodeState.LEARNING

    def _obey(self, order: Order) -> None:
        """Do what the exchange wants done."""
        match order:
            case Learn(member, records):
                for record in records:
                    self._learn(member, record)
            case Joined(member):
                self._joined(member)
            case Gone(member, why):
                self._gone(member, why)
            case Synced(member):
                self.watch.synced(member)
            case TableTold(member, service, table):
                self._table(member, service, table)
            case Failed(what):
                self.daemon.record(EventKind.ALARM, f"fleet: a record cannot be told: {what}")

    def _table(self, member: Member, service: ServiceKey, table: TableOf | None) -> None:
        self.watch.told(member, service, table)
        tables = self.daemon.instance.data.tables
        if (member.life, service) not in self.tables.open:
            return
        self.tables.open.remove((member.life, service))
        if table is not None and tables is not None:
            learn_table(tables, table, joining=self.joining)

    def _learn(self, member: Member, record: Record) -> None:
        tables = self.daemon.instance.data.tables
        if isinstance(record, Flows):
            if tables is not None and tables.memory.shape.fleet:
                self.learnt.learn(tables, record, time.monotonic())
        elif isinstance(record, Slots):
            if self.daemon.instance.openings.closed:
                self._early.append(record)
            elif tables is not None:
                learn_slots(tables, record, joining=self.joining)
        else:
            self.others.learn(member, record)
            if isinstance(record, Tables) and self.joining:
                self.tables.compare(time.monotonic())
            self._viewed |= isinstance(record, View)

    def _learn_again(self, now: float) -> None:
        """Remember flows that waited for their backend to be known here."""
        tables = self.daemon.instance.data.tables
        if tables is not None and tables.memory.shape.fleet:
            self.learnt.again(tables, now)

    def _opinions(self) -> None:
        """Let the judge of backends know what the others find."""
        self._viewed = False
        fleet, own = self.daemon.instance.state.config.fleet, self.told.tables
        opinions = [one.opinion(own, self.voice.digest) for one in self.others]
        self.daemon.judging.heard(opinions, quorum=fleet is not None and fleet.quorum)

    def ask_table(self, life: int, service: ServiceKey) -> None:
        """Ask a node for its table of a service."""
        if self.runner is not None:
            self.runner.act(self.runner.exchange.ask_table(life, service, time.monotonic()))

    def _joined(self, member: Member) -> None:
        self.others.joined(member)
        self.watch.joined(member)

    def _gone(self, member: Member, why: Why) -> None:
        self.others.gone(member)
        self.tables.gone(member)
        self.watch.gone(member, why)
        self._opinions()
