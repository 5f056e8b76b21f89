"""The real prober process, told what to probe by hand: everything that it says is kept, and read afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from appliance.health.messages import Heartbeat, Probe, Report, decode_from_prober, schedule_pieces
from appliance.health.process import ProberProcess
from appliance.paths import Root


class Probing:
    """A prober in the probe namespace of `root`, started as the daemon starts it. Needs a running event loop."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._generation = 0
        self._said: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._process = ProberProcess(self._root)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._process.end(1.0)

    @property
    def pid(self) -> int:
        """The prober's process."""
        return self._process.pid

    async def schedule(self, probes: Sequence[Probe]) -> None:
        """Probe these from now on, and no others."""
        self._generation += 1
        loop = asyncio.get_running_loop()
        for piece in schedule_pieces(self._generation, probes):
            await loop.sock_sendall(self._process.connection, piece)

    def said(self) -> tuple[list[Report], list[Heartbeat]]:
        """Return what the prober has said since this was last asked, and forget it; raises ValueError if it ended."""
        if self._reader.done():
            raise ValueError("the prober ended")
        *lines, rest = b"".join(self._said).split(b"\n")
        self._said = [rest]
        messages = [decode_from_prober(line) for line in lines]
        reports = [message for message in messages if isinstance(message, Report)]
        return reports, [message for message in messages if isinstance(message, Heartbeat)]

    async def _read(self) -> None:
        # Not decoded as it comes: that is the daemon's work, and would be counted among what disturbs the prober.
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._process.connection, 1 << 18):
            self._said.append(data)
