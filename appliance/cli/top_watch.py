"""`vc5 top` on a terminal: asks the daemon, hears keys, draws; survives the daemon, and says that it was gone."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from appliance.cli import top_view
from appliance.cli.tables import Screen, duration
from appliance.cli.terminal import Terminal
from appliance.cli.top_keys import View, keys, listed, pressed
from appliance.cli.top_rates import Snapshot, reading, restarted
from appliance.errors import Vc5Error

NEWS_SECONDS = 15.0
"""How long it is said that the daemon was started again."""
REDRAWN = 1.0
"""Seconds after which what is said of the time is drawn anew, whatever happens."""


class Asking:
    """Asks the daemon again and again in a thread of its own, so that keys are heard while it does not answer."""

    def __init__(self, ask: Callable[[], Snapshot], interval: float) -> None:
        self._ask, self._interval = ask, interval
        self._over = threading.Event()
        self._answers: queue.SimpleQueue[Snapshot | Vc5Error] = queue.SimpleQueue()
        self.ready, self._done = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        """`ready` can be read once there is an answer."""
        self._thread = threading.Thread(target=self._run, name="vc5 top asks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It may be waiting for a daemon that does not answer; the process ends without it.
        self._over.set()

    def answers(self) -> list[Snapshot | Vc5Error]:
        """Return what has come since the last time."""
        os.read(self.ready, 4096)
        found = []
        while not self._answers.empty():
            found.append(self._answers.get())
        return found

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                answer: Snapshot | Vc5Error = self._ask()
            except Vc5Error as error:
                answer = error
            self._answers.put(answer)
            os.write(self._done, b".")
            self._over.wait(max(0.0, began + self._interval - time.monotonic()))


class Watch:
    """What is known while somebody looks on: the last snapshots, and whether the daemon answers."""

    def __init__(self, first: Snapshot, now: float) -> None:
        self.found = reading(None, first)
        self._before = first
        self._error = ""
        self._answered = now
        self._new_since: float | None = None

    def take(self, answer: Snapshot | Vc5Error, now: float) -> None:
        """Learn of an answer; `now` in monotonic seconds."""
        if isinstance(answer, Vc5Error):
            self._error = str(answer)
            return
        if restarted(self._before, answer):
            self._new_since = now
        self.found = reading(self._before, answer)
        self._before, self._error, self._answered = answer, "", now

    def message(self, now: float) -> str:
        """Return what is to be said of the daemon."""
        if self._error:
            return f"no answer for {duration(now - self._answered)}, asking on: {self._error}"
        if self._new_since is not None and now - self._new_since < NEWS_SECONDS:
            return f"the daemon was started again {duration(now - self._new_since)} ago"
        return ""


def watch(ask: Callable[[], Snapshot], interval: float, view: View, *, colour: bool, blocks: bool) -> int:
    """Look on until somebody wants no more; return the exit status. Raises Vc5Error where there is no daemon yet."""
    seen = Watch(ask(), time.monotonic())
    with Asking(ask, interval) as asking, Terminal() as terminal:
        while not view.over and terminal.ended is None and not terminal.hung_up:
            columns, lines = terminal.size()
            message = seen.message(time.monotonic())
            terminal.draw(top_view.frame(seen.found, view, Screen(columns, colour), lines, message, blocks=blocks))
            typed, ready = terminal.wait([asking.ready], min(interval, REDRAWN))
            for key in keys(typed):
                view = pressed(view, key, listed(seen.found, view), top_view.page(lines))
            if asking.ready in ready:
                for answer in asking.answers():
                    if not view.paused:
                        seen.take(answer, time.monotonic())
    if terminal.ended is not None and terminal.ended != signal.SIGINT:
        # Whoever ended us is told so; the terminal has been put back.
        signal.signal(terminal.ended, signal.SIG_DFL)
        os.kill(os.getpid(), terminal.ended)
    return 0
