"""A balancer that is not there: frames as the server sends them, for any number of backends. Pure, and always the same.

What changes between two frames is drawn from a generator of its own, so that a run can be repeated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from appliance.dataplane.enums import REASON_TEXT, Reason

INTERVAL = 2.0
PIECE = 100
"""Services in one frame."""
STARTED = 1_790_000_000.0
FIRST_VIP = IPv4Address("203.0.113.10")
FIRST_BACKEND = IPv4Address("10.1.0.11")
NAMES = ("shop", "search", "mail", "dns", "images", "login", "billing", "metrics", "chat", "video")
DEAD = "no answer: the connection was refused"
HOSTILE = '<img src=x onerror="window.broken=1"><script>window.broken=2</script>\u202e\x1b[31m'


@dataclass
class Picture:
    """Everything that a daemon would tell, at a time of its own (wall-clock seconds)."""

    backends: int
    per_service: int = 10
    seed: int = 1
    time: float = STARTED + 86400
    version: str = "0.1.0"
    generation: int = 7
    services: list[dict[str, Any]] = field(default_factory=list)
    logged: int = 0
    fleet: dict[str, Any] | None = None
    """What is told of a fleet; None: there is none."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        for first in range(0, self.backends, self.per_service):
            self.services.append(self._service(first // self.per_service, min(self.per_service, self.backends - first)))

    # ---- frames

    def hello(self) -> dict[str, Any]:
        return {"version": self.version, "interval": INTERVAL, "time": self.time}

    def overview(self) -> dict[str, Any]:
        """The status without services."""
        vips: dict[str, bool] = {}
        for service in self.services:
            vips[service["vip"]] = vips.get(service["vip"], True) and service["up"]
        return {
            "version": self.version,
            "pid": 4242,
            "started": STARTED,
            "uptime_s": self.time - STARTED,
            "mode": "simple",
            "interfaces": [dict(one) for one in INTERFACES],
            "prober": {"alive": True, "frozen": False, "reason": "", "restarts": 0},
            "vips": [
                {"vip": vip, "up": up, "since": self.time - 4000, "announce": "yes" if up else "no", "reason": ""}
                for vip, up in vips.items()
            ],
            "reasons": {"forward": 981_223_112, "not-vip": 4411, "echo": 381, "unknown-port": int(self.time) % 100_000},
            "flow_table": {"size": 1_048_576, "used": 52_311, "refused": 0},
            "misroutes": {
                "total": 412,
                "per_second": 0.0,
                "causes": {"router": 386, "refused": 0, "restart": 0, "pool": 0, "idle": 26},
                "happenings": [
                    {
                        "cause": "router",
                        "text": "10.1.0.1 established with AS 65000, router id 10.1.0.1",
                        "at": self.time - 700,
                        "connections": 386,
                        "for_s": 22.0,
                        "per_second": 17.55,
                        "peak_per_second": 141,
                        "share_of_flows": 0.007379,
                        "share_of_packets": 0.000312,
                    }
                ],
            },
            "loop": {},
            "config": {
                "file": "/etc/vc5/config.yaml",
                "loaded_at": STARTED,
                "generation": self.generation,
                "trial": None,
            },
            "warnings": [],
            "waiting_for": [],
            "bgp": {"router_id": "10.1.0.5", "learning": 0, "listening": True, "drained": None, "peers": self._peers()},
            "latency_ns": 61.4,
            "fleet": self.fleet,
        }

    def service_frames(self) -> list[dict[str, Any]]:
        """The whole picture, in pieces."""
        pieces = [self.services[at : at + PIECE] for at in range(0, len(self.services), PIECE)] or [[]]
        return [
            {"changed": piece, "removed": [], "complete": number == len(pieces)}
            for number, piece in enumerate(pieces, start=1)
        ]

    def numbers(self) -> dict[str, Any]:
        """The rates of all; every one is another than before."""
        services, total = {}, [0.0, 0.0, 0.0, 0.0, 0]
        for service in self.services:
            rates, backends = [0.0, 0.0, 0.0, 0.0, 0], {}
            for backend in service["backends"]:
                backends[backend["address"]] = one = self._rates(backend)
                rates = [round(sum(pair), 2) for pair in zip(rates, one, strict=True)]
            services[service["service"]] = {"rates": rates, "backends": backends}
            total = [round(sum(pair), 2) for pair in zip(total, rates, strict=True)]
        return {"time": self.time, "seconds": INTERVAL, "total": total, "services": services}

    # ---- what happens

    def pass_time(self) -> None:
        self.time += INTERVAL

    def kill(self, service: int, backend: int, diagnostic: str = DEAD, state: str = "dead") -> dict[str, Any]:
        """Let a backend die or answer wrongly, and return the frame that tells of it."""
        found = self.services[service]
        one = found["backends"][backend]
        one |= {"state": "dead" if state == "dead" else "draining", "health": state, "since": self.time}
        one |= {"diagnostic": diagnostic, "slots": 0, "share": 0.0, "took_ms": 2000.0}
        self._settle(found)
        return {"changed": [found], "removed": [], "complete": True}

    def revive(self, service: int, backend: int) -> dict[str, Any]:
        found = self.services[service]
        found["backends"][backend] |= {"state": "available", "health": "up", "since": self.time, "diagnostic": "200 OK"}
        self._settle(found)
        return {"changed": [found], "removed": [], "complete": True}

    def drain(self, service: int, backend: int, who: str = "alice") -> dict[str, Any]:
        found = self.services[service]
        override = {"override": "drain", "weight": None, "who": who, "since": self.time}
        found["backends"][backend] |= {"state": "draining", "drained_by": who, "overrides": [override]}
        self._settle(found)
        return {"changed": [found], "removed": [], "complete": True}

    def event(self, message: str, kind: str = "backend", severity: int = 5, **more: Any) -> dict[str, Any]:
        """A line of the log."""
        self.logged += 1
        return {"id": f"{self.logged}", "at": self.time, "kind": kind, "severity": severity, "message": message, **more}

    def drops(self) -> dict[str, Any]:
        """The flight recorder, with one reason that has packets."""
        data = bytes.fromhex("0200 0a01 0005 0200 0a01 0001 0800 4500 003c 1c46 4000 4006 b1e6 c633 640a cb00 710a")
        packet = {"interface": "eth0", "length": 74, "data": (data + b"<b>hostile</b>").hex()}
        packets = [
            {"at": self.time - at, "text": f"198.51.100.10.{4000 + at} > 203.0.113.10.81: Flags [S]", **packet}
            for at in range(3)
        ]
        return {
            "reasons": [
                {
                    "reason": str(reason),
                    "meaning": REASON_TEXT[reason],
                    "count": 3 if reason is Reason.UNKNOWN_PORT else 0,
                    "packets": packets if reason is Reason.UNKNOWN_PORT else [],
                }
                for reason in Reason
            ]
        }

    def prefixes(self, lit: int = 400, more: int = 0) -> list[int]:
        """The counts of all prefixes, some of them not 0; `more` packets than at first."""
        drawn = random.Random(self.seed)
        counts = [0] * (1 << 20)
        for number in range(lit):
            network = drawn.choice((5, 31, 46, 62, 77, 80, 85, 91, 93, 109, 151, 176, 188, 193, 194, 198, 203, 212))
            prefix = network << 12 | int(drawn.gauss(2048, 500)) % 4096
            counts[prefix] = 64 * int(drawn.paretovariate(0.7)) + more * (1 + number % 7) * 64
        return counts

    # ---- parts

    def _service(self, number: int, backends: int) -> dict[str, Any]:
        vip = str(FIRST_VIP + number // 4)
        port = (443, 80, 53, 25)[number % 4]
        proto = "udp" if port == 53 else "tcp"
        first = FIRST_BACKEND + number * 16
        found = {
            "service": f"{vip}:{port}/{proto}",
            "vip": vip,
            "port": port,
            "proto": proto,
            "name": f"{NAMES[number % len(NAMES)]}-{number}" if self.backends > 100 else NAMES[number % len(NAMES)],
            "description": "",
            "pending": False,
            "need": 1,
            "critical": True,
            "on_dead": "reselect",
            "on_down": "drain",
            "sticky": False,
            "slots": 4093,
            "tracked_slots": 0,
            "since": self.time - 4000,
            "scheduler": "maglev",
            "backends": [self._backend(str(first + at), backends) for at in range(backends)],
        }
        self._settle(found)
        return found

    def _backend(self, address: str, among: int) -> dict[str, Any]:
        return {
            "address": address,
            "port": None,
            "weight": 1,
            "enabled": True,
            "fallback": False,
            "state": "available",
            "health": "up",
            "kept_by": None,
            "drained_by": None,
            "overrides": [],
            "since": self.time - self.random.randrange(60, 4000),
            "diagnostic": "200 OK",
            "took_ms": round(self.random.uniform(0.4, 9), 3),
            "slots": 4093 // among,
            "share": round(1 / among, 4),
            "mac": "02:00:0a:01:00:0b",
            "way": {"interface": "eth0", "vlan": None, "via": None, "own": "10.1.0.5", "mtu": 1500},
            "troubles": [],
        }

    def _settle(self, service: dict[str, Any]) -> None:
        living = [one for one in service["backends"] if one["state"] == "available"]
        for one in service["backends"]:
            one["share"] = round(1 / len(living), 4) if one in living else 0.0
            one["slots"] = 4093 // len(living) if one in living else 0
        service |= {"available": len(living), "up": bool(living)}

    def _rates(self, backend: dict[str, Any]) -> list[float]:
        if backend["state"] != "available":
            return [0.0, 0.0, 0.0, 0.0, 3 if backend["state"] == "draining" else 0]
        packets = round(self.random.uniform(800, 1200), 1)
        return [packets, round(packets * 640, 1), round(packets / 40, 2), 0.0, int(packets * 1.4)]

    def _peers(self) -> list[dict[str, Any]]:
        up = {
            "address": "10.1.0.1",
            "group": "core",
            "state": "established",
            "since": self.time - 7200,
            "local_as": 65001,
            "remote_as": 65000,
            "remote_router_id": "10.1.0.1",
            "local_address": "10.1.0.5",
            "ibgp": False,
            "families": ["ipv4", "ipv6"],
            "hold_time": 9,
            "keepalive": 3.0,
            "advertised": 12,
            "advertised_by_family": {"ipv4": 12, "ipv6": 0},
            "pending": 0,
            "withheld": 0,
            "end_of_rib": True,
            "sessions": 1,
            "attempts": 1,
            "received_routes_ignored": 0,
            "last_error": None,
            "last_end": None,
            "capabilities": {"sent": ["mp-ipv4"], "received": ["mp-ipv4", "graceful-restart"]},
            "graceful_restart": {"offered": True, "peer": True, "time": 120, "restarting": False},
            "messages": {"sent": {"update": 12}, "received": {"update": 0}},
            "bfd": {
                "state": "up",
                "remote_state": "up",
                "diagnostic": "",
                "since": self.time - 7200,
                "interval": 0.3,
                "detection": 0.9,
                "multihop": False,
                "packets": {"sent": 1, "received": 1, "dropped": 0},
                "flaps": 0,
            },
        }
        end = {"at": self.time - 60, "direction": "local", "code": None, "subcode": None, "text": HOSTILE, "hex": ""}
        down = {**up, "address": "10.1.0.2", "state": "active", "since": self.time - 60, "bfd": None, "last_end": end}
        return [up, {**down, "advertised": 0, "advertised_by_family": {"ipv4": 0, "ipv6": 0}}]


INTERFACES = [
    {
        "name": "eth0",
        "index": 2,
        "attach": "native",
        "mac": "02:00:0a:01:00:05",
        "address": "10.1.0.5/16",
        "mtu": 1500,
        "up": True,
        "standby": False,
        "driver": "mlx5_core",
        "speed": 25_000,
    },
    {
        "name": "eth1",
        "index": 3,
        "attach": "generic",
        "mac": "02:00:0a:01:00:06",
        "address": "10.2.0.5/16",
        "mtu": 1500,
        "up": True,
        "standby": False,
        "driver": "r8169",
        "speed": 1000,
    },
]
