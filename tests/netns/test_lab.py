"""The lab itself: that it stands and goes, and that its traffic tools report every fault a balancer could cause."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.addresses import BALANCER, VIP, mac_of
from tests.lab.backend import REPOSITORY
from tests.lab.bpffs import MOUNT_POINT, ensure_bpffs, is_mounted
from tests.lab.daemon import Daemon
from tests.lab.debris import PREFIX, lab_directory, namespaces_of
from tests.lab.namespace import NAMESPACES, LabError, inhabitants
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests
from tests.lab.xdp_steer import steer

pytestmark = pytest.mark.root


def traces(name: str) -> list[str]:
    """Return what a lab has left on the machine."""
    namespaces = [entry for entry in os.listdir(NAMESPACES) if entry.startswith(f"{name}-")]
    return namespaces + ([str(lab_directory(name))] if lab_directory(name).exists() else [])


# ---- standing up and going away


def test_two_labs_stand_side_by_side_and_leave_nothing() -> None:
    with Lab(backends=1) as one, Lab(backends=1) as two:
        names = one.name, two.name
        processes = inhabitants(backend.namespace for made in (one, two) for backend in made.backends.values())
        assert len(processes) == 4, "nginx and echo, twice"
        for made in (one, two):
            made.route_vip(VIP, made.backends["b1"].address)
            with Requests(made.client, count=5) as requests:
                assert requests.finish().backends() == {"b1": 5}
        one.backends["b1"].kill_servers()
        with Requests(two.client, count=5) as requests:
            assert requests.finish().backends() == {"b1": 5}
    assert [trace for name in names for trace in traces(name)] == []
    assert [process for process in processes if Path(f"/proc/{process}").exists()] == []


def test_an_exception_leaves_nothing() -> None:
    lab = Lab(backends=1)

    def fail() -> None:
        with lab:
            assert traces(lab.name)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert traces(lab.name) == []


def test_a_failure_while_building_leaves_nothing() -> None:
    lab = Lab(backends=1, vips=(VIP, VIP))  # the second address or route is refused
    with pytest.raises(LabError, match=r"already assigned|File exists"), lab:
        pass
    assert traces(lab.name) == []


ABANDON = """
import os
from pathlib import Path
from tests.lab.tool import Tool
from tests.lab.topology import Lab
lab = Lab(backends=1)
lab.__enter__()
{before_the_end}
print(lab.name, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.usefixtures("kept_labs")
@pytest.mark.parametrize(
    ("before_the_end", "kept"),
    [("", False), ("lab.keep()", True)],
    ids=["the lab of a killed process", "a lab left standing on purpose"],
)
def test_sweep_removes(before_the_end: str, kept: bool) -> None:
    text = ABANDON.format(before_the_end=before_the_end)
    done = subprocess.run([sys.executable, "-c", text], cwd=REPOSITORY, capture_output=True, text=True)
    name = done.stdout.strip()
    assert name.startswith(PREFIX), done.stderr
    with Lab(backends=0) as mine:  # sweeps as it begins, unless a lab beside it has done so before
        assert bool(traces(name)) == kept
        assert len(inhabitants(namespaces_of(name))) == (2 if kept else 0), "nginx and echo go on"
        Lab.sweep(kept=True)
        assert traces(name) == []
        assert traces(mine.name), "a lab whose owner lives is not swept"


def test_sweep_removes_namespaces_that_no_lab_knows() -> None:
    name = f"{PREFIX}0-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", f"{name}-client"], check=True)
    Lab.sweep()  # unless a lab beside it has done so before
    assert traces(name) == []


@pytest.mark.parametrize(
    ("mounts", "mounted"),
    [
        ("", False),
        ("sysfs /sys sysfs rw 0 0\n", False),
        ("sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n", True),
        ("bpf /sys/fs/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n", False),
    ],
)
def test_bpffs_is_recognised(mounts: str, mounted: bool) -> None:
    assert is_mounted(mounts) is mounted


def test_bpffs_is_mounted_once() -> None:
    ensure_bpffs()
    ensure_bpffs()
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    assert len([line for line in mounts if line.split()[1] == str(MOUNT_POINT)]) == 1


# ---- the path


def test_there_is_no_way_past_the_balancer() -> None:
    with Lab(backends=1) as lab, Requests(lab.client, count=3, timeout=0.3) as requests:
        assert [request.failure for request in requests.finish().requests] == ["timeout after 0.3 s"] * 3


def test_frames_leave_the_balancer_by_xdp_tx_on_every_cpu(straight_lab: Lab) -> None:
    steer(straight_lab.balancer, "eth0", VIP, mac_of(BALANCER), straight_lab.backends["b2"].mac)
    straight_lab.route_vip(VIP, BALANCER)
    cpus = os.sched_getaffinity(0)
    for process in inhabitants([straight_lab.backends["b2"].namespace]):
        os.sched_setaffinity(process, {min(cpus)})  # so that other CPUs are the merit of the client's moves
    with LongFlows(straight_lab.client, busy=20, idle=2, interval=0.02, alternate=0.02) as flows:
        wait_for("frames on every CPU", lambda: all(straight_lab.balancer_frames()[cpu] > 50 for cpu in cpus))
        report = flows.stop()
    assert report.broken == []
    assert set(report.by_backend()) == {"b2"}
    assert sum(straight_lab.balancer_frames()) >= sum(flow.frames for flow in report.flows)


def test_backends_are_silent_about_the_vip(straight_lab: Lab) -> None:
    straight_lab.router.run("ip", "route", "replace", str(VIP), "dev", "lan")
    with Requests(straight_lab.client, count=1, timeout=0.3) as requests:
        assert requests.finish().failed
    assert straight_lab.backends["b1"].mac not in straight_lab.router.run("ip", "neighbour", "show", str(VIP))


def test_addresses_are_readable_in_macs(straight_lab: Lab) -> None:
    assert mac_of(BALANCER) == "02:00:0a:01:0a:05"
    assert mac_of(BALANCER) in straight_lab.balancer.run("ip", "link", "show", "eth0")
    assert straight_lab.describe()["addresses"]["b2"] == "10.1.10.12"
    assert straight_lab.counters()["b1"]["eth0"]["rx_errors"] == 0


# ---- backends


def test_servers_answer_as_told(straight_lab: Lab) -> None:
    b1 = straight_lab.backends["b1"]

    def once(path: str, tls: bool = False) -> tuple[str, str]:
        with Requests(straight_lab.client, path=path, tls=tls, count=1, timeout=0.5) as requests:
            [request] = requests.finish().requests
            return request.backend, request.failure

    assert once("/") == ("b1", "")
    assert once("/", tls=True) == ("b1", "")
    assert once("/alive") == ("b1", "")
    b1.set_alive(False)
    assert once("/alive") == ("b1", "status 503")
    b1.set_alive(True)
    assert once("/alive") == ("b1", "")
    b1.freeze_servers()
    assert once("/") == ("", "timeout after 0.5 s")
    b1.thaw_servers()
    assert once("/") == ("b1", "")
    b1.kill_servers()
    assert os.strerror(errno.ECONNREFUSED) in once("/")[1] or "Connect call failed" in once("/")[1]
    b1.start_servers(straight_lab.content)
    b1.wait_ready()
    assert once("/") == ("b1", "")
    straight_lab.unplug("b1")
    assert once("/") == ("", "timeout after 0.5 s")
    straight_lab.plug("b1")
    assert once("/") == ("b1", "")


def test_backends_come_and_go(straight_lab: Lab) -> None:
    b3 = straight_lab.add_backend()
    assert (b3.name, str(b3.address)) == ("b3", "10.1.10.13")
    straight_lab.add_vip("203.0.113.11")
    straight_lab.route_vip("203.0.113.11", b3.address)
    with Requests(straight_lab.client, vip="203.0.113.11", count=3) as requests:
        assert requests.finish().backends() == {"b3": 3}
    straight_lab.remove_backend("b3")
    assert not b3.namespace.path.exists()
    with Requests(straight_lab.client, vip="203.0.113.11", count=1, timeout=0.3) as requests:
        assert requests.finish().failed
    assert straight_lab.add_backend().name == "b4"


# ---- the daemon's handle, with a stand-in for the daemon

STAND_IN = """
import argparse, json, os, signal, socket, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--root")
parser.add_argument("verb")
parser.add_argument("--config")
parser.add_argument("--json", action="store_true")
given = parser.parse_args()
if given.verb == "status":
    print(json.dumps({"interfaces": [name for _, name in socket.if_nameindex()]}))
elif given.verb == "reload":
    sys.exit("line 1: this is no configuration" if open(given.root + "/lab.yaml").read() == "bad" else 0)
else:
    if open(given.config).read() == "bad":
        sys.exit("lab.yaml:1:1: this is no configuration")
    print("starting", file=sys.stderr)
    def notify(text):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(text, os.environ["NOTIFY_SOCKET"])
    if os.fork():
        signal.signal(signal.SIGTERM, lambda *_: (notify(b"STOPPING=1"), os._exit(0)))
        notify(b"READY=1\\nSTATUS=1 of 1 services up")
    while True:
        signal.pause()
"""


def test_the_daemon_is_started_questioned_killed_and_stopped(straight_lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    with Daemon(straight_lab.balancer, straight_lab.root(), "good", program=(sys.executable, str(program))) as daemon:
        assert daemon.running
        assert json.loads(daemon.vc5("status", "--json").stdout) == {"interfaces": ["lo", "eth0"]}
        assert ("STATUS", "1 of 1 services up") in [(told.name, told.value) for told in daemon.notifications]
        assert daemon.reload("bad").returncode == 1
        assert daemon.reload("good").returncode == 0
        daemon.kill9()
        assert (daemon.running, daemon.exit_status) == (False, -9)
        daemon.start()
        since = time.monotonic()
        assert daemon.stop() == 0
        assert daemon.notifications[-1].name == "STOPPING"
        assert daemon.notifications[-1].at >= since
        assert daemon.errors == "starting\nstarting\n"
        assert daemon.leftovers() == []
        daemon.configuration_file.write_text("bad")
        with pytest.raises(LabError, match="this is no configuration"):
            daemon.start()
        daemon.configuration_file.write_text("good")
        daemon.start()
    assert not daemon.running


def test_what_a_killed_daemon_leaves_goes_with_the_lab(tmp_path: Path) -> None:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    with Lab(backends=0) as lab, Daemon(lab.balancer, lab.root(), "", program=(sys.executable, str(program))) as daemon:
        subprocess.run(["ip", "netns", "add", daemon.places.namespace], check=True)
        daemon.places.pins.mkdir()
        daemon.kill9()
        assert len(inhabitants([lab.balancer])) == 1, "its child lives on"
        assert len(daemon.leftovers()) == 2
        left = daemon.leftovers
    assert left() == []
    assert traces(lab.name) == []
