"""Keeping the state file up to date without making the event loop wait: for the disk, or for thousands of verdicts.

The content is put together a piece at a time, with turns of the loop in between, and a thread writes it. What changes
meanwhile may or may not be in it, and is in the next one. A state that was saved at once (`Instance.save`) is newer
than any that is being put together, and stays.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING, Any

from appliance.control import store
from appliance.errors import HostError
from appliance.health.judge import VERSION

if TYPE_CHECKING:
    from appliance.control.instance import Instance

PIECE = 256
"""Backends whose verdicts are put together in one turn of the loop."""
PAUSE = 0.02
"""Seconds between two pieces: what is under way when there is much to save is worth more than to have it saved soon."""
SHARE = 20
"""The time from one state file to the next, in times of what one costs."""


class Saving:
    """The state file of an instance."""

    def __init__(self, instance: Instance, failed: Callable[[HostError], None]) -> None:
        self._instance = instance
        self._failed = failed
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    def soon(self, now: float) -> bool:
        """Begin to replace the state file at `now`, monotonic seconds; False where it is too early for another one.

        `failed` is called where it cannot be written.
        """
        if now < self._next or (self._task is not None and not self._task.done()):
            return False
        self._task = asyncio.create_task(self._save_or_tell(now))
        return True

    def early(self, now: float) -> None:
        """Replace the state file, or, where it is too early, as soon as it is not.

        For what others have been told: a daemon that follows a sudden end must not tell them what was the case before.
        """
        if self.soon(now) or self._again is not None:
            return
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(max(PAUSE, self._next - now), self._try_again, loop)

    def _try_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._again = None
        self.early(loop.time())

    async def _save_or_tell(self, now: float) -> None:
        try:
            await self.save(now)
        except HostError as error:
            self._failed(error)

    async def save(self, now: float) -> None:
        """Replace the state file. Raises HostError."""
        instance, number, cost = self._instance, self._instance.saved, 0.0
        began = thread_time()
        content: dict[str, Any] = instance.kept()
        parts: list[str] = []  # never put together here: to copy megabytes takes milliseconds
        for piece in instance.health.pieces(PIECE):
            parts += [",", _compact(piece)[1:-1]] if piece else []
            cost += thread_time() - began
            await asyncio.sleep(PAUSE)
            began = thread_time()
        head = f'{_compact(content)[:-1]},"health":{{"version":{VERSION},"services":{{'
        cost += thread_time() - began
        self._next = now + SHARE * cost
        await asyncio.to_thread(self._write, number, [head, *parts[1:], "}}}"])

    def _write(self, number: int, text: list[str]) -> None:
        with self._instance.saving:
            if self._instance.saved == number:
                store.replace(self._instance.root.state_file, *text)


def _compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))
