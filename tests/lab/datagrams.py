"""UDP flows through the VIP: `python -m tests.lab.datagrams --target 203.0.113.10:7000 --sources 198.51.100.10 ...`.

Each of --count flows has a socket of its own and asks, every --interval seconds, one checksummed question that an echo
server answers with its name. A question without an answer within --patience s is lost. A flow that is answered by
another backend than before has moved; both are kept with their time. Commands: `status`, `stop`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import time
from dataclasses import asdict, dataclass, field

from tests.lab.dialogue import commands, emit
from tests.lab.source import Source, add_arguments, moving_cpus, source_of, target_of
from tests.lab.wire import DATA, LONGEST, Frame, WireError, decode

SMALLEST, LARGEST = 16, 1200


@dataclass
class DatagramRecord:
    """The account of one UDP flow. Times are CLOCK_MONOTONIC, which all processes of a machine share."""

    number: int
    source: str = ""
    port: int = 0
    asked: int = 0
    answered: int = 0
    corrupt: int = 0
    refused: int = 0
    """Answered by ICMP port unreachable; counted as lost as well."""
    lost_at: list[float] = field(default_factory=list)
    """When each lost question was asked."""
    backends: list[tuple[float, str]] = field(default_factory=list)
    """Who answered, each time it was somebody else than before: more than one entry means that the flow moved."""


@dataclass(frozen=True)
class Plan:
    """What all flows have in common; times are seconds."""

    target: tuple[str, int]
    source: Source
    interval: float
    patience: float


async def ask(record: DatagramRecord, plan: Plan, stop: asyncio.Event) -> None:
    """Hold one flow until `stop`."""
    chance = random.Random(record.number)
    connection = await plan.source.connect(plan.target, socket.SOCK_DGRAM)
    with connection:
        record.source, record.port = connection.getsockname()[:2]
        await asyncio.sleep(chance.random() * plan.interval)  # not all in step
        while not stop.is_set():
            question = Frame(DATA, record.asked, chance.randbytes(chance.randint(SMALLEST, LARGEST)))
            asked_at = time.monotonic()
            record.asked += 1
            try:
                name = await asyncio.wait_for(_ask_once(connection, question, record), plan.patience)
            except TimeoutError:
                record.lost_at.append(asked_at)
            except ConnectionRefusedError:
                record.refused += 1
                record.lost_at.append(asked_at)
            except WireError:
                record.corrupt += 1
            else:
                record.answered += 1
                if not record.backends or record.backends[-1][1] != name:
                    record.backends.append((asked_at, name))
            await asyncio.sleep(max(0.0, asked_at + plan.interval - time.monotonic()))


async def _ask_once(connection: socket.socket, question: Frame, record: DatagramRecord) -> str:
    """Return the name of whoever answered. Raises WireError for a wrong answer; passes over late ones."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, question.encode())
    while True:
        answer = decode(await loop.sock_recv(connection, LONGEST))
        if answer.number == question.number:
            name, _, payload = answer.payload.partition(b"\0")
            if payload[::-1] != question.payload:
                raise WireError(f"the answer to {question.number} is not what was asked")
            return name.decode()


async def run(plan: Plan, count: int) -> None:
    """Hold the flows until told to stop."""
    stop = asyncio.Event()
    records = [DatagramRecord(number) for number in range(count)]
    tasks = [asyncio.create_task(ask(record, plan, stop)) for record in records]
    while not all(record.asked for record in records):
        await asyncio.sleep(0.01)
    emit("ready", flows=[asdict(record) for record in records])
    async for _ in commands():
        emit("status", flows=[asdict(record) for record in records])
    stop.set()
    await asyncio.gather(*tasks)
    emit("report", flows=[asdict(record) for record in records])


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.datagrams", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between the questions of one flow")
    parser.add_argument("--patience", type=float, default=1.0, help="seconds after which an answer counts as lost")
    given = parser.parse_args()
    plan = Plan(target_of(given), source_of(given), given.interval, given.patience)
    async with moving_cpus(given.alternate):
        await run(plan, given.count)


if __name__ == "__main__":
    asyncio.run(main())
