"""GoBGP. It installs nothing into the kernel, so its changes are those of its own table."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tests.lab.namespace import LabError
from tests.lab.routers.gobgp_configuration import announce_words, configuration
from tests.lab.routers.router import Router
from tests.lab.routers.terms import Change, Learned, Prefix, Session, Setup, prefix_of

GOBGPD, GOBGP = "/usr/bin/gobgpd", "/usr/bin/gobgp"
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES, REACHABLE, LARGE = 1, 2, 3, 4, 5, 8, 14, 32
"""Types of path attributes."""
SENTINEL: Final = "192.0.0.8/32"
"""Comes and goes so that the watcher is known to watch (an address of RFC 7600 that nobody announces)."""

CAPABILITIES: Final = {
    "route-refresh": "route-refresh",
    "enhanced-route-refresh": "enhanced-route-refresh",
    "4-octet-as": "four-octet-as",
    "graceful-restart": "graceful-restart",
    "extended-nexthop": "extended-next-hop",
}
FLAGS: Final = {"forward flag set": "forwarding-kept", "notification flag set": "notification-kept"}

ENDS: Final = re.compile(r'msg="?[^"=]*(notification|failed)')


class Gobgp(Router):
    """GoBGP, asked with its own client."""

    name = "gobgp"
    programs = (GOBGPD, GOBGP)
    installs = False
    _monitor: subprocess.Popen[str] | None = None
    _thread: threading.Thread | None = None

    # ---- configuration

    def write_configuration(self) -> None:
        (self.directory / "api.sock").unlink(missing_ok=True)
        (self.directory / "gobgpd.toml").write_text(configuration(self.setup))

    def commands(self) -> dict[str, Sequence[str]]:
        options = ("-t", "toml", "--log-plain", "--log-level", "debug", "--pprof-disable")
        api = ("--api-hosts", f"unix://{self.directory}/api.sock")
        return {"gobgpd": (GOBGPD, "-f", f"{self.directory}/gobgpd.toml", *options, *api)}

    def answers(self) -> bool:
        try:
            self.gobgp("neighbor")
        except LabError:
            return False
        return True

    def start(self) -> None:
        super().start()
        for route in self.setup.announced:
            self.gobgp(*announce_words(route, self.setup))
        self._monitor = self.namespace.spawn(*self._client("-j", "monitor", "global", "rib"), stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._listen, args=(self._monitor,), name="gobgp routes", daemon=True)
        self._thread.start()
        self.wait("gobgp's watcher to watch", self._watched)

    def reconfigure(self, setup: Setup) -> None:
        if setup.announced != self.setup.announced:
            raise LabError("gobgp's own routes cannot be changed while it runs")
        self.setup = setup
        self.write_configuration()
        self._processes["gobgpd"].send_signal(signal.SIGHUP)

    # ---- control

    def _client(self, *words: str) -> tuple[str, ...]:
        return (GOBGP, "--target", f"unix://{self.directory}/api.sock", *words)

    def gobgp(self, *words: str) -> str:
        """Run a command of gobgp and return what it printed. Raises LabError."""
        return self.namespace.run(*self._client(*words))

    def refresh(self, address: str) -> None:
        raise LabError("gobgp never asks for routes again: its softresetin looks at what it has stored")

    def shut(self, address: str, message: str) -> None:
        # `disable` takes a reason as well, and says nothing.
        self.gobgp("neighbor", address, "shutdown", "--reason", message)

    def unshut(self, address: str) -> None:
        self.of(address)  # it comes back by itself, after five seconds

    # ---- what it knows

    def neighbour(self, address: str) -> Session:
        self.of(address)
        text = self.gobgp("neighbor", address)
        told = json.loads(self.gobgp("-j", "neighbor", address))
        peer = told[0] if isinstance(told, list) else told
        state = re.search(r"BGP state = (\S+?),", text)
        name = state[1].lower().removeprefix("bgp_fsm_") if state else "idle"
        timers = peer.get("timers", {}).get("state", {})
        established = name == "established"
        return Session(
            state=name,
            since=_seconds(timers.get("uptime")) if established else 0.0,
            remote_id=peer.get("state", {}).get("router_id", "") if established else "",
            capabilities=_capabilities(text) if established else frozenset(),
            hold_time=int(timers.get("negotiated_hold_time", 0)) if established else 0,
            ups=len(re.findall(rf'Peer Up.*Key="?{re.escape(address)}"? ', self.log)),
            updates=int(peer.get("state", {}).get("messages", {}).get("received", {}).get("update", 0)),
            last_error=_last_error(self.log, address),
        )

    def routes(self, family: int) -> dict[Prefix, list[Learned]]:
        table = json.loads(self.gobgp("-j", "global", "rib", "-a", f"ipv{family}") or "{}")
        found: dict[Prefix, list[Learned]] = {}
        for prefix, paths in table.items():
            learned = [_learned(path) for path in paths if "neighbor-ip" in path]
            if learned:
                found[prefix_of(prefix)] = learned
        return found

    def bfd(self, address: str) -> str:
        return ""

    # ---- changes

    def _listen(self, monitor: subprocess.Popen[str]) -> None:
        assert monitor.stdout
        for line in monitor.stdout:
            now, paths = time.monotonic(), json.loads(line)
            for path in paths if isinstance(paths, list) else []:  # its last words are an error
                prefix = prefix_of(path["nlri"]["prefix"])
                gone = bool(path.get("withdrawal"))
                told = () if gone else (path.get("neighbor-ip"), path["attrs"])
                # It tells again of what was only heard again.
                if self._latest.get(prefix, ()) != told:
                    self._latest[prefix] = told
                    self._seen.append(Change(now, prefix, () if gone else (_next_hop(path),)))

    def _watched(self) -> bool:
        self.gobgp("global", "rib", "add", SENTINEL)
        self.gobgp("global", "rib", "del", SENTINEL)
        return bool(self.changes(SENTINEL))

    def changes(self, prefix: object) -> list[Change]:
        return [change for change in tuple(self._seen) if change.prefix == prefix_of(str(prefix))]

    def stand(self) -> None:
        self._seen: list[Change] = []
        self._latest: dict[Prefix, tuple[Any, ...]] = {}
        super().stand()

    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        if self._monitor is not None:
            self._monitor.kill()
            self._monitor.wait()
            if self._thread is not None:
                self._thread.join()
            assert self._monitor.stdout
            self._monitor.stdout.close()
            self._monitor = None


def _seconds(stamp: Any) -> float:
    if isinstance(stamp, dict):
        return float(stamp.get("seconds", 0)) + float(stamp.get("nanos", 0)) / 1e9
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def _capabilities(text: str) -> frozenset[str]:
    found = set()
    remote = False
    block = text.partition("Neighbor capabilities:")[2].partition("Message statistics")[0]
    section = ""
    for line in block.splitlines():
        row = re.match(r"\s+([\w-]+)(?:\(\d+\))?:?\s*(.*)", line)
        if not row:
            continue
        name, rest = row.groups()
        section = name if re.match(r"    \S", line) else section
        remote = name == "Remote" or (remote and name != "Local")
        if section == "graceful-restart" and remote:
            found |= {word for flag, word in FLAGS.items() if flag in rest}
        if name in CAPABILITIES and "received" in rest:
            found.add(CAPABILITIES[name])
        elif section == "multiprotocol" and name.endswith("-unicast") and "received" in rest:
            found.add(name.removesuffix("-unicast"))
    return frozenset(found)


def _last_error(log: str, address: str) -> str:
    """The last line of the log that tells of the end of a session, with the text in it that the neighbour gave."""
    about = re.compile(rf'Key="?{re.escape(address)}"? ')
    told = [row for row in log.splitlines() if ENDS.search(row) and about.search(f"{row} ")]
    if not told:
        return ""
    data = re.search(r'Data="?\[([\d ]*)\]', told[-1])
    octets = bytes(int(number) for number in data[1].split()) if data else b""
    return f"{told[-1]} {octets.decode(errors='replace')}"


def _next_hop(path: dict[str, Any]) -> str:
    for attribute in path["attrs"]:
        if attribute["type"] in (NEXT_HOP, REACHABLE) and attribute.get("nexthop"):
            return str(attribute["nexthop"])
    return ""


def _learned(path: dict[str, Any]) -> Learned:
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    communities = attributes.get(COMMUNITIES, {}).get("communities", [])
    large = attributes.get(LARGE, {}).get("value", [])
    return Learned(
        neighbour=path["neighbor-ip"],
        next_hop=_next_hop(path),
        as_path=tuple(number for part in attributes[AS_PATH].get("as_paths", []) for number in part["asns"]),
        med=attributes.get(MED, {}).get("metric"),
        local_pref=attributes.get(LOCAL_PREF, {}).get("value"),
        communities=frozenset(f"{each >> 16}:{each & 0xFFFF}" for each in communities),
        large_communities=frozenset(f"{each['ASN']}:{each['LocalData1']}:{each['LocalData2']}" for each in large),
        best=bool(path.get("best")),
        stale=bool(path.get("stale")),
    )
