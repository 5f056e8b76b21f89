"""The check syn on loopback: real ports, and answers that are not meant for the probe."""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from appliance.health.answer import Answer
from appliance.health.ports import BLOCK, RAW_PORTS
from appliance.health.probes.raw import checksum
from appliance.health.probes.syn import attach_filter, syn_segment
from appliance.model import Check, CheckKind, Outcome
from tests.unit.health.servers import START, descriptors, probe
from tests.unit.health.test_tcp import full, listening

FIRST_PORT = RAW_PORTS.start + int(START * len(RAW_PORTS) / BLOCK) * BLOCK


def check(port: int, timeout: float = 5.0) -> Check:
    return Check(CheckKind.SYN, port, timeout=timeout)


@pytest.mark.root
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_listens_and_the_service_never_hears_of_it(host: str) -> None:
    before = descriptors()
    with listening(host) as listener:
        answer = asyncio.run(probe(check(listener.getsockname()[1]), host))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (answer.outcome, answer.diagnostic) == (Outcome.OK, "SYN-ACK")
    assert 0 < answer.connect_ns <= answer.total_ns
    assert descriptors() <= before


@pytest.mark.root
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_does_not(host: str) -> None:
    with listening(host) as listener:
        port = listener.getsockname()[1]
    answer = asyncio.run(probe(check(port), host))
    assert (answer.outcome, answer.diagnostic, answer.connect_ns) == (Outcome.NONE, "connection refused", 0)


@pytest.mark.root
def test_silence() -> None:
    with full() as port:
        answer = asyncio.run(probe(check(port, timeout=0.2)))
    assert (answer.outcome, answer.diagnostic) == (Outcome.NONE, "timeout")


def forged(port: int, flags: int, acknowledged: int, source: str = "127.0.0.1") -> bytes:
    """Return a TCP segment from the probed port to the probe's source port."""
    head = struct.pack("!HHIIBBHHH", port, FIRST_PORT, 1, acknowledged, 5 << 4, flags, 1000, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!BBH", 0, 6, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]


@pytest.mark.root
@pytest.mark.parametrize(
    ("flags", "guess", "outcome"),
    [
        (0x12, 1, Outcome.OK),
        (0x14, 1, Outcome.NONE),
        (0x12, 0, None),
        (0x12, 2, None),
        (0x14, 0, None),
        (0x10, 1, None),  # an ACK: the backend remembers an older connection
        (0x04, 1, None),  # RST without ACK proves nothing
    ],
)
def test_only_an_answer_to_this_very_syn_counts(
    flags: int, guess: int, outcome: Outcome | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is silent; somebody else sends an answer that acknowledges the SYN's number plus `guess`."""
    monkeypatch.setattr("secrets.randbits", lambda bits: 0xFFFFFFFF if bits == 32 else 0)

    async def run(port: int) -> Answer:
        task = asyncio.create_task(probe(check(port, timeout=0.3)))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            while not task.done():
                raw.sendto(forged(port, flags, (0xFFFFFFFF + guess) & 0xFFFFFFFF), ("127.0.0.1", 0))
                await asyncio.sleep(0.01)
        return await task

    with full() as port:
        answer = asyncio.run(run(port))
    if outcome is None:
        assert answer.diagnostic == "timeout"
    else:
        assert (answer.outcome, answer.diagnostic != "timeout") == (outcome, True)


@pytest.mark.root
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_filter_lets_only_answers_to_half_open_probes_pass(family: int, host: str) -> None:
    """Segments from port 9 to `port` with `flags`; what may not pass is sent first, so that nothing is waited for."""
    refused = [(RAW_PORTS.start - 1, 0x12), (80, 0x14), (FIRST_PORT, 0x10), (FIRST_PORT, 0x11), (FIRST_PORT, 0)]
    passed = [(RAW_PORTS.start, 0x12), (RAW_PORTS.stop - 1, 0x14), (FIRST_PORT, 0x04)]
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        attach_filter(raw, family)
        raw.settimeout(5)
        for port, flags in refused + passed:
            raw.sendto(struct.pack("!HHIIBBHHH", 9, port, 77, 0, 5 << 4, flags, 0, 0, 0), (host, 0))
        seen: list[tuple[int, int]] = []
        while len(seen) < len(passed):
            packet = raw.recv(256)[-20:]
            source, port, number, _, _, flags = struct.unpack_from("!HHIIBB", packet)
            if (source, number) == (9, 77):
                seen.append((port, flags))
    assert seen == passed


@given(
    st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(1, 65535), st.integers(1, 65535), st.integers(0, 2**32 - 1)
)
def test_segments_are_what_scapy_makes(
    source: object, host: object, source_port: int, port: int, sequence: int
) -> None:
    ours = syn_segment(socket.AF_INET, str(source), str(host), source_port, port, sequence)
    options = [("MSS", 1460)]
    theirs = TCP(sport=source_port, dport=port, seq=sequence, flags="S", window=64240, options=options)
    packet = bytes(IP(src=str(source), dst=str(host)) / theirs)
    assert ours == packet[20:]


def test_ipv6_leaves_the_checksum_to_the_kernel() -> None:
    segment = syn_segment(socket.AF_INET6, str(ip_address("::1")), "::1", 1, 2, 3)
    assert segment[16:18] == b"\0\0"
    assert struct.unpack("!BBH", segment[20:]) == (2, 4, 1440)
