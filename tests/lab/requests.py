"""HTTP requests through the VIP: `python -m tests.lab.requests --target 203.0.113.10:80 --sources 198.51.100.10 ...`.

Each request is a new connection. They begin at --rate a second, or fewer while --together are under way; --count
ends the tool by itself. A request fails when it is refused, reset, cut short, answered with another status than
200, takes over --timeout s, or when the body's SHA-256 is not that of the header X-Body-SHA256; the reason is kept.

Commands: `status` (with the requests that are under way, so that one can see who serves a long download); `stop`
begins no more requests and waits for those under way. See tests.lab.dialogue.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ssl
import time
from dataclasses import asdict, dataclass

from tests.lab.dialogue import commands, emit
from tests.lab.source import Source, add_arguments, moving_cpus, source_of, target_of

CHUNK = 1 << 16


class BadAnswer(Exception):
    """The answer is not what a client should get."""


@dataclass
class RequestRecord:
    """The account of one request. `began` is CLOCK_MONOTONIC, which all processes of a machine share."""

    number: int
    began: float
    seconds: float = 0.0
    """From the first packet to the last byte, or to the failure."""
    source: str = ""
    port: int = 0
    backend: str = ""
    status: int = 0
    bytes: int = 0
    """Body bytes received."""
    failure: str = ""
    done: bool = False


@dataclass(frozen=True)
class Plan:
    """What all requests have in common; `timeout` is seconds."""

    target: tuple[str, int]
    source: Source
    path: str
    timeout: float
    tls: ssl.SSLContext | None


async def request(record: RequestRecord, plan: Plan) -> None:
    """Make one request; never raises."""
    try:
        await asyncio.wait_for(_request(record, plan), plan.timeout)
    except TimeoutError:
        record.failure = f"timeout after {plan.timeout:g} s"
    except asyncio.IncompleteReadError as error:
        record.failure = f"closed in the middle of the head ({len(error.partial)} bytes)"
    except (OSError, BadAnswer) as error:
        record.failure = str(error) or type(error).__name__
    record.seconds = time.monotonic() - record.began
    record.done = True


async def _request(record: RequestRecord, plan: Plan) -> None:
    connection = await plan.source.connect(plan.target)
    record.source, record.port = connection.getsockname()[:2]
    host = plan.target[0]
    reader, writer = await asyncio.open_connection(
        sock=connection, ssl=plan.tls, server_hostname=host if plan.tls else None
    )
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(f"GET {plan.path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        record.status = _status(head[0])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        record.backend = fields.get("x-backend", "")
        await _read_body(record, reader, fields)
    finally:
        writer.close()
    if record.status != 200:
        raise BadAnswer(f"status {record.status}")


def _status(line: str) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise BadAnswer(f"this is no status line: {line!r}")
    return int(words[1])


async def _read_body(record: RequestRecord, reader: asyncio.StreamReader, fields: dict[str, str]) -> None:
    digest = hashlib.sha256()
    while chunk := await reader.read(CHUNK):
        record.bytes += len(chunk)
        digest.update(chunk)
    if record.bytes != (expected := int(fields.get("content-length", record.bytes))):
        raise BadAnswer(f"cut short after {record.bytes} of {expected} bytes")
    if fields.get("x-body-sha256", digest.hexdigest()) != digest.hexdigest():
        raise BadAnswer("the body has a wrong SHA-256")


class Loop:
    """Begins requests at a bounded rate and keeps their accounts."""

    def __init__(self, plan: Plan, rate: float, together: int, count: int) -> None:
        self._plan = plan
        self._rate = rate
        self._together = asyncio.Semaphore(together)
        self._count = count
        self._records: list[RequestRecord] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Make requests until all of --count are done, or for ever."""
        next_at = time.monotonic()
        while not self._count or len(self._records) < self._count:
            await self._together.acquire()
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            next_at = max(next_at, time.monotonic() - 1) + 1 / self._rate  # catches up with at most one second
            record = RequestRecord(len(self._records), time.monotonic())
            self._records.append(record)
            self._tasks.append(asyncio.create_task(self._one(record)))
        await self.finish()

    async def _one(self, record: RequestRecord) -> None:
        await request(record, self._plan)
        self._together.release()

    async def finish(self) -> None:
        """Wait for the requests under way."""
        await asyncio.gather(*self._tasks)

    def account(self) -> list[dict[str, object]]:
        """Return the accounts of all requests so far, JSON-ready."""
        return [asdict(record) for record in self._records]


async def run(loop: Loop) -> None:
    """Make requests until told to stop, or until all of --count are answered."""
    emit("ready")
    requests = asyncio.create_task(loop.run())
    orders = asyncio.create_task(_obey(loop))
    await asyncio.wait({requests, orders}, return_when=asyncio.FIRST_COMPLETED)
    requests.cancel()
    await loop.finish()
    orders.cancel()
    emit("report", requests=loop.account())


async def _obey(loop: Loop) -> None:
    async for _ in commands():
        emit("status", requests=loop.account())


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.requests", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--path", default="/")
    parser.add_argument("--tls", action="store_true", help="speak TLS; the certificate is not verified")
    parser.add_argument("--rate", type=float, default=100.0, help="requests begun in a second")
    parser.add_argument("--together", type=int, default=100, help="most requests under way at one time")
    parser.add_argument("--count", type=int, default=0, help="requests in all; 0: until told to stop")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds for a whole request")
    given = parser.parse_args()
    tls = None
    if given.tls:
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    plan = Plan(target_of(given), source_of(given), given.path, given.timeout, tls)
    async with moving_cpus(given.alternate):
        await run(Loop(plan, given.rate, given.together, given.count))


if __name__ == "__main__":
    asyncio.run(main())
