"""What nodes of a fleet are called where people read of several: two machines may have one host name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.model_address import Endpoint

Named = tuple[str, Endpoint | None]
"""A node by the name that it gives itself and the address that it speaks from; None: this node."""
OWN = "this node"


def labels(nodes: Iterable[Named]) -> dict[Named, str]:
    """Return what to call each: its name, and where others have the same one, which of them is meant.

    That is its IP address, and the port as well where that alone tells them apart. A node that is given twice, since it
    was there before, is one.
    """
    alike: dict[str, set[Endpoint | None]] = {}
    for name, where in nodes:
        alike.setdefault(name, set()).add(where)
    return {
        (name, where): name if len(found) == 1 else f"{name} ({_which(where, found)})"
        for name, found in alike.items()
        for where in found
    }


def _which(where: Endpoint | None, found: Iterable[Endpoint | None]) -> str:
    if where is None:
        return OWN
    shared = sum(other is not None and other.address == where.address for other in found) > 1
    return str(where if shared or where.address is None else where.address)
