"""What is around a machine that is itself the appliance: a client and two backends on the cable of its card1.

    client card0 10.1.10.1 -+- hub -+- card1 10.1.10.5, the machine itself
                                    +- b1    card2 10.1.10.11
                                    +- b2    card3 10.1.10.12     each has the VIPs on lo, and answers by HTTP

Run in the machine, at its boot by a unit:

    python3 -m tests.vm.surroundings serve              until it is ended; writes when the client was first answered
    python3 -m tests.vm.surroundings talk COUNT FILE    conversations of the client that go on; how they are, in FILE
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.lab.namespace import LabError, Namespace, enter, run
from tests.lab.patience import wait_for

HOSTS: Final = {"client": ("card0", "10.1.10.1"), "b1": ("card2", "10.1.10.11"), "b2": ("card3", "10.1.10.12")}
APPLIANCE: Final = "10.1.10.5"
CHECKED, UNCHECKED = "203.0.113.10", "203.0.113.11"
"""The VIPs: of a service with a check, and of one without."""
PORT: Final = 80
FIRST: Final = Path("/run/first-answer.json")
"""CLOCK_MONOTONIC, in seconds, when the client first asked and when it was answered, from the VIP without a check."""
PAUSE: Final = 0.5
"""Seconds between two requests of a conversation."""


class Backend(ThreadingHTTPServer):
    """Answers every request with its name."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str) -> None:
        super().__init__(("0.0.0.0", PORT), Answer)
        self.host = host


class Answer(BaseHTTPRequestHandler):
    """Keeps the connection, as HTTP/1.1 does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Backend)
        name = self.server.host.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(name)))
        self.end_headers()
        self.wfile.write(name)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def stand_up() -> None:
    """Make the namespaces; they have the cards until the machine ends."""
    wait_for("the cards", lambda: {card for card, _ in HOSTS.values()} <= {name for _, name in socket.if_nameindex()})
    for name, (card, address) in HOSTS.items():
        space = Namespace(name)
        run("ip", "netns", "add", name)
        run("ip", "link", "set", card, "netns", name)
        lines = [f"address add {address}/24 dev {card}", f"link set {card} up", "link set lo up"]
        if name == "client":
            lines += [f"route add {vip} via {APPLIANCE}" for vip in (CHECKED, UNCHECKED)]
        else:
            lines += [f"address add {vip}/32 dev lo" for vip in (CHECKED, UNCHECKED)]
        space.run("ip", "-batch", "-", text="\n".join([*lines, ""]))


def listen(name: str) -> None:
    """Answer in the namespace of a backend."""

    server = Namespace(name).call(lambda: Backend(name))
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ask_until_answered() -> None:
    """Write when a connection to the VIP without a check was first made."""
    enter(Namespace("client").path)
    began = time.monotonic()
    while True:
        with suppress(OSError), socket.create_connection((UNCHECKED, PORT), timeout=0.2):
            FIRST.write_text(json.dumps({"asked": began, "answered": time.monotonic()}))
            return
        time.sleep(0.02)


class Conversation:
    """One connection over which a request follows the other."""

    def __init__(self) -> None:
        self._connection = HTTPConnection(CHECKED, PORT, timeout=20)
        self.name = self._ask()
        self.rounds = 0
        self.broken = ""

    def go_on(self) -> None:
        if self.broken:
            return
        try:
            said = self._ask()
        except (OSError, HTTPException) as error:
            self.broken = repr(error)
        else:
            self.rounds += 1
            if said != self.name:
                self.broken = f"{self.name} became {said}"

    def _ask(self) -> str:
        if self._connection.sock is None:
            self._connection.connect()
            self._connection.auto_open = 0  # a lost connection must not be made again
        self._connection.request("GET", "/")
        return self._connection.getresponse().read().decode()


def talk(count: int, file: Path) -> None:
    enter(Namespace("client").path)
    conversations = [Conversation() for _ in range(count)]
    while True:
        for conversation in conversations:
            conversation.go_on()
        report = {
            "rounds": min(one.rounds for one in conversations),
            "broken": [one.broken for one in conversations if one.broken],
            "backends": sorted({one.name for one in conversations}),
        }
        new = file.with_suffix(".new")
        new.write_text(json.dumps(report))
        new.rename(file)
        time.sleep(PAUSE)


def main() -> None:
    match sys.argv[1:]:
        case ["serve"]:
            stand_up()
            for name in HOSTS:
                if name != "client":
                    listen(name)
            threading.Thread(target=ask_until_answered, daemon=True).start()
            signal.pause()
        case ["talk", count, file]:
            talk(int(count), Path(file))
        case _:
            sys.exit(f"usage: {os.path.basename(__file__)} serve | talk COUNT FILE")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"surroundings: {error}")
