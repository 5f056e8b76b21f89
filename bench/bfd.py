"""Fifty routers that watch the way to the daemon by BFD, at 300 ms x 3, while it reloads a thousand services.

They are one BIRD with fifty sessions, each between addresses of its own: BIRD tells its BFD sessions apart by the
neighbour's address. So the packets of 50 peers come and go, and one process judges them, on the same processors.

The reloads change the check of every service, take half of them away and bring them back, and need another program,
which is compiled beside. `flaps` are sessions of BFD or BGP that BIRD has seen go down in that time, `gap` is the
longest time between two packets of BFD from one of the daemon's addresses, as they came (by the kernel's stamps):
900 ms would be the end of that session. Processor time is that of the process of BFD, over 20 s at rest.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Self

from appliance.cli.client import call
from bench import process, scale
from bench.receiver import SO_TIMESTAMPNS, stamp
from bench.report import Row
from tests.lab.addresses import BALANCER
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError, Namespace, inhabitants
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup
from tests.lab.routers.bird import configuration as bird_configuration
from tests.lab.topology import Lab

PEERS = 50
OURS = tuple(IPv4Address("10.1.11.1") + number for number in range(PEERS))
THEIRS = tuple(IPv4Address("10.1.11.101") + number for number in range(PEERS))
OWN_AS, PEERS_AS = 65001, 65000
INTERVAL = 0.3
DETECTION_LIMIT = 900.0
"""ms without a packet that end a session."""
WINDOW = 20.0
PORT: Final = 3784
"""RFC 5881 section 4."""
LABELS: dict[str, str | int] = {"peers": PEERS, "services": scale.SERVICES, "interval_ms": 300, "multiplier": 3}


def configuration(services: int = scale.SERVICES, *, interval: int = scale.INTERVAL, more: str = "") -> str:
    """Return YAML: the services of scale.py, and a group for each peer, with a source of its own."""
    lines = (
        scale.configuration().replace(f"interval: {scale.INTERVAL}}}]", f"interval: {interval}}}]{more}").splitlines()
    )
    groups = [
        f"  - {{name: g{ours}, source_ip: {ours}, peers: [{theirs}]}}"
        for ours, theirs in zip(OURS, THEIRS, strict=True)
    ]
    head = f"as_number: {OWN_AS}\n  remote_as: {PEERS_AS}\n  hold_time: 90\n  bfd: {{interval: 300ms, multiplier: 3}}"
    first = lines.index("services:") + 1
    return "\n".join(
        [
            f"address: {BALANCER}",
            "hold_down: 0",
            f"bgp:\n  {head}\n  groups:",
            *groups,
            *lines[: first + 3 * services],
            "",
        ]
    )


def run() -> list[Row]:
    """Measure one daemon; returns the rows."""
    ensure_bpffs()
    with Lab(backends=scale.BACKENDS) as lab:
        for namespace, device, addresses in ((lab.balancer, "eth0", OURS), (lab.router, "lan", THEIRS)):
            namespace.run(
                "ip", "-batch", "-", text="".join(f"address add {one}/24 dev {device}\n" for one in addresses)
            )
        daemon = Daemon(lab.balancer, lab.root("bfd"), configuration())
        with _Fifty(lab) as bird, daemon:
            wait_for("50 sessions of BGP", lambda: bird.established() == PEERS, 60.0)
            wait_for("50 sessions of BFD", lambda: bird.watched() == PEERS, 60.0)
            wait_for("all services", lambda: _all_up(daemon), 60.0)
            rows = _at_rest(lab.balancer)
            rows += _reloads(lab, daemon, bird)
            before = bird.downs()
            daemon.stop()
            # So that none is not for lack of words that are understood.
            wait_for("BIRD to tell of the end of all sessions", lambda: bird.downs() - before >= 2 * PEERS)
    return rows


class _Fifty(Bird):
    """BIRD, with a local address of its own in each session."""

    installs = False

    def __init__(self, lab: Lab) -> None:
        neighbours = tuple(Neighbour(str(ours), OWN_AS, hold_time=90, bfd=INTERVAL) for ours in OURS)
        super().__init__(lab.router, lab.directory / "fifty", Setup(PEERS_AS, str(THEIRS[0]), neighbours))

    def write_configuration(self) -> None:
        """As usual, with these local addresses."""
        text = bird_configuration(self.setup, self.directory)
        for ours, theirs in zip(OURS, THEIRS, strict=True):
            before = f"local as {PEERS_AS}; neighbor {ours} as"
            text = text.replace(before, f"local {theirs} as {PEERS_AS}; neighbor {ours} as")
        text = text.replace("protocol bfd { }", "protocol bfd { debug { events }; }")
        (self.directory / "bird.conf").write_text(text)

    def established(self) -> int:
        """How many sessions of BGP there are."""
        return self.ask("show protocols").count("Established")

    def watched(self) -> int:
        """How many sessions of BFD are up."""
        return len(re.findall(r"^10\.1\.11\.\d+ +\S+ +Up ", self.ask("show bfd sessions"), re.MULTILINE))

    def downs(self) -> int:
        """How often a session of BGP, or one of BFD, has gone down so far."""
        return len(re.findall(r"Session to \S+ changed state from Up to |> peer_\w+: BGP session closed", self.log))


class _Gaps:
    """A context manager: the longest time between two packets of BFD from each of the daemon's addresses."""

    def __init__(self, namespace: Namespace) -> None:
        def made() -> socket.socket:
            end = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            end.bind(("lan", 0x0800))
            return end

        self._socket = namespace.call(made)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.2)
        self._ending = False
        self._last: dict[bytes, float] = {}
        self.longest = 0.0
        self.packets = 0
        self._thread = threading.Thread(target=self._watch, name="packets of BFD", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join()
        self._socket.close()

    def _watch(self) -> None:
        ours = {one.packed for one in OURS}
        while not self._ending:
            try:
                packet, notes, _, _ = self._socket.recvmsg(256, 64)
            except TimeoutError:
                continue
            source = packet[12:16]
            if packet[9] != socket.IPPROTO_UDP or source not in ours or int.from_bytes(packet[22:24]) != PORT:
                continue
            at = stamp(notes)
            self.longest = max(self.longest, at - self._last.get(source, at))
            self._last[source] = at
            self.packets += 1


def _at_rest(balancer: Namespace) -> list[Row]:
    pid = _bfd(balancer)
    time.sleep(2.0)
    before, began = process.run_seconds(pid), time.monotonic()
    time.sleep(WINDOW)
    used, seconds = process.run_seconds(pid) - before, time.monotonic() - began
    return [
        Row("routing-bfd-cpu", used / seconds * 100, "% of a core", LABELS, more={"seconds": seconds}),
        Row("routing-bfd-rss", process.memory(pid)["VmRSS"], "MB", LABELS),
    ]


def _reloads(lab: Lab, daemon: Daemon, bird: _Fifty) -> list[Row]:
    pid, before, waited = _bfd(lab.balancer), bird.downs(), process.waited_seconds(_bfd(lab.balancer))
    texts: list[Callable[[], str]] = [
        lambda: configuration(interval=scale.INTERVAL + 1),
        lambda: configuration(scale.SERVICES // 2),
        configuration,
        lambda: configuration(more=", on_dead: reset"),
        configuration,
    ]
    taken = []
    with _Gaps(lab.router) as gaps:
        for text in texts:
            began = time.monotonic()
            done = daemon.reload(text())
            if done.returncode:
                raise LabError(f"vc5 reload: exit status {done.returncode}\n{done.stdout}{done.stderr}")
            taken.append(time.monotonic() - began)
            time.sleep(2.0)
    if _bfd(lab.balancer) != pid:
        raise ValueError("the process of BFD is another one than before the reloads")
    if bird.established() != PEERS or bird.watched() != PEERS:
        raise ValueError(f"{bird.established()} sessions of BGP and {bird.watched()} of BFD are left of {PEERS}")
    status = call(daemon.places, "bgp")["peers"]
    ours = sum(peer["bfd"]["flaps"] for peer in status) + sum(peer["sessions"] - 1 for peer in status)
    more = {"reload_s": taken, "told_by_the_daemon": ours, "waited_s": process.waited_seconds(pid) - waited}
    return [
        Row("routing-bfd-flaps", float(bird.downs() - before + ours), "flaps", LABELS, limit=0.0, more=more),
        Row(
            *("routing-bfd-gap", gaps.longest * 1e3, "ms", LABELS),
            limit=DETECTION_LIMIT,
            more={"packets": gaps.packets},
        ),
    ]


def _bfd(balancer: Namespace) -> int:
    """The process of BFD."""
    for pid in inhabitants([balancer]):
        if b"appliance.routing.bfd" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise ValueError("there is no process of BFD")


def _all_up(daemon: Daemon) -> bool:
    said = f"{scale.SERVICES} of {scale.SERVICES} services up"
    return any(said in one.value for one in daemon.notifications)
