"""Which fault it is: for what was seen of a backend, what is said of it, and what mends it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.backend_faults import findings, not_examined
from appliance.control.nic import Finding, Severity
from appliance.control.subjects import Subject, merged
from appliance.health.evidence import Evidence, Reply
from appliance.health.quoted import Refusal
from appliance.model import Forward, Protocol

BACKEND, VIP = ip_address("10.1.10.11"), ip_address("203.0.113.10")
BACKEND6, VIP6 = ip_address("2001:db8:10::11"), ip_address("2001:db8:f::10")
DEAD = Subject(
    service="203.0.113.10:80/tcp",
    vip=VIP,
    port=80,
    protocol=Protocol.TCP,
    backend=BACKEND,
    arrival=80,
    nat=ip_address("10.0.0.1"),
    health="dead",
    diagnostic="http 80: timeout (connect)",
    checked=True,
    troubles=(),
    resolved=True,
    next_hop=BACKEND,
    interface="eth0",
    mtu=1500,
    grows=0,
    forward=Forward.DSR,
)
UP = replace(DEAD, health="up", diagnostic="http 80: HTTP 200")
ALIVE = Evidence(0, own=Reply.ACCEPTED, own_echo=True, full=1500)
WELL = replace(ALIVE, vip=Reply.ACCEPTED, vip_echo=True, passed=1500)
ROUTER = ip_address("10.1.10.1")


def dead(**more: Any) -> Subject:
    return replace(DEAD, **more)


def seen(**more: Any) -> Evidence:
    """Of a host that is alive, and whose VIP is silent but for these."""
    return replace(ALIVE, **more)


IPIP = dead(tunnel="ipip", grows=20)
FOU = dead(tunnel="fou", tunnel_port=6080, grows=28)
SIX = dead(vip=VIP6, nat=ip_address("fd76:6335::1"), service="[2001:db8:f::10]:80/tcp")

# What the daemon knows, what was seen -> words of the finding, words of what mends it; none where all is well.
CASES: dict[str, tuple[Subject, Evidence | None, list[tuple[str, str]]]] = {
    "in order": (UP, WELL, []),
    "not looked at": (UP, None, []),
    "unresolved": (
        dead(resolved=False),
        None,
        [("neighbour unresolved: nobody answers for 10.1.10.11 on eth0", "ip neighbour show 10.1.10.11")],
    ),
    "the gateway is unresolved": (
        replace(IPIP, resolved=False, next_hop=ROUTER),
        None,
        [("neighbour unresolved: nobody answers for 10.1.10.1", "on 10.1.10.1: ip address show")],
    ),
    "no way": (
        dead(resolved=False, troubles=(("VLAN 10: the balancer has no address there", "ip address add"),)),
        None,
        [("there is no way to it", "ip address add")],
    ),
    "not on the loopback": (
        DEAD,
        seen(),
        [("VIP missing on its loopback", "on 10.1.10.11: ip address add 203.0.113.10/32 dev lo")],
    ),
    "not on the loopback, IPv6": (
        SIX,
        seen(),
        [("VIP missing on its loopback", "ip address add 2001:db8:f::10/128 dev lo")],
    ),
    "the own port is closed, the host lives": (
        DEAD,
        seen(own=Reply.RESET, own_echo=False),
        [("VIP missing on its loopback", "dev lo")],
    ),
    "only its echo lives": (DEAD, seen(own=Reply.SILENCE), [("VIP missing on its loopback", "dev lo")]),
    "gone": (
        DEAD,
        seen(own=Reply.SILENCE, own_echo=False),
        [("it answers nothing at all", "ping -c 1 10.1.10.11")],
    ),
    "nobody listens": (
        DEAD,
        seen(vip=Reply.RESET, vip_echo=True, own=Reply.RESET),
        [("RST from the VIP: port 80 is refused", "ss -ltn 'sport = :80'")],
    ),
    "listens on its own address": (
        DEAD,
        seen(vip=Reply.RESET, vip_echo=True),
        [("RST from the VIP", "have it listen on 203.0.113.10:80 or on all addresses")],
    ),
    "wrong source": (
        DEAD,
        seen(stray=BACKEND),
        [("reply with wrong source: 10.1.10.11 answers in place of 203.0.113.10", "snat|masquerade")],
    ),
    "past the program": (DEAD, seen(stray=VIP), [("past the program", "`interfaces`")]),
    "DSCP without the rule": (
        dead(tunnel="dscp", code=46),
        seen(stray=BACKEND),
        [("reply with wrong source", "ip dscp 46 notrack ip daddr set 203.0.113.10")],
    ),
    "ipip unknown": (
        IPIP,
        seen(outer=Refusal.PROTOCOL, outer_by=BACKEND),
        [("tunnel not decapsulated: it knows nothing of ipip", "modprobe ipip; ip link set tunl0 up")],
    ),
    "ipip silent": (
        IPIP,
        seen(),
        [("tunnel not decapsulated, or VIP missing", "ip address add 203.0.113.10/32 dev lo")],
    ),
    "IPv6 in ipip": (
        replace(SIX, tunnel="ipip", grows=20),
        seen(outer=Refusal.PROTOCOL, outer_by=BACKEND),
        [("tunnel not decapsulated", "modprobe sit; ip link set sit0 up")],
    ),
    "ipip over IPv6": (
        replace(IPIP, backend=BACKEND6, next_hop=BACKEND6),
        seen(outer=Refusal.PROTOCOL, outer_by=BACKEND6),
        [("tunnel not decapsulated", "modprobe ip6_tunnel; ip link set ip6tnl0 up")],
    ),
    "gre unknown": (
        dead(tunnel="gre", grows=24),
        seen(outer=Refusal.PROTOCOL, outer_by=BACKEND),
        [("tunnel not decapsulated", "ip link add vc5 type gre local 10.1.10.11; ip link set vc5 up")],
    ),
    "fou unknown": (
        FOU,
        seen(outer=Refusal.PORT, outer_by=BACKEND),
        [("tunnel not decapsulated: it knows nothing of fou", "ip fou add port 6080 ipproto 4")],
    ),
    "gue unknown": (
        dead(tunnel="gue", tunnel_port=6080, grows=32),
        seen(outer=Refusal.PORT, outer_by=BACKEND),
        [("tunnel not decapsulated", "ip fou add port 6080 gue")],
    ),
    "a firewall before the tunnel": (
        FOU,
        seen(outer=Refusal.PROHIBITED, outer_by=ROUTER),
        [("the tunnel's packets are refused: prohibited", "on 10.1.10.1: let UDP to port 6080 to 10.1.10.11 pass")],
    ),
    "a firewall that rejects": (
        DEAD,
        seen(vip=Reply.UNREACHABLE, vip_refusal=Refusal.PROHIBITED, vip_echo=True),
        [("the VIP is answered with ICMP: prohibited", "accept tcp port 80 to 203.0.113.10")],
    ),
    "a firewall that rejects, seen at the own address": (
        DEAD,
        seen(vip_echo=True, own=Reply.UNREACHABLE, own_refusal=Refusal.PROHIBITED),
        [("the VIP is answered with ICMP: prohibited", "accept tcp port 80")],
    ),
    "a firewall that drops": (
        DEAD,
        seen(vip_echo=True),
        [("port 80 of the VIP is silent", "nft list ruleset | grep drop")],
    ),
    "nobody listens, UDP": (
        dead(protocol=Protocol.UDP),
        seen(vip=Reply.UNREACHABLE, vip_refusal=Refusal.PORT, vip_echo=True, own=Reply.RESET),
        [("nothing listens on UDP port 80", "ss -lun 'sport = :80'")],
    ),
    "who knows what it would answer, UDP": (
        dead(protocol=Protocol.UDP, health="up"),
        seen(vip_echo=True, own=Reply.RESET),
        [],
    ),
    "silent behind NAT": (
        dead(forward=Forward.NAT, arrival=8080),
        seen(),
        [("port 8080 is silent", "accept tcp port 8080")],
    ),
    "a narrow way": (
        UP,
        replace(WELL, passed=1400),
        [("path MTU too small: 1500 bytes do not arrive, 1400 do", "advmss 1360")],
    ),
    "a narrow way, told": (
        UP,
        replace(WELL, passed=0, narrow=1300, narrow_by=ROUTER),
        [("path MTU too small: 1500 bytes do not arrive, 1300 do", "ip link set IFACE mtu 1500")],
    ),
    "a narrow way for a tunnel": (
        replace(IPIP, health="up"),
        replace(WELL, full=1480, passed=1440),
        [("path MTU too small: 1480 bytes do not arrive, 1440 do", "mtu 1500")],
    ),
    "no SYN with data passes": (UP, replace(WELL, passed=0), []),
    "the service is unwell": (
        dead(health="wrong", diagnostic="http 80: HTTP 503"),
        WELL,
        [("it answers, and its check fails: http 80: HTTP 503", "vc5 log --backend 10.1.10.11")],
    ),
    "not examined": (DEAD, None, [("its check fails: http 80: timeout (connect)", "run vc5 doctor as root")]),
    "nothing could be sent": (
        DEAD,
        seen(trouble="network is unreachable"),
        [("its check fails", "journalctl -u vc5")],
    ),
}


@pytest.mark.parametrize(("subject", "evidence", "expected"), CASES.values(), ids=CASES)
def test_findings(subject: Subject, evidence: Evidence | None, expected: list[tuple[str, str]]) -> None:
    found = findings(subject, evidence)
    assert len(found) == len(expected)
    for one, (what, remedy) in zip(found, expected, strict=True):
        assert one.severity is Severity.PROBLEM
        assert what in one.what
        assert remedy in one.remedy
        assert one.why


maybe = st.none() | st.sampled_from([BACKEND, VIP, ROUTER, BACKEND6])
anything = st.builds(
    Evidence,
    number=st.just(0),
    vip=st.sampled_from(Reply),
    vip_refusal=st.none() | st.sampled_from(Refusal),
    vip_echo=st.booleans(),
    own=st.sampled_from(Reply),
    own_refusal=st.none() | st.sampled_from(Refusal),
    own_echo=st.booleans(),
    stray=maybe,
    outer=st.none() | st.sampled_from(Refusal),
    outer_by=maybe,
    full=st.integers(0, 65535),
    passed=st.integers(0, 65535),
    narrow=st.integers(0, 65535),
    narrow_by=maybe,
    trouble=st.sampled_from(["", "no route"]),
)
subjects = st.sampled_from([case[0] for case in CASES.values()])


@given(subjects, st.none() | anything)
def test_whatever_was_seen_something_sensible_is_said(subject: Subject, evidence: Evidence | None) -> None:
    found = findings(subject, evidence)
    assert all(one.what and one.why and one.remedy for one in found)
    assert "None" not in "".join(f"{one.what}{one.why}{one.remedy}" for one in found)
    if subject.health == "dead":
        assert found  # who is dead has a finding
    assert len(found) <= 2


ROW = {
    "service": "203.0.113.10:80/tcp",
    "vip": "203.0.113.10",
    "port": 80,
    "protocol": 6,
    "backend": "10.1.10.11",
    "arrival": 80,
    "nat": "10.0.0.1",
    "health": "dead",
    "diagnostic": "http 80: timeout (connect)",
    "checked": True,
    "troubles": [],
    "resolved": True,
    "next_hop": "10.1.10.11",
    "interface": "eth0",
    "own": "10.1.10.5",
    "mtu": 1500,
    "grows": 0,
    "forward": "dsr",
    "tunnel": "",
    "tunnel_port": 0,
    "code": 0,
    "ask": "",
}


def test_a_row_of_the_daemon_is_read() -> None:
    assert Subject.of(ROW) == DEAD
    assert Subject.of({**ROW, "nat": None, "next_hop": None}) == dead(nat=None, next_hop=None)


@pytest.mark.parametrize("broken", [{"vip": "x"}, {"port": None}, {"forward": "x"}, {"protocol": 1}, {"troubles": 3}])
def test_rows_of_other_versions_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Subject.of({**ROW, **broken})
    with pytest.raises(ValueError, match="no backend of this version's"):
        Subject.of({name: value for name, value in ROW.items() if name not in broken})


def test_who_is_examined() -> None:
    one = DEAD.examinee(3, 1500)
    assert one is not None
    assert (one.number, one.size, one.tunnel) == (3, 1500, "")
    assert dead(nat=None).examinee(0, 1500) is None
    assert dead(resolved=False).examinee(0, 1500) is None
    jumbo = replace(IPIP, mtu=9000).examinee(0, 1500)
    assert jumbo is not None
    assert jumbo.size == 1500  # the probe namespace takes no more
    tunnel = IPIP.examinee(0, 1500)
    assert tunnel is not None
    assert (tunnel.size, tunnel.tunnel) == (1480, "ipip")
    rule = dead(tunnel="dscp", code=46).examinee(0, 1500)
    assert rule is not None
    assert (rule.size, rule.tunnel) == (1500, "")  # there is no outer packet


def test_what_a_backend_has_in_all_services_is_said_once() -> None:
    other = replace(UP, service="203.0.113.11:80/tcp")
    third = replace(UP, backend=ip_address("10.1.10.12"))
    one = Finding(Severity.PROBLEM, "what", "why", "remedy")
    assert merged([(UP, (one,)), (other, (one,)), (third, (one,))]) == {
        "10.1.10.11 of 203.0.113.10:80/tcp and 1 more": (one,),
        "10.1.10.12 of 203.0.113.10:80/tcp": (one,),
    }
    assert merged([(UP, ()), (other, (one,))]) == {
        "10.1.10.11 of 203.0.113.10:80/tcp": (),
        "10.1.10.11 of 203.0.113.11:80/tcp": (one,),
    }


def test_that_nobody_looked_is_a_note() -> None:
    assert not_examined("run this as root").remedy == "sudo vc5 doctor"
    assert not_examined("no").severity is Severity.NOTE
