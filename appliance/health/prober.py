"""The prober process: runs the checks inside the probe namespace and tells the daemon how they ended.

    python -m appliance.health.prober --socket PATH      connects to the unix socket at PATH
    python -m appliance.health.prober --await PATH       the same, and where nobody listens yet, waits for a minute
    python -m appliance.health.prober --fd N             uses the connected stream socket N that it inherited

It parses what backends send, so it holds nothing worth stealing: no file, no map, no route, only CAP_NET_RAW. It ends
by itself when the daemon closes the socket (exit 0), and with a message when the daemon says something malformed
(exit 1). It keeps no verdicts: what it does not know, it cannot get wrong.

Nothing is probed before the checker has looked at itself (selfcheck.py).

If the daemon does not read, results pile up to BACKLOG and no further probe is started until they have gone.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import sys
from contextlib import suppress
from functools import partial
from math import ceil
from random import random
from time import monotonic, process_time_ns, sleep, time

from appliance.child.watchdog import alive
from appliance.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from appliance.health import grid
from appliance.health.diagnostic import printable
from appliance.health.drill import MOST_AT_ONCE, decode_order, is_order
from appliance.health.drilling import Drilling
from appliance.health.following import Following
from appliance.health.messages import (
    MAX_SCHEDULE,
    Heartbeat,
    Report,
    decode_prompt,
    decode_schedule,
    encode_heartbeat,
    encode_report,
    is_prompt,
)
from appliance.health.ports import Ports
from appliance.health.probes.failure import ProbeNotSent
from appliance.health.runner import Job, Runner
from appliance.health.schedule import Schedule
from appliance.health.selfcheck import SelfCheck
from appliance.model import Outcome

HEARTBEAT = 1.0
"""Seconds between heartbeats."""
FLUSH = 0.01
"""Seconds for which results are gathered into one write ..."""
STEADY = 0.25
"""... and for which those wait that tell what the daemon knows already, unless others are sent."""
COMPANY = 32
"""Results that wait for no more."""
BURST = 16
"""Probes started before answers that have arrived have their turn: a start is not allowed to delay them."""
MOST_OUTSTANDING = 8192
BACKLOG = 20000
"""Messages that wait for the daemon, at most."""
SPARE_DESCRIPTORS = 32
PATIENCE, LOOK = 60.0, 0.1
"""Seconds for which a daemon that does not listen is waited for (another version may be about to replace it), and from
one look to the next."""


class Prober:
    """Everything the process does, on one event loop and one socket to the daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, daemon: socket.socket, limit: int) -> None:
        self._loop = loop
        self._daemon = daemon
        self._ports = Ports(random)
        self._runner = Runner(loop, self._ports)
        self._selfcheck = SelfCheck(loop, self._runner, self._self_checked)
        self._drilling = Drilling(loop, lambda message: self._say(message, pressing=False))
        self._schedule = Schedule(random, limit)
        self._following = Following(loop, self._runner, self._schedule)
        self._generation = 0
        self._grid = grid.NARROWEST
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._outbox: list[bytes] = []
        self._filled, self._pressing = asyncio.Event(), asyncio.Event()
        self._finished = self._unsent = 0
        self._trouble = ""

    async def run(self) -> None:
        """Work until the daemon closes the socket; raises ValueError if it says something malformed."""
        helpers = [self._loop.create_task(each) for each in (self._write(), self._beat(), self._selfcheck.run())]
        try:
            await self._read()
        except ConnectionError:
            return
        finally:
            if self._alarm:
                self._alarm.cancel()
            tasks = [*helpers, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._drilling.close()
            self._runner.close()

    async def _read(self) -> None:
        buffer = bytearray()
        while True:
            data = await self._loop.sock_recv(self._daemon, 1 << 18)
            if not data:
                return
            searched = len(buffer)
            buffer += data
            while (end := buffer.find(b"\n", searched)) >= 0:
                self._take(bytes(buffer[:end]))
                del buffer[: end + 1]
                searched = 0
            if len(buffer) > MAX_SCHEDULE:
                raise ValueError(f"a message of more than {MAX_SCHEDULE} bytes")

    def _take(self, line: bytes) -> None:
        """Put a schedule in force, have a drill's flows open, or have probes run at once."""
        if is_order(line):
            self._drilling.configure(decode_order(line))
            return
        if is_prompt(line):
            self._schedule.prompt(decode_prompt(line), self._loop.time())
            self._plan()
            return
        # What a schedule consists of stays as long as the schedule: looking through all of it for garbage again and
        # again would take more time than probing.
        gc.unfreeze()
        gc.collect()
        gc.disable()
        schedule = decode_schedule(line)
        self._generation = schedule.generation
        self._jobs = {probe.number: Job.of(probe) for probe in schedule.probes}
        self._grid = grid.width(probe.check.interval for probe in schedule.probes)
        now = self._loop.time()
        self._following.configure(schedule.probes)
        gone = self._schedule.configure(
            {probe.number: probe.check for probe in schedule.probes},
            now,
            backends={probe.number: probe.backend for probe in schedule.probes},
            leaders={probe.number: probe.leader for probe in schedule.probes if probe.leader},
            each=schedule.limit,
            grid=grid.meeting(self._grid),
        )
        for number in gone:
            self._tasks[number].cancel()
        destinations = frozenset(job.destination for job in self._jobs.values()) | self._following.destinations()
        self._ports.forget_idle(destinations, now)
        gc.freeze()
        gc.enable()
        self._say_heartbeat()
        self._start_due()

    def _self_checked(self) -> None:
        self._say_heartbeat()
        self._start_due()

    def _start_due(self) -> None:
        """Start what is due, a few at a time, and set the alarm for the next."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if len(self._outbox) >= BACKLOG or not self._selfcheck.ready:
            return
        now = self._loop.time()
        for number in self._schedule.start_due(now, BURST):
            task = self._tasks[number] = self._loop.create_task(self._probe(self._jobs[number]))
            task.add_done_callback(partial(self._ended, number))
        self._plan()

    async def _probe(self, job: Job) -> None:
        self._schedule.begun(job.number, self._loop.time())
        try:
            answer, leaning = await self._following.run(job)
        except ProbeNotSent as error:
            self._not_sent(job, str(error))
        except Exception as error:
            # A defect of ours, maybe provoked by one backend: it may cost neither the other probes nor a verdict.
            self._not_sent(job, printable(f"defect in the prober: {error!r}"))
        else:
            if self._schedule.finish(job.number, answer.outcome, self._loop.time(), leaning=leaning):
                self._finished += 1
                report = encode_report(Report(job.number, time(), answer))
                self._say(report, pressing=self._schedule.telling(job.number))
                if answer.outcome is not Outcome.OK:
                    if self._schedule.doubted(job.number):
                        self._selfcheck.suspect()
                elif not leaning:
                    self._following.learn(job.number, answer)
        self._plan()

    def _not_sent(self, job: Job, why: str) -> None:
        self._unsent += 1
        self._trouble = why
        self._schedule.postpone(job.number, self._loop.time())

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        if self._tasks.get(number) is task:
            del self._tasks[number]

    def _plan(self) -> None:
        """Make sure that the alarm is set for the next probe that is due."""
        due = self._schedule.next_due()
        if due is not None and (self._alarm is None or due < self._alarm.when() - self._grid):
            if self._alarm:
                self._alarm.cancel()
            # What is due at a moment of the grid is not to wait for the next one because of how it was reckoned.
            self._alarm = self._loop.call_at(ceil(due / self._grid - 1e-6) * self._grid, self._start_due)

    def _say(self, message: bytes, *, pressing: bool = True) -> None:
        self._outbox.append(message)
        if len(self._outbox) == 1:
            self._filled.set()
        if pressing or len(self._outbox) == COMPANY:
            self._pressing.set()

    async def _write(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(STEADY):
                    await self._pressing.wait()
                    await asyncio.sleep(FLUSH)
            self._pressing.clear()
            batch, self._outbox = b"".join(self._outbox), []
            try:
                await self._loop.sock_sendall(self._daemon, batch)
            except ConnectionError:
                return  # the reader notices too, and ends the process
            self._plan()

    async def _beat(self) -> None:
        while True:
            self._say_heartbeat(pressing=False)
            alive()
            await asyncio.sleep(HEARTBEAT)

    def _say_heartbeat(self, *, pressing: bool = True) -> None:
        if len(self._outbox) >= BACKLOG:
            return
        starts, late = self._schedule.lateness.take()
        heartbeat = Heartbeat(
            generation=self._generation if self._selfcheck.ready else 0,
            finished=self._finished,
            unsent=self._unsent,
            trouble=self._trouble,
            outstanding=self._schedule.outstanding,
            late_ms=int(late * 1000),
            starts=starts,
            cpu_ns=process_time_ns(),
            broken=self._selfcheck.broken,
        )
        self._finished = self._unsent = 0
        self._trouble = ""
        self._say(encode_heartbeat(heartbeat), pressing=pressing)


def descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; return how many probes may be outstanding."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OUTSTANDING + MOST_AT_ONCE + SPARE_DESCRIPTORS
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(1, min(MOST_OUTSTANDING, limit - SPARE_DESCRIPTORS))


def called(path: str) -> socket.socket:
    """Return a connection to the socket at `path`; raises OSError."""
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        daemon.connect(path)
    except OSError:
        daemon.close()
        raise
    return daemon


def connect(arguments: list[str]) -> socket.socket:
    """Return the socket that the command line names; raises ValueError for a wrong one, OSError if it is not there."""
    match arguments:
        case ["--socket", path]:
            daemon = called(path)
        case ["--await", path]:
            deadline = monotonic() + PATIENCE
            while monotonic() < deadline:
                try:
                    daemon = called(path)
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    sleep(LOOK)
            else:
                daemon = called(path)
        case ["--fd", number] if number.isascii() and number.isdigit():
            daemon = socket.socket(fileno=int(number))
        case _:
            raise ValueError("usage: python -m appliance.health.prober --socket PATH | --await PATH | --fd N")
    daemon.setblocking(False)
    return daemon


async def serve(daemon: socket.socket) -> None:
    """Run the prober on the current event loop."""
    await Prober(asyncio.get_running_loop(), daemon, descriptor_limit()).run()


def main(arguments: list[str]) -> int:
    """Run the process; return its exit status."""
    try:
        daemon = connect(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"prober: cannot reach the daemon: {os.strerror(error.errno or 0)}; is vc5 running?", file=sys.stderr)
        return EXIT_FAILED
    try:
        asyncio.run(serve(daemon))
    except ValueError as error:
        print(f"prober: malformed message from the daemon: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_OK
    finally:
        daemon.close()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
