"""Which checks become one probe, who follows whom, and which numbers stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.answer import Answer
from appliance.health.messages import Probe, Schedule, decode_schedule
from appliance.health.sharing import Sharing, Target, leaning, path_check
from appliance.model import Address, Check, CheckKind, Outcome, Protocol, ServiceKey, Tunnel, TunnelKind
from tests.unit.health.servers import encoded

HTTP = Check(CheckKind.HTTP, 80, "www.example.com")
BACKEND = IPv4Address("10.1.1.5")
OTHER = IPv4Address("10.1.1.6")
V6 = IPv6Address("2001:db8::5")


def target(nat: int, vip: str = "192.0.2.1", port: int = 80, backend: Address = BACKEND, **values: Any) -> Target:
    address: Address = IPv4Address("10.0.0.0") + nat if ":" not in vip else IPv6Address("fd76:6335::") + nat
    protocol = values.pop("protocol", Protocol.TCP)
    host = f"[{vip}]" if ":" in vip else vip
    checks = values.pop("checks", (HTTP,))
    return Target(ServiceKey.parse(f"{host}:{port}/{protocol}"), backend, address, checks, **values)


def taken(sharing: Sharing, targets: Sequence[Target]) -> tuple[Probe, ...]:
    """Give targets to a plan; each file of certificates holds its own path."""
    sharing.take(targets, str)
    return tuple(sharing.probes())


def plan(*targets: Target) -> tuple[Probe, ...]:
    return taken(Sharing(), targets)


def test_equal_checks_of_two_services_on_one_vip_are_one_probe_for_both() -> None:
    sharing = Sharing()
    [probe] = taken(sharing, [target(1), target(2, port=443)])
    assert (probe.number, probe.nat, probe.check, probe.leader) == (1, IPv4Address("10.0.0.1"), HTTP, 0)
    assert [(one.service.port, one.check) for one in sharing.subscribers[1]] == [(80, 0), (443, 0)]


def test_equal_checks_of_one_service_are_one_probe_too() -> None:
    sharing = Sharing()
    assert len(taken(sharing, [target(1, checks=(HTTP, HTTP))])) == 1
    assert [one.check for one in sharing.subscribers[1]] == [0, 1]


GRE = Tunnel(TunnelKind.GRE)
ICMP = Check(CheckKind.ICMP, 80)
ANONYMOUS = replace(HTTP, host="")


@pytest.mark.parametrize(
    ("left", "right", "probes"),
    [
        (target(1), target(2, port=443), 1),
        (target(1), target(2, port=443, backend=OTHER), 2),
        (target(1), target(2, port=443, tunnel=GRE), 2),
        (target(1, tunnel=GRE), target(2, port=443, tunnel=Tunnel(TunnelKind.GRE)), 1),
        (target(1, mapped=80), target(2, port=80, vip="192.0.2.2", mapped=80), 1),  # NAT: no VIP on the wire
        (target(1, mapped=80), target(2, port=81, mapped=8080), 1),  # the check's own port, mapped by the first alone
        (target(1, mapped=81), target(2, vip="192.0.2.2", mapped=80), 2),
        (target(1, mapped=80), target(2, port=443), 2),
        (target(1, mapped=80, clamp_mss=1400), target(2, vip="192.0.2.2", mapped=80), 2),
        (target(1, mapped=80, checks=(ANONYMOUS,)), target(2, vip="192.0.2.2", mapped=80, checks=(ANONYMOUS,)), 2),
        (target(1, checks=(ICMP,)), target(2, port=443, checks=(replace(ICMP, port=443),)), 1),
        (target(1, vip="192.0.2.1"), target(2, vip="192.0.2.2"), 2),
        (target(1, vip="2001:db8::1", backend=V6), target(2, vip="2001:db8::1", port=443, backend=V6), 1),
    ],
)
def test_what_is_one_probe(left: Target, right: Target, probes: int) -> None:
    assert len(plan(left, right)) == probes


CHANGES: dict[str, Any] = {
    "kind": CheckKind.HTTPS,
    "port": 81,
    "host": "other",
    "path": "/other",
    "method": "HEAD",
    "expect": (204,),
    "interval": 3.0,
    "timeout": 1.0,
    "body": "x",
    "body_pattern": "x",
    "verify": True,
    "ca": "/etc/ca.pem",
    "expiry_warning": 3,
    "transport": Protocol.UDP,
    "query": "other",
    "qtype": "NS",
    "rcode": (3,),
    "send": b"x",
    "receive": b"x",
    "service": "x",
    "tls": True,
    "mtu": True,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Check)])
def test_every_value_of_a_check_counts_but_those_of_the_judge(name: str) -> None:
    """A new field of Check has to be given a value here: it counts unless only the judge looks at it."""
    change: dict[str, Any] = {name: CHANGES.get(name, 4)}
    other = replace(HTTP, **change)
    together = len(plan(target(1), target(2, port=443, checks=(other,)))) == 1
    assert together == (name in ("rise", "fall", "window"))


def test_the_pace_of_a_shared_probe_is_that_of_the_most_demanding() -> None:
    [probe] = plan(
        target(1, checks=(replace(HTTP, rise=5, window=5),)), target(2, port=1, checks=(replace(HTTP, fall=7),))
    )
    assert (probe.check.rise, probe.check.fall, probe.check.window) == (5, 7, None)


# ---- leaders

HTTPS, GRPC = replace(HTTP, kind=CheckKind.HTTPS), replace(HTTP, kind=CheckKind.GRPC)
DNS = Check(CheckKind.DNS, 53)


@pytest.mark.parametrize(
    ("check", "follows"),
    [
        (HTTP, True),
        (HTTPS, True),
        (GRPC, True),
        (DNS, True),
        (replace(DNS, transport=Protocol.UDP), False),
        (ANONYMOUS, False),  # the Host header is the VIP
        (replace(HTTPS, host=""), False),
        (replace(HTTP, mtu=True), False),  # about the path
        *((Check(kind, 80), False) for kind in (CheckKind.TCP, CheckKind.SYN, CheckKind.UDP, CheckKind.ICMP)),
    ],
)
def test_what_is_independent_of_the_vip_has_a_leader(check: Check, follows: bool) -> None:
    vips = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    probes = plan(*(target(number, vip, checks=(check,)) for number, vip in enumerate(vips, 1)))
    assert [probe.leader for probe in probes] == ([0, 1, 1] if follows else [0, 0, 0])


@pytest.mark.parametrize(
    "other",
    [
        target(2, "192.0.2.2", backend=OTHER),
        target(2, "192.0.2.2", tunnel=GRE),
        target(2, "192.0.2.2", checks=(replace(HTTP, path="/other"),)),
        target(2, "192.0.2.2", checks=(replace(HTTP, port=81),)),
        target(2, "2001:db8::1"),
        target(2, "192.0.2.2", mapped=80),
    ],
)
def test_others_do_not_follow(other: Target) -> None:
    assert [probe.leader for probe in plan(target(1), other)] == [0, 0]


def test_rise_and_fall_do_not_keep_one_from_following() -> None:
    assert plan(target(1), target(2, "192.0.2.2", checks=(replace(HTTP, rise=9),)))[1].leader == 1


# ---- reloads


def test_numbers_stay_as_long_as_the_probe_can() -> None:
    sharing = Sharing()
    first, second, third = target(1), target(2, port=443), target(3, "192.0.2.2")

    def numbers(*targets: Target) -> list[tuple[int, int, int]]:
        probes = taken(sharing, targets)
        return [(probe.number, int(probe.nat) & 0xFF, probe.leader) for probe in probes]

    assert numbers(first, second, third) == [(1, 1, 0), (2, 3, 1)]
    assert numbers(second, first, third) == [(1, 1, 0), (2, 3, 1)]
    assert numbers(replace(first, checks=(replace(HTTP, rise=9),)), second, third) == [(1, 1, 0), (2, 3, 1)]
    # The private address that the probe went to is gone: what is under way must not be believed. The oldest leads.
    assert numbers(second, third) == [(3, 2, 2), (2, 3, 0)]
    # Who leads goes on to lead.
    assert numbers(first, second, third) == [(3, 2, 2), (2, 3, 0)]
    assert numbers(first) == [(4, 1, 0)]
    assert sharing.subscribers.keys() == {4}


def test_without_its_leader_a_follower_leads() -> None:
    sharing = Sharing()
    targets = [target(number, f"192.0.2.{number}") for number in range(1, 5)]
    assert [probe.leader for probe in taken(sharing, targets)] == [0, 1, 1, 1]
    assert [(probe.number, probe.leader) for probe in taken(sharing, targets[1:])] == [(2, 0), (3, 2), (4, 2)]


TARGETS = st.lists(
    st.builds(
        lambda nat, vip, port, backend, mapped, check: target(
            nat, f"192.0.2.{vip}", port, BACKEND + backend, mapped=mapped, checks=(check, HTTP)
        ),
        *(st.integers(1, 40), st.integers(1, 3), st.integers(80, 82), st.integers(0, 1)),
        st.sampled_from([None, None, 80]),
        st.sampled_from([HTTP, ANONYMOUS, replace(HTTP, rise=3), DNS, Check(CheckKind.SYN, 80)]),
    ),
    max_size=12,
    unique_by=lambda each: (each.service, each.backend),
)


@given(st.lists(TARGETS, max_size=4))
def test_every_check_has_one_probe_and_numbers_never_change_their_meaning(reloads: list[list[Target]]) -> None:
    sharing = Sharing()
    meaning: dict[int, tuple[Any, ...]] = {}
    for generation, targets in enumerate(reloads, 1):
        probes = taken(sharing, targets)
        asked = sorted((str(each.service), str(each.backend), index) for each in targets for index in (0, 1))
        assert (
            sorted(
                (str(one.service), str(one.backend), one.check) for some in sharing.subscribers.values() for one in some
            )
            == asked
        )
        by_number = {probe.number: probe for probe in probes}
        assert by_number.keys() == sharing.subscribers.keys()
        for number, probe in by_number.items():
            told = (probe.nat, probe.arrival, replace(probe.check, rise=1, fall=1))
            assert meaning.setdefault(number, told) == told
            assert not probe.leader or by_number[probe.leader].leader == 0
            if probe.leader:
                assert by_number[probe.leader].backend == probe.backend
        assert decode_schedule(encoded(Schedule(generation, probes, 5))) == Schedule(generation, probes, 5)


# ---- answers

GOOD = Answer(Outcome.OK, "HTTP 200", 9, 8, 7, 6, 200, "TLSv1.3", 99)
FIRST, SECOND = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def test_what_a_follower_says() -> None:
    assert path_check(HTTPS) == Check(CheckKind.SYN, 80)
    found = leaning(GOOD, FIRST, Answer(Outcome.OK, "SYN-ACK", 3, 2), SECOND)
    assert found == Answer(
        Outcome.OK,
        "HTTP 200 at 192.0.2.1, path 192.0.2.2: SYN-ACK",
        3,
        2,
        http_status=200,
        tls_version="TLSv1.3",
        certificate_expires=99,
    )
    refused = leaning(GOOD, FIRST, Answer(Outcome.NONE, "connection refused", 3), SECOND)
    assert refused == Answer(Outcome.NONE, "path 192.0.2.2: connection refused", 3)


def test_probes_name_their_backend_whatever_vip_they_are_for() -> None:
    """What counts for the limit is the backend's address: not the private one, nor the family of the VIP."""
    alike = IPv6Address(int(BACKEND))
    targets = [target(1), target(2, port=443, checks=(DNS,)), target(3, "2001:db8::1"), target(4, backend=OTHER)]
    probes = plan(*targets, target(5, "2001:db8::2", backend=alike))
    assert [probe.backend for probe in probes] == [1, 1, 1, 2, 3]
