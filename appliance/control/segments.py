"""How long the segments may be that fit the tunnels of an interface. Pure.

In direct server return the answers of backends pass the balancer by, so it cannot lower what they announce as their
largest segment (RFC 9293 section 3.7.1); only the backends' own routes can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.control.nic import Finding, Severity
from appliance.control.trouble import overhead
from appliance.model import Service

HEADERS = {4: 20 + 20, 6: 40 + 20}
"""Bytes of the IP and TCP headers without options, which the largest segment does not count, by family (RFC 6691)."""


def growth(services: Iterable[Service]) -> dict[int, int]:
    """By how many bytes the packets of each family grow at most on their way through tunnels; none where none grow."""
    most: dict[int, int] = {}
    for service in services:
        family = service.key.vip.version
        grown = max((overhead(service, backend.address) for backend in service.backends), default=0)
        if grown:
            most[family] = max(grown, most.get(family, 0))
    return dict(sorted(most.items()))


def largest(mtu: int, family: int, grown: int) -> int:
    """The largest segment of an IPv4 or IPv6 packet that still fits `mtu` bytes when it has grown."""
    return mtu - grown - HEADERS[family]


def findings(mtu: int, services: Iterable[Service]) -> Iterator[Finding]:
    """Yield what the backends behind tunnels should announce, where packets leave by an interface with this MTU."""
    for family, grown in growth(services).items():
        advmss = largest(mtu, family, grown)
        yield Finding(
            Severity.NOTE,
            f"tunnels take {grown} of {mtu} bytes from packets of IPv{family}",
            "longer ones are answered with what fits, at the price of a round trip, and some networks lose that answer",
            f"on each backend behind a tunnel: ip -{family} route change default via GATEWAY advmss {advmss}",
        )
