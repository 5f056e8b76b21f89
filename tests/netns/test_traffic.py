"""The traffic tools: that they report every fault that a balancer could cause, and none where there is none."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.lab.addresses import ECHO, VIP
from tests.lab.backend import BIG_BYTES, Server
from tests.lab.echo import STALL_SECONDS
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.tool import Tool
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests, UdpFlows
from tests.lab.wire import BYE, DATA, FAULT, HEADER, HELLO, Frame, WireError, decode, read_frame

pytestmark = pytest.mark.root


# ---- long flows


def test_undisturbed_flows_are_whole(straight_lab: Lab) -> None:
    with LongFlows(straight_lab.client, busy=30, idle=10, interval=0.02) as flows:
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
def test_a_fault_breaks_every_flow(straight_lab: Lab, fault: str, reason: str) -> None:
    backend = straight_lab.backends["b1"]
    backend.kill_servers(Server.ECHO)
    backend.start_servers(straight_lab.content, Server.ECHO, fault=fault)
    backend.wait_ready()
    with LongFlows(straight_lab.client, busy=4, idle=1, interval=0.02, patience=1) as flows:
        assert flows.opened.broken == []
        wait_for("the busy flows to break", lambda: len(flows.status().broken) == 4)
        report = flows.stop()
    assert len(report.broken) == 5, "the idle flow meets the fault when it speaks at the end"
    assert {flow.frames for flow in report.flows} == {3}
    assert all(reason in flow.reason for flow in report.flows), report.flows[0].reason


def test_the_sums_of_the_whole_conversation_are_compared(straight_lab: Lab) -> None:
    backend = straight_lab.backends["b1"]
    backend.kill_servers(Server.ECHO)
    backend.start_servers(straight_lab.content, Server.ECHO, fault="mishear:1")
    backend.wait_ready()
    with LongFlows(straight_lab.client, busy=2, idle=1, interval=0.02) as flows:
        wait_for("some talk", lambda: all(flow.frames > 1 for flow in flows.status().flows if not flow.idle))
        assert flows.status().broken == []
        report = flows.stop()
    assert {flow.reason for flow in report.broken} == {"the other side received something else than was sent"}
    assert len(report.broken) == 3


def test_a_late_answer_is_a_stall_and_no_break(straight_lab: Lab) -> None:
    backend = straight_lab.backends["b1"]
    backend.kill_servers(Server.ECHO)
    backend.start_servers(straight_lab.content, Server.ECHO, fault="stall:1")
    backend.wait_ready()
    with LongFlows(straight_lab.client, busy=2, idle=0, interval=0.02) as flows:
        wait_for("the stall to pass", lambda: all(flow.frames > 3 for flow in flows.status().flows))
        report = flows.stop()
    assert report.broken == []
    assert report.longest_stall >= STALL_SECONDS


def test_a_pulled_cable_is_a_stall_for_the_flows_of_that_backend(straight_lab: Lab) -> None:
    with LongFlows(straight_lab.client, busy=5, idle=0, interval=0.02) as flows:
        assert flows.status().longest_stall < 0.5
        straight_lab.unplug("b1")
        wait_for("a stall that is still going on", lambda: flows.status().longest_stall > 0.5)
        straight_lab.plug("b1")
        report = flows.stop()
    assert report.broken == []
    assert report.longest_stall > 0.5


def test_killed_servers_break_their_flows_and_no_others(straight_lab: Lab) -> None:
    with LongFlows(straight_lab.client, busy=5, idle=5, interval=0.02) as flows:
        straight_lab.route_vip(
            VIP, straight_lab.backends["b2"].address
        )  # from now on b1's flows reach a host that does not know them
        wait_for("the busy flows to break", lambda: len(flows.status().broken) == 5)
        assert len(flows.more(5).broken) == 5
        at = time.monotonic()
        straight_lab.backends["b2"].kill_servers()
        wait_for("b2's flows to break too", lambda: len(flows.status().broken) == 10)
        report = flows.stop()
    assert len(report.broken) == 15, "the idle flows find out when they speak"
    assert all(flow.broken_at >= at for flow in report.by_backend()["b2"])
    assert all(flow.broken_at < at for flow in report.by_backend()["b1"] if not flow.idle)


def test_refused_flows_are_broken_from_the_start(straight_lab: Lab) -> None:
    straight_lab.backends["b1"].kill_servers(Server.ECHO)
    with LongFlows(straight_lab.client, busy=2, idle=1) as flows:
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
def test_the_server_complains_about_damaged_frames(straight_lab: Lab, damage: bytes) -> None:
    connection = straight_lab.client.call(lambda: socket.create_connection((str(VIP), ECHO), timeout=5))

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


def test_udp_flows_report_answers_moves_and_losses(straight_lab: Lab) -> None:
    with UdpFlows(straight_lab.client, count=10, interval=0.02, patience=0.3) as flows:
        wait_for("answers", lambda: flows.status().answered > 50)
        undisturbed = flows.status()
        assert (undisturbed.moved, undisturbed.lost_at, undisturbed.corrupt) == ([], [], 0)
        assert undisturbed.backends() == {"b1": 10}
        straight_lab.route_vip(VIP, straight_lab.backends["b2"].address)
        wait_for("all flows to move", lambda: len(flows.status().moved) == 10)
        at = time.monotonic()
        straight_lab.unplug("b2")
        wait_for("losses", lambda: len(flows.status().lost_at) >= 10)
        report = flows.stop()
    assert report.backends() == {"b2": 10}
    assert min(report.lost_at) > at - 1
    assert report.asked > report.answered
    assert report.corrupt == 0


def test_udp_refusals_are_counted(straight_lab: Lab) -> None:
    straight_lab.backends["b1"].kill_servers(Server.ECHO)
    with UdpFlows(straight_lab.client, count=2, interval=0.02, patience=0.3) as flows:
        wait_for("refusals", lambda: sum(flow.refused for flow in flows.status().flows) > 3)
        report = flows.stop()
    assert report.answered == 0
    assert len(report.lost_at) == report.asked


# ---- requests


def test_detection_is_the_time_to_the_last_failure(straight_lab: Lab) -> None:
    with Requests(straight_lab.client, rate=100, timeout=5) as requests:
        wait_for("some requests", lambda: requests.status().backends()["b1"] > 20)
        assert requests.status().failed == []
        killed = time.monotonic()
        straight_lab.backends["b1"].kill_servers(Server.NGINX)
        wait_for("failures", lambda: len(requests.status().failed) > 5)
        straight_lab.route_vip(VIP, straight_lab.backends["b2"].address)
        moved = time.monotonic()
        wait_for("the other backend", lambda: requests.status().backends()["b2"] > 20)
        report = requests.stop()
    assert 0 < report.detection(killed) <= moved - killed
    assert report.since(moved).failed == []
    assert report.since(moved).detection(killed) == 0
    assert report.running == []
    assert {failure.backend for failure in report.failed} <= {"", "b1"}


def test_downloads_are_whole_or_said_to_be_cut(straight_lab: Lab) -> None:
    with Requests(straight_lab.client, path="/big?rate=1m", count=1, timeout=30) as requests:
        wait_for("bytes", lambda: requests.status().running[0].bytes > 0)
        [running] = requests.status().running
        assert running.backend == "b1"
        straight_lab.backends["b1"].kill_servers(Server.NGINX)
        [cut] = requests.finish().failed
    assert "cut short" in cut.failure or "reset" in cut.failure
    assert 0 < cut.bytes < BIG_BYTES
    straight_lab.backends["b1"].start_servers(straight_lab.content, Server.NGINX)
    straight_lab.backends["b1"].wait_ready()
    with Requests(straight_lab.client, path="/big", count=2, timeout=30) as requests:
        report = requests.finish()
    assert [(request.bytes, request.failure) for request in report.requests] == [(BIG_BYTES, "")] * 2
    (straight_lab.content.directory / "big").write_bytes(bytes(BIG_BYTES))
    with Requests(straight_lab.client, path="/big", count=1, timeout=30) as requests:
        [wrong] = requests.finish().failed
    assert wrong.failure == "the body has a wrong SHA-256"


def test_a_tool_that_ends_says_why(straight_lab: Lab) -> None:
    with Tool(straight_lab.client, "flows", "--nonsense") as tool, pytest.raises(LabError, match="--target"):
        tool.expect("ready", 5)
