"""Long flows through the VIP: `python -m tests.lab.flows --target 203.0.113.10:7000 --sources 198.51.100.10 ...`.

Opens --busy connections that exchange checksummed pseudo-random frames with an echo server all the time, and --idle
ones that are greeted, keep silent, and speak only at the end. No flow ever reconnects: once broken it stays broken.
A flow is broken when it is reset, closed or refused, when a byte is wrong, or when an answer takes over --patience s.

Commands: `status`; `more N SECONDS` opens N busy flows in that time (answered with `opened`); `stop` lets every flow
finish what it is saying, the idle ones speak, and all compare the SHA-256 of the whole conversation. See
tests.lab.dialogue.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import socket
import time
from dataclasses import asdict, dataclass

from tests.lab.dialogue import commands, emit
from tests.lab.source import Source, add_arguments, moving_cpus, source_of, target_of
from tests.lab.wire import BYE, DATA, FAULT, HELLO, Frame, WireError, read_frame

SMALLEST, LARGEST = 16, 4000
"""Payload bytes; the largest makes three segments."""
LAST_WORDS = 5
"""Frames that an idle flow says at the end."""
KEEPALIVE = {socket.TCP_KEEPIDLE: 2, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 127}
"""Of busy flows, seconds and a number: whose words have arrived and are not answered has nothing to repeat, and nobody
can tell it that its server is dead unless it asks."""


@dataclass
class FlowRecord:
    """The account of one flow. Times at which are CLOCK_MONOTONIC, which all processes of a machine share; 0: never."""

    number: int
    idle: bool
    source: str = ""
    port: int = 0
    backend: str = ""
    state: str = "opening"
    """opening, open, done (finished, all sums agree) or broken."""
    reason: str = ""
    frames: int = 0
    bytes: int = 0
    """Payload bytes, each way."""
    opened_at: float = 0.0
    """When its backend had greeted."""
    longest_stall: float = 0.0
    """Seconds of the longest wait for an answer, one that is still awaited included."""
    broken_at: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What all flows have in common; times are seconds."""

    target: tuple[str, int]
    source: Source
    interval: float
    patience: float
    largest: int = LARGEST


class Flow:
    """One TCP connection and its account."""

    def __init__(self, number: int, idle: bool, plan: Plan) -> None:
        self.record = FlowRecord(number, idle)
        self.greeted = asyncio.Event()
        """Set when the flow is open, or broken before that."""
        self.plan = plan
        self._random = random.Random(number)
        self._digest = hashlib.sha256()
        self._waiting_since: float | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    # ---- what kinds of flows do in their own way

    async def greet(self) -> str:
        """Open the flow, and return the name of the backend."""
        connection = await asyncio.wait_for(self.plan.source.connect(self.plan.target), self.plan.patience)
        self.record.source, self.record.port = connection.getsockname()[:2]
        if not self.record.idle:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE.items():
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._reader, self._writer = await asyncio.open_connection(sock=connection)
        return (await self.answer(HELLO, 0)).decode()

    async def ask(self, kind: bytes, number: int, payload: bytes) -> bytes:
        """Send a frame, and return the payload of its answer."""
        assert self._writer
        self._writer.write(Frame(kind, number, payload).encode())
        return await self.answer(kind, number)

    async def next_frame(self) -> Frame:
        """Return the next frame that arrives."""
        return await asyncio.wait_for(read_frame(self._reader), self.plan.patience)

    def close(self) -> None:
        """Let go of the socket."""
        if self._writer:
            self._writer.close()

    # ---- what all do

    async def run(self, stop: asyncio.Event, begin_after: float) -> None:
        """Live from the first packet, in so many seconds, to the last; never raises."""
        try:
            await asyncio.sleep(begin_after)
            self.record.backend = await self.greet()
            self.record.state, self.record.opened_at = "open", time.monotonic()
            self.greeted.set()
            await self._live(stop)
            self.record.state = "done"
        except TimeoutError:
            self._break(f"no answer within {self.plan.patience:g} s")
        except asyncio.IncompleteReadError:
            self._break("closed by the other side")
        except (OSError, WireError) as error:
            self._break(str(error))
        finally:
            self.greeted.set()
            self.close()

    def _break(self, reason: str) -> None:
        self.record.state, self.record.reason, self.record.broken_at = "broken", reason, time.monotonic()

    async def _live(self, stop: asyncio.Event) -> None:
        if self.record.idle:
            await stop.wait()
            for _ in range(LAST_WORDS):
                await self._exchange()
        else:
            await _pause(stop, self._random.random() * self.plan.interval)  # not all in step
            while not stop.is_set():
                await self._exchange()
                await _pause(stop, self.plan.interval)
        if await self.ask(BYE, self.record.frames, b"") != self._digest.digest():
            raise WireError("the other side received something else than was sent")

    async def _exchange(self) -> None:
        payload = self._random.randbytes(self._random.randint(SMALLEST, self.plan.largest))
        self._digest.update(payload)
        if (await self.ask(DATA, self.record.frames, payload))[::-1] != payload:
            raise WireError(f"the answer to frame {self.record.frames} is not what was said")
        self.record.frames += 1
        self.record.bytes += len(payload)

    async def answer(self, kind: bytes, number: int) -> bytes:
        """Return the payload of the next frame, which must be this one."""
        self._waiting_since = time.monotonic()
        try:
            frame = await self.next_frame()
        finally:
            self.note_stall()
            self._waiting_since = None
        if frame.kind == FAULT:
            raise WireError(f"{self.record.backend} complains: {frame.payload.decode()}")
        if (frame.kind, frame.number) != (kind, number):
            raise WireError(f"frame {frame.kind!r} {frame.number} came instead of {kind!r} {number}")
        return frame.payload

    def note_stall(self) -> None:
        """Bring `longest_stall` up to date."""
        if self._waiting_since is not None:
            self.record.longest_stall = max(self.record.longest_stall, time.monotonic() - self._waiting_since)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass


async def run(plan: Plan, busy: int, idle: int, kind: type[Flow]) -> None:
    """Hold the flows until told to stop."""
    flows: list[Flow] = []
    tasks: list[asyncio.Task[None]] = []
    stop = asyncio.Event()

    async def start(count: int, is_idle: bool, seconds: float = 0.0) -> None:
        new = [kind(len(flows) + n, is_idle, plan) for n in range(count)]
        flows.extend(new)
        tasks.extend(asyncio.create_task(flow.run(stop, seconds * n / count)) for n, flow in enumerate(new))
        for flow in new:
            await flow.greeted.wait()

    def account() -> list[dict[str, object]]:
        for flow in flows:
            flow.note_stall()
        return [asdict(flow.record) for flow in flows]

    await start(busy, False)
    await start(idle, True)
    emit("ready", flows=account())
    async for command in commands():
        verb, *words = command.split()
        if verb == "more":
            await start(int(words[0]), False, float(words[1]))
            emit("opened", flows=account())
        else:
            emit("status", flows=account())
    stop.set()
    await asyncio.gather(*tasks)
    emit("report", flows=account())


async def main(name: str, description: str | None, kind: type[Flow], largest: int) -> None:
    """Be the tool of this name, with flows of this kind, and payloads of at most so many bytes."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.lab.{name}", description=description)
    add_arguments(parser)
    parser.add_argument("--busy", type=int, default=200)
    parser.add_argument("--idle", type=int, default=50)
    parser.add_argument("--interval", type=float, default=0.2, help="seconds that a busy flow pauses after an answer")
    parser.add_argument(
        "--patience", type=float, default=15.0, help="seconds after which a missing answer breaks a flow"
    )
    given = parser.parse_args()
    plan = Plan(target_of(given), source_of(given), given.interval, given.patience, largest)
    async with moving_cpus(given.alternate):
        await run(plan, given.busy, given.idle, kind)


if __name__ == "__main__":
    asyncio.run(main("flows", __doc__, Flow, LARGEST))
