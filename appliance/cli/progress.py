"""One quiet line on a terminal's standard error while something takes its time; gone when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

PATIENCE = 1.0
"""Seconds after which the line appears."""
TURN = 0.2
"""Seconds between two looks of the line."""
SPINNER = "|/-\\"


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, and for how long already, while the block runs; in files and pipes nothing is said.

    The block is given what says that something else is being done now.
    """
    doing = [text]
    if not sys.stderr.isatty():
        yield doing.append
        return
    import threading

    over = threading.Event()
    speaker = threading.Thread(target=_speak, args=(doing, over), name="vc5 progress", daemon=True)
    speaker.start()
    try:
        yield doing.append
    finally:
        over.set()
        speaker.join()


def _speak(doing: list[str], over: Event) -> None:
    from time import monotonic

    from appliance.cli.tables import cut, printable, screen, width

    began = monotonic()
    if over.wait(PATIENCE):
        return
    shown, turns = 0, 0
    try:
        while True:
            seconds = int(monotonic() - began)
            # A line that reaches the last column would leave something behind.
            columns = (screen(sys.stderr).width or 80) - 1
            line = cut(f"{SPINNER[turns % len(SPINNER)]} {printable(doing[-1])} ... {seconds} s", columns)
            sys.stderr.write("\r" + line + " " * (shown - width(line)))
            sys.stderr.flush()
            shown, turns = width(line), turns + 1
            if over.wait(TURN):
                break
        sys.stderr.write("\r" + " " * shown + "\r")
        sys.stderr.flush()
    except OSError:
        return  # the terminal is gone, and whatever is being done goes on
