"""What the scenes of the demo share: the lab, the daemon in it, traffic that goes on, and the figures."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from appliance.cli.client import call
from tests.lab.addresses import ECHO, FIRST_BACKEND, HTTP, HTTPS, SECOND_VIP, VIP
from tests.lab.daemon import Daemon
from tests.lab.flows import FlowRecord
from tests.lab.measure import Cost
from tests.lab.namespace import LabError
from tests.lab.requests import RequestRecord
from tests.lab.story import Story
from tests.lab.topology import Lab
from tests.lab.traffic import FlowReport, LongFlows, RequestReport, Requests

WEB = f"{VIP}:{HTTP}/tcp"
TALK = f"{VIP}:{ECHO}/tcp"
SECURE = f"{SECOND_VIP}:{HTTPS}/tcp"
BACKENDS = 3
SERVERS = ", ".join(str(FIRST_BACKEND + number) for number in range(BACKENDS))
INTERVAL = 0.5
"""Seconds between two checks of a backend; two bad ones in a row are a death."""

CONFIGURATION = f"""\
# vc5 demo: three web servers behind one address. `vc5 check` prints this with every default.

interfaces: [eth0]          # where packets for the VIPs arrive
xdp: native                 # in the driver, or not at all

# A backend is up after two good checks in a row, and dead after two bad ones.
interval: {INTERVAL * 1000:.0f}ms
timeout: {INTERVAL * 1000:.0f}ms
rise: 2
fall: 2

services:
  - name: web
    virtual: {VIP}   # every backend has this address on its loopback interface
    servers: [{SERVERS}]
    path: /alive
    policy:
      http:                 # port {HTTP}, checked by GET /alive
      {ECHO}/tcp:             # long conversations, checked by a SYN
"""

ADDED = f"""
  - name: secure
    virtual: {SECOND_VIP}
    servers: [{SERVERS}]
    path: /alive
    policy:
      https:                # port {HTTPS}, checked by GET /alive over TLS
"""


@dataclass
class Figures:
    """What was measured. Times are seconds; None is not measured."""

    requests: int = 0
    failures: int = 0
    """Requests that failed although they should not."""
    failed_during_detection: int = 0
    requests_during_detection: int = 0
    broken: int = 0
    """Conversations and downloads that broke although their backend lived."""
    lost_conversations: int = 0
    lost_downloads: int = 0
    """Those that ended with their backend."""
    detection_s: float | None = None
    moved_slots: int | None = None
    slots: int | None = None
    needed_slots: int | None = None
    """The slots of the backend that died: so many had to move."""
    ready_s: float | None = None
    reload_s: float | None = None
    restart_s: float | None = None
    live: Cost | None = None
    warm: Cost | None = None


@dataclass
class Window:
    """The time from a backend's death to its removal, CLOCK_MONOTONIC seconds: requests to it must fail."""

    died: float
    removed: float = float("inf")

    def covers(self, request: RequestRecord) -> bool:
        """Whether a failure of this request is no fault of the balancer."""
        return request.began <= self.removed and request.began + request.seconds >= self.died


@dataclass
class Stage:
    """The state of a performance. `lab` and `daemon` exist from the first two scenes on."""

    story: Story
    stack: ExitStack
    figures: Figures = field(default_factory=Figures)
    window: Window | None = None
    doomed: frozenset[int] = frozenset()
    """The numbers of the conversations that the dead backend took with it."""
    _lab: Lab | None = None
    _daemon: Daemon | None = None
    load: Requests | None = None
    talks: LongFlows | None = None

    # ---- what stands

    @property
    def lab(self) -> Lab:
        if self._lab is None:
            raise LabError("there is no lab")
        return self._lab

    @lab.setter
    def lab(self, lab: Lab) -> None:
        self._lab = lab

    @property
    def daemon(self) -> Daemon:
        if self._daemon is None:
            raise LabError("there is no daemon")
        return self._daemon

    @daemon.setter
    def daemon(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @property
    def daemon_runs(self) -> bool:
        """Whether the daemon runs, or was not started yet."""
        return self._daemon is None or self._daemon.running

    def last_words(self, lines: int = 8) -> list[str]:
        """Return the end of what the daemon wrote to standard error."""
        return self._daemon.errors.splitlines()[-lines:] if self._daemon else []

    # ---- asking the daemon

    def status(self) -> Any:
        """Return what `vc5 status --json` prints, without starting a command: a few times a second is cheap then."""
        return call(self.daemon.places, "status")

    def service(self, key: str) -> Any:
        """Return one service of the status. Raises LabError where there is none."""
        for service in self.status()["services"]:
            if service["service"] == key:
                return service
        raise LabError(f"vc5 status knows no service {key}")

    def slots(self, key: str, name: str) -> int:
        """Return how many slots of a service the backend of this name has."""
        address = str(self.lab.backends[name].address)
        return sum(int(b["slots"]) for b in self.service(key)["backends"] if b["address"] == address)

    def available(self, key: str) -> int:
        """Return how many backends of a service get new flows."""
        return sum(1 for backend in self.service(key)["backends"] if backend["state"] == "available")

    def await_available(self, key: str, seconds: float = 10.0) -> bool:
        """Wait until all backends of a service get new flows; returns whether they do."""
        look = partial(self._all_available, key)
        return bool(self.story.wait(look, seconds, lambda: f"{key}: {self.available(key)} of {BACKENDS} available"))

    def _all_available(self, key: str) -> bool:
        return self.available(key) == BACKENDS

    def name_of(self, address: str | None) -> str:
        """Return the name of the backend with this address, `none` where there is none."""
        return next((b.name for b in self.lab.backends.values() if str(b.address) == address), "none")

    def explain(self, request: RequestRecord, flags: str = "SYN") -> str:
        """Ask the program, through `vc5 explain`, to which backend a packet of this request goes."""
        flow = f"tcp {request.source}:{request.port} {VIP}:{HTTP}"
        return self.name_of(call(self.daemon.places, "explain", flow=flow, flags=flags)["backend"])

    def said(self, since: float, *words: str) -> str:
        """Return the newest event in `vc5 log` since this wall-clock time whose line has all these words, or ''."""
        done = self.daemon.vc5("log", "--events", "--since", time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since)))
        lines = [line for line in done.stdout.splitlines() if all(word in line for word in words)]
        return lines[-1] if lines else ""

    # ---- traffic that goes on

    def keep_going(self) -> Requests:
        """Return the loop of requests that goes on from scene to scene; starts it the first time."""
        if self.load is None:
            self.load = self.stack.enter_context(Requests(self.lab.client, rate=100))
        return self.load

    def keep_talking(self) -> LongFlows:
        """Return the conversations that go on from scene to scene; starts them the first time."""
        if self.talks is None:
            self.talks = self.stack.enter_context(LongFlows(self.lab.client, busy=30, idle=15))
        return self.talks

    def loaded(self, since: float, count: int) -> RequestReport:
        """Wait until so many requests of the loop have begun since then and are over; return those since then."""
        loop = self.keep_going()

        def look() -> RequestReport | None:
            report = loop.status().since(since)
            return report if len(report.done) >= count else None

        found = self.story.wait(look, 15.0, f"{count} more requests", pause=0.2)
        return found or loop.status().since(since)

    def unexpected(self, report: RequestReport) -> list[RequestRecord]:
        """Return the failed requests that are not explained by the death of their backend."""
        return [request for request in report.failed if self.window is None or not self.window.covers(request)]

    def check_load(self, since: float, count: int, expected: str) -> RequestReport:
        """Watch `count` requests of the loop and check that none fails."""
        report = self.loaded(since, count)
        failed = self.unexpected(report)
        enough = len(report.done) >= count
        self.story.check(enough and not failed, expected, seen_of(report, failed))
        return report

    def check_talks(self) -> None:
        """Check that no conversation is broken but those that ended with their backend."""
        living, broken = self._living(self.keep_talking().status())
        why = f"; {broken[0].backend}: {broken[0].reason}" if broken else ""
        self.story.check(
            not broken, "long conversations go on", f"{len(living) - len(broken)} of {len(living)} unbroken{why}"
        )

    def _living(self, report: FlowReport) -> tuple[list[FlowRecord], list[FlowRecord]]:
        """Return the conversations whose backend lived all the time, and those of them that are broken."""
        living = [flow for flow in report.flows if flow.number not in self.doomed]
        return living, [flow for flow in living if flow.state == "broken"]

    # ---- accounts

    def account(self, report: RequestReport) -> list[RequestRecord]:
        """Enter requests that are over into the figures; returns those that should not have failed."""
        failed = self.unexpected(report)
        self.figures.requests += len(report.done)
        self.figures.failures += len(failed)
        return failed

    def settle(self) -> None:
        """Stop the traffic that goes on, enter all of it into the figures, and check it."""
        if self.load is not None:
            report = self.load.stop()
            failed = self.account(report)
            self.figures.failed_during_detection += len(report.failed) - len(failed)
            if self.window is not None:
                self.figures.requests_during_detection += sum(map(self.window.covers, report.requests))
            self.story.check(not failed, "of all requests in the loop", seen_of(report, failed))
            self.load = None
        if self.talks is not None:
            living, broken = self._living(self.talks.stop())
            self.figures.broken += len(broken)
            self.figures.lost_conversations += len(self.doomed)
            done = sum(1 for flow in living if flow.state == "done")
            seen = f"{done} of {len(living)}, {sum(flow.frames for flow in living):,} messages"
            if broken:
                seen += f"; {broken[0].backend}: {broken[0].reason}"
            self.story.check(done == len(living) > 0, "long conversations end, sums agree", seen)
            self.talks = None


def seen_of(report: RequestReport, failed: list[RequestRecord]) -> str:
    """Say how many requests failed, and why the first did."""
    text = f"{len(failed)} of {len(report.done):,} failed"
    return f"{text}: {failed[0].failure}" if failed else text
