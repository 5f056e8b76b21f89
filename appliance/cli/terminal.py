"""The terminal of `vc5 top`: the alternate screen, single keys, its size, and all of it put back whatever ends us."""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

BEGIN = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The alternate screen, without a cursor, lines being cut at its edge (xterm's control sequences)."""
END = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
ESCAPE_SECONDS = 0.05
"""How long the rest of a key's sequence may take; then an escape is the key of this name."""


class Terminal:
    """A terminal that is ours for a while: a context manager."""

    def __init__(self, keyboard: int = 0, screen: int = 1) -> None:
        self.ended: int | None = None
        """The signal that wants us to end."""
        self.hung_up = False
        self._keyboard, self._screen = keyboard, screen
        self._saved: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._wakes, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._former_wakeup = -1

    def __enter__(self) -> Self:
        self._saved = termios.tcgetattr(self._keyboard)
        self._former_wakeup = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in ENDS:
            self._handlers[number] = signal.signal(number, self._end)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._noted)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_wakeup)
        os.close(self._wakes)
        os.close(self._woken)

    def size(self) -> tuple[int, int]:
        """Return columns and lines; 80 and 24 where the terminal does not say."""
        try:
            found = os.get_terminal_size(self._screen)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of what is there."""
        # The last line without a line feed, or the screen would scroll.
        text = HOME + "\r\n".join(line + REST_OF_LINE for line in lines) + REST_OF_SCREEN
        self._write(text.encode("utf-8", "replace"))

    def wait(self, others: Sequence[int], seconds: float | None = None) -> tuple[bytes, set[int]]:
        """Wait for a key, a signal, or one of `others` to be readable; return what was typed, and which of them is."""
        ready, _, _ = select.select([self._keyboard, self._wakes, *others], [], [], seconds)
        if self._wakes in ready:
            os.read(self._wakes, 4096)
        typed = self._read() if self._keyboard in ready else b""
        if typed == b"\x1b" and select.select([self._keyboard], [], [], ESCAPE_SECONDS)[0]:
            typed += self._read()
        return typed, set(ready) & set(others)

    def _read(self) -> bytes:
        try:
            data = os.read(self._keyboard, 4096)
        except OSError:
            data = b""
        self.hung_up |= not data
        return data

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._screen, data) :]
        except OSError:
            self.hung_up = True

    def _take(self) -> None:
        tty.setcbreak(self._keyboard)
        self._write(BEGIN)

    def _give_back(self) -> None:
        self._write(END)
        try:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._saved)
        except termios.error:
            self.hung_up = True

    def _noted(self, number: int, frame: FrameType | None) -> None:
        """The size has changed; the wake-up has us draw anew."""

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ended = number

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, and we take it again once we go on."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        self._take()
