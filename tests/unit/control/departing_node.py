"""As much of a daemon as the departure of its node concerns. The traffic is numbers, and time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control import departing, overriding
from appliance.control.departing import Departing
from appliance.control.departure import Stage
from appliance.control.links import Links
from appliance.control.overrides import Overrides, restored
from appliance.control.socket import Peer, Request
from appliance.control.state import State
from appliance.dataplane.enums import Reason
from appliance.errors import HostError
from appliance.model_bgp import Bgp
from appliance.model_bgp import Peer as Router
from tests.unit.control.sample import WEB, config

ROUTER = Router(ip_address("10.1.10.252"), 65001)
BUSY, EBBED, CALM = 800.0, 8.0, 5
"""Packets a second before, and those that are calm; and for how many seconds (departure.py)."""
FAR = 3600.0
WALL = 1e9
DEMOTED, WITHDRAWN, DETACHED = Stage


class Node:
    """As much of a daemon as its departure concerns; `done` is what it did, in order."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        leave: float = 0.0,
        overrides: Overrides | None = None,
        routers: tuple[Router, ...] = (ROUTER,),
    ) -> None:
        self.now, self.forwarded, self.refused = 1000.0, 0.0, dict.fromkeys(Reason, 0.0)
        self.done: list[str] = []
        self.kept: Overrides | None = None
        self.fails = False
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: WALL + self.now)
        monkeypatch.setattr(departing, "time", clock)
        monkeypatch.setattr(overriding, "time", clock)
        self.state = State(config(leave=leave, bgp=Bgp(routers)), overrides or Overrides())
        self.links = Links(cast(Any, None))
        self.data = SimpleNamespace(generation=SimpleNamespace(memory=self), tables=self)
        self.instance = SimpleNamespace(state=self.state, links=self.links, data=self.data, save=self._save)
        self.measuring = SimpleNamespace(sources=[])
        self.routing = SimpleNamespace(
            speaker=object(), look=lambda now: self._did("routes"), status=lambda: SimpleNamespace(peers=())
        )
        self.notifier = SimpleNamespace(
            stopping=lambda: self._did("stopping"), extend=lambda seconds: self._did("more time")
        )
        self.recorder = SimpleNamespace(flush_soon=lambda: None)
        self.upkeep = SimpleNamespace(keep=lambda: self._did("links"))
        self.departing = Departing(cast(Any, self))
        self.departing.resume()

    def _did(self, what: str) -> None:
        told = "withdrawn" if self.departing.withdrawn else "announced"
        self.done.append({"routes": told, "links": "detach" if self.links.away else "attach"}.get(what, what))

    def _save(self) -> None:
        if self.fails:
            raise HostError("the disk is full")
        saved = self.state.overrides
        self.kept, refused = restored(saved.snapshot(), saved.node_snapshot())
        assert not refused
        self._did(f"keep {saved.node.stage if saved.node else 'nothing'}")

    def keep(self) -> None:
        self._save()

    def record(self, kind: Any, message: str, **more: Any) -> None:
        del kind, message, more

    def tell_summary(self) -> None:
        pass

    def remove(self) -> None:
        self._did("remove")

    # What the program has counted.

    def tracked(self) -> list[Any]:
        return [WEB]

    def entry(self, key: object) -> Any:
        return SimpleNamespace(destinations=7, capacity=3) if key == WEB else None

    def packets(self, first: int, count: int) -> int:
        return int(self.forwarded) if (first, count) == (7, 3) else 0

    def reason(self, reason: Reason) -> int:
        return int(self.refused[reason])

    # What happens.

    def seconds(self, count: int, rate: float = 0.0) -> None:
        """So many seconds with so many packets in each."""
        for _ in range(count):
            self.now += 1.0
            self.forwarded += rate
            self.departing.look(self.now)

    def say(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """What an operator says of the whole node, and the answer."""
        request = Request(verb, {"all": True, "name": "ann", **arguments}, Peer(1, 0, 0))
        handler = overriding.handlers(cast(Any, self))[verb]
        return cast(dict[str, Any], asyncio.run(handler(request)))  # type: ignore[arg-type]

    @property
    def stage(self) -> Stage | None:
        found = self.departing.current
        return None if found is None else found.stage

    @property
    def numbers(self) -> list[int]:
        """Whether it is drained, withdrawn and detached, as it is measured."""
        found = self.departing.numbers()
        return [found[f"node_{word}"] for word in ("drained", "withdrawn", "detached")]


Made = Callable[..., Node]


def made(monkeypatch: pytest.MonkeyPatch, *, seen: bool = True, **given: Any) -> Node:
    """Make a node; it has seen traffic for a minute, unless it is one that goes on after another."""
    found = Node(monkeypatch, **given)
    found.seconds(60 * seen, BUSY)
    found.done.clear()
    return found
