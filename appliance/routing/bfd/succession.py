"""From one program to the next in the process of BFD: execve(2) keeps the process, its sockets, and what they hold.

All sessions are written into a file in memory, and the numbers of their sockets with them. While the next program
starts (40 to 160 ms), packets wait in the sockets; what was to be sent meanwhile is sent as soon as it runs. The clock
goes on, so nobody counts as silent who was not. The form is read by other versions: what one session's entry lacks, or
has too much, is that session's matter alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from appliance.routing.bfd import messages, sockets
from appliance.routing.bfd.line import Line
from appliance.routing.bfd.link import Link
from appliance.routing.bfd.process import SIGNALS, Process, chance
from appliance.routing.bfd.session import Session

if TYPE_CHECKING:
    from appliance.routing.bfd.messages import Become

MODULE = "appliance.routing.bfd"
ARCHIVE = "/proc/self/fd/"


class Successor:
    """Makes the installed program of this one."""

    def __init__(self, place: str) -> None:
        """`place` is for people, who see it in the list of processes."""
        self._place = place

    def __call__(self, process: Process, message: Become, archive: int | None) -> str:
        """Execute. Returns only where that fails, and says why."""
        path = message.path or (f"{ARCHIVE}{archive}" if archive is not None else "")
        if not path:
            return "cannot become another program: it is not told where that is"
        left, inheritable = bequeath(process)
        if archive is not None:
            inheritable.append(archive)
        old = os.environ.get("PYTHONPATH", "")
        command = [sys.executable, "-PsB", "-m", MODULE, "--resume", str(left), "--at", self._place]
        # Between two programs nobody would hear a signal, and its default is to end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in inheritable:
            os.set_inheritable(number, True)
        if old.startswith(ARCHIVE) and old != path:
            os.set_inheritable(int(old.removeprefix(ARCHIVE)), False)
        try:
            os.execve(sys.executable, command, os.environ | {"PYTHONPATH": path})
        except OSError as error:
            for number in inheritable:
                os.set_inheritable(number, False)
            os.close(left)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            return f"cannot execute {sys.executable}: {error.strerror}"


def bequeath(process: Process) -> tuple[int, list[int]]:
    """Write down all that there is; returns the file's descriptor, and all descriptors that the next program needs."""
    daemon = process.daemon
    content = {
        "left_at": time.monotonic(),
        "listener": process.listener.fileno(),
        "grace": process.grace,
        "alone_since": process.alone_since,
        "drops": process.drops,
        "daemon": None
        if daemon is None
        else [daemon.connection.fileno(), daemon.inbox.decode("latin-1"), daemon.outbox.decode("latin-1")],
        "ears": [[ear.socket.fileno(), ear.family, ear.multihop] for ear in process.ears.values()],
        "links": [
            {
                "wanted": json.loads(messages.encode_wanted([link.wanted], 0))["wanted"],
                "session": link.session.keep(),
                "mouth": link.mouth.fileno() if link.mouth is not None else None,
                "unsent": link.unsent,
                "drops": link.drops,
            }
            for link in process.wanted.values()
        ],
    }
    left = os.memfd_create("vc5-bfd", os.MFD_CLOEXEC)
    with open(left, "wb", closefd=False) as file:
        file.write(json.dumps(content).encode("ascii"))
    numbers = [left, process.listener.fileno(), *(ear.socket.fileno() for ear in process.ears.values())]
    numbers += [link.mouth.fileno() for link in process.wanted.values() if link.mouth is not None]
    if daemon is not None:
        numbers.append(daemon.connection.fileno())
    return left, numbers


def resume(left: int) -> Process:
    """Go on with what another program has left."""
    with open(left, "rb") as file:
        file.seek(0)
        content = json.loads(file.read())
    process = Process(_socket(content["listener"]))
    process.grace = float(content.get("grace", messages.GRACE))
    process.alone_since = float(content.get("alone_since", time.monotonic()))
    process.drops = dict(content.get("drops", {}))
    for number, family, multihop in content.get("ears", ()):
        process.hear_with(sockets.Ear(family, multihop, _socket(number)))
    lost = [error for error in (_taken_over(process, one) for one in content["links"]) if error]
    process.listen()
    process.gap = max(0.0, time.monotonic() - float(content.get("left_at", time.monotonic())))
    daemon = content.get("daemon")
    if daemon is not None:
        number, inbox, outbox = daemon
        process.serve(Line(_socket(number), inbox.encode("latin-1"), outbox.encode("latin-1")))
    if lost:
        process.trouble("lost", f"{len(lost)} sessions could not be taken over and begin anew: {lost[0]}"[:200])
    return process


def _taken_over(process: Process, content: dict[str, Any]) -> str:
    """Take one session over; returns what is wrong with what was left of it."""
    try:
        wanted = messages.decode_to_process(messages.line({"wanted": content["wanted"]}))
        assert isinstance(wanted, messages.Wanted)
        session = Session.restore(content["session"], chance)
        mouth = _socket(content["mouth"]) if content.get("mouth") is not None else None
        link = Link(wanted.sessions[0], session, mouth)
        link.unsent = int(content.get("unsent", 0))
        link.drops = dict(content.get("drops", {}))
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        return repr(error)
    process.adopt(link)
    return ""


def _socket(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
