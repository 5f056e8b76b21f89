"""ns per packet of the real program where packets leave in a tunnel, beside a bare program that makes the same room.

One row for each kind, the same family outside and inside, and for those whose UDP header has a checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.encapsulation import encapsulation, outer
from appliance.dataplane.enums import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.shape import shape_for
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest
from appliance.model import Address, Backend, Config, Protocol, Service, ServiceKey, Tunnel, TunnelKind
from appliance.paths import TEMPLATES
from bench.balancer import BACKENDS, LOOPBACK, MACS, PORT, SEED, VIPS, compiled
from bench.driver import Driver
from bench.packet import Bench, floor
from bench.report import Row
from bench.traffic import tcp4, tcp6

LIMIT = 1.6
"""The budget: against a bare program that grows the frame alike."""
ROUNDS = 61
FLOWS = (1, 1_000_000)
VIPS6 = tuple(IPv6Address("2001:db8:5::") + number for number in range(64))
KINDS = (
    Tunnel(TunnelKind.IPIP),
    Tunnel(TunnelKind.GRE),
    Tunnel(TunnelKind.FOU, 6080, False),
    Tunnel(TunnelKind.GUE, 6080, False),
    Tunnel(TunnelKind.FOU, 6080, True),
    Tunnel(TunnelKind.GUE, 6080, True),
    Tunnel(TunnelKind.DSCP, code=10),
)


def run() -> list[Row]:
    """Measure every kind; returns the rows."""
    rows = []
    for family, vips in ((4, VIPS), (6, VIPS6)):
        for tunnel in KINDS:
            rows += _rows(tunnel, family, vips)
    return rows


def _rows(tunnel: Tunnel, family: int, vips: Sequence[Address]) -> list[Row]:
    first: Address = IPv4Address("192.0.2.10") if family == 4 else IPv6Address("2001:db8:99::10")
    own: Address = IPv4Address("192.0.2.1") if family == 4 else IPv6Address("2001:db8:99::1")
    backends = [first + number for number in range(BACKENDS)]
    hop = Hop(LOOPBACK, MACS, own)
    keys = [ServiceKey(vip, PORT, Protocol.TCP) for vip in vips]
    members = tuple(Member(address, 1, State.AVAILABLE, hop) for address in backends)
    pool = tuple(Backend(address) for address in backends)
    wanted = shape_for(
        Config(services=tuple(Service(key, pool, (), tunnel=tunnel) for key in keys)), read_possible_cpus()
    )
    growth = outer(tunnel, family, own, first).length
    traffic = tcp4([vip for vip in vips if isinstance(vip, IPv4Address)], PORT) if family == 4 else tcp6(VIPS6, PORT)
    with ExitStack() as stack:
        generation = Generation.load(wanted, digest(wanted, TEMPLATES), compiled(wanted).code)
        stack.callback(generation.close)
        services = tuple(DesiredService(key, members, 900, tunnel=tunnel) for key in keys)
        Tables(generation.memory).apply(Desired(services, dict.fromkeys(vips, True), SEED))
        bench = Bench(generation, stack.enter_context(floor("bench_grow", growth=growth)))
        driver = stack.enter_context(Driver(traffic))
        rows = []
        for pair in bench.compare(driver, f"tunnel-{tunnel.kind}", FLOWS, rounds=ROUNDS):
            row = pair.row(LIMIT if growth else None)
            labels: dict[str, str | int] = {"mode": "simple", "family": family, "flows": pair.flows}
            labels["tunnel"] = str(encapsulation(tunnel, first))
            labels["checksum"] = int(tunnel.checksum) if tunnel.port else 0
            rows.append(
                Row(row.name, row.value, "ns", labels, row.floor, row.limit, "ratio", row.more, paired=row.paired)
            )
        return rows


if __name__ == "__main__":
    for each in run():
        print(each.name, dict(each.labels), round(each.value, 1), round(each.floor or 0, 1), round(each.ratio or 0, 2))
