"""The configuration files of FRR's daemons."""

from __future__ import annotations

from tests.lab.routers.terms import Announced, Neighbour, Restarting, Setup

RESTARTING = {
    Restarting.OFF: "graceful-restart-disable",
    Restarting.HELPER: "graceful-restart-helper",
    Restarting.FULL: "graceful-restart",
}

ZEBRA = """\
log stdout
no zebra nexthop kernel enable
"""
"""Next hops stand in the routes themselves, or the kernel would not tell of a change of them."""

BFDD = """\
log stdout
"""


def bgpd(setup: Setup) -> str:
    """Return bgpd.conf."""
    lines = ["log stdout", "log timestamp precision 6", "debug bgp neighbor-events", "debug bgp updates in"]
    for number, route in enumerate(setup.announced, 1):
        lines += _route_map(number, route, setup)
    # Own routes have no AS in their path yet, or the router's own.
    lines.append(f"bgp as-path access-list own permit ^({setup.local_as} ?)*$")
    lines += ["route-map own permit 10", " match as-path own", "exit"]
    return "\n".join([*lines, *router_bgp(setup), ""])


def router_bgp(setup: Setup) -> list[str]:
    """Return the block of the router itself."""
    restart_time = max([neighbour.restart_time for neighbour in setup.neighbours], default=120)
    lines = [
        f"router bgp {setup.local_as}",
        f" bgp router-id {setup.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " no bgp network import-check",
        " bgp log-neighbor-changes",
        f" bgp graceful-restart restart-time {restart_time}",
    ]
    if any(neighbour.restarting is Restarting.FULL for neighbour in setup.neighbours):
        lines.append(" bgp graceful-restart preserve-fw-state")
    lines += [" bgp bestpath as-path multipath-relax"] if setup.multipath > 1 else []
    for neighbour in setup.neighbours:
        lines += [f" {line}" for line in neighbour_lines(neighbour)]
    for family in (4, 6):
        lines.append(f" address-family ipv{family} unicast")
        lines += [f"  maximum-paths {setup.multipath}", f"  maximum-paths ibgp {setup.multipath}"]
        for number, route in enumerate(setup.announced, 1):
            if route.version == family:
                lines.append(f"  network {route.prefix} route-map announced{number}")
        for neighbour in setup.neighbours:
            if family in neighbour.carried:
                lines += [f"  {line}" for line in family_lines(neighbour)]
        lines.append(" exit-address-family")
    return [*lines, "exit"]


def neighbour_lines(neighbour: Neighbour) -> list[str]:
    """Return what is said of a neighbour outside of families."""
    name = f"neighbor {neighbour.address}"
    lines = [
        f"{name} remote-as {neighbour.remote_as}",
        f"{name} timers {max(1, neighbour.hold_time // 3)} {neighbour.hold_time}",
        f"{name} timers connect {neighbour.connect_retry}",
        f"{name} advertisement-interval 0",
        f"{name} {RESTARTING[neighbour.restarting]}",
    ]
    lines += [f"{name} password {neighbour.password}"] if neighbour.password else []
    lines += [f"{name} passive"] if neighbour.passive else []
    lines += [f"{name} ebgp-multihop {neighbour.multihop}"] if neighbour.multihop else []
    lines += [f"{name} ttl-security hops {neighbour.ttl_security}"] if neighbour.ttl_security else []
    lines += [f"{name} capability extended-nexthop"] if neighbour.ipv4_over_ipv6 else []
    if neighbour.bfd:
        milliseconds = round(neighbour.bfd * 1000)
        lines.append(f"{name} bfd {neighbour.bfd_multiplier} {milliseconds} {milliseconds}")
        lines += [f"{name} bfd check-control-plane-failure"] if neighbour.bfd_graceful else []
    return lines


def family_lines(neighbour: Neighbour) -> list[str]:
    """Return what is said of a neighbour in each of its families; learnt routes go to nobody else."""
    name = f"neighbor {neighbour.address}"
    return [f"{name} activate", f"{name} route-map own out"]


def _route_map(number: int, route: Announced, setup: Setup) -> list[str]:
    lines = [f"route-map announced{number} permit 10"]
    lines += [] if route.med is None else [f" set metric {route.med}"]
    lines += [] if route.local_pref is None else [f" set local-preference {route.local_pref}"]
    lines += [f" set community {' '.join(route.plain)}"] if route.plain else []
    lines += [f" set large-community {' '.join(route.large)}"] if route.large else []
    lines += [f" set as-path prepend{f' {setup.local_as}' * route.prepended}"] if route.prepended else []
    return [*lines, "exit"]
