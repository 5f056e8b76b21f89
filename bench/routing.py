"""The daemon's voice to routers: how soon they know 10,000 VIPs, and how soon they hear that one of them is down.

One backend is in all services; each VIP has one. That of the first VIP is checked every 0.2 s on a port of its own,
which the bench closes and opens; the others have no checks, so that what is measured is not what a thousand probes a
second take (scale.py and health.py do that).

announced    from the moment at which the first of 4 sessions is established to that at which the last router has the
             last route: at four receivers that only read (receiver.py), by the kernel's stamp on the packets that come
             to them; and at four BIRDs, by what they log of their tables, which includes their own work: all four, the
             daemon and their kernels' routing tables share the processors
withdrawn    from the verdict, or from the end of the probe that decides, by the prober's clock, both as the log has
             them, to the packet with the withdrawal, as it comes to the last of four receivers. Between probe and
             verdict lie the 10 ms for which the prober gathers results
turn         how long the daemon's event loop was busy at a stretch while it announced, its own measure
reload       of as many services: how many sessions ended, and how many messages routers heard because of it

All times are wall-clock times of one machine.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

from appliance.cli.client import call
from appliance.control.pulse import WINDOW
from appliance.model import EventKind
from appliance.telemetry.log_filter import LogFilter
from appliance.telemetry.spool_reader import read
from bench import process
from bench.judges import Judges
from bench.receiver import Receiver
from bench.report import Row
from tests.lab.addresses import BALANCER, FIRST_BACKEND, ROUTER, VIP
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab

PEERS = 4
SIZES = (10, 10_000)
"""VIPs."""
NETWORK, FIRST = "10.64.0.0/10", IPv4Address("10.64.0.0")
OWN_AS, PEERS_AS = 65001, 65000
CHECKED = 7100
INTERVAL = 0.2
REPEAT = 5
DEATHS = 40
ANNOUNCE_LIMIT = 3000.0
"""ms from established until 4 peers know 10,000 VIPs."""
WITHDRAW_LIMIT = 20.0
"""ms from the verdict to the wire."""
TURN_LIMIT = 50.0
"""ms for which the event loop may be busy at a stretch."""
JUDGES = tuple(FIRST_BACKEND + number for number in range(1, 1 + PEERS))
READERS = tuple(ROUTER + 100 + number for number in range(PEERS))


def configuration(vips: int, *, interval: float = INTERVAL) -> str:
    """Return YAML: one service for each VIP."""
    more = ", ".join(str(FIRST + number) for number in range(vips - 1))
    check = f"{{type: syn, port: {CHECKED}, interval: {interval}, rise: 1, fall: 1}}"
    return (
        f"address: {BALANCER}\ninterfaces: eth0\nxdp: native\nhold_down: 0\n"
        f"bgp: {{as_number: {OWN_AS}, remote_as: {PEERS_AS}, hold_time: 90, listen: yes, passive: yes, "
        f"peers: [{', '.join(map(str, (*READERS, *JUDGES)))}]}}\nservices:\n"
        f"  - {{virtual: {VIP}, servers: [{FIRST_BACKEND}], policy: {{80/tcp: {{checks: [{check}]}}}}}}\n"
        f"  - {{virtual: [{more}], servers: [{FIRST_BACKEND}], policy: {{80/tcp: {{checks: []}}}}}}\n"
    )


def run() -> list[Row]:
    """Measure each size; returns the rows."""
    ensure_bpffs()
    rows = []
    with Lab(backends=1 + PEERS, servers=False) as lab:
        for address in READERS:
            lab.router.run("ip", "address", "add", f"{address}/24", "dev", "lan")
        lab.backends["b1"].namespace.run("ip", "route", "add", "local", NETWORK, "dev", "lo")
        for vips in SIZES:
            with ExitStack() as stack:
                receivers = [
                    stack.enter_context(Receiver(lab.router, address, BALANCER, PEERS_AS)) for address in READERS
                ]
                door = stack.enter_context(Door(lab))
                daemon = stack.enter_context(Daemon(lab.balancer, lab.root(f"r{vips}"), configuration(vips)))
                rows += _Bench(lab, daemon, door, receivers, vips).run()
                daemon.stop()
    return rows


class Door:
    """What the check of the first VIP asks: a port of the backend, open or closed."""

    def __init__(self, lab: Lab) -> None:
        self._namespace = lab.backends["b1"].namespace
        self._socket: socket.socket | None = None

    def __enter__(self) -> Door:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Answer from now on."""

        def made() -> socket.socket:
            end = socket.socket()
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind(("0.0.0.0", CHECKED))
            end.listen(64)
            return end

        self._socket = self._namespace.call(made)

    def close(self) -> None:
        """Answer no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Bench:
    """One daemon."""

    def __init__(self, lab: Lab, daemon: Daemon, door: Door, receivers: Sequence[Receiver], vips: int) -> None:
        self._lab, self._daemon, self._door, self._receivers, self._vips = lab, daemon, door, receivers, vips
        self._labels: dict[str, str | int] = {"vips": vips, "peers": PEERS}

    def run(self) -> list[Row]:
        """Measure; the routers that only read are connected from the first row on until the last."""
        said = f"{self._vips} of {self._vips} services up"
        wait_for(said, lambda: any(one.value == said for one in self._daemon.notifications), 180.0)
        time.sleep(2 * WINDOW + 1)  # so that the start is out of the daemon's measure
        before = process.memory(self._daemon.pid)
        rows = []
        with process.preferred(self._daemon.pid):
            if self._vips == SIZES[-1]:
                rows += self._judged()
            rows += self._announced(before)
            rows += self._withdrawn()
        return rows + self._reload()

    # ---- announcing

    def _announced(self, before: dict[str, float]) -> list[Row]:
        taken = []
        for _ in range(REPEAT):
            with self._quiet():
                for one in self._receivers:
                    one.close()
            for one in self._receivers:
                one.open()
            for one in self._receivers:
                one.wait_known(self._vips)
            first = min(one.established for one in self._receivers if one.established is not None)
            taken.append((max(one.last() for one in self._receivers) - first) * 1e3)
        loop = self._loop()
        after = process.memory(self._daemon.pid)
        more = {"median": statistics.median(taken), "least": min(taken), "samples": REPEAT}
        limit = ANNOUNCE_LIMIT if self._vips == SIZES[-1] else None
        labels = {**self._labels, "to": "receivers"}
        grown = after["VmRSS"] - before["VmRSS"]
        return [
            Row("routing-announced", max(taken), "ms", labels, limit=limit, more=more),
            Row("routing-rss", after["VmRSS"], "MB", self._labels, more={**after, "grown": grown}),
            Row("routing-longest-turn", loop["recent_ms"], "ms", {**self._labels, "of": "clock"}, limit=TURN_LIMIT),
            Row(
                "routing-longest-turn",
                loop["recent_cpu_ms"],
                "ms",
                {**self._labels, "of": "processor"},
                limit=TURN_LIMIT,
            ),
        ]

    def _judged(self) -> list[Row]:
        """The same with real routers."""
        taken, own = [], []
        with Judges(self._lab, JUDGES, PEERS_AS, BALANCER, OWN_AS) as judges:
            for _ in range(REPEAT):
                with self._quiet():
                    judges.leave()
                found = judges.join(self._vips)
                taken.append(found.seconds * 1e3)
                own.append(found.cpu)
            judges.leave()
        more = {"median": statistics.median(taken), "least": min(taken), "samples": REPEAT, "routers_cpu_s": own}
        labels = {**self._labels, "to": "BIRD"}
        return [Row("routing-announced", max(taken), "ms", labels, limit=ANNOUNCE_LIMIT, more=more)]

    # ---- withdrawing

    def _withdrawn(self) -> list[Row]:
        began = time.time()
        came: list[float] = []
        for _ in range(DEATHS):
            self._door.close()
            came.append(self._heard(up=False))
            self._door.open()
            self._heard(up=True)
        time.sleep(2.5)  # so that the log has it all
        probes, verdicts = [], []
        last = 0.0
        for event in read(self._daemon.places.log, LogFilter(backend=FIRST_BACKEND, since=began)):
            if event["kind"] == EventKind.PROBE and event["outcome"] != "ok":
                last = event["at"]
            elif event["kind"] == EventKind.BACKEND and event["outcome"] == "dead":
                probes.append(last)
                verdicts.append(event["at"])
        if len(probes) != DEATHS:
            raise ValueError(f"the log knows of {len(probes)} deaths, not {DEATHS}")
        rows = []
        for name, moments, limit in (("verdict", verdicts, WITHDRAW_LIMIT), ("probe", probes, None)):
            samples = [(at - moment) * 1e3 for at, moment in zip(came, moments, strict=True)]
            labels, more = {**self._labels, "from": name}, {"least": min(samples), "samples": DEATHS}
            for which, value in (("median", statistics.median(samples)), ("worst", max(samples))):
                rows.append(Row(f"routing-withdrawn-{which}", value, "ms", labels, limit=limit, more=more))
        return rows

    def _heard(self, *, up: bool) -> float:
        """Wait until all receivers know that the first VIP is up, or down; return when the last one heard of it."""
        wait_for(
            f"{VIP} to be {'announced' if up else 'withdrawn'}",
            lambda: all((VIP in one.known) is up for one in self._receivers),
        )
        return max(one.heard[-1].at for one in self._receivers)

    # ---- a reload

    def _reload(self) -> list[Row]:
        heard = sum(len(one.heard) for one in self._receivers)
        done = self._daemon.reload(configuration(self._vips, interval=2 * INTERVAL))
        if done.returncode:
            raise LabError(f"vc5 reload: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        time.sleep(2.0)
        touched = sum(bool(one.lost) for one in self._receivers)
        messages = sum(len(one.heard) for one in self._receivers) - heard
        return [
            Row(
                "routing-reload-touched",
                float(touched),
                "sessions",
                self._labels,
                limit=0.0,
                more={"updates": messages},
            )
        ]

    # ---- looking

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Afterwards, no session is established."""
        yield
        wait_for("the sessions to end", lambda: not self._established(), 30.0)

    def _established(self) -> int:
        peers = call(self._daemon.places, "bgp")["peers"]
        return sum(peer["state"] == "established" for peer in peers)

    def _loop(self) -> dict[str, float]:
        found: dict[str, float] = call(self._daemon.places, "status")["loop"]
        return found
