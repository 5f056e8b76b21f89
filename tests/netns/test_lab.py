"""The lab itself: that it stands and goes, and that its traffic tools report every fault a balancer could cause."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.addresses import BALANCER, ECHO, VIP, mac_of
from tests.lab.backend import BIG_BYTES, REPOSITORY, Backend, Server
from tests.lab.bpffs import MOUNT_POINT, ensure_bpffs, is_mounted
from tests.lab.daemon import Daemon
from tests.lab.debris import PREFIX, lab_directory, namespaces_of
from tests.lab.echo import STALL_SECONDS
from tests.lab.namespace import NAMESPACES, LabError, inhabitants
from tests.lab.patience import wait_for
from tests.lab.tool import Tool
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests, UdpFlows
from tests.lab.wire import BYE, DATA, FAULT, HEADER, HELLO, Frame, WireError, decode, read_frame
from tests.lab.xdp_pass import XdpPass

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces, BPF"),
]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of two backends whose router sends the VIP past the balancer, directly to b1."""
    with Lab(backends=2) as made:
        made.route_vip(VIP, made.backends["b1"].address)
        yield made


def traces(name: str) -> list[str]:
    """Return what a lab has left on the machine."""
    namespaces = [entry for entry in os.listdir(NAMESPACES) if entry.startswith(f"{name}-")]
    return namespaces + ([str(lab_directory(name))] if lab_directory(name).exists() else [])


def stand_in_balancer(lab: Lab, backend: Backend) -> None:
    """Let the balancer's kernel do what the product's program will do for one backend: hand the VIP's packets on."""
    lab.balancer.run(
        "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects"
    )
    lab.balancer.run("ip", "route", "replace", str(VIP), "via", str(backend.address))
    lab.route_vip(VIP, BALANCER)


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
    assert traces(name)
    with Lab(backends=0) as mine:  # sweeps as it begins
        assert bool(traces(name)) == kept
        assert len(inhabitants(namespaces_of(name))) == (2 if kept else 0), "nginx and echo go on"
        Lab.sweep(kept=True)
        assert traces(name) == []
        assert traces(mine.name), "a lab whose owner lives is not swept"


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


def test_frames_cross_the_balancer_on_every_cpu(lab: Lab) -> None:
    stand_in_balancer(lab, lab.backends["b2"])
    arriving = XdpPass(lab.balancer, "eth0")
    before = sum(lab.balancer_frames())
    try:
        with LongFlows(lab.client, busy=20, idle=2, interval=0.02, alternate=0.02) as flows:

            def seen_everywhere() -> bool:
                return all(
                    sum(count > 50 for count in frames) >= len(os.sched_getaffinity(0))
                    for frames in (arriving.frames(), lab.balancer_frames())
                )

            wait_for("frames on every CPU", seen_everywhere)
            report = flows.stop()
    finally:
        arriving.close()
    assert report.broken == []
    assert set(report.by_backend()) == {"b2"}
    assert sum(lab.balancer_frames()) - before >= sum(flow.frames for flow in report.flows)


def test_backends_are_silent_about_the_vip(lab: Lab) -> None:
    lab.router.run("ip", "route", "replace", str(VIP), "dev", "lan")
    with Requests(lab.client, count=1, timeout=0.3) as requests:
        assert requests.finish().failed
    assert lab.backends["b1"].mac not in lab.router.run("ip", "neighbour", "show", str(VIP))


def test_addresses_are_readable_in_macs(lab: Lab) -> None:
    assert mac_of(BALANCER) == "02:00:0a:01:0a:05"
    assert mac_of(BALANCER) in lab.balancer.run("ip", "link", "show", "eth0")
    assert lab.describe()["addresses"]["b2"] == "10.1.10.12"
    assert lab.counters()["b1"]["eth0"]["rx_errors"] == 0


# ---- backends


def test_servers_answer_as_told(lab: Lab) -> None:
    b1 = lab.backends["b1"]

    def once(path: str, tls: bool = False) -> tuple[str, str]:
        with Requests(lab.client, path=path, tls=tls, count=1, timeout=0.5) as requests:
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
    b1.start_servers(lab.content)
    b1.wait_ready()
    assert once("/") == ("b1", "")
    lab.unplug("b1")
    assert once("/") == ("", "timeout after 0.5 s")
    lab.plug("b1")
    assert once("/") == ("b1", "")


def test_backends_come_and_go(lab: Lab) -> None:
    b3 = lab.add_backend()
    assert (b3.name, str(b3.address)) == ("b3", "10.1.10.13")
    lab.add_vip("203.0.113.11")
    lab.route_vip("203.0.113.11", b3.address)
    with Requests(lab.client, vip="203.0.113.11", count=3) as requests:
        assert requests.finish().backends() == {"b3": 3}
    lab.remove_backend("b3")
    assert not b3.namespace.path.exists()
    with Requests(lab.client, vip="203.0.113.11", count=1, timeout=0.3) as requests:
        assert requests.finish().failed
    assert lab.add_backend().name == "b4"


# ---- long flows


def test_undisturbed_flows_are_whole(lab: Lab) -> None:
    with LongFlows(lab.client, busy=30, idle=10, interval=0.02) as flows:
        assert {flow.state for flow in flows.opened.flows} == {"open"}
        wait_for("some talk", lambda: all(flow.frames > 5 for flow in flows.status().flows if not flow.idle))
        assert all(flow.frames == 0 for flow in flows.status().flows if flow.idle)
        assert len(flows.more(5).flows) == 45
        report = flows.stop()
    assert report.broken == []
    assert {flow.state for flow in report.flows} == {"done"}
    assert all(flow.frames > 0 and flow.bytes > 0 for flow in report.flows if flow.idle)
    assert len({(flow.source, flow.port) for flow in report.flows}) == 45
    assert len({flow.source for flow in report.flows}) == 8
    assert {flow.port % 2 for flow in report.flows} == {0, 1}
    assert list(report.by_backend()) == ["b1"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("corrupt:3", "frame 3 has a wrong checksum"),
        ("reset:3", "Connection reset by peer"),
        ("close:3", "closed by the other side"),
        ("mute:3", "no answer within 1 s"),
    ],
)
def test_a_fault_breaks_every_flow(lab: Lab, fault: str, reason: str) -> None:
    backend = lab.backends["b1"]
    backend.kill_servers(Server.ECHO)
    backend.start_servers(lab.content, Server.ECHO, fault=fault)
    backend.wait_ready()
    with LongFlows(lab.client, busy=4, idle=1, interval=0.02, patience=1) as flows:
        assert flows.opened.broken == []
        wait_for("the busy flows to break", lambda: len(flows.status().broken) == 4)
        report = flows.stop()
    assert len(report.broken) == 5, "the idle flow meets the fault when it speaks at the end"
    assert {flow.frames for flow in report.flows} == {3}
    assert all(reason in flow.reason for flow in report.flows), report.flows[0].reason


def test_a_late_answer_is_a_stall_and_no_break(lab: Lab) -> None:
    backend = lab.backends["b1"]
    backend.kill_servers(Server.ECHO)
    backend.start_servers(lab.content, Server.ECHO, fault="stall:1")
    backend.wait_ready()
    with LongFlows(lab.client, busy=2, idle=0, interval=0.02) as flows:
        wait_for("the stall to pass", lambda: all(flow.frames > 3 for flow in flows.status().flows))
        report = flows.stop()
    assert report.broken == []
    assert report.longest_stall >= STALL_SECONDS


def test_a_pulled_cable_is_a_stall_for_the_flows_of_that_backend(lab: Lab) -> None:
    with LongFlows(lab.client, busy=5, idle=0, interval=0.02) as flows:
        assert flows.status().longest_stall < 0.5
        lab.unplug("b1")
        wait_for("a stall that is still going on", lambda: flows.status().longest_stall > 0.5)
        lab.plug("b1")
        report = flows.stop()
    assert report.broken == []
    assert report.longest_stall > 0.5


def test_killed_servers_break_their_flows_and_no_others(lab: Lab) -> None:
    with LongFlows(lab.client, busy=5, idle=5, interval=0.02) as flows:
        lab.route_vip(VIP, lab.backends["b2"].address)  # from now on b1's flows reach a host that does not know them
        wait_for("the busy flows to break", lambda: len(flows.status().broken) == 5)
        assert len(flows.more(5).broken) == 5
        at = time.monotonic()
        lab.backends["b2"].kill_servers()
        wait_for("b2's flows to break too", lambda: len(flows.status().broken) == 10)
        report = flows.stop()
    assert len(report.broken) == 15, "the idle flows find out when they speak"
    assert all(flow.broken_at >= at for flow in report.by_backend()["b2"])
    assert all(flow.broken_at < at for flow in report.by_backend()["b1"] if not flow.idle)


def test_refused_flows_are_broken_from_the_start(lab: Lab) -> None:
    lab.backends["b1"].kill_servers(Server.ECHO)
    with LongFlows(lab.client, busy=2, idle=1) as flows:
        assert len(flows.opened.broken) == 3
        assert len(flows.stop().broken) == 3


DAMAGED = {
    "payload": Frame(DATA, 0, b"hello").encode()[:-1] + b"!",
    "number": Frame(DATA, 1, b"hello").encode(),
    "length": HEADER.pack(DATA, 0, 1 << 20, 0),
    "kind": b"x" * HEADER.size,
    "number without its checksum": Frame(DATA, 0, b"").encode()[:7] + b"\1" + Frame(DATA, 0, b"").encode()[8:],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_the_server_complains_about_damaged_frames(lab: Lab, damage: bytes) -> None:
    connection = lab.client.call(lambda: socket.create_connection((str(VIP), ECHO), timeout=5))

    async def talk() -> Frame:
        reader, writer = await asyncio.open_connection(sock=connection)
        assert (await read_frame(reader)).kind == HELLO
        writer.write(damage)
        answer = await read_frame(reader)
        writer.close()
        await writer.wait_closed()
        return answer

    assert asyncio.run(asyncio.wait_for(talk(), 5)).kind == FAULT


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    frame = Frame(BYE, 7, b"some payload").encode()
    assert decode(frame) == Frame(BYE, 7, b"some payload")
    for position in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(WireError):
            decode(bytes(damaged))


# ---- UDP flows


def test_udp_flows_report_answers_moves_and_losses(lab: Lab) -> None:
    with UdpFlows(lab.client, count=10, interval=0.02, patience=0.3) as flows:
        wait_for("answers", lambda: flows.status().answered > 50)
        undisturbed = flows.status()
        assert (undisturbed.moved, undisturbed.lost_at, undisturbed.corrupt) == ([], [], 0)
        assert undisturbed.backends() == {"b1": 10}
        lab.route_vip(VIP, lab.backends["b2"].address)
        wait_for("all flows to move", lambda: len(flows.status().moved) == 10)
        at = time.monotonic()
        lab.unplug("b2")
        wait_for("losses", lambda: len(flows.status().lost_at) >= 10)
        report = flows.stop()
    assert report.backends() == {"b2": 10}
    assert min(report.lost_at) > at - 1
    assert report.asked > report.answered
    assert report.corrupt == 0


def test_udp_refusals_are_counted(lab: Lab) -> None:
    lab.backends["b1"].kill_servers(Server.ECHO)
    with UdpFlows(lab.client, count=2, interval=0.02, patience=0.3) as flows:
        wait_for("refusals", lambda: sum(flow.refused for flow in flows.status().flows) > 3)
        report = flows.stop()
    assert report.answered == 0
    assert len(report.lost_at) == report.asked


# ---- requests


def test_detection_is_the_time_to_the_last_failure(lab: Lab) -> None:
    with Requests(lab.client, rate=100, timeout=0.5) as requests:
        wait_for("some requests", lambda: requests.status().backends()["b1"] > 20)
        assert requests.status().failed == []
        killed = time.monotonic()
        lab.backends["b1"].kill_servers(Server.NGINX)
        wait_for("failures", lambda: len(requests.status().failed) > 5)
        lab.route_vip(VIP, lab.backends["b2"].address)
        moved = time.monotonic()
        wait_for("the other backend", lambda: requests.status().backends()["b2"] > 20)
        report = requests.stop()
    assert 0 < report.detection(killed) <= moved - killed
    assert report.since(moved).failed == []
    assert report.since(moved).detection(killed) == 0
    assert report.running == []
    assert {failure.backend for failure in report.failed} <= {"", "b1"}


def test_downloads_are_whole_or_said_to_be_cut(lab: Lab) -> None:
    with Requests(lab.client, path="/big?rate=1m", count=1, timeout=30) as requests:
        wait_for("bytes", lambda: requests.status().running[0].bytes > 0)
        [running] = requests.status().running
        assert running.backend == "b1"
        lab.backends["b1"].kill_servers(Server.NGINX)
        [cut] = requests.finish().failed
    assert "cut short" in cut.failure or "reset" in cut.failure
    assert 0 < cut.bytes < BIG_BYTES
    lab.backends["b1"].start_servers(lab.content, Server.NGINX)
    lab.backends["b1"].wait_ready()
    with Requests(lab.client, path="/big", count=2, timeout=30) as requests:
        report = requests.finish()
    assert [(request.bytes, request.failure) for request in report.requests] == [(BIG_BYTES, "")] * 2
    (lab.content.directory / "big").write_bytes(bytes(BIG_BYTES))
    with Requests(lab.client, path="/big", count=1, timeout=30) as requests:
        [wrong] = requests.finish().failed
    assert wrong.failure == "the body has a wrong SHA-256"


def test_a_tool_that_ends_says_why(lab: Lab) -> None:
    with Tool(lab.client, "flows", "--nonsense") as tool, pytest.raises(LabError, match="--target"):
        tool.expect("ready", 5)


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


def test_the_daemon_is_started_questioned_killed_and_stopped(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    with Daemon(lab.balancer, lab.root(), "good", program=(sys.executable, str(program))) as daemon:
        assert daemon.running
        assert daemon.status() == {"interfaces": ["lo", "eth0"]}
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
