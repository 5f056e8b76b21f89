"""The story that `vc5 explain` tells, of packets of every kind, by the real program; the golden file is to be read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from appliance import config
from appliance.cli.tables import Screen, fold, width
from appliance.control import explain
from appliance.control.described import read_host
from appliance.control.story import story
from appliance.control.workbench import Workbench
from appliance.dataplane.frame import Flow, build, checksum

pytestmark = pytest.mark.root
GOLDEN = Path(__file__).parent / "golden"

CONFIGURATION = """\
interfaces: nowhere0
hash_seed: 8d969eef6ecad3c29a3a629280e686cf
block: [192.0.2.0/24]
services:
  - virtual: 203.0.113.10
    name: shop
    servers: [10.1.10.11, 10.1.10.12, 10.1.10.13]
    policy: {443/tcp: {checks: []}, 53/udp: {checks: []}}
  - virtual: 203.0.113.20
    name: far
    tunnel-type: gre
    servers: [10.9.0.11]
    policy: {443/tcp: {checks: []}}
  - virtual: 203.0.113.30
    name: mapped
    forward: nat
    servers: [10.1.10.14]
    policy: {443/tcp: {checks: [], bind: 8443}}
  - virtual: 2001:db8:5::10
    on_dead: reset
    servers: ['2001:db8:10::11']
    policy: {443/tcp: {checks: []}}
  - virtual: 203.0.113.40
    name: counted
    tracking: all
    servers: [10.1.10.15]
    policy: {443/tcp: {checks: []}}
  - virtual: 203.0.113.50
    servers: [10.1.10.16]
    policy: {443/tcp: {checks: []}}
"""
HOST = """{
 "interfaces": [{"name": "nowhere0", "mac": "02:00:0a:01:0a:05", "mtu": 1500,
                 "addresses": ["10.1.10.5/24", "2001:db8:10::5/64"]}],
 "routes": [{"prefix": "0.0.0.0/0", "via": "10.1.10.1", "interface": "nowhere0"}],
 "neighbours": {"10.1.10.1": "02:00:0a:01:0a:01", "10.1.10.11": "02:00:0a:01:0a:0b",
                "10.1.10.12": "02:00:0a:01:0a:0c", "10.1.10.13": "02:00:0a:01:0a:0d",
                "10.1.10.14": "02:00:0a:01:0a:0e", "10.1.10.15": "02:00:0a:01:0a:0f",
                "2001:db8:10::11": "02:00:00:10:00:11"}}
"""
SHOP = "203.0.113.10:443/tcp"
FLOW = "tcp 198.51.100.7:4242 203.0.113.10:443"
MINE, ROUTER = bytes.fromhex("02000a010a05"), bytes.fromhex("02000a010a01")


def frame(flow: str, **more: Any) -> bytes:
    """Return a frame of a flow, from the router to the balancer."""
    return build(Flow.parse(flow), destination=MINE, source=ROUTER, **more)


def icmp(kind: int, code: int, source: str, body: bytes) -> dict[str, str]:
    """Return a step with an ICMP message to the VIP."""
    around = frame(f"udp {source}:1 203.0.113.10:1")[14:34]
    message = struct.pack("!BBHI", kind, code, 0, 0) + body
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    head = around[:2] + struct.pack("!H", 20 + len(message)) + around[4:9] + b"\x01\0\0" + around[12:]
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return {"frame": (MINE + ROUTER + b"\x08\0" + head + message).hex()}


QUOTED = frame("tcp 203.0.113.10:443 198.51.100.7:4242")[14:]
STEPS: dict[str, dict[str, Any]] = {
    "a new connection": {"flow": FLOW},
    "an ICMP error about it": icmp(3, 4, "198.51.100.1", QUOTED),
    "(its backend drains)": {"health": {SHOP: {"BACKEND": "draining"}}},
    "a packet of an older connection": {"flow": FLOW, "flags": "ACK"},
    "and its next one": {"flow": FLOW, "flags": "ACK"},
    "the same client, a new connection": {"flow": FLOW, "flags": "SYN"},
    "(the backend of both is dead)": {"health": {SHOP: {"10.1.10.11": "down", "10.1.10.12": "down"}}},
    "a packet of the connection that it had": {"flow": FLOW, "flags": "ACK"},
    "through a tunnel": {"flow": "tcp 198.51.100.7:4242 203.0.113.20:443"},
    "a packet that is too long for the tunnel": {"frame": ""},
    "to a backend behind NAT": {"flow": "tcp 198.51.100.7:4242 203.0.113.30:443"},
    "where every flow is remembered": {"flow": "tcp 198.51.100.7:4242 203.0.113.40:443"},
    "a backend that nobody has heard of": {"flow": "tcp 198.51.100.7:4242 203.0.113.50:443"},
    "(over IPv6, the backend drains and is dead)": {
        "health": {"[2001:db8:5::10]:443/tcp": {"2001:db8:10::11": "down"}}
    },
    "IPv6, to a backend that was there": {"flow": "tcp [2001:db8::7]:4242 [2001:db8:5::10]:443", "flags": "ACK"},
    "ping": icmp(8, 0, "198.51.100.7", b"12345678"),
    "a port without a service": {"flow": "tcp 198.51.100.7:4242 203.0.113.10:444"},
    "an address that is no VIP": {"flow": "tcp 198.51.100.7:4242 192.0.2.99:444"},
    "a source that is blocked": {"flow": "tcp 192.0.2.7:4242 203.0.113.10:443"},
    "the last hop": {"frame": frame(FLOW, ttl=1).hex()},
    "ARP": {"frame": (b"\xff" * 6 + ROUTER + b"\x08\x06" + bytes(28)).hex()},
    "a VLAN tag": {"frame": frame(FLOW, vlan=10).hex()},
    "(nobody gets new flows)": {"weight": {"203.0.113.10:53/udp": dict.fromkeys(["10.1.10.11", "10.1.10.12"], 0)}},
    "(nor the third)": {"weight": {"203.0.113.10:53/udp": {"10.1.10.13": 0}}},
    "a datagram that nobody takes": {"flow": "udp 198.51.100.7:4242 203.0.113.10:53"},
}


def long_frame() -> str:
    """Return a packet of 1,500 bytes, which may not be fragmented."""
    short = frame("tcp 198.51.100.7:4242 203.0.113.20:443")
    head = short[14:16] + struct.pack("!H", 1500) + short[18:24] + b"\0\0" + short[26:34]
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return (short[:14] + head + short[34:] + bytes(1460)).hex()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The answers to all steps, which build on each other."""
    place = tmp_path_factory.mktemp("story")
    (place / "F.yaml").write_text(CONFIGURATION)
    (place / "H.json").write_text(HOST)
    loaded = config.load(place / "F.yaml").config
    found: dict[str, dict[str, Any]] = {}
    with Workbench(loaded, read_host(place / "H.json", loaded)) as bench:
        for name, step in STEPS.items():
            if step.get("frame") == "":
                step = {"frame": long_frame()}
            if "BACKEND" in str(step):
                step = {"health": {SHOP: {found["a new connection"]["backend"]: "draining"}}}
            found[name] = explain._step(bench, step)
    return found


@pytest.mark.parametrize("columns", [80, 140])
def test_the_stories_read_as_agreed(answers: dict[str, dict[str, Any]], columns: int) -> None:
    text = ""
    for name, answer in answers.items():
        lines = story(answer) if "verdict" in answer else []
        folded = [part for line in lines for part in fold(line, Screen(columns), " " * 10)]
        text += "\n".join([f"--- {name}", *folded, "", ""])
        assert all(width(line) <= columns for line in folded)
    assert text == GOLDEN.joinpath(f"explain_{columns}.txt").read_text(encoding="utf-8")


REASONS = {
    "a new connection": ("forward", []),
    "an ICMP error about it": ("forward", []),
    "a packet of an older connection": ("forward", ["tracked-old", "remembered"]),
    "and its next one": ("forward", ["tracked-hit"]),
    "the same client, a new connection": ("forward", ["tracked-new", "remembered"]),
    "a packet that is too long for the tunnel": ("too-big", []),
    "where every flow is remembered": ("forward", ["tracked-new", "remembered"]),
    "ping": ("echo", []),
    "a source that is blocked": ("blocked", []),
    "a datagram that nobody takes": ("no-backend", []),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_the_program_decided_is_in_the_answer(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[name]
    assert (answer["reason"], answer["decisions"]) == REASONS[name]


def test_an_older_daemon_tells_less(answers: dict[str, dict[str, Any]]) -> None:
    new = ("input", "arrives", "decisions", "standing", "states", "slots", "name", "of_vip", "remembers_all")
    for answer in answers.values():
        if "verdict" in answer:
            old = {name: value for name, value in answer.items() if name not in new}
            lines = story(old)
            assert lines[0].startswith(f"verdict   {answer['verdict']}: ")
            assert lines[-1].startswith(f"frame     {answer['frame'][:200]}")
