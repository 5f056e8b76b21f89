"""The daemon's tools against floods: the drop list that operators change, and who sends most."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.config.findings import Invalid
from appliance.config.kinds import Duration
from appliance.config.prefixes import BlockedPrefix
from appliance.control.blocks import LONGEST, NOTE, Block, moment, warning
from appliance.control.socket import Peer, Request
from appliance.control.sources import MOST, Biggest, Snapshot, SourceCounts, pages
from appliance.dataplane.abi import SOURCE_SAMPLE
from appliance.dataplane.enums import Reason
from appliance.errors import ControlError, RequestError
from appliance.model import EventKind, Network

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

TOP = 20


class Blocking:
    """What `vc5 block` and `vc5 prefixes` ask of a running daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._counts = SourceCounts()

    def look(self, now: float) -> bool:
        """Every second: let blocks end, and note who sent how much. Returns whether blocks have ended."""
        self._counts.look(self._sources(), now)
        gone = self._daemon.instance.state.blocks.expire(time.time())
        for block in gone:
            self._daemon.record(EventKind.DAEMON, f"{block.prefix} is blocked no more: the time is over")
        return bool(gone)

    async def add(self, request: Request) -> dict[str, Any]:
        """Block a prefix; raises RequestError, and whatever stands in the way of another program."""
        given, now = request.arguments, time.time()
        seconds, note = _duration(given.get("for")), given.get("note") or ""
        if not isinstance(note, str) or len(note) > NOTE:
            raise ControlError(f"the note must be a text of at most {NOTE} characters")
        until = None if seconds is None else round(now + seconds, 3)
        block = Block(_prefix(given), round(now, 3), until, _who(request.peer), note)
        # What has begun is brought to its end even if the one who asked goes away.
        return await asyncio.shield(asyncio.ensure_future(self._add(block, force=given.get("force") is True)))

    async def _add(self, block: Block, *, force: bool) -> dict[str, Any]:
        daemon = self._daemon
        async with daemon.reloading:
            state = daemon.instance.state
            state.blocks.check(block, state.config.block, force=force)
            await self._have_a_program()
            state = daemon.instance.state
            before = state.blocks.add(block, state.config.block, force=force)
            try:
                daemon.changed()
            except BaseException:
                state.blocks.put_back(block.prefix, before)
                raise
        end = f"until {moment(block.until)}" if block.until is not None else "until it is removed"
        note = f": {block.note}" if block.note else ""
        daemon.record(EventKind.OPERATOR, f"block {block.prefix} {end}, by {block.who}{note}")
        daemon.recorder.flush_soon()
        warned = warning(block.prefix, state.config, daemon.watch.snapshot())
        return {
            **block.as_json,
            "message": f"{block.prefix} is blocked {end}",
            "warnings": [warned] if warned else [],
        }

    async def _have_a_program(self) -> None:
        """Put a program in force that looks at sources, where the running one does not: for the first prefix ever."""
        instance = self._daemon.instance
        running = instance.data.shape()
        if running is None or running.blocks:
            return
        instance.blocks = True
        try:
            await self._daemon.reconfigure(instance.state.config)
        except BaseException:
            instance.blocks = False
            raise
        self._daemon.prober.schedule(instance.targets(), instance.state.config.max_probes)

    async def remove(self, request: Request) -> dict[str, Any]:
        """Take a block back; raises RequestError."""
        prefix, daemon = _prefix(request.arguments), self._daemon
        async with daemon.reloading:
            state = daemon.instance.state
            block = state.blocks.remove(prefix, state.config.block)
            try:
                daemon.changed()
            except BaseException:
                state.blocks.put_back(prefix, block)
                raise
        daemon.record(EventKind.OPERATOR, f"unblock {prefix}, by {_who(request.peer)}")
        daemon.recorder.flush_soon()
        others = [one for one in state.blocks.networks(state.config.block) if one.overlaps(prefix)]
        still = f"; still blocked: {', '.join(map(str, others[:4]))}" if others else ""
        return {**block.as_json, "message": f"{prefix} is blocked no more{still}"}

    async def list(self, request: Request) -> dict[str, Any]:
        """Return all that is blocked: the configuration's, then the operators'."""
        state = self._daemon.instance.state
        return {
            "configuration": [str(prefix) for prefix in state.config.block],
            "operator": state.blocks.snapshot(),
            "dropped": self._dropped(),
        }

    def _dropped(self) -> int:
        generation = self._daemon.instance.data.generation
        return generation.memory.reason(Reason.BLOCKED) if generation is not None else 0

    async def prefixes(self, request: Request) -> dict[str, Any]:
        """Return the prefixes that send most, or with `all` every counter, compressed."""
        top, counts = request.arguments.get("top", TOP), self._sources()
        if counts is None:
            raise RequestError(
                "packets are not counted by prefix; set `count_prefixes: yes` in the configuration, and `vc5 reload`"
            )
        now = Snapshot(time.monotonic(), counts.tobytes())
        if request.arguments.get("all") is True:
            packed = await asyncio.to_thread(zlib.compress, now.counts, 1)
            return {"counts": base64.b64encode(packed).decode("ascii"), **_layout()}
        if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= MOST:
            raise ControlError(f"top: must be a whole number from 1 to {MOST}")
        before, biggest = self._counts.before(), Biggest(top, [])
        for page in pages(now, before):
            biggest.take(page)
            await asyncio.sleep(0)
        state = self._daemon.instance.state
        seconds = now.at - before.at if before is not None else 0.0
        return biggest.as_json(seconds, state.blocks.networks(state.config.block))

    def _sources(self) -> memoryview[int] | None:
        generation = self._daemon.instance.data.generation
        if generation is None or not generation.shape.counts_sources:
            return None
        return generation.memory.sources


def _layout() -> dict[str, Any]:
    return {"sample": SOURCE_SAMPLE, "byteorder": sys.byteorder}


def _who(peer: Peer) -> str:
    return f"uid {peer.uid} (pid {peer.pid})"


def _prefix(given: Mapping[str, Any]) -> Network:
    text = given.get("prefix")
    if not isinstance(text, str):
        raise ControlError("the request names no prefix")
    if "/" not in text:
        text += "/128" if ":" in text else "/32"
    kind = BlockedPrefix()
    try:
        return kind.parse(text)
    except Invalid as invalid:
        hint = f"; {invalid.hint}" if invalid.hint else ""
        raise ControlError(f"{text[:60]!r}: {invalid.message or f'is not {kind.words()}'}{hint}") from None


def _duration(text: object) -> float | None:
    if text is None:
        return None
    kind = Duration(1.0, LONGEST)
    try:
        return kind.parse(str(text))
    except Invalid as invalid:
        hint = f"; {invalid.hint}" if invalid.hint else ""
        raise ControlError(f"for {str(text)[:40]!r}: must be {kind.words()}{hint}") from None
