"""Nodes of a fleet in simulated time: each with its schedule, verdicts and governor, and what they tell each other.

Only the network and the backends are invented. A backend answers at once, refuses at once, or says nothing for the
whole timeout, and may do so for some of the nodes only. What a node tells arrives a moment later, now and then a while.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from ipaddress import ip_address

from appliance.control.disagreement import Disagreement
from appliance.health.governor import Governor
from appliance.health.quorum import DOWN, Opinion, Pair
from appliance.health.schedule import Schedule
from appliance.health.verdict import CheckState
from appliance.model import Address, Backend, Check, CheckKind, Health, Outcome, ProbeResult, Service, ServiceKey

CHECK = Check(CheckKind.TCP, 80)


@dataclass(frozen=True)
class Failure:
    """From `begin` to `end` these nodes (None: all) get no answer of a backend, or `silent=False` a bad one at once."""

    backend: int
    begin: float
    end: float = 1e9
    nodes: frozenset[int] | None = None
    silent: bool = True


@dataclass
class Node:
    """One of them."""

    number: int
    schedule: Schedule
    states: dict[Pair, CheckState]
    governor: Governor = field(default_factory=Governor)
    disagreement: Disagreement = field(default_factory=Disagreement)
    view: dict[Pair, bool] = field(default_factory=dict)
    heard: dict[int, Opinion] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    probes: int = 0
    isolated: float = 0.0
    """Seconds for which it took itself for cut off."""

    def found(self, key: ServiceKey, address: Address) -> Health:
        """Its own verdict."""
        return self.states[key, address].health


class Fellows:
    """All of them, and their time in seconds."""

    def __init__(
        self,
        nodes: int,
        backends: int = 4,
        *,
        check: Check = CHECK,
        quorum: bool = True,
        telling: bool = True,
        seed: int = 1,
        failures: Collection[Failure] = (),
        services: int = 2,
        max_removal: float | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.check, self.quorum, self.telling, self.failures = check, quorum, telling, tuple(failures)
        self.services = tuple(
            Service(
                ServiceKey.parse(f"192.0.2.{index + 1}:80/tcp"),
                tuple(Backend(address(one)) for one in range(1, backends + 1) if one % services == index),
                (check,),
                max_removal=max_removal,
            )
            for index in range(services)
        )
        self.by_key = {one.key: one for one in self.services}
        self.pairs = [(one.key, backend.address) for one in self.services for backend in one.backends]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.now = 0.0
        self.cut: frozenset[int] = frozenset()
        """Nodes that neither hear nor are heard."""
        self.lies: Callable[[int, float], dict[Pair, bool] | None] = lambda node, now: None
        """What a node says in the place of what it finds."""
        self.nodes = [self._node(number) for number in range(nodes)]
        self.acted: dict[tuple[int, Pair], list[tuple[float, bool]]] = {
            (node.number, pair): [(0.0, True)] for node in self.nodes for pair in self.pairs
        }
        """For each node and backend: from when on it counted as up or not."""
        for node in self.nodes:
            self.at(self.random.random(), lambda node=node: self._second(node))  # type: ignore[misc]
            self._wake(node)

    def _node(self, number: int) -> Node:
        schedule = Schedule(self.random.random, 10_000)
        schedule.configure(dict.fromkeys(range(1, len(self.pairs) + 1), self.check), self.random.random())
        states = {pair: CheckState(self.check, Health.UP) for pair in self.pairs}
        return Node(number, schedule, states)

    def at(self, moment: float, what: Callable[[], None]) -> None:
        """Do something then."""
        heapq.heappush(self._events, (moment, next(self._order), what))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def _wake(self, node: Node) -> None:
        due = node.schedule.next_due()
        if due is not None:
            self.at(max(due, self.now), lambda: self._probe(node))

    def _probe(self, node: Node) -> None:
        for number in node.schedule.start_due(self.now, 1000):
            node.probes += 1
            outcome, took = self._outcome(node, self.pairs[number - 1])
            self.at(self.now + took, lambda number=number, outcome=outcome: self._finish(node, number, outcome))  # type: ignore[misc]
        self._wake(node)

    def _outcome(self, node: Node, pair: Pair) -> tuple[Outcome, float]:
        for one in self.failures:
            mine = one.nodes is None or node.number in one.nodes
            if mine and address(one.backend) == pair[1] and one.begin <= self.now < one.end:
                return (Outcome.NONE, self.check.timeout) if one.silent else (Outcome.WRONG, 0.002)
        return Outcome.OK, 0.002

    def _finish(self, node: Node, number: int, outcome: Outcome) -> None:
        node.schedule.finish(number, outcome, self.now)
        pair = self.pairs[number - 1]
        state = node.states[pair]
        before = state.health
        state.observe(ProbeResult(pair[0], pair[1], 0, outcome, "", self.now, 1), self.now)
        if state.health is not before:
            node.governor.moved(self.by_key[pair[0]], pair[1], before, state.health, self.now)
            node.view = {one: found.health is Health.DEAD for one, found in node.states.items() if found.health in DOWN}
            self.tell(node)
            self._note(node)
        self._wake(node)

    def tell(self, node: Node) -> None:
        node.versions[node.number] = version = node.versions.get(node.number, 0) + 1
        said = self.lies(node.number, self.now)
        view = dict(node.view) if said is None else said
        for other in self.nodes:
            if other is not node and not self.cut & {node.number, other.number}:
                late = 0.3 if self.random.random() < 0.05 else 0.0
                delay = self.random.uniform(0.002, 0.05) + late
                self.at(self.now + delay, lambda other=other: self._hear(other, node, version, view))  # type: ignore[misc]

    def _hear(self, node: Node, other: Node, version: int, view: dict[Pair, bool]) -> None:
        if version < node.versions.get(other.number, 0):
            return
        node.versions[other.number] = version
        node.heard[other.number] = Opinion(
            other.number, f"lb{other.number}", view, self.now, isolated=other.governor.isolated
        )
        self._listen(node)

    def _listen(self, node: Node) -> None:
        if not self.telling:
            return
        pairs = node.disagreement.hear(node.heard.values(), node.found, self.now)
        node.schedule.prompt([self.pairs.index(pair) + 1 for pair in pairs], self.now)
        if self.quorum:
            node.governor.hear(node.heard.values(), self.services, node.found, self.now)
        self._note(node)
        self._wake(node)

    def _second(self, node: Node) -> None:
        self.tell(node)
        self._listen(node)
        node.governor.step(self.services, node.found, self.now)
        node.isolated += node.governor.isolated
        self._note(node)
        self.at(self.now + 1.0, lambda: self._second(node))

    def _note(self, node: Node) -> None:
        for pair in self.pairs:
            up = node.governor.effective(*pair, node.found(*pair)) not in DOWN
            log = self.acted[node.number, pair]
            if log[-1][1] is not up:
                log.append((self.now, up))

    # ---- what it came to

    def changes(self, node: int, backend: int) -> int:
        """How often a backend was taken out, or back, at a node."""
        return sum(
            len(log) - 1 for (number, pair), log in self.acted.items() if number == node and pair[1] == address(backend)
        )

    def counts_as_up(self, node: int, backend: int) -> bool:
        """Whether it does now."""
        return next(
            log for (number, pair), log in self.acted.items() if number == node and pair[1] == address(backend)
        )[-1][1]

    def out_at(self, node: int, backend: int) -> float:
        """When a backend was first taken out there; infinity if it never was."""
        log = next(log for (number, pair), log in self.acted.items() if number == node and pair[1] == address(backend))
        return log[1][0] if len(log) > 1 else float("inf")

    def differed(self, backend: int) -> float:
        """For how many seconds a backend was up at one node and not at another one."""
        logs = [log for (_, pair), log in self.acted.items() if pair[1] == address(backend)]
        moments = sorted({moment for log in logs for moment, _ in log} | {self.now})
        total = 0.0
        for begin, end in itertools.pairwise(moments):
            states = {[up for moment, up in log if moment <= begin][-1] for log in logs}
            total += (end - begin) * (len(states) > 1)
        return total


def address(number: int) -> Address:
    """Of a backend."""
    return ip_address("10.1.1.0") + number
