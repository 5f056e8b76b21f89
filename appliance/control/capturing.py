"""The daemon's end of `vc5 bgp capture`: keeps messages while somebody asks for them, and hands them out.

    {"peer": null or ADDRESS, "seconds": 5, "after": null or NUMBER}
    {"messages": [{"at": 1764000000.1, "peer": ADDRESS, "direction": "sent", "hex": "ffff..."}], "after": 17, "lost": 0}

The answer comes as soon as there is a message after that number, or when the seconds are over; the next question begins
where it ended. Without a number it begins now. While nobody asks, a message costs a comparison.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from appliance.control.socket import Request
from appliance.errors import ControlError
from appliance.model import Address
from appliance.routing.status import Direction

MOST_OCTETS = 8 * 1024 * 1024
"""What is kept of messages that nobody has fetched yet; older ones are lost."""
MOST_MESSAGES = 1000
"""In one answer."""
MOST_SECONDS = 10.0
PATIENCE = 15.0
"""Seconds without a question after which nobody is taken to listen any more."""


@dataclass(frozen=True)
class Captured:
    """A message with its header, or several that went at once. `at` is wall-clock seconds."""

    number: int
    at: float
    peer: Address
    direction: Direction
    data: bytes

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {"at": self.at, "peer": str(self.peer), "direction": str(self.direction), "hex": self.data.hex()}


class Capturing:
    """What has been captured; `peers` are those that there are."""

    def __init__(self, peers: Callable[[], Collection[Address]]) -> None:
        self._peers = peers
        self._kept: deque[Captured] = deque()
        self._octets = 0
        self._number = 0
        self._until = 0.0
        self._news = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether somebody listens; what is taken while nobody does is forgotten at once."""
        return time.monotonic() < self._until

    def take(self, peer: Address, direction: Direction, data: bytes) -> None:
        """Note what was sent or received at once."""
        if not self.wanted:
            if self._kept:
                self._kept.clear()
                self._octets = 0
            return
        self._number += 1
        self._kept.append(Captured(self._number, time.time(), peer, direction, data))
        self._octets += len(data)
        while self._octets > MOST_OCTETS:
            self._octets -= len(self._kept.popleft().data)
        self._news.set()

    async def answer(self, request: Request) -> dict[str, Any]:
        """Answer a question; raises ControlError where it makes no sense, or is about a peer that there is not."""
        peer, seconds, after = self._read(request)
        end = time.monotonic() + seconds
        # Numbers begin anew with the daemon.
        after = self._number if after is None else min(after, self._number)
        self._until = end + PATIENCE
        while not (found := self._after(after, peer)) and (left := end - time.monotonic()) > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                pass
        lost = max(0, self._kept[0].number - after - 1) if self._kept else self._number - after
        last = found[-1].number if len(found) == MOST_MESSAGES else self._number
        return {"messages": [one.as_json() for one in found], "after": last, "lost": lost}

    def _after(self, number: int, peer: Address | None) -> list[Captured]:
        found = []
        for one in reversed(self._kept):
            if one.number <= number:
                break
            if peer in (None, one.peer):
                found.append(one)
        return found[::-1][:MOST_MESSAGES]

    def _read(self, request: Request) -> tuple[Address | None, float, int | None]:
        word, seconds, after = (request.arguments.get(name) for name in ("peer", "seconds", "after"))
        try:
            peer = None if word is None else ipaddress.ip_address(str(word))
        except ValueError:
            raise ControlError(f"{word!r} is no address of a peer") from None
        if peer is not None and peer not in self._peers():
            raise ControlError(f"{peer}: no peer of the running configuration; `vc5 bgp` lists them")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_SECONDS:
            raise ControlError(f'the request\'s "seconds" are not from 0 to {MOST_SECONDS:g}')
        if isinstance(after, bool) or not isinstance(after, int | None):
            raise ControlError('the request\'s "after" is no number of a message')
        return peer, float(seconds), after
