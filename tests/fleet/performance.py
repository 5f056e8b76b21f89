"""A scenario performed: flows are opened, everything is done and noticed, and the accounts are judged."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from appliance.model import Address
from tests.fleet.answers import Answers
from tests.fleet.configuration import SERVICES, Pool
from tests.fleet.judge import Death, Name, Verdict, judge, orphaned
from tests.fleet.node import Node
from tests.fleet.scenario import Do, Moment, Scenario, Step
from tests.fleet.site import BACKENDS, Ends, Fleet, ends_of
from tests.lab.addresses import FIRST_BACKEND
from tests.lab.flows import FlowRecord
from tests.lab.impairment import BAD
from tests.lab.namespace import LabError
from tests.lab.patience import SLOWNESS
from tests.lab.routers import Bird, Router
from tests.lab.standing import Standing
from tests.lab.traffic import LongFlows, Sessions

BUSY, IDLE, NEW = {"tcp": 160, "udp": 80}, {"tcp": 40, "udp": 20}, {"tcp": 80, "udp": 30}
"""Flows from the start on, and new ones in each moment."""
INTERVAL: Final = 0.4
"""Seconds between two questions of a flow."""
FLOW_PATIENCE: Final = 15.0
"""Seconds after which a flow that gets no answer is broken."""
NEW_FOR: Final = 1.5
"""Seconds over which the new flows of a moment begin: from before it until after it."""
PATIENCE: Final = 30.0
SOME: Final = 5
"""Flows of which more is told."""
PAUSE: Final = 0.05
"""Seconds between two looks, which cost the machine something."""


class Performance(Standing):
    """One scenario, with all that it needs. Without `exchange`, balancers tell each other nothing.

    With a `group`, and its port, none names another.
    """

    def __init__(
        self, scenario: Scenario, *, exchange: bool, router: type[Router] = Bird, seed: int = 1, group: str = ""
    ) -> None:
        self.scenario = scenario
        self.said: list[str] = []
        """What happened, and how long it took to be noticed."""
        first = {FIRST_BACKEND + number: 1 for number in range(BACKENDS - 1)}
        pool = Pool(first, scenario.idle, scenario.udp_grace, scenario.scheduler, group=group)
        self.fleet = Fleet(pool, router, seed, exchange=exchange)
        self.exchange_works = exchange
        self._pool = self.fleet.pool
        self._stack = ExitStack()
        self._out: set[str] = set()
        """The backends that checks should have found out."""
        self._deaths: list[Death] = []
        self._at_stake: set[Name] = set()
        self._moved: set[Name] = set()
        self._steps: list[tuple[float, str]] = []
        """When each step was begun, and what it was."""
        self.flows: dict[str, LongFlows] = {}

    def stand(self) -> None:
        """Start the balancers, and open the first flows."""
        fleet = self._stack.enter_context(self.fleet)
        present = [node for name, node in fleet.nodes.items() if name not in self.scenario.absent]
        present[0].start(fleet.exchange)
        present[0].daemon.lend_program()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.start(fleet.exchange), present[1:]))
        self.wait_noticed()
        client = fleet.lab.client
        for protocol, kind in (("tcp", LongFlows), ("udp", Sessions)):
            # Who says nothing for longer than `idle` may be forgotten.
            idle = IDLE[protocol] if self.scenario.idle >= 3600 else 0
            opened = kind(client, busy=BUSY[protocol], idle=idle, interval=INTERVAL, patience=FLOW_PATIENCE)
            self.flows[protocol] = self._stack.enter_context(opened)
            assert not opened.opened.broken, opened.opened.broken[:3]

    def close(self) -> None:
        """Take everything down."""
        self._stack.close()

    # ---- what the test calls

    def perform(self, moment: Moment) -> None:
        """Do all steps of a moment while new flows begin, and wait until everybody has noticed."""
        ways = self._look()
        for protocol, flows in self.flows.items():
            flows.begin_more(NEW[protocol], NEW_FOR)
        began = time.monotonic()
        for step in moment:
            self._steps.append((time.monotonic(), f"{step.do.name.lower()} {step.who}".strip()))
            self.do(step)
        done = time.monotonic()
        self.wait_noticed()
        noticed = time.monotonic()
        for flows in self.flows.values():
            flows.opened_more()
        self._talk()
        # What begins at one whose daemon is dead, that tells when it has come back.
        if self.exchange_works and all(node.runs for node in self.fleet.nodes.values() if node.forwards):
            self.wait("all balancers to know whose each flow is", lambda: not self.unknown(), more=self._unknown_text)
        self._look(ways)
        names = ", ".join(f"{step.do.name.lower()} {step.who}".strip() for step in moment)
        broken = sum(len(flows.status().broken) for flows in self.flows.values())
        self.said.append(
            f"{names}: done in {done - began:.2f} s, noticed after {noticed - done:.2f} s, {broken} broken"
        )

    def explain(self, most: int) -> None:
        """Assert that every balancer that runs says of flows at stake that they belong to the backends they have."""
        for protocol, flows in self.flows.items():
            key = SERVICES[protocol]
            alive = [flow for flow in flows.status().flows if flow.state == "open" and not orphaned(flow, self._deaths)]
            for flow in [flow for flow in alive if Name(protocol, flow.number) in self._at_stake][:most]:
                text = f"{protocol} {flow.source}:{flow.port} {key.vip}:{key.port}"
                asked = {node.name: node.ask("explain", flow=text, flags="ACK") for node in self._running()}
                wanted = str(self.fleet.address(flow.backend))
                assert {name: answer["backend"] for name, answer in asked.items()} == dict.fromkeys(asked, wanted), text

    def broken(self) -> set[Name]:
        """Return which flows are broken by now."""
        return {Name(protocol, flow.number) for protocol, flows in self.flows.items() for flow in flows.status().broken}

    def story(self, flow: FlowRecord) -> str:
        """Return what the last step before a flow broke was, and when the flow began."""
        at, step = max((each for each in self._steps if each[0] <= flow.broken_at), default=(0.0, "the beginning"))
        return f"began {flow.opened_at - at:+.3f} s and broke {flow.broken_at - at:+.3f} s after {step}"

    def finish(self) -> Verdict:
        """End all flows, and judge."""
        final = {protocol: flows.stop().flows for protocol, flows in self.flows.items()}
        for node in self.fleet.nodes.values():
            assert "Traceback" not in node.daemon.errors, node.daemon.errors[-4000:]
        return judge(final, self._deaths, self._at_stake, self._moved)

    # ---- steps

    def do(self, step: Step) -> None:
        """Do one thing, and wait for nothing."""
        fleet, who = self.fleet, step.who
        actions: dict[Do, Callable[[], object]] = {
            Do.NOTHING: lambda: None,
            Do.BALANCER_DIES: lambda: fleet.nodes[who].lose_power(fleet.exchange),
            Do.BALANCER_STOPS: lambda: fleet.nodes[who].stop(),
            Do.BALANCER_STARTS: lambda: fleet.nodes[who].start(fleet.exchange),
            Do.DAEMON_DIES: lambda: fleet.nodes[who].kill_daemon(),
            Do.DAEMON_REEXECUTED: lambda: fleet.nodes[who].reexecute(),
            Do.BACKEND_ADDED: lambda: self._configure(self._pool.having(fleet.address(who))),
            Do.BACKEND_REMOVED: lambda: self._configure(self._pool.without(fleet.address(who))),
            Do.BACKEND_DRAINED: lambda: self._configure(self._pool.having(fleet.address(who), 0)),
            Do.BACKEND_DIES: lambda: self._kill(who),
            Do.BACKEND_STARTS: lambda: self._serve("start", who),
            Do.BACKEND_UNWELL: lambda: self._serve("unwell", who),
            Do.BACKEND_WELL: lambda: self._serve("well", who),
            Do.FORMER_FORGOTTEN: self._wait_forgotten,
            Do.EXCHANGE_BAD: lambda: fleet.exchange.impair(BAD),
            Do.EXCHANGE_CUT: lambda: fleet.exchange.isolate(who) if who else fleet.exchange.cut(),
            Do.EXCHANGE_MENDED: fleet.exchange.mend,
        }
        actions[step.do]()
        if step.do in (Do.EXCHANGE_CUT, Do.EXCHANGE_MENDED):
            self.exchange_works = bool(self._pool.hosts) and step.do is Do.EXCHANGE_MENDED

    def _configure(self, pool: Pool) -> None:
        """Give all balancers another configuration, one after the other."""
        self._pool = pool
        for node in self.fleet.nodes.values():
            node.configure(pool)

    def _kill(self, name: str) -> None:
        began = time.monotonic()
        self.fleet.backend("kill", name)
        self._deaths.append(Death(name, began, time.monotonic()))
        self._out.add(name)

    def _serve(self, verb: str, name: str) -> None:
        self.fleet.backend(verb, name)
        if verb == "unwell":
            self._out.add(name)
        else:
            self._out.discard(name)

    # ---- waiting

    def wait(
        self, what: str, look: Callable[[], object], seconds: float = PATIENCE, more: Callable[[], str] = str
    ) -> None:
        """Call `look` until it returns something true. Raises LabError with `more` and the ends of the logs."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while not look():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{node.name}:\n{node.daemon.errors[-1500:]}" for node in self._running())
                raise LabError(f"waited {seconds:g} s in vain for {what}\n{more()}\n{logs}")
            time.sleep(PAUSE)

    def wait_noticed(self) -> None:
        """Wait until the router, and all balancers that run, know how things are."""
        self.fleet.wait_ways(node.name for node in self.fleet.nodes.values() if node.announces)
        out = {self.fleet.address(name) for name in self._out}
        wanted = {address for address, weight in self._pool.weights.items() if weight} - out
        for node in self._running():
            self.wait(f"{node.name} to send new flows to {wanted}", partial(self._serves, node, wanted))
        if self.exchange_works and self.scenario.scheduler == "maglev":  # others follow loads, each in its own time
            self.wait("all balancers to have the same tables", self._agree)

    def _serves(self, node: Node, wanted: set[IPv4Address]) -> bool:
        """Whether new flows of each service go to these backends, and to no others."""
        with node.slots() as slots:
            return all(slots.owners(service) == wanted for service in SERVICES.values())

    def _agree(self) -> bool:
        """Whether all balancers that run send new flows of each slot to the same backend."""
        tables = []
        for node in self._running():
            with node.slots() as slots:
                tables.append([slots.all_owners(service) for service in SERVICES.values()])
        return all(table == tables[0] for table in tables)

    def unknown(self) -> list[tuple[str, Name, Address | None]]:
        """Return which balancers would send which whole flows to another backend than theirs, and to which."""
        found: list[tuple[str, Name, Address | None]] = []
        for protocol, flows in self.flows.items():
            whole = [flow for flow in flows.status().flows if flow.state == "open" and not orphaned(flow, self._deaths)]
            for node in self._running():
                with node.slots() as slots:
                    answers = Answers(slots.tables, SERVICES[protocol])
                    for flow in whole:
                        answer = answers.of(flow.source, flow.port)
                        if answer != self.fleet.address(flow.backend):
                            found.append((node.name, Name(protocol, flow.number), answer))
        return found

    def _unknown_text(self) -> str:
        """Return how many each balancer would send elsewhere, some of them, and how the exchange stands."""
        unknown = self.unknown()
        counts = Counter((node, name.protocol) for node, name, _ in unknown)
        said = [f"{node} would break {count} {protocol} flows" for (node, protocol), count in counts.items()]
        for node in self._running():
            mine = [(name, to) for who, name, to in unknown if who == node.name][:SOME]
            said += [f"  {name.protocol} {self._flow_text(name)} to {to}" for name, to in mine]
        said += [f"{node.name} says {json.dumps(node.ask('fleet'))}" for node in self._running()]
        return "\n".join(said)

    def _flow_text(self, name: Name) -> str:
        """Return a flow's ends, its backend, and what each balancer has in its slot."""
        [flow] = [one for one in self.flows[name.protocol].status().flows if one.number == name.number]
        told = [f"{flow.source}:{flow.port} of {flow.backend}"]
        for node in self._running():
            with node.slots() as slots:
                told.append(
                    f"{node.name}: {Answers(slots.tables, SERVICES[name.protocol]).text(flow.source, flow.port)}"
                )
        return "; ".join(told)

    def _wait_forgotten(self) -> None:
        """Wait until `was` is the same as `now` in every slot."""

        def forgotten() -> bool:
            for node in self._running():
                with node.slots() as slots:
                    for service in SERVICES.values():
                        table = slots.table(service)
                        if any(table.slot(number).was != table.slot(number).now for number in table.tracked):
                            return False
            return True

        self.wait("former owners to be forgotten", forgotten)

    def _talk(self) -> None:
        """Wait until every busy flow has exchanged two more frames, or is broken."""
        before = {protocol: _frames(flows.status().flows) for protocol, flows in self.flows.items()}

        def all_spoke() -> bool:
            for protocol, flows in self.flows.items():
                now = _frames(flows.status().flows)
                if any(now.get(number, most) < most + 2 for number, most in before[protocol].items() if number in now):
                    return False
            return True

        self.wait("all flows to speak", all_spoke)

    # ---- looking

    def _running(self) -> list[Node]:
        return [node for node in self.fleet.nodes.values() if node.runs]

    def _look(self, before: dict[Ends, str] | None = None) -> dict[Ends, str]:
        """Note which flows are at stake, and which go another way than before; return the ways."""
        ends: dict[Ends, Name] = {}
        for protocol, flows in self.flows.items():
            alive = [flow for flow in flows.status().flows if flow.state == "open"]
            ends |= {each: Name(protocol, number) for number, each in ends_of(alive, protocol).items()}
        for node in self.fleet.nodes.values():
            if node.forwards:
                with node.slots() as slots:
                    for each, name in ends.items():
                        if slots.place(SERVICES[each.protocol], each.source, each.port).tracked:
                            self._at_stake.add(name)
        ways = self.fleet.ways(ends)
        self._moved |= {ends[each] for each, way in ways.items() if before and before.get(each, way) != way}
        return ways


def _frames(flows: Iterable[FlowRecord]) -> dict[int, int]:
    """How many frames each busy flow that is open has exchanged."""
    return {flow.number: flow.frames for flow in flows if not flow.idle and flow.state == "open"}
