"""Where probes arrive, and so which of them must not share a source port."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.health.client import Target
from appliance.health.messages import Probe
from appliance.health.runner import Job
from appliance.model import Address, Check, CheckKind, Protocol, ServiceKey

VIP, OTHER = ip_address("203.0.113.10"), ip_address("203.0.113.11")
BACKEND, SECOND = ip_address("10.1.1.5"), ip_address("10.1.1.6")
PRIVATE = ip_address("10.0.0.16")


def target(vip: Address, port: int, mapped: int | None, *, backend: Address = BACKEND, udp: bool = False) -> Target:
    service = ServiceKey(vip, port, Protocol.UDP if udp else Protocol.TCP)
    return Target(service, backend, PRIVATE, (), mapped)


@pytest.mark.parametrize(
    ("asked", "port", "arrival"),
    [
        (target(VIP, 80, None), 80, None),
        (target(VIP, 80, 8080), 80, (BACKEND, 8080)),
        (target(VIP, 80, 80), 80, (BACKEND, 80)),
        (target(VIP, 80, 8080), 9000, (BACKEND, 9000)),
        # A probe over TCP: what stands for the port of a UDP service is not its own.
        (target(VIP, 53, 5353, udp=True), 53, (BACKEND, 53)),
    ],
)
def test_arrival(asked: Target, port: int, arrival: tuple[Address, int] | None) -> None:
    assert asked.arrival(Check(CheckKind.TCP, port)) == arrival


@pytest.mark.parametrize(
    ("check", "udp", "arrival"),
    [
        (Check(CheckKind.DNS, 53, transport=Protocol.UDP), True, 5353),
        (Check(CheckKind.DNS, 53, transport=Protocol.UDP), False, 53),
        (Check(CheckKind.DNS, 53, transport=Protocol.TCP), True, 53),
        (Check(CheckKind.DNS, 53, transport=Protocol.TCP), False, 5353),
        (Check(CheckKind.UDP, 53), True, 5353),
        (Check(CheckKind.UDP, 54), True, 54),
    ],
)
def test_the_mapped_port_is_that_of_the_same_protocol(check: Check, udp: bool, arrival: int) -> None:
    assert target(VIP, 53, 5353, udp=udp).arrival(check) == (BACKEND, arrival)


def test_probes_over_udp_and_tcp_have_source_ports_of_their_own() -> None:
    kinds = (CheckKind.TCP, CheckKind.SYN, CheckKind.UDP, CheckKind.ICMP)
    places = {Job.of(Probe(1, VIP, PRIVATE, Check(kind, 53))).destination for kind in kinds}
    assert len(places) == len(kinds)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ((target(VIP, 80, 8080), 80), (target(OTHER, 80, 8080), 80), True),
        ((target(VIP, 80, 8080), 80), (target(VIP, 443, 8443), 8080), True),
        ((target(VIP, 80, 8080), 7000), (target(OTHER, 443, 8443), 7000), True),
        ((target(VIP, 80, 8080), 80), (target(VIP, 80, 8080, backend=SECOND), 80), False),
        ((target(VIP, 80, 8080), 80), (target(VIP, 443, 8443), 443), False),
        # Without translation, all backends of a VIP are one flow on the way back.
        ((target(VIP, 80, None), 80), (target(VIP, 80, None, backend=SECOND), 80), True),
        ((target(VIP, 80, None), 80), (target(OTHER, 80, None), 80), False),
    ],
)
def test_probes_that_arrive_at_one_place_share_source_ports(
    one: tuple[Target, int], other: tuple[Target, int], shared: bool
) -> None:
    pools = set()
    for asked, port in (one, other):
        check = Check(CheckKind.TCP, port)
        pools.add(Job.of(Probe(1, asked.service.vip, asked.nat, check, asked.arrival(check))).destination)
    assert (len(pools) == 1) is shared
