"""What backends behind tunnels are to announce."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.control.segments import findings, growth
from appliance.model import Backend, Protocol, Service, ServiceKey, Tunnel, TunnelKind

FOUR, SIX = "192.0.2.10", "2001:db8::10"


def service(vip: str, backend: str, kind: TunnelKind | None) -> Service:
    tunnel = Tunnel(kind, 6080) if kind else None
    return Service(ServiceKey(ip_address(vip), 80, Protocol.TCP), (Backend(ip_address(backend)),), (), tunnel=tunnel)


# Services -> family and bytes by which its packets grow, and the segment that then fits 1,500 bytes
ROWS: list[tuple[list[Service], list[tuple[int, int, int]]]] = [
    ([], []),
    ([service(FOUR, FOUR, None)], []),
    ([service(FOUR, FOUR, TunnelKind.DSCP)], []),
    ([service(FOUR, FOUR, TunnelKind.IPIP)], [(4, 20, 1440)]),
    ([service(SIX, FOUR, TunnelKind.GRE)], [(6, 24, 1416)]),
    ([service(FOUR, SIX, TunnelKind.FOU), service(FOUR, FOUR, TunnelKind.GUE)], [(4, 48, 1412)]),
    ([service(SIX, SIX, TunnelKind.GUE), service(FOUR, FOUR, TunnelKind.GUE)], [(4, 32, 1428), (6, 52, 1388)]),
]


@pytest.mark.parametrize(("services", "rows"), ROWS)
def test_the_segment_that_fits(services: list[Service], rows: list[tuple[int, int, int]]) -> None:
    assert growth(services) == {family: grown for family, grown, _ in rows}
    found = list(findings(1500, services))
    assert [one.what for one in found] == [f"tunnels take {n} of 1500 bytes from packets of IPv{v}" for v, n, _ in rows]
    assert [one.remedy.rpartition(": ")[2] for one in found] == [
        f"ip -{family} route change default via GATEWAY advmss {segment}" for family, _, segment in rows
    ]
