"""Where a traffic tool's packets come from: source addresses and ports, and the CPU that sends them."""

from __future__ import annotations

import argparse
import asyncio
import errno
import itertools
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LOWEST_PORT, HIGHEST_PORT = 1024, 59999
"""The rest belongs to the kernel in the lab, which hands it out to connect()."""
BUSY = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


class Source:
    """Hands out (address, port) pairs, addresses in turn, ports in a shuffled walk through the whole range."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._drawn = 0
        self._port = random.randrange(LOWEST_PORT, HIGHEST_PORT)

    def next_pair(self) -> tuple[str, int]:
        """Return the next pair; the step 7,919 has no factor in common with the number of ports."""
        self._drawn += 1
        self._port = LOWEST_PORT + (self._port - LOWEST_PORT + 7919) % (HIGHEST_PORT - LOWEST_PORT + 1)
        return self._addresses[self._drawn % len(self._addresses)], self._port

    async def connect(self, target: tuple[str, int], kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Return a non-blocking socket that is bound to the next free pair and connected. Raises OSError."""
        while True:
            connection = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, kind)
            try:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                connection.bind(self.next_pair())
                await asyncio.get_running_loop().sock_connect(connection, target)
                return connection
            except BaseException as error:
                connection.close()
                if not isinstance(error, OSError) or error.errno not in BUSY:
                    raise


@asynccontextmanager
async def moving_cpus(period: float) -> AsyncIterator[None]:
    """Move this process to the next CPU every `period` seconds (0: never) for the time of the block.

    A veth hands a frame on in the softirq of the CPU that sent it, so every flow is then seen on every CPU in turn.
    """
    mover = asyncio.create_task(_move(period)) if period else None
    try:
        yield
    finally:
        if mover:
            mover.cancel()


async def _move(period: float) -> None:
    for cpu in itertools.cycle(sorted(os.sched_getaffinity(0))):
        os.sched_setaffinity(0, {cpu})
        await asyncio.sleep(period)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that every traffic tool has."""
    parser.add_argument("--target", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--sources", required=True, metavar="ADDRESS,...", help="source addresses, used in turn")
    parser.add_argument(
        "--alternate", type=float, default=0.05, metavar="SECONDS", help="time on each CPU; 0: do not move"
    )


def target_of(arguments: argparse.Namespace) -> tuple[str, int]:
    """Return the option --target as address and port; an IPv6 address stands in brackets."""
    address, _, port = arguments.target.rpartition(":")
    return address.removeprefix("[").removesuffix("]"), int(port)


def source_of(arguments: argparse.Namespace) -> Source:
    """Return the option --sources as a Source."""
    return Source(arguments.sources.split(","))
