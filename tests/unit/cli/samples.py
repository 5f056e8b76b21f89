"""A status body as a daemon in some trouble gives it: a service down, a backend drained, IPv6, two interfaces."""

from __future__ import annotations

from typing import Any


def backend(address: str, state: str, **more: Any) -> dict[str, Any]:
    """Return one backend of a status body; `more` replaces fields."""
    health = {"draining": "up"}.get(state, state)
    return {
        "address": address,
        "weight": 1,
        "enabled": True,
        "state": state,
        "health": health,
        "drained_by": None,
        "since_s": 93784.2,
        "diagnostic": "",
        "took_ms": 1.24,
        "slots": 1365,
        "share": 1 / 3,
        "packets": 182_734_112,
        "octets": 171_000_000_000,
        "flows": 8123,
        "drops": 0,
        "mac": "02:00:0a:01:0a:0b",
        **more,
    }


BODY: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "uptime_s": 93790.0,
    "mode": "simple",
    "interfaces": [
        {"name": "eth0", "index": 2, "attach": "native", "mac": "02:00:0a:01:0a:05", "address": "10.1.10.5/24"},
        {"name": "eth1", "index": 3, "attach": "generic", "mac": "02:00:0a:01:0b:05", "address": "10.1.11.5/24"},
    ],
    "prober": {"alive": True, "frozen": False, "restarts": 0},
    "vips": [{"vip": "203.0.113.10", "up": True, "since_s": 93784.0}],
    "services": [
        {
            "service": "203.0.113.10:443/tcp",
            "vip": "203.0.113.10",
            "port": 443,
            "proto": "tcp",
            "name": "shop",
            "description": "the shop front",
            "up": True,
            "need": 1,
            "available": 2,
            "on_dead": "reselect",
            "on_down": "drain",
            "slots": 4093,
            "tracked_slots": 1364,
            "packets": 512_345_678,
            "octets": 480_000_000_000,
            "flows": 24_123,
            "drops": 17,
            "backends": [
                backend("10.1.10.11", "up", since_s=93784.2),
                backend("10.1.10.12", "draining", drained_by="operator", since_s=184, slots=0, share=0.0),
                backend(
                    "10.1.10.13",
                    "dead",
                    since_s=12.3,
                    diagnostic="connect: Connection refused",
                    took_ms=0.31,
                    share=0.0,
                ),
            ],
        },
        {
            "service": "[2001:db8:5::10]:8443/tcp",
            "vip": "2001:db8:5::10",
            "port": 8443,
            "proto": "tcp",
            "name": "登録 registration of customers",
            "description": "",
            "up": False,
            "need": 2,
            "available": 1,
            "on_dead": "reset",
            "on_down": "drain",
            "slots": 4093,
            "tracked_slots": 0,
            "packets": 71_000,
            "octets": 6_230_000,
            "flows": 512,
            "drops": 4_210,
            "backends": [
                backend("2001:db8:10::11", "up", weight=10, took_ms=11.8),
                backend("2001:db8:10::12", "wrong", diagnostic="HTTP status 503, expected 200\x1b[2J", since_s=4000.0),
                backend("2001:db8:10::13", "unknown", enabled=False, took_ms=None, since_s=None, packets=0),
            ],
        },
        {
            "service": "203.0.113.53:53/udp",
            "vip": "203.0.113.53",
            "port": 53,
            "proto": "udp",
            "name": "",
            "up": True,
            "need": 1,
            "available": 1,
            "slots": 4093,
            "tracked_slots": 0,
            "packets": 9,
            "octets": 702,
            "flows": 4,
            "drops": 0,
            "backends": [backend("10.1.10.53", "up", share=1.0, packets=9)],
        },
    ],
    "reasons": {"forwarded": 512_416_687, "not-a-vip": 88_213, "no-backend": 4_210, "malformed": 17, "ttl": 0},
    "flow_table": {"size": 1_048_576, "used": 812, "refused": 0},
    "clock_s": 93790,
    "config": {"file": "/etc/vc5/config.yaml", "loaded_at": 1764000000.0, "generation": 3},
    "warnings": ["services[1]: 10.1.10.13 has no neighbour entry"],
}


def service(number: int, backends: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return one service of a status body; `more` replaces fields."""
    good = sum(one["state"] == "available" for one in backends)
    address = f"203.0.{113 + number // 250}.{1 + number % 250}"
    sums = {name: sum(one[name] for one in backends) for name in ("packets", "octets", "flows", "drops")}
    return {
        "service": f"{address}:443/tcp",
        "vip": address,
        "port": 443,
        "proto": "tcp",
        "name": f"shop-{number}",
        "description": "",
        "up": good >= 1,
        "need": 1,
        "available": good,
        "slots": 4093,
        "tracked_slots": 0,
        **sums,
        "backends": backends,
        **more,
    }


def small(count: int) -> dict[str, Any]:
    """Return the body of a daemon that has just begun: without services, or with one that has so many backends."""
    backends = [backend(f"10.1.10.{11 + one}", "available", health="up", share=1 / count) for one in range(count)]
    services = [service(0, backends)] if count else []
    vips = [{"vip": one["vip"], "up": True, "since_s": 60.0, "announce": "yes", "reason": ""} for one in services]
    return {**BODY, "interfaces": BODY["interfaces"][:1], "services": services, "vips": vips, "warnings": []}


def large() -> dict[str, Any]:
    """Return the body of a daemon with 2,000 backends in 100 services, some of them in trouble of every kind."""
    services = []
    for number in range(100):
        backends = []
        for one in range(20):
            address = f"10.{1 + number // 50}.{number % 50}.{11 + one}"
            how: dict[str, Any] = {"health": "up", "share": 0.05, "packets": 1000 * (number + 1) * (one + 1)}
            state = "available"
            if number == 57 or (number == 12 and one in (3, 9)):
                state, how = "dead", how | {"health": "dead", "share": 0.0, "diagnostic": "connect: No route to host"}
                how["since_s"] = 41.0
            elif number == 23 and one == 5:
                state, how = "draining", how | {"health": "wrong", "diagnostic": "HTTP status 503, expected 200"}
            elif number == 31 and one == 0:
                said = {"override": "drain", "weight": None, "who": "uid 0 (ann)", "since": 0}
                state, how = "draining", how | {"overrides": [said], "drained_by": "uid 0 (ann)", "share": 0.0}
            elif number == 44 and one < 9:
                state, how = "draining", how | {"enabled": False, "share": 0.0}
            elif number == 66 and one == 7:
                lack = {"reason": "unresolved", "message": f"backend {address}: no MAC address is known"}
                how |= {"troubles": [lack]}
            elif number == 70 and one == 1:
                state, how = "none", how | {"health": "unknown", "since_s": None, "took_ms": None, "share": 0.0}
            backends.append(backend(address, state, **how))
        services.append(service(number, backends))
    vips = [{"vip": one["vip"], "up": one["up"], "since_s": 6e5, "announce": "yes", "reason": ""} for one in services]
    return {**BODY, "services": services, "vips": vips, "warnings": []}
