"""A story for people: steps that are announced, and expectations that hold or fail, each beside what was seen.

    3  A backend dies                                                       6.2 s
       Every server on b2 is killed while requests and downloads run.

       ok    the death is noticed                after 0.84 s
       FAIL  other downloads go on               14 of 16

The number on the right is the time since the beginning. Colour, and the line that tells how a wait is going, appear on
a terminal only.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TextIO, TypeVar

T = TypeVar("T")

NARROWEST, WIDEST = 60, 100
"""Columns; longer lines are tiring to read."""
INDENT = "   "
MARKS = {True: ("ok", "32"), False: ("FAIL", "1;31")}
"""The word before an expectation that holds or fails, and its colour (ECMA-48, select graphic rendition)."""
QUIET = 1.0
"""Seconds that a wait may take before a terminal shows how it is going."""


@dataclass
class Step:
    """What became of one step."""

    name: str
    ok: bool = True
    seconds: float = 0.0


class Story:
    """Tells a story on `out` and keeps the account of it."""

    def __init__(self, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self.steps: list[Step] = []
        self.failures: list[str] = []
        """What failed, as `step: expectation (what was seen)`."""
        self._out = out
        self._now = now
        self._began = self._step_began = now()
        self._live = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._live and not os.environ.get("NO_COLOR")
        self.width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))

    # ---- steps and expectations

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._now() - self._began

    def begin(self, name: str, title: str, text: str = "") -> None:
        """Announce a step: a title, and what is done, in a sentence or two."""
        self._step_began = self._now()
        self.steps.append(Step(name))
        number = f"{len(self.steps):2d}  "
        clock = f"{self.seconds:.1f} s"
        self.print()
        self.print(self._paint(f"{number}{title:<{self.width - len(number) - len(clock)}}", "1") + clock)
        if text:
            self.paragraph(text)
            self.print()

    def end(self) -> Step:
        """Close the step and return its account."""
        step = self.steps[-1]
        step.seconds = round(self._now() - self._step_began, 3)
        return step

    def check(self, holds: bool, expected: str, seen: str) -> bool:
        """Tell an expectation and what was seen; returns whether it holds."""
        left = (self.width - len(INDENT) - 8) * 56 // 100
        right = self.width - len(INDENT) - 6 - left - 2
        word, colour = MARKS[holds]
        marks = [self._paint(f"{word:<4}", colour)]
        columns = zip_longest(_wrapped(expected, left), _wrapped(seen, right), marks, fillvalue="")
        for what, found, mark in columns:
            self.print(f"{INDENT}{mark or '    '}  {what:<{left}}  {found}".rstrip())
        if not holds:
            step = self.steps[-1]
            step.ok = False
            self.failures.append(f"{step.name}: {expected} ({seen})")
        return holds

    # ---- plain text

    def print(self, line: str = "") -> None:
        """Print one line as it is."""
        self._clear()
        print(line, file=self._out, flush=True)

    def paragraph(self, text: str) -> None:
        """Print a text, wrapped and indented."""
        for line in textwrap.wrap(text, self.width - len(INDENT), break_on_hyphens=False):
            self.print(INDENT + line)

    def quote(self, line: str) -> None:
        """Print a line of evidence, such as one of a log, cut to the width."""
        room = self.width - len(INDENT) - 6
        self.print(f"{INDENT}      {line if len(line) <= room else line[: room - 3] + '...'}")

    def table(self, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print columns, the first to the left, the others to the right."""
        lines = [tuple(heading), *(tuple(row) for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(heading))]
        for line in lines:
            cells = [f"{line[0]:<{widths[0]}}"]
            cells += [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
            self.print(f"{INDENT}      {'   '.join(cells)}")

    def verdict(self, subject: str, note: str) -> bool:
        """Print the last line, `SUBJECT: ok` or what failed before it; returns whether all is well."""
        self.print()
        if self.failures:
            for failure in self.failures:
                self.print(self._paint(f"failed: {failure}", MARKS[False][1]))
            count = len(self.failures)
            broken = f"{count} expectation{'s' if count > 1 else ''} did not hold"
            self.print(self._paint(f"{subject}: FAILED: {broken}", MARKS[False][1]))
            return False
        self.print(note)
        self.print(self._paint(f"{subject}: ok", MARKS[True][1]))
        return True

    def command(self, line: str) -> None:
        """Print a command that is run."""
        self.print(f"{INDENT}$ {line}")

    # ---- waiting

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show on a terminal, for the time of the block, what is being waited for and for how long already."""
        done = threading.Event()

        def tick() -> None:
            while not done.wait(0.25):
                self._tell(f"{what} ... {self._now() - began:.0f} s")

        began = self._now()
        ticker = threading.Thread(target=tick, name="progress", daemon=True)
        if self._live:
            ticker.start()
        try:
            yield
        finally:
            done.set()
            if self._live:
                ticker.join()
            self._clear()

    def pause(self) -> None:
        """Wait for Enter."""
        self.print()
        print(f"{INDENT}Enter goes on ", end="", file=self._out, flush=True)
        sys.stdin.readline()

    def wait(
        self,
        look: Callable[[], T],
        seconds: float = 10.0,
        progress: Callable[[], str] | str = "waiting",
        pause: float = 0.02,
    ) -> T | None:
        """Call `look` every `pause` s until it returns something true, and return that; None after `seconds`."""
        began = self._now()
        shown = began + QUIET
        try:
            while True:
                seen = look()
                if seen:
                    return seen
                now = self._now()
                if now > began + seconds:
                    return None
                if now > shown:
                    shown = now + 0.25
                    self._tell(f"{progress if isinstance(progress, str) else progress()} ... {now - began:.0f} s")
                time.sleep(pause)
        finally:
            self._clear()

    def _tell(self, text: str) -> None:
        if self._live:
            self._out.write(f"\r\x1b[K{INDENT}      {text[: self.width - 10]}")
            self._out.flush()

    def _clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines, but never between a number and its unit."""
    glued = re.sub(r"(?<=\d) (?=[mn]?s\b)", "\u00a0", text)
    return [line.replace("\u00a0", " ") for line in textwrap.wrap(glued, width)]
