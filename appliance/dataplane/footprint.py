"""How much memory the tables of a shape take, and whether there is as much.

Arrays are allocated whole when they are made (bpf_map_area_alloc in kernel/bpf/syscall.c) and cannot be swapped out. A
new generation of the program shares the arrays whose size stays; the others exist twice until the old one is removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.dataplane.abi import MAPS
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import MapKind
from appliance.errors import PlanError

HASH_OVERHEAD = 96
"""Bytes of an LRU hash entry beside key and value, about (struct htab_elem and its bucket)."""
SPARE = 64 << 20
"""Bytes that must be left to everybody else."""


def footprint(shape: Shape) -> dict[str, int]:
    """Bytes of each table, by name without the prefix."""
    found = {}
    for layout in MAPS:
        spec = layout.spec(shape)
        size = spec.value_size * spec.max_entries
        if layout.kind is MapKind.RINGBUF:
            size = spec.max_entries
        elif layout.kind is not MapKind.ARRAY:
            size += (spec.key_size + HASH_OVERHEAD) * spec.max_entries
        found[layout.name.removeprefix("vc5_")] = size
    return found


def needed(shape: Shape, running: Shape | None = None) -> dict[str, int]:
    """Bytes of the tables that have to be made for a shape beside those of the running one."""
    wanted = footprint(shape)
    if running is None:
        return wanted
    present = footprint(running)
    return {name: size for name, size in wanted.items() if present[name] != size}


def described(shape: Shape) -> str:
    """One line for people."""
    sizes = footprint(shape)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    parts = ", ".join(f"{name} {_mib(sizes[name])}" for name in largest)
    return f"tables: {_mib(sum(sizes.values()))} of kernel memory on this host ({parts}; {shape.cpus} possible CPUs)"


def available(meminfo: str) -> int:
    """The bytes that can be had without swapping, by the text of /proc/meminfo; 0 where it does not say."""
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    return 0


def require(sizes: Mapping[str, int], left: int) -> None:
    """Raise PlanError where tables of these sizes do not fit `left` bytes of memory (0: not known)."""
    total = sum(sizes.values())
    if not left or not total or total + SPARE <= left:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    raise PlanError(
        f"the tables need {_mib(total)} more memory, {_mib(sizes[largest])} of it for {largest}, and this host has "
        f"{_mib(left)} left, of which {_mib(SPARE)} stay free: use fewer services or backends, a smaller max_flows, or "
        "more memory"
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
