"""The floors (floor.c), compiled for what they stand beside."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from appliance.dataplane.compile import compile_text
from appliance.dataplane.kernel import Program
from appliance.dataplane.spec import relocate
from appliance.model import Mode, Protocol
from bench.balancer import MACS, PORT, VIPS, VIPS6
from bench.driver import source
from bench.traffic import ETHERNET, TAG

DOORS = 1
"""The number by which a floor refers to its device map."""
TABLE = 2
"""That of its table of cache lines."""


def floor_text(
    *, protocol: Protocol = Protocol.TCP, mode: Mode = Mode.SIMPLE, family: int = 4, growth: int = 20, lines: int = 0
) -> str:
    """Return the text of the floors for a mode and a family; `growth` is in bytes, `lines` a table's in cache lines."""
    high, low = (int.from_bytes(part, sys.byteorder) for part in (MACS[:8], MACS[8:]))
    first = VIPS[0].packed if family == 4 else VIPS6[0].packed
    words = [int.from_bytes(first[at : at + 4], "big") for at in range(0, len(first), 4)]
    given = {
        "FAMILY": family,
        "VIP": words[-1],
        "VIPS": len(VIPS),
        "PORT": PORT,
        "PROTOCOL": int(protocol),
        "GROWTH": growth,
        "MACS_HIGH": high,
        "MACS_LOW": low,
        "L2": ETHERNET + TAG if mode is Mode.VLAN else ETHERNET,
        "DOORS": int(mode is Mode.MULTI_NIC),
        "LINES": lines,
    }
    return source("floor.c", given | {f"PREFIX_{at}": word for at, word in enumerate(words[:-1])})


def load_floor(function: str, text: str, maps: Mapping[int, int] | None = None) -> Program:
    """Compile and load one of the functions; `maps` gives the descriptor for each map number in the text."""
    return Program.load(function, relocate(compile_text(text, [function]).code[function], maps or {}))
