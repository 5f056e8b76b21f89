"""What `vc5 drops` is told, by the daemon's own handler over tables of this process."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.control.dropped import told, wanted
from appliance.control.dropping import handler
from appliance.control.socket import Peer, Request
from appliance.dataplane.drops import Dropped
from appliance.dataplane.enums import DROPS, REASON_TEXT, Reason
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.drops import Drops
from appliance.dataplane.shape import Shape
from appliance.errors import ControlError, HostError
from tests.dataplane.frames import Frame

FRAME = Frame().ipv4("198.51.100.7", "203.0.113.10").udp(4242, 9, b"x" * 200).bytes
BOOT = 1_764_000_000.0


def answered(memory: Memory | None, **arguments: Any) -> dict[str, Any]:
    """What the handler answers over these tables."""
    generation = SimpleNamespace(memory=memory) if memory else None
    daemon: Any = SimpleNamespace(
        instance=SimpleNamespace(data=SimpleNamespace(generation=generation)),
        watch=SimpleNamespace(snapshot=lambda: SimpleNamespace(interfaces=[SimpleNamespace(index=3, name="eth0")])),
    )
    request = Request("drops", arguments, Peer(0, 0, 0))
    answer: dict[str, Any] = asyncio.run(handler(daemon)(request))  # type: ignore[arg-type]
    return answer


def tables(*reasons: Reason) -> Memory:
    """Tables in which a packet was dropped for each reason."""
    memory = Memory.plain(Shape(cpus=2, services=128, destinations=512, slots=1 << 15, sets=4))
    memory.settings.put(0, "time", 1000)
    for reason in reasons:
        memory.reasons[reason] += 1
        Drops(memory).record(0, reason, FRAME, 3)
    return memory


@pytest.mark.parametrize("reason", DROPS, ids=str)
def test_every_reason_can_be_asked_for(reason: Reason) -> None:
    assert wanted(str(reason)) is reason


@pytest.mark.parametrize("word", ["forward", "", "TTL", 13, ["ttl"], "x" * 9999])
def test_what_is_no_reason_is_refused_with_those_that_are(word: object) -> None:
    with pytest.raises(ControlError, match=r"no reason why packets are .*unknown-port, protocol.*blocked") as why:
        wanted(word)
    assert len(str(why.value)) < 400


def test_a_packet_in_json() -> None:
    packet = Dropped(Reason.TTL, 2_500_000_000, 3, 242, FRAME[:128])
    assert told(Reason.TTL, 7, [packet], {3: "eth0"}, BOOT) == {
        "reason": "ttl",
        "meaning": REASON_TEXT[Reason.TTL],
        "count": 7,
        "packets": [
            {
                "at": BOOT + 2.5,
                "interface": "eth0",
                "length": 242,
                "data": FRAME[:128].hex(),
                "text": "IPv4 198.51.100.7:4242 > 203.0.113.10:9, UDP, length 200, ttl 64",
            }
        ],
    }
    [unnamed] = told(Reason.TTL, 7, [packet], {}, BOOT)["packets"]
    assert unnamed["interface"] == "index 3"


def test_only_what_happened_is_told_unless_it_is_asked_for() -> None:
    memory = tables(Reason.TTL, Reason.BLOCKED)
    memory.reasons[Reason.FORWARD] = memory.reasons[Reason.DEAD] = 5
    found = answered(memory)["reasons"]
    assert [(one["reason"], one["count"], len(one["packets"])) for one in found] == [
        ("ttl", 1, 1),
        ("dead", 5, 0),
        ("blocked", 1, 1),
    ]
    assert [one["reason"] for one in answered(memory, reason="blocked")["reasons"]] == ["blocked"]
    [nothing] = answered(memory, reason="no-room")["reasons"]
    assert (nothing["count"], nothing["packets"]) == (0, [])


def test_ports_that_are_passed_are_no_drops() -> None:
    memory = tables()
    memory.settings.put(0, "pass_unknown_port", 1)
    memory.reasons[Reason.UNKNOWN_PORT] = 9
    assert answered(memory)["reasons"] == []
    memory.settings.put(0, "pass_unknown_port", 0)
    assert [one["reason"] for one in answered(memory)["reasons"]] == ["unknown-port"]


def test_times_are_those_of_the_wall() -> None:
    memory = tables(Reason.TTL)
    memory.drops.put(int(Reason.TTL) * 16 + 1, "at", time.monotonic_ns())
    before = time.time()
    [packet] = answered(memory)["reasons"][0]["packets"]
    assert abs(packet["at"] - before) < 60
    assert packet["interface"] == "eth0"


def test_a_daemon_that_is_starting_says_so() -> None:
    with pytest.raises(HostError, match="still starting"):
        answered(None)
