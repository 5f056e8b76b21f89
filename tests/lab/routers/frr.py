"""FRR: zebra, bgpd and bfdd."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

from tests.lab.namespace import LabError
from tests.lab.routers import frr_configuration
from tests.lab.routers.router import Router
from tests.lab.routers.terms import Learned, Prefix, Session, Setup, prefix_of
from tests.lab.routers.vty import Vty

PLACE: Final = "/usr/lib/frr"
DAEMONS: Final = ("zebra", "bfdd", "bgpd")
USER: Final = "frr"
"""The daemons insist on it."""

CAPABILITIES: Final = {
    "4byteAs": "four-octet-as",
    "routeRefresh": "route-refresh",
    "enhancedRouteRefresh": "enhanced-route-refresh",
    "extendedNexthop": "extended-next-hop",
    "gracefulRestart": "graceful-restart",
}

WELL_KNOWN: Final = {
    "gracefulShutdown": "65535:0",
    "llgrStale": "65535:6",
    "noLlgr": "65535:7",
    "blackhole": "65535:666",
    "noExport": "65535:65281",
    "noAdvertise": "65535:65282",
    "localAs": "65535:65283",
    "noPeer": "65535:65284",
}
"""How it writes communities that have a name."""


class Frr(Router):
    """FRR, each daemon asked over its own socket."""

    name = "frr"
    programs = tuple(f"{PLACE}/{name}" for name in DAEMONS)

    # ---- configuration

    def write_configuration(self) -> None:
        # A daemon that is fed another's block takes its `exit` for its own, so each has a file for itself.
        texts = {
            "zebra": frr_configuration.ZEBRA,
            "bfdd": frr_configuration.BFDD,
            "bgpd": frr_configuration.bgpd(self.setup),
        }
        (self.directory / "zebra.sock").unlink(missing_ok=True)
        for name, text in texts.items():
            (self.directory / f"{name}.conf").write_text(text)
        for path in (self.directory, *self.directory.glob("*.conf")):
            shutil.chown(path, USER, USER)

    def commands(self) -> dict[str, Sequence[str]]:
        own = {"zebra": (), "bfdd": ("--bfdctl", f"{self.directory}/bfdd.sock"), "bgpd": ("-p", "179")}
        return {name: (f"{PLACE}/{name}", *self._files(name), *own[name]) for name in DAEMONS}

    def _files(self, name: str) -> tuple[str, ...]:
        where = self.directory
        sockets = ("-z", f"{where}/zebra.sock", "--vty_socket", str(where), "-P", "0")
        return ("-f", f"{where}/{name}.conf", "-i", f"{where}/{name}.pid", *sockets)

    def ready(self, name: str) -> bool:
        # Without zebra the others would wait for ten seconds before they look again.
        return name != "zebra" or ((self.directory / "zebra.sock").exists() and self._listens("zebra"))

    def _listens(self, name: str) -> bool:
        try:
            return bool(self.vty(name).run("show version"))
        except (OSError, LabError):
            return False

    def answers(self) -> bool:
        return all(self._listens(name) for name in DAEMONS) and bool(self.vty("bgpd").ask("show bgp summary json"))

    def vty(self, daemon: str) -> Vty:
        """The command socket of a daemon: zebra, bfdd or bgpd."""
        return Vty(self.directory / f"{daemon}.vty")

    def configure(self, *lines: str) -> None:
        """Run configuration commands of bgpd."""
        self.vty("bgpd").run("configure terminal", *lines)

    def reconfigure(self, setup: Setup) -> None:
        old, self.setup = self.setup, setup
        known = {neighbour.address: neighbour for neighbour in old.neighbours}
        wanted = {neighbour.address: neighbour for neighbour in setup.neighbours}
        lines = [f"no neighbor {address}" for address, own in known.items() if wanted.get(address) != own]
        for address, own in wanted.items():
            if known.get(address) == own:
                continue
            lines += frr_configuration.neighbour_lines(own)
            for family in own.carried:
                inner = frr_configuration.family_lines(own)
                lines += [f"address-family ipv{family} unicast", *inner, "exit-address-family"]
        if lines:
            self.configure(f"router bgp {setup.local_as}", *lines)
        if old.announced != setup.announced:
            raise LabError("frr's own routes cannot be changed while it runs")

    # ---- control

    def refresh(self, address: str) -> None:
        for family in self.of(address).carried:
            self.vty("bgpd").run(f"clear bgp ipv{family} unicast {address} in")

    def shut(self, address: str, message: str) -> None:
        self.configure(f"router bgp {self.setup.local_as}", f"neighbor {address} shutdown message {message}")

    def unshut(self, address: str) -> None:
        self.configure(f"router bgp {self.setup.local_as}", f"no neighbor {address} shutdown")

    # ---- what it knows

    def neighbour(self, address: str) -> Session:
        self.of(address)
        answer = self.vty("bgpd").ask(f"show bgp neighbors {address} json")
        if address not in answer:
            raise LabError(f"frr knows nothing of {address}: {answer}")
        told = answer[address]
        established = told["bgpState"] == "Established"
        ups = self._ups(address)
        return Session(
            state=told["bgpState"].lower(),
            since=ups[-1] if established and ups else 0.0,
            remote_id=told.get("remoteRouterId", ""),
            capabilities=_capabilities(told) if established else frozenset(),
            hold_time=told.get("bgpTimerHoldTimeMsecs", 0) // 1000,
            ups=len(ups),
            updates=told.get("messageStats", {}).get("updatesRecv", 0),
            last_error=self._last_error(address),
        )

    def _ups(self, address: str) -> list[float]:
        """When the session was established: it tells whole seconds, and another one now and then; its log is exact."""
        up = rf"^(\S+ \S+) BGP: .*ADJCHANGE: neighbor {re.escape(address)}\S* in vrf default Up"
        stamps = re.findall(up, self.log, re.MULTILINE)
        return [datetime.strptime(stamp, "%Y/%m/%d %H:%M:%S.%f").timestamp() for stamp in stamps]

    def _last_error(self, address: str) -> str:
        """The last NOTIFICATION: what it answers is only why it has no session at the moment."""
        told = re.findall(rf"%NOTIFICATION: (.*neighbor {re.escape(address)}\D.*)", self.log)
        return str(told[-1]) if told else ""

    def routes(self, family: int) -> dict[Prefix, list[Learned]]:
        bgpd = self.vty("bgpd")
        table = bgpd.ask(f"show bgp ipv{family} unicast json").get("routes", {})
        own = {prefix_of(route.prefix) for route in self.setup.announced}
        learned = [prefix for prefix in table if prefix_of(prefix) not in own]
        found = {}
        for prefix in learned:
            paths = bgpd.ask(f"show bgp ipv{family} unicast {prefix} json").get("paths", [])
            if paths:
                found[prefix_of(prefix)] = [_learned(path) for path in paths]
        return found

    def bfd(self, address: str) -> str:
        for peer in self.vty("bfdd").ask("show bfd peers json") or []:
            if ip_address(peer["peer"]) == ip_address(address):
                return "admindown" if peer["status"] == "shutdown" else str(peer["status"])
        return ""


def _capabilities(told: dict[str, Any]) -> frozenset[str]:
    capabilities = told.get("neighborCapabilities", {})
    found = {word for key, word in CAPABILITIES.items() if "eceived" in str(capabilities.get(key, ""))}
    for name, flags in capabilities.get("multiprotocolExtensions", {}).items():
        if flags.get("received") or flags.get("advertisedAndReceived"):
            found.add(name.removesuffix("Unicast"))
    restart = told.get("gracefulRestartInfo", {})
    if restart.get("nBit", {}) and "eceived" in str(restart["nBit"]):
        found.add("notification-kept")
    peers = capabilities.get("addressFamiliesByPeer", {})
    if isinstance(peers, dict) and any("reserved" in str(flags) for flags in peers.values()):
        found.add("forwarding-kept")
    return frozenset(found)


def _learned(path: dict[str, Any]) -> Learned:
    hops = [hop for hop in path["nexthops"] if hop.get("used")] or path["nexthops"]
    return Learned(
        neighbour=path["peer"]["peerId"],
        next_hop=next((hop["ip"] for hop in hops if hop.get("scope") != "link-local"), hops[0]["ip"]),
        as_path=tuple(number for part in path["aspath"].get("segments", []) for number in part["list"]),
        med=path.get("metric"),
        local_pref=path.get("locPrf"),
        communities=frozenset(WELL_KNOWN.get(each, each) for each in path.get("community", {}).get("list", [])),
        large_communities=frozenset(path.get("largeCommunity", {}).get("list", [])),
        best=bool(path.get("bestpath", {}).get("overall")),
        stale=bool(path.get("stale")),
    )
