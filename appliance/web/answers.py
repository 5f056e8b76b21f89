"""What is answered by path: JSON of the daemon's answers, and metrics. Each is made once for all who ask at a time."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.errors import ControlError, Vc5Error
from appliance.web.document import document, prefixes

Ask = Callable[[], Awaitable[dict[str, Any]]]
Exposition = Callable[[Mapping[str, Any], str], tuple[bytes, str]]
"""Makes the text of metrics of a snapshot, and its content type, as the value of Accept wants it."""
JSON = {"Content-Type": "application/json"}
SNAPSHOT_SECONDS = 0.2
"""For which the numbers of one scrape are good enough for the next: no more of them than that, whoever asks."""
PACKED_FROM = 4096
"""Bytes below which nothing is compressed."""


@dataclass(frozen=True)
class Body:
    """An answer."""

    data: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    status: int = 200


@dataclass
class _Kept:
    body: Body
    until: float
    packed: Body | None = None


class Answers:
    """Has them. `ask` are the daemon's answers by name: metrics, status, config, prefixes, drops."""

    def __init__(self, ask: Mapping[str, Ask], exposition: Exposition, patience: float = 9.0) -> None:
        """`patience` are the seconds that an answer may take, those of others before it included."""
        self._ask, self._exposition, self._patience = ask, exposition, patience
        self._kept: dict[str, _Kept] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._made: dict[str, tuple[Callable[[], Awaitable[Body]], float]] = {
            "/status.json": (self._status, 1.0),
            "/config.json": (self._plain("config"), 1.0),
            "/prefixes.json": (self._prefixes, 5.0),
            "/drops.json": (self._plain("drops"), 1.0),
            "/healthz": (self._healthy, 0.5),
            "/readyz": (self._ready, 0.5),
        }
        """By path, what makes the answer, and for how many seconds it is good enough for others who ask."""
        self._snapshot: tuple[Mapping[str, Any], float] | None = None
        self.counts: dict[str, int] = {}
        """How often each path was answered."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What can be asked for."""
        return (*self._made, "/status.json.gz", "/metrics")

    async def of(self, path: str, accept: str, *, packed: bool) -> Body:
        """Return the answer; raises a Vc5Error where the daemon gives none."""
        self.counts[path] = self.counts.get(path, 0) + 1
        try:
            async with asyncio.timeout(self._patience):
                match path:
                    case "/metrics":
                        return await self._metrics(accept)
                    case "/status.json.gz":
                        return await self._json("/status.json", packed=True)
                return await self._json(path, packed=packed)
        except TimeoutError:
            why = f"the daemon did not answer within {self._patience:g} s"
            if path == "/healthz":
                return _not_healthy(why)
            if path == "/readyz":
                return _readiness({"ready": False, "why": why})
            raise ControlError(why) from None

    async def _json(self, path: str, *, packed: bool) -> Body:
        make, seconds = self._made[path]
        async with self._turns.setdefault(path, asyncio.Lock()):
            kept = self._kept.get(path)
            if kept is None or time.monotonic() >= kept.until:
                kept = self._kept[path] = _Kept(await make(), time.monotonic() + seconds)
            if not packed or (len(kept.body.data) < PACKED_FROM and not path.endswith(".gz")):
                return kept.body
            if kept.packed is None:
                data = await asyncio.to_thread(gzip.compress, kept.body.data, 1)
                headers = {**kept.body.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
                kept.packed = replace(kept.body, data=data, headers=headers)
            return kept.packed

    async def _status(self) -> Body:
        body = await self._ask["status"]()
        return Body(await asyncio.to_thread(lambda: _encoded(document(body))))

    def _plain(self, name: str) -> Callable[[], Awaitable[Body]]:
        async def make() -> Body:
            found = await self._ask[name]()
            return Body(await asyncio.to_thread(_encoded, found))

        return make

    async def _prefixes(self) -> Body:
        answer = await self._ask["prefixes"]()
        return Body(await asyncio.to_thread(prefixes, answer))

    async def _metrics(self, accept: str) -> Body:
        async with self._turns.setdefault("/metrics", asyncio.Lock()):
            now = time.monotonic()
            if self._snapshot is None or now >= self._snapshot[1]:
                self._snapshot = await self._ask["metrics"](), now + SNAPSHOT_SECONDS
            snapshot, _ = self._snapshot
            data, content_type = await asyncio.to_thread(self._exposition, snapshot, accept)
        return Body(data, {"Content-Type": content_type})

    async def _healthy(self) -> Body:
        """Whether the daemon works: it answers."""
        try:
            await self._ask["ready"]()
        except Vc5Error as error:
            return _not_healthy(str(error))
        return Body(_encoded({"ok": True}))

    async def _ready(self) -> Body:
        """Whether it forwards packets: there are tables, a program is attached, and nothing is waited for."""
        try:
            found = await self._ask["ready"]()
        except Vc5Error as error:
            found = {"ready": False, "why": str(error)}
        return _readiness(found)


def _not_healthy(why: str) -> Body:
    return Body(_encoded({"ok": False, "why": why}), status=503)


def _readiness(found: Mapping[str, Any]) -> Body:
    return Body(_encoded(found), status=200 if found.get("ready") else 503)


def _encoded(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
