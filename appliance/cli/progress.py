"""A line on standard error that says how far a command is, once it has taken a while; only where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import TextIO

from appliance.cli.tables import cut, printable, screen

PATIENCE = 2.0
"""Seconds in which nothing is said."""


class Progress:
    """The line, written over and over, and wiped at the end. On what is no terminal nothing is ever written."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._shown = False
        self._watched = self._stream.isatty()

    def say(self, text: str) -> None:
        """Show what is being done; to be called again and again while it is."""
        now = self._clock() - self._began
        if not self._watched or now < PATIENCE:
            return
        width = screen(self._stream).width or 80
        line = cut(f"{printable(text)} ({now:.0f} s)", width - 1)
        self._stream.write(f"\r\x1b[K{line}")  # ECMA-48, 8.3.41: erase to the end of the line
        self._stream.flush()
        self._shown = True

    def close(self) -> None:
        """Wipe the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
