"""Log lines for the system's journal, with the fields of an event, in the journal's own protocol.

    journalctl VC5_KIND=backend VC5_OUTCOME=dead -o json

An entry is one datagram of lines `NAME=value`; a value with a newline has its length in front, 8 bytes, little-endian
(systemd.io/JOURNAL_NATIVE_PROTOCOL). Where the journal does not keep up, entries are dropped and counted, and never
waited for: this runs in the event loop. Where it does not listen, lines go to standard error, the priority in front
(sd-daemon(3)).
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from appliance.model import Event

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "vc5"
FACILITY = 3
"""daemon, as in syslog."""
VALUE_BYTES = 16 * 1024
"""Of one field; all of them fit into a datagram then."""
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def listens(environment: Mapping[str, str], descriptor: int = 2) -> bool:
    """Whether a descriptor, standard error, leads to the journal: to what JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def fields(event: Event) -> dict[str, str]:
    """Return the fields of an event, those alone that it has."""
    found = {
        "VC5_KIND": event.kind,
        "VC5_OUTCOME": event.outcome,
        "VC5_BEFORE": event.before,
        "VC5_REASON": event.reason,
        "VC5_SERVICE": event.service,
        "VC5_BACKEND": event.backend,
        "VC5_VIP": event.vip or (event.service.vip if event.service is not None else None),
        "VC5_INTERFACE": event.interface,
        "VC5_PEER": event.peer,
    }
    return {name: str(value) for name, value in found.items() if value}


def entry(told: Mapping[str, str]) -> bytes:
    """Return the datagram of an entry. Names are ours, so they are valid."""
    made = bytearray()
    for name, text in told.items():
        value = text.encode("utf-8", "replace")[:VALUE_BYTES]
        if b"\n" in value:
            made += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        else:
            made += name.encode() + b"=" + value + b"\n"
    return bytes(made)


def priority(record: logging.LogRecord) -> int:
    """Return how grave a line is, 0 to 7: as its event is, else by its level."""
    event = getattr(record, "event", None)
    if isinstance(event, Event):
        return int(event.grave)
    return next((number for level, number in PRIORITIES if record.levelno >= level), 7)


class JournalHandler(logging.Handler):
    """Sends log lines to the journal; a line of an event carries it as `extra={"event": ...}`."""

    def __init__(self, path: Path = SOCKET) -> None:
        super().__init__()
        self._path = os.fspath(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.lost = 0
        """Lines that the journal did not take, since it last took one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line. Never waits, never raises."""
        try:
            text, grave = self.format(record), priority(record)
            event = getattr(record, "event", None)
            more = fields(event) if isinstance(event, Event) else {}
            if self.lost and self._send(f"{self.lost} lines lost: the journal did not take them", 4, {}):
                self.lost = 0
            if not self._send(text, grave, more):
                self.lost += 1
        except OSError:
            # Not there at all, so nobody can be behind with reading standard error either.
            print(*(f"<{grave}>{line}" for line in text.splitlines()), sep="\n", file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)

    def _send(self, text: str, grave: int, more: Mapping[str, str]) -> bool:
        told = {
            "MESSAGE": text,
            "PRIORITY": str(grave),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "SYSLOG_FACILITY": str(FACILITY),
        }
        try:
            self._socket.sendto(entry({**told, **more}), self._path)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()
