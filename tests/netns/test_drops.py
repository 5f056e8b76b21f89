"""`vc5 drops` with a real daemon: packets of a real client that are dropped, byte by byte, over floods and restarts."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.dataplane.abi import REASON_STRIDE, SETTINGS
from appliance.dataplane.aside import DROP_OCTETS, DROPS_A_SECOND, DROPS_KEPT, DROPS_NUMBER
from appliance.dataplane.enums import DROPS, REASON_TEXT, Reason
from appliance.dataplane.frame import checksum
from appliance.dataplane.kernel import Map
from tests.lab.addresses import CLIENT_ADDRESSES, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import assert_refused, configuration, prepared, wait_states
from tests.pcap import read

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVICE = f"{VIP}:7000/tcp"
TEXT = configuration(port="7000/tcp")
CLIENT, BAD = map(str, CLIENT_ADDRESSES[:2])
CLOSED = 9
OUTGOING = 4
"""PACKET_OUTGOING, linux/if_packet.h."""
ETH_P_ALL = 3
FLOOD = 20_000


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Daemon]:
    with prepared(lab, "drops", TEXT) as standing:
        standing.start()
        wait_states(standing, SERVICE, b11="available", b12="available")
        yield standing


def datagrams(*payloads: bytes, source: str = CLIENT, port: int = CLOSED, ttl: int = 64) -> None:
    """Send datagrams from the client to the VIP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        for payload in payloads:
            sender.sendto(payload, (str(VIP), port))


def raw(protocol: int, body: bytes) -> None:
    """Send a packet of any protocol."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as sender:
        sender.sendto(body, (str(VIP), 0))


def icmp(kind: int) -> None:
    """Send ICMP (RFC 792): an echo request, which VIPs answer, or a timestamp request, which they do not."""
    body = struct.pack("!BBHHHIII", kind, 0, 0, 1, 1, 1, 0, 0)
    raw(1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def last_hop() -> None:
    """A SYN for the service whose time to live runs out on the way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        sender.setblocking(False)
        sender.connect_ex((str(VIP), 7000))


# What is done, and the reason for which that is dropped.
DROPPED: dict[Reason, Callable[[], None]] = {
    Reason.UNKNOWN_PORT: lambda: datagrams(b"nobody is here" * 20),
    Reason.PROTOCOL: lambda: raw(253, b"experimental"),
    Reason.ICMP_TYPE: partial(icmp, 13),
    Reason.TTL: last_hop,
    Reason.MALFORMED: lambda: raw(17, struct.pack("!HHHH", 4242, 7000, 999, 0) + b"short"),
    Reason.BLOCKED: lambda: datagrams(b"rude", source=BAD, port=7000),
}


@contextmanager
def passing(lab: Lab) -> Iterator[Callable[[], list[bytes]]]:
    """Take down what the router sends to the balancer; what is given returns the frames to the VIP so far."""

    def opened() -> socket.socket:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        found.bind(("lan", ETH_P_ALL))
        found.setblocking(False)
        return found

    taken: list[bytes] = []

    def look() -> list[bytes]:
        while True:
            try:
                frame, address = listener.recvfrom(1 << 16)
            except BlockingIOError:
                return taken
            if address[2] == OUTGOING and frame[30:34] == VIP.packed:
                taken.append(frame)

    with lab.router.call(opened) as listener:
        yield look


def told(daemon: Daemon, reason: Reason) -> dict[str, Any]:
    """What `vc5 drops` tells of a reason."""
    [found] = daemon.ask("drops", "--reason", str(reason))["reasons"]
    assert (found["reason"], found["meaning"]) == (str(reason), REASON_TEXT[reason])
    return dict(found)


def wait_told(daemon: Daemon, reason: Reason, packets: int = 1) -> dict[str, Any]:
    """Wait until so many packets of a reason have been written down."""

    def look() -> dict[str, Any] | None:
        found = told(daemon, reason)
        return found if len(found["packets"]) >= packets else None

    found = wait_for(f"{packets} packets of {reason}", look)
    assert found
    return found


def kept(found: dict[str, Any]) -> list[bytes]:
    """What was kept of the packets, the newest first."""
    return [bytes.fromhex(one["data"]) for one in found["packets"]]


def test_every_packet_is_told_as_it_came(lab: Lab, daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.vc5("drops").stdout == "no packet is known to have been dropped\n"
    assert daemon.vc5("block", "add", BAD).returncode == 0
    before = time.time()
    with passing(lab) as sent:
        for reason, act in DROPPED.items():
            already = len(sent())
            lab.client.call(act)
            found = wait_told(daemon, reason)
            [frame] = sent()[already:]
            [packet] = found["packets"]
            assert kept(found) == [frame[:DROP_OCTETS]]
            assert (packet["length"], packet["interface"], found["count"]) == (len(frame), "eth0", 1)
            assert before - 1 <= packet["at"] <= time.time() + 1
            assert f"{BAD if reason is Reason.BLOCKED else CLIENT}" in packet["text"]
        frames = sent()
    assert len(frames) == len(DROPPED)
    # Together they are what one at a time were, and people can read them.
    every = daemon.ask("drops")["reasons"]
    assert {one["reason"] for one in every} == {str(reason) for reason in DROPPED}
    text = daemon.vc5("drops").stdout
    assert "unknown-port  1 packet\n" in text
    assert f"IPv4 {CLIENT}" in text
    assert ":9, UDP, length 280, ttl 63" in text
    assert "ICMP type 13" in text
    # And so can tcpdump.
    file = tmp_path / "drops.pcap"
    assert daemon.vc5("drops", "--pcap", str(file)).returncode == 0
    capture = read(file.read_bytes())
    assert (capture.link, capture.longest) == (1, DROP_OCTETS)
    assert [(one.octets, one.length) for one in capture.packets] == [(one[:DROP_OCTETS], len(one)) for one in frames]
    assert_refused(daemon.vc5("drops", "--pcap", str(file)), 1, str(file), "File exists")
    assert_refused(daemon.vc5("drops", "--reason", "weather"), 2, "weather", *map(str, DROPS))


def test_what_is_forwarded_or_answered_leaves_nothing(lab: Lab, daemon: Daemon) -> None:
    for _ in range(20):
        lab.client.call(lambda: socket.create_connection((str(VIP), 7000), 5.0).close())
    lab.client.call(partial(icmp, 8))
    wait_for("an echo reply", lambda: daemon.status()["reasons"]["echo"] == 1)
    # What is only asked about is not dropped either.
    assert daemon.ask("explain", "--flow", f"udp {CLIENT}:4242 {VIP}:{CLOSED}")["verdict"] == "drop"
    assert daemon.ask("drops") == {"reasons": []}


class Tables:
    """The running program's own tables, by their pins."""

    def __init__(self, daemon: Daemon) -> None:
        [self._reasons] = daemon.places.pins.rglob("vc5_reasons")
        [self._settings] = daemon.places.pins.rglob("vc5_settings")

    def written(self, reason: Reason) -> list[int]:
        """How many packets each CPU has ever written down."""
        with Map.open(self._reasons) as table:
            words = table.memory().cast("Q").tolist()
        return words[reason + DROPS_NUMBER :: REASON_STRIDE][:-1]

    def time(self) -> int:
        """The coarse clock."""
        with Map.open(self._settings) as table:
            return table.memory().cast("I")[SETTINGS.offsets["time"] // 4]


def test_a_flood_is_counted_whole_and_written_down_within_bounds(lab: Lab, daemon: Daemon) -> None:
    tables = Tables(daemon)
    before = tables.time()
    lab.client.call(lambda: datagrams(*(number.to_bytes(4, "big") for number in range(FLOOD))))
    found = wait_for("the flood", lambda: (now := told(daemon, Reason.UNKNOWN_PORT))["count"] >= FLOOD * 0.9 and now)
    assert found
    seconds = tables.time() - before + 1
    numbers = tables.written(Reason.UNKNOWN_PORT)
    assert 0 < max(numbers) <= seconds * DROPS_A_SECOND
    assert len(kept(found)) == min(DROPS_KEPT, sum(numbers))
    # Another reason has its own room meanwhile.
    lab.client.call(DROPPED[Reason.PROTOCOL])
    assert len(kept(wait_told(daemon, Reason.PROTOCOL))) == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
def test_packets_of_two_cpus_are_told_in_one_row(lab: Lab, daemon: Daemon) -> None:
    tables, sent = Tables(daemon), 0
    cpus = sorted(os.sched_getaffinity(0))[:2]

    def from_each() -> bool:
        nonlocal sent
        for cpu in cpus:
            lab.client.call(partial(_on, cpu, sent))
            sent += 1
        return all(tables.written(Reason.UNKNOWN_PORT)[cpu] for cpu in cpus)

    wait_for("a packet on each CPU", from_each, 20.0)
    found = told(daemon, Reason.UNKNOWN_PORT)
    times = [one["at"] for one in found["packets"]]
    assert times == sorted(times, reverse=True)
    assert len(times) == min(DROPS_KEPT, sum(tables.written(Reason.UNKNOWN_PORT)))


def _on(cpu: int, number: int) -> None:
    """Send a datagram from one CPU: in a lab, the same one receives it."""
    os.sched_setaffinity(0, {cpu})
    datagrams(number.to_bytes(4, "big"))


def test_they_outlive_daemons_and_programs(lab: Lab, daemon: Daemon) -> None:
    lab.client.call(DROPPED[Reason.UNKNOWN_PORT])
    lab.client.call(DROPPED[Reason.PROTOCOL])
    before = kept(wait_told(daemon, Reason.UNKNOWN_PORT)), kept(wait_told(daemon, Reason.PROTOCOL))
    at = told(daemon, Reason.PROTOCOL)["packets"][0]["at"]
    daemon.kill9()
    # While no daemon runs there is room for a few.
    lab.client.call(lambda: datagrams(b"alone"))
    daemon.start()
    after = kept(wait_told(daemon, Reason.UNKNOWN_PORT, 2))
    assert after[0][42:47] == b"alone"
    assert (after[1:], kept(told(daemon, Reason.PROTOCOL))) == before
    assert abs(told(daemon, Reason.PROTOCOL)["packets"][0]["at"] - at) < 1.0
    # A program of another shape has the same records, and goes on writing.
    assert daemon.reload(TEXT + "count_prefixes: yes\n").returncode == 0
    assert kept(told(daemon, Reason.UNKNOWN_PORT)) == after
    lab.client.call(lambda: datagrams(b"again"))
    assert kept(wait_told(daemon, Reason.UNKNOWN_PORT, 3))[1:] == after
    assert daemon.reload(TEXT).returncode == 0
    assert len(kept(told(daemon, Reason.UNKNOWN_PORT))) == 3
