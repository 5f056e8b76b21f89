"""Two snapshots of a daemon's numbers (telemetry/readings.py), two seconds apart, for `vc5 top`."""

from __future__ import annotations

from typing import Any

EVERY = 20
"""Backends of a service, where there are many."""


def snapshot(backends: int, seconds: float) -> dict[str, Any]:
    """Return the numbers of a daemon with so many backends after it has worked for so long."""
    services = []
    each = EVERY if backends > 1 else backends
    for number in range(backends // each if each else 0):
        members: list[list[Any]] = []
        for one in range(each):
            packets = int(seconds * 100 * (number * 37 % 101 + 1) * (one % 5 + 1))
            dead, aside = number == 57 or (number == 12 and one == 3), number == 31 and one == 0
            if dead:
                packets = 50_000
            active = 40 * (one + 1) if number == 3 else None
            row = [f"10.1.{number}.{11 + one}", int(not dead), int(not (dead or aside)), 3, active, 1.7e9]
            members.append([*row, packets, packets * 700, packets // 9, 4 * int(dead)])
        sums = [sum(member[at] for member in members) for at in (6, 7, 8, 9)]
        good = sum(member[2] for member in members)
        key, name = f"203.0.113.{1 + number}:443/tcp", f"shop-{number}"
        services.append([key, name, int(good > 0), each, good, 1, 1.7e9, sums, members])
    verdicts = {"not-vip": int(12 * seconds), "unknown-port": int(30 * seconds), "ttl": 7, "no-backend": int(seconds)}
    return {
        "version": "0.1.0",
        "abi": "5f0c",
        "time": 1.7e9 + seconds,
        "started": 1.7e9,
        "compat": False,
        "backends": True,
        "numbers": {"prober_up": 1, "health_frozen": 0, "verdicts_total": verdicts if backends else {}},
        "probes": {},
        "services": services,
    }


def pair(backends: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two, the earlier first."""
    return snapshot(backends, 93_784.0), snapshot(backends, 93_786.0)
