"""What the appliance takes of a machine: the package is made and unpacked, and its daemon measured as it lies there.

The daemon checks 100 backends by HTTP, every two seconds, through the data plane. They are addresses of one backend of
the lab, behind which one real web server answers; its processor time is not counted, as it would be spent elsewhere.

    start           from the start of the process to READY=1. "yes": nothing is there, and the program is compiled;
                    "no, in the cache": after a stop, as at a boot; "no, it runs": after a restart, which adopts it
    processor time  of the daemon and its prober, user and system, over WINDOW, when all backends are up. On a veth pair
                    the sender's processor does the receiver's work too, in the sender's time, that of the backend's TCP
                    included. So the backend's end of the cable is given to another processor (RPS, Documentation/
                    networking/scaling.rst), as if it were another machine; `with_far_end` is without that
    boot            from the interface's being up to a client's connection, under a booted systemd (booting.py in
                    tests/systemd); left out where there is no image of one
    memory          RSS of a process is all that is resident in it (VmRSS of proc_pid_status(5)). PSS divides what
                    several processes share among them (smaps_rollup), so only that may be added up
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from appliance import config
from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.compile import compile_text
from appliance.dataplane.shape import shape_for
from appliance.dataplane.text import FUNCTIONS, rendered
from appliance.paths import TEMPLATES
from bench import process
from bench.report import ROOT, Row
from bench.targets import web_server
from tests.lab.addresses import HTTP, VIP
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace, inhabitants
from tests.lab.namespace import run as run_command
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.systemd import booting
from tests.systemd.booted import Booted
from tests.vm import image

BACKENDS, INTERVAL = 100, 2
LABELS: dict[str, str | int] = {"backends": BACKENDS, "interval_s": INTERVAL, "check": "http"}
FIRST = IPv4Address("10.2.0.1")
NETWORK = "10.2.0.0/16"
PRIVATE = "/usr/share/vc5-appliance"
SIZE_LIMIT = 2.0
"""MB of the package."""
START_LIMIT = 2000.0
"""ms to READY=1."""
CPU_LIMIT = 2.0
"""% of a core, in all processes."""
CONTROL_LIMIT = 60.0
"""MB resident in the control process, which has neither console nor Elasticsearch."""
ALL_LIMIT = 120.0
"""MB of all processes together, at rest."""
BOOT_LIMIT = 3000.0
"""ms from the interface's being up to forwarding."""
REPEAT = 3
SETTLED = 5.0
"""Seconds of rest before anything is measured."""
WINDOW = 60.0


def run() -> list[Row]:
    """Measure the package and its daemon; returns the rows."""
    ensure_bpffs()
    with tempfile.TemporaryDirectory(prefix="vc5-bench-", dir="/var/tmp") as directory:
        package = Path(run_command("sh", str(ROOT / "packaging/build.sh"), directory, timeout=200.0).strip())
        rows = [Row("package-size", package.stat().st_size / 1e6, "MB", {"file": package.name}, limit=SIZE_LIMIT)]
        rows += _boots(Path(directory))
        with _site() as lab:
            daemon = Daemon(lab.balancer, lab.root(), configuration(), program=unpacked(package, Path(directory)))
            try:
                rows += _starts(daemon)
                rows += _at_rest(lab, daemon)
                daemon.stop()
            finally:
                daemon.close()
    return rows


def configuration() -> str:
    """Return YAML: one service."""
    addresses = ", ".join(str(FIRST + number) for number in range(BACKENDS))
    check = f"{{type: http, port: {HTTP}, path: /alive, interval: {INTERVAL}}}"
    return (
        "interfaces: eth0\nxdp: native\nservices:\n"
        f"  - virtual: {VIP}\n    servers: [{addresses}]\n    policy: {{{HTTP}/tcp: {{checks: [{check}]}}}}\n"
    )


def unpacked(package: Path, directory: Path) -> Sequence[str]:
    """Lay the package out below a directory as dpkg and its postinst would; return the command it installs."""
    tree = directory / "tree"
    run_command("dpkg-deb", "--extract", str(package), str(tree))
    private = tree / PRIVATE.lstrip("/")
    run_command("/usr/bin/python3", "-m", "compileall", "-q", str(private), timeout=120.0)
    command = tree / "usr/bin/vc5"
    command.write_text(command.read_text().replace(f'"{PRIVATE}"', f'"{private}"'))
    directory.chmod(0o755)  # the prober runs as nobody
    return (str(command),)


@contextmanager
def _site() -> Iterator[Lab]:
    """A lab with all the addresses behind one backend."""
    with Lab(backends=1, servers=False) as lab:
        backend = lab.backends["b1"]
        lines = [f"address add {FIRST + (1 << 16) - 3}/16 dev eth0"]
        lines += [f"neigh replace {FIRST + number} lladdr {backend.mac} dev eth0" for number in range(BACKENDS)]
        lab.balancer.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        backend.namespace.run("ip", "route", "add", NETWORK, "dev", "eth0")
        server = backend.namespace.spawn(*web_server(lab.directory))
        try:
            wait_for("the web server", lambda: f":{HTTP} " in backend.namespace.run("ss", "-Htln"))
            yield lab
        finally:
            server.kill()
            server.wait()


def _starts(daemon: Daemon) -> list[Row]:
    """The three ways to start; the last one leaves it running."""
    times: dict[str, list[float]] = {"yes": [], "no, in the cache": [], "no, it runs": []}
    for _ in range(REPEAT):
        shutil.rmtree(daemon.places.state / "programs", ignore_errors=True)
        times["yes"].append(_start(daemon))
        daemon.stop()
        times["no, in the cache"].append(_start(daemon))
        daemon.kill9()
        times["no, it runs"].append(_start(daemon))
        daemon.stop()
    daemon.start()
    rows = []
    for how, samples in times.items():
        labels = {**LABELS, "compiles": how}
        more = {"worst": max(samples), "samples": len(samples)}
        rows.append(Row("appliance-start", statistics.median(samples), "ms", labels, limit=START_LIMIT, more=more))
    return rows


def _boots(directory: Path) -> list[Row]:
    """Boot a whole system as often."""
    try:
        below = image.ready(lambda line: None)
    except image.ImageError:
        return []
    place = directory / "booted"
    place.mkdir()
    with Lab(backends=2) as lab, Booted(below, lab.balancer, place) as system:
        system.install(booting.CONFIGURATION)
        with booting.enabled(lab, system):
            seen = [booting.boot(lab, system) for _ in range(REPEAT)]
    samples = [(one.answered - one.interface) * 1e3 for one in seen]
    more = {"worst": max(samples), "samples": [str(one) for one in seen], "load": os.getloadavg()[0]}
    return [Row("appliance-boot", statistics.median(samples), "ms", {"checks": 0}, limit=BOOT_LIMIT, more=more)]


def _start(daemon: Daemon) -> float:
    began = time.monotonic()
    daemon.start()
    return (time.monotonic() - began) * 1e3


def _at_rest(lab: Lab, daemon: Daemon) -> list[Row]:
    """What all processes take when every backend is up."""

    def up() -> bool:
        (service,) = daemon.status()["services"]
        return {backend["state"] for backend in service["backends"]} == {"available"}

    wait_for(f"{BACKENDS} backends to be available", up, 30.0)
    time.sleep(SETTLED)
    pids = {"control": daemon.pid, "prober": process.prober(daemon.places.namespace)}
    others = set(inhabitants([lab.balancer, Namespace(daemon.places.namespace)])) - set(pids.values())
    if others:
        raise ValueError(f"processes {others} run besides the daemon and its prober; what they take is not measured")
    together = sum(_used(pids).values())
    apart = _far_end_apart(lab.backends["b1"].namespace, pids.values())
    used = _used(pids)
    cpu = {**used, "with_far_end": together, "far_end_apart": apart, "load": os.getloadavg()[0], "seconds": WINDOW}
    found = {name: process.memory(pid) for name, pid in pids.items()}
    shares = {name: process.proportional(pid) for name, pid in pids.items()}
    child = compile_text(_text(daemon), FUNCTIONS).child_rss / 1e6
    return [
        Row("appliance-cpu", sum(used.values()), "% of a core", LABELS, limit=CPU_LIMIT, more=cpu),
        _memory("control", found["control"], {"Pss": shares["control"]}, CONTROL_LIMIT),
        _memory("prober", found["prober"], {"Pss": shares["prober"]}, None),
        Row("appliance-memory", sum(shares.values()), "MB", {**LABELS, "field": "Pss"}, limit=ALL_LIMIT, more=shares),
        Row("appliance-compile-child", child, "MB", {**LABELS, "field": "ru_maxrss"}),
    ]


def _used(pids: Mapping[str, int]) -> dict[str, float]:
    """Return what each process takes over WINDOW, in % of a core."""
    before, began = {name: process.cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(WINDOW)
    seconds = time.monotonic() - began
    return {name: (process.cpu_seconds(pid) - before[name]) / seconds * 100 for name, pid in pids.items()}


def _far_end_apart(backend: Namespace, pids: Iterable[int]) -> bool:
    """Have what a backend receives dealt with on another processor than these processes run on; False with only one."""
    ours, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return False
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {ours})
    # Not Namespace.run: that would find the interfaces of this namespace in /sys.
    order = f"echo {1 << others[0]:x} | tee /sys/class/net/eth0/queues/rx-*/rps_cpus"
    run_command("ip", "netns", "exec", backend.name, "sh", "-c", order)
    return True


def _memory(name: str, fields: Mapping[str, float], more: Mapping[str, float], limit: float | None) -> Row:
    labels = {**LABELS, "field": "VmRSS"}
    return Row(f"appliance-{name}", fields["VmRSS"], "MB", labels, limit=limit, more={**fields, **more})


def _text(daemon: Daemon) -> str:
    loaded = config.load(daemon.configuration_file)
    return rendered(shape_for(loaded.config, read_possible_cpus()), TEMPLATES)
