"""The daemon's side of the prober: starts it, tells it what to probe, takes its results, and replaces it when it fails.

Theory of operation. One task (`_supervise`) lives from start() to stop(). Each turn of it is the life of one process:

    launch -> send the schedule -> first heartbeat: on_state(True) -> results ... -> end: on_state(False), back off

A process ends when its socket closes, when it has said nothing for SILENCE, or when what it said is malformed (it may
have been taken over by what a backend sent: it is killed, and its words are never trusted). While there is none,
nothing is reported, so health freezes: the last verdicts stand. The schedule is level-triggered: the newest one is sent
whole whenever it changes and to each new process.

A probe is named by a number (sharing.py). It stays the same as long as nothing about the probe changes and is never
used again, so a result that was under way during a reload belongs to the right checks, or to none and is dropped. It
goes to all that the probe is for.

Where the prober is a unit of its own, nothing is launched: it comes to a door (door.py), and what ends it here is that
the daemon hangs up.

A prober that finds itself broken (selfcheck.py) is treated as one that is silent: what it reports is not believed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from appliance.errors import HostError, ProberGone
from appliance.health.authorities import Authorities
from appliance.health.door import Door, Visitor
from appliance.health.drill import FlowNews, Order, encode_order
from appliance.health.messages import (
    MAX_REPORT,
    Heartbeat,
    Report,
    decode_from_prober,
    encode_prompt,
    schedule_pieces,
)
from appliance.health.process import ProberProcess
from appliance.health.sharing import Sharing
from appliance.health.sharing import Target as Target
from appliance.model import Address, ProbeResult, ServiceKey
from appliance.paths import Root

SILENCE = 5.0
"""Seconds without a word after which the prober is taken for dead; it speaks each second."""
FIRST_WORD = 30.0
"""Seconds for a new prober's first word: where a machine is slow or busy, Python alone takes many to start."""
TICK = 0.5
"""Seconds between two looks at the silence. Looks are counted, not seconds, so that a daemon that was stopped itself
does not blame the prober."""
BACK_OFF = (0.2, 5.0)
"""Seconds before the first restart, and at most; doubled from one to the next."""
PROVEN = 30.0
"""Seconds a process must have lived for the back-off to begin again."""
TURN = 64
"""Results given away in one turn of the event loop."""
FAREWELL = 1.0
"""Seconds that a prober has to end by itself once its socket is closed; one that hangs is killed at once."""
CLOSED = "the socket was closed"

log = logging.getLogger(__name__)


class ProberClient:
    """The prober of one daemon. Callbacks run on the event loop; they must not raise and not block.

    `on_result` gets each finished probe. `on_state(live, why)` is called when results begin to flow (True) and when
    they stop (False): from then on health is frozen.
    """

    def __init__(
        self,
        root: Root,
        on_result: Callable[[ProbeResult], None],
        on_state: Callable[[bool, str], None],
        door: Door | None = None,
    ) -> None:
        """With a `door`, probers come there by themselves, and none is started."""
        self._root = root
        self._door = door
        self._on_result = on_result
        self._on_state = on_state
        self._authorities = Authorities()
        self._sharing = Sharing()
        self._limit = 0
        self._generation = 0
        self._changed = asyncio.Event()
        self._scheduled = False
        """Whether the present process has the newest schedule."""
        self._ordered = b""
        """What it is to be told of a drill's flows."""
        self._prompted: set[int] = set()
        """Probes that are to run at once, and of which it has not been told."""
        self._supervisor: asyncio.Task[None] | None = None
        self._process: ProberProcess | Visitor | None = None
        self._served = 0
        self._live: bool | None = None
        self._ticks = 0
        self._spoke = False
        self._taken = 0
        """Results that have been given away in this turn of the loop."""
        self.restarts = 0
        """Processes that were started after the first."""
        self.stray = 0
        """Results that belonged to no probe any more."""
        self.distrusted = 0
        """Results of a prober that found itself broken."""
        self.on_flows: Callable[[tuple[FlowNews, ...]], None] = lambda news: None
        """Gets what is new of a drill's flows."""
        self.heartbeat = Heartbeat()
        """What the prober said of itself last."""
        self.behind = False
        """Whether results are here that have not been given away yet."""

    @property
    def pid(self) -> int | None:
        """The process id of the prober, None while there is none."""
        return self._process.pid if self._process else None

    def open(self) -> None:
        """Let probers in that come by themselves, where there is a door. Raises HostError."""
        if self._door is not None:
            self._door.open()

    async def start(self) -> None:
        """Start the prober and keep it alive; raises HostError if it cannot be started at all."""
        if self._supervisor is None:
            self.open()
            first = ProberProcess(self._root) if self._door is None else None
            self._supervisor = asyncio.create_task(self._supervise(first))
            await asyncio.sleep(0)  # a task that is cancelled before its first step would never end the process

    def schedule(self, targets: Sequence[Target], limit: int = 0) -> None:
        """Probe these targets from now on, and no others, and one backend by at most `limit` probes at once (0: any).

        May be called at any time, also before start().
        """
        self._sharing.take(targets, self._authorities.text)
        self._limit = limit
        self._generation += 1
        self._scheduled = False
        self._changed.set()

    def drill(self, order: Order) -> None:
        """Have these flows open, and no others, from now on until the present process ends."""
        self._ordered = encode_order(replace(order, authority=self._authority(order)))
        self._changed.set()

    def prompt(self, pairs: Iterable[tuple[ServiceKey, Address]]) -> None:
        """Have these backends of services checked at once, as far as the schedule allows (schedule.py)."""
        if self._process is not None and (numbers := self._sharing.numbers(pairs)):
            self._prompted |= numbers
            self._changed.set()

    def _authority(self, order: Order) -> str:
        return self._authorities.text(order.check.ca) if order.check and order.check.ca else ""

    async def stop(self) -> None:
        """End the prober and wait for it; on_state is not called."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
            self._live = None
        if self._door is not None:
            self._door.close()

    async def _supervise(self, process: ProberProcess | Visitor | None) -> None:
        loop = asyncio.get_running_loop()
        delay, said = BACK_OFF[0], ""
        while True:
            began = loop.time()
            try:
                process = process or await self._next()
                await self._serve(process)
            except (ProberGone, HostError) as error:
                why = str(error)
            process = None
            if self._door is not None:
                # At a stop, systemd ends the prober first: nobody needs to be told then, and this is cancelled soon.
                await asyncio.sleep(BACK_OFF[0])
                if why != said:
                    log.warning("%s", why)
                said = why
                self._set_live(False, f"{why}; health is frozen until a prober is back")
                continue
            if loop.time() - began >= PROVEN:
                delay = BACK_OFF[0]
            log.warning("%s; next attempt in %g s", why, delay)
            self._set_live(False, f"{why}; health is frozen until a prober is back")
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACK_OFF[1])
            self.restarts += 1

    async def _next(self) -> ProberProcess | Visitor:
        """Start a prober, or wait for one at the door. Raises HostError; ProberGone where none comes."""
        if self._door is None:
            return ProberProcess(self._root)
        try:
            async with asyncio.timeout(SILENCE):
                visitor = await self._door.visitor()
        except TimeoutError:
            raise ProberGone(
                f"no prober has come to {self._door.path} for {SILENCE:g} s; see `systemctl status vc5-prober`"
            ) from None
        self._served += 1
        self.restarts = self._served - 1
        return visitor

    async def _serve(self, process: ProberProcess | Visitor) -> None:
        """Live with one process until it ends; raises ProberGone that says why."""
        self._process = process
        self._ticks = round((SILENCE - FIRST_WORD) / TICK)
        self.heartbeat = Heartbeat()
        self._spoke = self._scheduled = False
        self._ordered = b""
        self._prompted.clear()
        self._changed.set()
        tasks = [
            asyncio.create_task(self._read(process.connection)),
            asyncio.create_task(self._send_schedules(process.connection)),
            asyncio.create_task(self._watch()),
        ]
        patience, reason = FAREWELL, "stopped"
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for error in filter(None, [task.exception() for task in done]):
                reason = str(error)
                if not isinstance(error, ProberGone):
                    log.error("defect in a callback of the prober's client", exc_info=error)
            patience = FAREWELL if reason == CLOSED else 0.0
        finally:
            self.behind = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            how = await asyncio.shield(process.end(patience))
            self._process = None
        raise ProberGone(f"prober {process.pid}: {reason}, {how}")

    async def _read(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        while True:
            self.behind = False
            try:
                data = await loop.sock_recv(connection, 1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                raise ProberGone(CLOSED)
            self._ticks, self.behind, self._spoke = 0, True, True
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                await self._breathe()
                try:
                    message = decode_from_prober(line)
                except ValueError as error:
                    raise ProberGone(f"it said something malformed ({error})") from None
                if isinstance(message, Report):
                    await self._report(message)
                elif isinstance(message, tuple):
                    self.on_flows(message)
                else:
                    self._beat(message)
            if len(rest) > MAX_REPORT:
                raise ProberGone(f"it said something malformed (more than {MAX_REPORT} bytes in a message)")

    async def _breathe(self) -> None:
        """Let others have their turn, once in a while: thousands of results may come at once."""
        self._taken = (self._taken + 1) % TURN
        if not self._taken:
            await asyncio.sleep(0)

    async def _report(self, report: Report) -> None:
        """Give a result to everybody whom it is for."""
        if self.heartbeat.broken:
            self.distrusted += 1
            return
        subscribers = self._sharing.subscribers.get(report.number)
        if subscribers is None:
            self.stray += 1
            return
        answer = report.answer
        for one in subscribers:
            await self._breathe()
            if self._sharing.subscribers.get(report.number) is not subscribers:
                return  # there has been a reload: those that are left have the next result
            self._on_result(
                ProbeResult(
                    service=one.service,
                    backend=one.backend,
                    check=one.check,
                    outcome=answer.outcome,
                    diagnostic=answer.diagnostic,
                    at=report.at,
                    total_ns=answer.total_ns,
                    connect_ns=answer.connect_ns,
                    tls_ns=answer.tls_ns,
                    first_byte_ns=answer.first_byte_ns,
                    http_status=answer.http_status,
                    tls_version=answer.tls_version,
                    certificate_expires=answer.certificate_expires,
                    kind=one.kind,
                )
            )

    def _beat(self, heartbeat: Heartbeat) -> None:
        if heartbeat.trouble and heartbeat.trouble != self.heartbeat.trouble:
            log.warning("%d probes could not be sent: %s", heartbeat.unsent, heartbeat.trouble)
        self.heartbeat = heartbeat
        if heartbeat.broken:
            self._set_live(False, f"the checker itself is broken: {heartbeat.broken}; health is frozen until it works")
        elif heartbeat.unsent and not heartbeat.finished:
            self._set_live(False, f"no probe can be sent: {heartbeat.trouble}; health is frozen")
        elif heartbeat.finished or (heartbeat.generation == self._generation and not heartbeat.unsent):
            self._set_live(True, f"prober {self.pid} is running")

    async def _send_schedules(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            pieces, ordered, prompted = self._pieces(), self._ordered, self._prompted
            self._ordered, self._prompted = b"", set()
            try:
                for piece in pieces:
                    await loop.sock_sendall(connection, piece)
                    await asyncio.sleep(0)  # others want their turn
                if ordered:
                    await loop.sock_sendall(connection, ordered)
                if prompted:
                    await loop.sock_sendall(connection, encode_prompt(prompted))
            except ConnectionError:
                await asyncio.sleep(SILENCE)  # the reader notices at once, and knows more
                raise ProberGone(CLOSED) from None

    def _pieces(self) -> Iterator[bytes]:
        """The schedule, where the present process does not have it."""
        if self._scheduled or not self._generation:
            return iter(())
        self._scheduled = True
        return schedule_pieces(self._generation, self._sharing.probes(), self._limit)

    async def _watch(self) -> None:
        while self._ticks * TICK < SILENCE:
            await asyncio.sleep(TICK)
            self._ticks += 1
        raise ProberGone(f"it has been silent for {SILENCE if self._spoke else FIRST_WORD:g} s")

    def _set_live(self, live: bool, why: str) -> None:
        if live is not self._live:
            self._live = live
            self._on_state(live, why)
