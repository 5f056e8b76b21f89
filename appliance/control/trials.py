"""The daemon's keeper of the configuration on trial: on disk, over restarts, and back where nobody confirms it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appliance.control import standing, store
from appliance.control.confirmation import Phase, Trial, at_start, begun, note, parsed
from appliance.control.recorder import headline
from appliance.control.reload import put_in_force
from appliance.errors import ControlError, HostError, Vc5Error
from appliance.model import Config, EventKind

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

AGAIN = 10.0
"""Seconds after which going back is tried again where it failed."""


class Trials:
    """At most one trial, and its file."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._file = daemon.root.trial_file
        self._trial: Trial | None = None
        self._next = 0.0

    def start(self, file: Config) -> Config:
        """What a daemon begins with whose configuration file says this."""
        content, trouble = store.load_state(self._file)
        if content:
            try:
                self._trial = parsed(content)
            except (ValueError, RecursionError) as error:
                trouble = f"{self._file}: cannot be used ({error})"
        if trouble:
            trouble += store.set_aside(self._file)
            self._daemon.record(EventKind.ALARM, f"{trouble}; the configuration file counts, whoever confirmed it")
            self._file.unlink(missing_ok=True)
        before = self._trial
        found, self._trial = at_start(before, file, time.time())
        if before is not None and self._trial is not None and found is not file:
            text = f"begins with the configuration before: nobody confirmed {self._daemon.file} in time"
            self._daemon.record(EventKind.ALARM, text)
        if before != self._trial:
            try:
                self._write(self._trial)
            except HostError as error:
                self._daemon.record(EventKind.ALARM, str(error))
        return found

    @asynccontextmanager
    async def of(self, wanted: Config, seconds: float | None, who: str) -> AsyncIterator[None]:
        """Around a change to a configuration: with `seconds` a trial begins, without one the last one is over.

        Raises HostError, before anything was changed, where the trial cannot be kept.
        """
        former = self._trial
        if seconds is None:
            yield
            if former is not None:
                await self._keep(None)
            return
        trial = begun(former, self._daemon.instance.state.config, wanted, time.time(), seconds, who)
        await asyncio.to_thread(self._write, trial)
        try:
            yield
        except BaseException:
            await self._keep(former)
            raise
        # Its time begins when it is in force.
        await self._keep(begun(former, trial.before, wanted, time.time(), seconds, who))

    @property
    def waiting(self) -> bool:
        """Whether a configuration waits to be confirmed."""
        return self._trial is not None and self._trial.phase is Phase.WAITING

    def look(self) -> None:
        """Every second: go back where the time is over."""
        now = time.monotonic()
        if self._trial is None or now < self._next or not self._trial.due(time.time()):
            return
        self._next = now + AGAIN
        self._daemon.go_on(self._go_back())

    async def confirm(self, who: str) -> dict[str, Any]:
        """Keep the configuration that is on trial. Raises ControlError where none is."""
        async with self._daemon.reloading:
            trial = self._trial
            if trial is None or trial.phase is not Phase.WAITING:
                late = f"; {note(trial, 0.0, str(self._daemon.file))}" if trial is not None else ""
                raise ControlError(f"no configuration waits to be confirmed{late}")
            left = max(0.0, trial.left(time.time()))
            await asyncio.to_thread(self._write, None)
            self._trial = None
        self._daemon.record(EventKind.OPERATOR, f"configuration confirmed, by {who}")
        self._daemon.recorder.flush_soon()
        text = f"confirmed with {left:.0f} s to go: the configuration stays in force"
        return {"message": text, "left_s": round(left, 3)}

    async def _go_back(self) -> None:
        daemon = self._daemon
        async with daemon.reloading:
            trial = self._trial
            if trial is None or not trial.due(time.time()):
                return  # it was confirmed, or replaced, just in time
            daemon.notifier.reloading()
            try:
                await put_in_force(daemon, trial.before)
            except Vc5Error as error:
                text = f"nobody confirmed the configuration, and the one before cannot come back: {headline(error)}"
                daemon.record(EventKind.ALARM, text)
            except BaseException:
                daemon.notifier.ready(standing.summary(daemon))
                raise
            else:
                daemon.warnings = ()
                text = f"nobody confirmed the configuration within {trial.seconds:g} s: the one before is in force"
                daemon.record(EventKind.RELOAD, text, outcome="refused")
                daemon.record(EventKind.ALARM, text)
                await self._keep(trial.back())
            daemon.recorder.flush_soon()
            daemon.notifier.ready(standing.summary(daemon))

    async def _keep(self, trial: Trial | None) -> None:
        """Take note of how a trial stands, where it stands so already."""
        self._trial = trial
        try:
            await asyncio.to_thread(self._write, trial)
        except HostError as error:
            self._daemon.record(EventKind.ALARM, str(error))

    def _write(self, trial: Trial | None) -> None:
        if trial is not None:
            store.replace(self._file, json.dumps(trial.as_json(), separators=(",", ":")))
            return
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise HostError(f"{self._file}: cannot be removed: {error.strerror}") from error

    def note(self) -> str:
        """What an operator should know; empty where no configuration is on trial."""
        return note(self._trial, time.time(), str(self._daemon.file))

    def standing(self) -> dict[str, Any] | None:
        """The trial in the terms of the status."""
        if self._trial is None:
            return None
        left = max(0.0, self._trial.left(time.time()))
        return {"phase": str(self._trial.phase), "left_s": round(left, 3), "who": self._trial.who}
