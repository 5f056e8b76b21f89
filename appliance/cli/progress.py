"""A line on standard error that says how far a command is, once it has taken a while; only where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import TextIO

from appliance.cli.tables import cut, printable, screen

PATIENCE = 2.0
"""Seconds in which nothing is said."""
TICK = 0.25
"""Seconds from one look at the clock to the next."""
_WIPE = "\r\x1b[K"
"""To the beginning of the line, and erase to its end (ECMA-48, 8.3.41)."""


class Progress:
    """The line, written over and over, and wiped at the end. On what is no terminal nothing is ever written.

    A context manager. What is being done is said once, with `say`; a thread keeps the line up to date meanwhile.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._text = ""
        self._shown = False
        self._ended = Event()
        self._thread: Thread | None = None

    def say(self, text: str) -> None:
        """Tell what is being done from now on."""
        self._text = text

    def show(self) -> None:
        """Write the line, if it is time for it."""
        now = self._clock() - self._began
        if now < PATIENCE or not self._text:
            return
        width = screen(self._stream).width or 80
        self._stream.write(_WIPE + cut(f"{printable(self._text)} ({now:.0f} s)", width - 1))
        self._stream.flush()
        self._shown = True

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self._thread = Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._shown:
            self._stream.write(_WIPE)
            self._stream.flush()
            self._shown = False

    def _run(self) -> None:
        while not self._ended.wait(TICK):
            self.show()
