"""What `vc5 balance` reads and prints."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from appliance.balancer import Counters, Destination
from appliance.cli.tables import Column, printable, screen, table
from appliance.dataplane.enums import State
from appliance.model import Backend, Protocol, ServiceKey

COMMANDS = "add ADDRESS [WEIGHT], weight ADDRESS WEIGHT, remove ADDRESS [cut], list, stats, quit"
PORT = 80
LEFT = ("backend", "state", "mac")
"""Columns of words; all others are numbers."""
STATES = {
    State.NONE: "unresolved",
    State.DEAD: "dead",
    State.DRAINING: "draining",
    State.AVAILABLE: "available",
}
Rows = list[dict[str, Any]]


def service_key(text: str) -> ServiceKey:
    """Read VIP, VIP:PORT or VIP:PORT/udp; without a port it is 80. Raises ValueError."""
    try:
        return ServiceKey(ip_address(text), PORT, Protocol.TCP)
    except ValueError:
        return ServiceKey.parse(text if "/" in text else f"{text}/tcp")


def backend(text: str, weight: str = "") -> Backend:
    """Read ADDRESS or ADDRESS=WEIGHT, or the two as two words. Raises ValueError."""
    address, sign, inside = text.partition("=")
    number = inside if sign else weight or "1"
    if not (number.isascii() and number.isdigit() and len(number) < 4) or (sign and weight):
        raise ValueError(f"{number!r} is no weight of {address}; write a whole number from 0 to 100, once")
    return Backend(ip_address(address), int(number))


def standing(one: Destination) -> dict[str, Any]:
    """Return a row of `list`."""
    return {
        "backend": str(one.backend.address),
        "weight": one.backend.weight,
        "state": "removed" if one.leaving else STATES[one.state],
        "share": round(one.share, 4),
        "mac": one.mac.hex(":") if one.mac else "unknown",
    }


def counted(name: str, counters: Counters) -> dict[str, Any]:
    """Return a row of `stats`."""
    return {"backend": name} | asdict(counters)


def show(rows: Rows, as_json: bool) -> None:
    """Print an aligned table, or JSON in one line."""
    if as_json:
        print(json.dumps(rows), flush=True)
    elif rows:
        columns = [Column(name, right=name not in LEFT) for name in rows[0]]
        text = table(columns, [[str(value) for value in row.values()] for row in rows], screen())
        print(*text, sep="\n", flush=True)


def say(text: str) -> None:
    """Tell the user something that is not the answer."""
    print(f"vc5: {printable(text)}", file=sys.stderr, flush=True)


def refuse(text: str, as_json: bool) -> None:
    """Print what is wrong with a line."""
    say(text)
    if as_json:
        print(json.dumps({"error": text}), flush=True)
