"""For how long balancers answer differently, and what that costs: `python -m tests.fleet.agreement [ROUNDS]`, as root.

All balancers' tables are compared every few milliseconds while a backend dies, returns, is unwell, recovers, is drained
and comes back. A slot's difference lasts from the first comparison that finds it until the first that does not. What it
costs is a time, too: the shares of slots that differed, summed up over time. A service with so many new flows a second
has had that many times as many flows whose beginning, or whose unremembered rest, another balancer would have sent to
another backend; each of them breaks if the router moves it before that flow is told of.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from appliance.model import ServiceKey
from tests.fleet.configuration import SERVICES
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario, Step, added, dies, drained, starts, unwell, well
from tests.lab.programs import make_shelf, remove_shelf
from tests.lab.standing import Standing
from tests.netns.scenario_slots import Slots, generations

ROUND: Final[tuple[Step, ...]] = (
    *(dies("b2"), starts("b2"), unwell("b3"), well("b3")),
    *(drained("b1"), added("b1")),
)
AGREED_FOR: Final = 25
"""Comparisons in a row without any difference, after all have noticed, until an event counts as over."""
PAUSE: Final = 0.001
"""Seconds between two comparisons."""

Place = tuple[ServiceKey, int]
"""A slot of a service."""


@dataclass
class Disagreement:
    """What is known of differences: pure. Times are seconds."""

    slots: int = 0
    """Of all services together."""
    durations: list[float] = field(default_factory=list)
    """Of each slot's difference."""
    _since: dict[Place, float] = field(default_factory=dict)

    def compared(self, at: float, differing: Collection[Place]) -> None:
        """Note one comparison; they come in the order of time."""
        for place in self._since.keys() - differing:
            self.durations.append(at - self._since.pop(place))
        for place in differing:
            self._since.setdefault(place, at)

    @property
    def agreed(self) -> bool:
        """Whether the last comparison found no difference."""
        return not self._since

    @property
    def cost(self) -> float:
        """Share of slots that differed, summed up over time, in seconds."""
        return sum(self.durations) / self.slots if self.slots else 0.0

    def text(self) -> str:
        """Return the distribution in a few words."""
        if not self.durations:
            return "no difference"
        each = sorted(self.durations)
        return (
            f"{len(each)} slots, median {_ms(median(each))}, 99th percentile {_ms(each[len(each) * 99 // 100])}, "
            f"longest {_ms(each[-1])}; cost {_ms(self.cost)}"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


class Watch(Standing):
    """The tables of several balancers side by side."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = tuple(nodes)
        self._open: dict[Node, tuple[Path, Slots]] = {}

    def close(self) -> None:
        for _, slots in self._open.values():
            slots.close()
        self._open = {}

    def _tables(self) -> list[Slots]:
        """The tables of the programs that run now; a reload may bring others."""
        for node in self._nodes:
            newest = generations(node.daemon.places.pins)[-1]
            known = self._open.get(node)
            if known is None or known[0] != newest:
                self._open[node] = newest, node.slots()
                if known is not None:
                    known[1].close()
        return [self._open[node][1] for node in self._nodes]

    def differences(self) -> tuple[set[Place], set[Place], int]:
        """Return the slots whose answers differ, for new flows and for older ones; and the number of all slots."""
        new: set[Place] = set()
        old: set[Place] = set()
        count = 0
        for service in SERVICES.values():
            tables = [slots.answers(service) for slots in self._tables()]
            count += len(tables[0])
            for number, answers in enumerate(zip(*tables, strict=True)):
                if answers.count(answers[0]) != len(answers):
                    for kind, differing in enumerate((new, old)):
                        if len({answer[kind] for answer in answers}) > 1:
                            differing.add((service, number))
        return new, old, count


def watch(performance: Performance, step: Step) -> tuple[Disagreement, Disagreement]:
    """Do something, and compare until all agree; returns what became of new flows and of older ones."""
    kinds = (Disagreement(), Disagreement())
    nodes = [node for node in performance.fleet.nodes.values() if node.runs]
    with Watch(nodes) as tables:

        def compare() -> bool:
            *differing, count = tables.differences()
            at = time.monotonic()
            for kind, places in zip(kinds, differing, strict=True):
                kind.slots = count
                kind.compared(at, places)
            return all(kind.agreed for kind in kinds)

        with ThreadPoolExecutor(1) as doing:
            noticed = doing.submit(_do, performance, step)
            while not noticed.done():
                compare()
                time.sleep(PAUSE)
            noticed.result()
        in_a_row = 0
        while in_a_row < AGREED_FOR:
            in_a_row = in_a_row + 1 if compare() else 0
            time.sleep(PAUSE)
    return kinds


def _do(performance: Performance, step: Step) -> None:
    performance.do(step)
    performance.wait_noticed()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    shelf = make_shelf()
    try:
        with Performance(Scenario("agreement", (), needs_exchange=False), exchange=False) as performance:
            for number in range(rounds):
                for step in ROUND:
                    for kind, found in zip(("new", "old"), watch(performance, step), strict=True):
                        name = f"{step.do.name.lower().replace('_', ' ')} {step.who}"
                        print(f"{number + 1}  {name:<22} {kind} flows: {found.text()}", flush=True)
    finally:
        if shelf:
            remove_shelf()


if __name__ == "__main__":
    main()
