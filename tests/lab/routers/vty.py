"""The command socket of one of FRR's daemons, as vtysh speaks to it, at a hundredth of the price of starting vtysh."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.lab.namespace import LabError

END = b"\0\0\0"
"""Ends an answer, followed by one octet of status (FRR, vtysh/vtysh.c)."""


class Vty:
    """One daemon, asked anew each time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *commands: str) -> str:
        """Run commands in one session, privileged, and return what the last of them said.

        Raises OSError, and LabError for a command that is refused.
        """
        answer = ""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self.path))
            for command in ("enable", *commands):
                control.sendall(command.encode() + b"\0")
                answer, status = self._answer(control)
                if status:
                    raise LabError(f"{self.path.stem}: {command}: status {status}: {answer}")
        return answer

    def ask(self, command: str) -> Any:
        """Return the answer to a command whose answer is JSON."""
        return json.loads(self.run(command) or "{}")

    def _answer(self, control: socket.socket) -> tuple[str, int]:
        data = b""
        while not (len(data) >= 4 and data[-4:-1] == END):
            more = control.recv(1 << 16)
            if not more:
                raise LabError(f"{self.path.stem} hung up after {data!r}")
            data += more
        return data[:-4].decode(), data[-1]
