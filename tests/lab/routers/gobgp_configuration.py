"""GoBGP's configuration file, and the commands that make it announce routes of its own."""

from __future__ import annotations

from tests.lab.routers.terms import Announced, Neighbour, Restarting, Setup


def configuration(setup: Setup) -> str:
    """Return gobgpd.toml."""
    lines = ["[global.config]", f"as = {setup.local_as}", f'router-id = "{setup.router_id}"']
    if setup.multipath > 1:
        lines += ["[global.use-multiple-paths.config]", "enabled = true"]
    for neighbour in setup.neighbours:
        lines += _neighbour(neighbour)
    return "\n".join([*lines, ""])


def _neighbour(neighbour: Neighbour) -> list[str]:
    lines = [
        "[[neighbors]]",
        "[neighbors.config]",
        f'neighbor-address = "{neighbour.address}"',
        f"peer-as = {neighbour.remote_as}",
        *([f'auth-password = "{neighbour.password}"'] if neighbour.password else []),
        "[neighbors.timers.config]",
        f"connect-retry = {neighbour.connect_retry}",
        f"hold-time = {neighbour.hold_time}",
        f"keepalive-interval = {max(1, neighbour.hold_time // 3)}",
        "idle-hold-time-after-reset = 1",
    ]
    if neighbour.passive:
        lines += ["[neighbors.transport.config]", "passive-mode = true"]
    if neighbour.multihop:
        lines += ["[neighbors.ebgp-multihop.config]", "enabled = true", f"multihop-ttl = {neighbour.multihop}"]
    if neighbour.ttl_security:
        lines += ["[neighbors.ttl-security.config]", "enabled = true", f"ttl-min = {256 - neighbour.ttl_security}"]
    if neighbour.restarting is not Restarting.OFF:
        helper = "true" if neighbour.restarting is Restarting.HELPER else "false"
        lines += ["[neighbors.graceful-restart.config]", "enabled = true", f"helper-only = {helper}"]
        lines += [f"restart-time = {neighbour.restart_time}", "notification-enabled = true"]
    for family in neighbour.carried:
        lines += ["[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", f'afi-safi-name = "ipv{family}-unicast"']
        if neighbour.restarting is not Restarting.OFF:
            lines += ["[neighbors.afi-safis.mp-graceful-restart.config]", "enabled = true"]
    return lines


def announce_words(route: Announced, setup: Setup) -> tuple[str, ...]:
    """Return the command that makes it announce a route."""
    words = ["global", "rib", "add", "-a", f"ipv{route.version}", route.prefix, "origin", "igp"]
    words += [] if route.med is None else ["med", str(route.med)]
    words += [] if route.local_pref is None else ["local-pref", str(route.local_pref)]
    words += ["community", ",".join(route.plain)] if route.plain else []
    words += ["large-community", ",".join(route.large)] if route.large else []
    words += ["aspath", " ".join([str(setup.local_as)] * route.prepended)] if route.prepended else []
    return tuple(words)
