"""How many slots services have, kept over a stop: a node of a fleet that begins anew has as many as it had. Pure.

The number depends on when it was chosen (dataplane/hashchange.py). A node that finds the others takes over theirs; one
that does not has to go by its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.dataplane.tables import Tables
from appliance.model import ServiceKey


def snapshot(tables: Tables | None) -> dict[str, int]:
    """Return the numbers, in JSON's terms."""
    if tables is None:
        return {}
    found = ((key, tables.entry(key)) for key in tables.tracked())
    return {str(key): entry.slot_count for key, entry in found if entry is not None}


def restore(saved: object) -> tuple[Mapping[ServiceKey, int], int]:
    """Return what a snapshot says, and how many entries made no sense."""
    if saved is None:
        return {}, 0
    if not isinstance(saved, dict):
        return {}, 1
    found: dict[ServiceKey, int] = {}
    for name, count in saved.items():
        try:
            key = ServiceKey.parse(str(name))
        except ValueError:
            continue
        if type(count) is int and count > 0:
            found[key] = count
    return found, len(saved) - len(found)
