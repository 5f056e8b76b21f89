"""Exchanges with real sockets, in one loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.fleet.runner import Runner
from appliance.model_fleet import Fleet
from tests.lab.patience import wait_for
from tests.unit.fleet.network import Node

PAUSE = 0.005


class Scene:
    """Nodes, by their numbers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.nodes: dict[int, Node] = {}
        self.runners: dict[int, Runner] = {}

    def start(
        self, number: int, fleet: Fleet, within: Callable[[Callable[[], None]], None] = lambda call: call()
    ) -> Runner:
        """Start a node; `within` calls what opens its sockets."""
        node = self.nodes[number] = Node(number, fleet, random.Random(number), self.loop.time())
        runner = self.runners[number] = Runner(fleet, node.exchange, self.loop, node.obey)
        within(runner.socket.open)
        runner.act([])
        return runner

    def turn(self) -> None:
        """Let the loop run for a moment."""
        self.loop.call_later(PAUSE, self.loop.stop)
        self.loop.run_forever()

    def wait_for(self, what: str, look: Callable[[], object]) -> None:
        """Let the loop run until it is so."""

        def turned() -> object:
            self.turn()
            return look()

        wait_for(what, turned)

    def together(self, *numbers: int) -> bool:
        """Whether all these are members of each other."""
        lives = {self.nodes[number].exchange.life for number in numbers}
        return all(set(self.nodes[one].exchange.members) == lives - {self.nodes[one].exchange.life} for one in numbers)


@contextmanager
def scene() -> Iterator[Scene]:
    """Afterwards, all is closed."""
    loop = asyncio.new_event_loop()
    made = Scene(loop)
    try:
        yield made
    finally:
        for runner in made.runners.values():
            runner.close()
        loop.close()
