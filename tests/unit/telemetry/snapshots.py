"""Snapshots of a daemon as `control/measuring.py` puts them together, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

WEB, TLS6 = "203.0.113.10:80/tcp", "[2001:db8::10]:443/tcp"


def backend(address: str, *counts: int, up: int = 1, active: int | None = None) -> list[Any]:
    """A backend that has been as it is for 40 s, with 3 changes before; packets, octets, flows, drops."""
    return [address, up, up, 3, active, 960.0, *(counts or (0, 0, 0, 0))]


def service(key: str, *backends: list[Any], name: str = "", up: int = 1) -> list[Any]:
    """A service that has been as it is for 50 s and needs one backend; former backends have had 1, 100, 1, 0."""
    sums = [sum(column) for column in zip(*(one[6:] for one in backends), (1, 100, 1, 0), strict=True)]
    available = sum(one[2] for one in backends)
    return [key, name, up, len(backends), available, 1, 950.0, sums, list(backends)]


def snapshot(*services: list[Any], **values: Any) -> dict[str, Any]:
    """A snapshot at 1,000 s of a daemon that was started at 100 s."""
    numbers = {
        "vip_up": {"203.0.113.10": 1},
        "verdicts_total": {"too-big": 2, "too-big-limited": 3, "no-backend": 7, "not-ip": 1},
        "prober_up": 1,
        "interface_attached": {"eth0": 1},
        "config_reloads_total": {"ok": 2, "refused": 0},
    }
    probes = {
        "http": {"buckets": [0, 4, *[0] * 12, 1], "sum_ns": 12_004_000_000, "failures": {"timeout": 1}},
    }
    return {
        "version": "1.2",
        "abi": "abc",
        "time": 1000.0,
        "started": 100.0,
        "compat": False,
        "backends": True,
        "vips_since": {"203.0.113.10": 990.0},
        "probes": probes,
        "numbers": numbers,
        "services": list(services),
    } | values


SAMPLE = snapshot(
    service(WEB, backend("10.1.10.11", 10, 1000, 2, 0, active=5), backend("10.1.10.12", up=0), name="shop"),
    service(TLS6, backend("2001:db8::11", 1, 40, 1, 1), up=0),
)
