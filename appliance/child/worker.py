"""What runs in a process that the daemon starts with a socket pair and tells by it how to work: its frame."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from appliance.child.channel import Channel, Handler

Settings = TypeVar("Settings")


class Worker(ABC, Generic[Settings]):
    """Works from the settings, which are the first thing the daemon tells, until the daemon hangs up.

    `answers` has a coroutine function for each question of the daemon.
    """

    FAREWELL: ClassVar[float]
    """Seconds to end what is under way, once the daemon is gone."""

    def __init__(
        self,
        connection: socket.socket,
        decode: Callable[[dict[str, Any]], Settings],
        answers: Mapping[str, Handler] | None = None,
    ) -> None:
        self._connection, self._decode = connection, decode
        self.settings: asyncio.Future[Settings] = asyncio.get_running_loop().create_future()
        self.channel = Channel(answers or {}, {"settings": self._heard})

    def _heard(self, message: dict[str, Any]) -> None:
        if not self.settings.done():
            self.settings.set_result(self._decode(message))

    @abstractmethod
    async def work(self, settings: Settings) -> None:
        """Do what this process is there for; ends only with an error."""

    async def run(self) -> None:
        """Talk and work. Raises what ended the work."""
        await self.channel.open(self._connection)
        talking = asyncio.create_task(self.channel.run())
        working = asyncio.create_task(self._work())
        done, _ = await asyncio.wait({talking, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait({working}, timeout=self.FAREWELL)
        for task in done:
            task.result()

    async def _work(self) -> None:
        await self.work(await self.settings)


def main(program: str, make: Callable[[socket.socket], Worker[Any]]) -> int:
    """Run with the descriptor of the socket, the process's one argument; returns the exit status."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--fd", type=int, required=True)
    descriptor = parser.parse_args().fd
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)

    async def run() -> None:
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        await make(connection).run()

    asyncio.run(run())
    return 0
