"""Four BIRDs, each in the namespace of a backend: how soon what they are told is in their tables.

BIRD logs each change of its table with the moment, to the microsecond; what that costs is in the figure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from typing import Final, Self

from bench import process
from tests.lab.namespace import inhabitants
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup
from tests.lab.topology import Lab

ESTABLISHED: Final = re.compile(r"^(\S+ \S+) <TRACE> \w+: BGP session established$", re.MULTILINE)
ADDED: Final = re.compile(r"^(\S+ \S+) <TRACE> \w+\.ipv4 > added (?:\[best\] )?\S+/32 ", re.MULTILINE)


@dataclass(frozen=True)
class Learnt:
    """From the first session's being established until the last router had all routes, and the routers' own work."""

    seconds: float
    cpu: float
    """Seconds of processor time, of all routers, from before they connected."""


class _Judge(Bird):
    """One of which nobody watches how it changes its kernel's routes: that takes the time of others."""

    installs = False


class Judges:
    """A context manager: the routers run, and have no session until they `join`."""

    def __init__(
        self, lab: Lab, own: Sequence[IPv4Address], own_as: int, balancer: IPv4Address, remote_as: int
    ) -> None:
        neighbour = Neighbour(str(balancer), remote_as, hold_time=90)
        homes = {backend.address: backend for backend in lab.backends.values()}
        self._balancer = str(balancer)
        self._routers = [
            _Judge(homes[one].namespace, lab.directory / f"bird-{one}", Setup(own_as, str(one), (neighbour,)))
            for one in own
        ]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for router in self._routers:
                stack.enter_context(router)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def leave(self) -> None:
        """End all sessions."""
        for router in self._routers:
            router.shut(self._balancer, "measured")

    def join(self, routes: int) -> Learnt:
        """Connect all of them, and wait until each has so many routes. Raises LabError."""
        begun = [len(router.log) for router in self._routers]
        before = self._cpu()
        for router in self._routers:
            router.unshut(self._balancer)
        for router in self._routers:
            wait_for("all routes", lambda one=router: _count(one) == routes, 120.0)  # type: ignore[misc]
        cpu = self._cpu() - before
        logs = [router.log[start:] for router, start in zip(self._routers, begun, strict=True)]
        first = min(_at(ESTABLISHED.findall(log)[-1]) for log in logs)
        added = [ADDED.findall(log) for log in logs]
        if any(len(one) != routes for one in added):
            raise ValueError(f"the routers have logged {[len(one) for one in added]} routes, not {routes} each")
        return Learnt(max(_at(one[-1]) for one in added) - first, cpu)

    def _cpu(self) -> float:
        return sum(process.cpu_seconds(pid) for pid in inhabitants([router.namespace for router in self._routers]))


def _count(router: Bird) -> int:
    found = re.search(r"(\d+) of \d+ routes", router.ask("show route where source = RTS_BGP count"))
    return int(found[1]) if found else 0


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
