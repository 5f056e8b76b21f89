"""What consoles cost: the real daemon with 200 services of 10 backends under probes and traffic, and ten open consoles.

The consoles are streams of `/events`, read by another process, so what a browser does is not in the figures. Measured
is the processor time of the daemon and of its web process together over a minute, less that of a minute before with
nobody looking; probes and packets go on in both. The packets are datagrams of random lengths from many ports to all
services, so that the rates of every backend are others in every look, and all of them are told.

`console-first-byte` is the time from the request for a stream to its first byte, `console-whole-picture` to the first
event with all rates, by when everything there is to see has come; both with ten consoles open already.
"""

from __future__ import annotations

import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise

from bench import process
from bench.report import Row
from tests.lab.addresses import ECHO, FIRST_BACKEND, VIP
from tests.lab.backend import REPOSITORY
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.web import Looking, process_of, resident

SERVICES, BACKENDS, CONSOLES = 200, 10, 10
FIRST_PORT = 1000
INTERVAL = 10
"""Seconds between two probes of a backend."""
SECONDS = 60.0
"""For which is measured, with consoles and without."""
LIMIT = 5.0
"""Percent of one processor that ten consoles may cost."""
SOURCES = 40
"""Ports that the datagrams come from: as many flows for each service."""
STARTS = 5


def configuration() -> str:
    """Return YAML: one service for each port from FIRST_PORT on."""
    servers = ", ".join(str(FIRST_BACKEND + number) for number in range(BACKENDS))
    lines = ["interfaces: eth0", "xdp: native", "learn: 0s", "webserver: '127.0.0.1:9090'", "services:"]
    check = f"{{type: syn, port: {ECHO}, interval: {INTERVAL}}}"
    for port in range(FIRST_PORT, FIRST_PORT + SERVICES):
        lines.append(f"  - virtual: {VIP}\n    servers: [{servers}]\n    policy: {{{port}/udp: {{checks: [{check}]}}}}")
    return "\n".join([*lines, ""])


def run() -> list[Row]:
    """Measure one daemon; returns the rows."""
    ensure_bpffs()
    with (
        Lab(backends=BACKENDS) as lab,
        Daemon(lab.balancer, lab.root("console"), configuration()) as daemon,
        ExitStack() as held,
    ):
        wait_for("all backends to be up", lambda: _all_up(daemon), 120.0)
        _spawn(held, lab.client, "send")
        looking = Looking(lab.balancer)
        wait_for("the web server", looking.there)
        time.sleep(SECONDS / 4)
        rows = _measure(held, lab, daemon, looking)
        daemon.stop()
    return rows


def _measure(held: ExitStack, lab: Lab, daemon: Daemon, looking: Looking) -> list[Row]:
    web = process_of(daemon.pid, "appliance.web.process")
    labels: dict[str, str | int] = {"services": SERVICES, "backends": SERVICES * BACKENDS, "consoles": CONSOLES}
    idle = _shares(daemon.pid, web)
    consoles = _spawn(held, lab.balancer, "look")
    wait_for("the consoles", lambda: looking.json("/status.json") and _streams(daemon) == CONSOLES, 30.0)
    time.sleep(SECONDS / 4)
    busy = _shares(daemon.pid, web)
    begins = [_begin(looking) for _ in range(STARTS)]
    memory = resident(web) / 1e6
    if consoles.poll() is not None:
        raise LabError("the consoles have ended")
    cost = [with_them - without for with_them, without in zip(busy, idle, strict=True)]
    more = {"daemon": cost[0], "web": cost[1], "daemon_idle": idle[0], "web_idle": idle[1]}
    first, whole = ([one[number] for one in begins] for number in (0, 1))
    return [
        Row("console-cpu", sum(cost), "%", labels, limit=LIMIT, more=more),
        Row("console-first-byte", statistics.median(first), "ms", labels, more={"worst": max(first)}),
        Row(
            "console-whole-picture",
            statistics.median(whole),
            "ms",
            labels,
            more={"worst": max(whole), "bytes": begins[0][2]},
        ),
        Row("console-web-rss", memory, "MB", labels),
    ]


def _shares(*pids: int) -> list[float]:
    """Return which share of a processor each process has over SECONDS, percent."""
    began, before = time.monotonic(), [process.cpu_seconds(pid) for pid in pids]
    time.sleep(SECONDS)
    after, seconds = [process.cpu_seconds(pid) for pid in pids], time.monotonic() - began
    return [100.0 * (now - then) / seconds for then, now in zip(before, after, strict=True)]


def _begin(looking: Looking) -> tuple[float, float, int]:
    """Return how long a stream takes to its first byte and to the first rates, in ms, and how long it was by then."""
    with looking.connect() as connection:
        began = time.monotonic()
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said, first = b"", 0.0
        while b"event: numbers\n" not in said:
            if not (part := connection.recv(1 << 18)):
                raise LabError("the stream ended before its first rates")
            said += part
            first = first or (time.monotonic() - began) * 1e3
        return first, (time.monotonic() - began) * 1e3, len(said)


def _all_up(daemon: Daemon) -> bool:
    time.sleep(1.0)  # to ask is work for the daemon
    services = daemon.status()["services"]
    return all(backend["state"] == "available" for service in services for backend in service["backends"])


def _streams(daemon: Daemon) -> int:
    time.sleep(1.0)
    lines = daemon.vc5("metrics").stdout.splitlines()
    return int(next((float(line.split()[-1]) for line in lines if line.startswith("vc5_web_streams ")), 0))


def _spawn(held: ExitStack, namespace: Namespace, what: str) -> subprocess.Popen[str]:
    made = namespace.spawn(sys.executable, "-m", "bench.console_server", what, directory=REPOSITORY)

    def end() -> None:
        made.kill()
        made.wait()

    held.callback(end)
    return made


def send() -> None:
    """Send datagrams of random lengths to all services, for ever; all of them once in two seconds."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOURCES)]
    places = [(one, port) for port in range(FIRST_PORT, FIRST_PORT + SERVICES) for one in sockets]
    pause = 2.0 / SERVICES
    while True:
        for (one, port), (_, next_port) in pairwise([*places, places[0]]):
            one.sendto(bytes(random.randrange(1, 1000)), (str(VIP), port))
            if port != next_port:
                time.sleep(pause)


def look() -> None:
    """Read as many streams as there are consoles, for ever."""
    waiting = selectors.DefaultSelector()
    for _ in range(CONSOLES):
        made = socket.create_connection(("127.0.0.1", 9090))
        made.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        waiting.register(made, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            assert isinstance(key.fileobj, socket.socket)
            if not key.fileobj.recv(1 << 18):
                raise SystemExit("a stream has ended")


if __name__ == "__main__":
    {"send": send, "look": look}[sys.argv[1]]()
