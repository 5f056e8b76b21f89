"""How many slots services have, kept over a stop: a node that begins anew has as many as it had. Pure.

The number depends on when it was chosen (dataplane/hashchange.py), and nodes answer alike only where it is the same. A
node that finds the others of its fleet takes over theirs; one that does not, or that has been told of none, goes by its
own.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.dataplane.tables import Tables
from appliance.model import ServiceKey


class KeptSlots:
    """The numbers as they were while there were tables: a daemon that stops saves its state after these are gone."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def snapshot(self, tables: Tables | None) -> dict[str, int]:
        """Return the numbers, in JSON's terms."""
        if tables is not None:
            found = ((key, tables.entry(key)) for key in tables.tracked())
            self._kept = {str(key): entry.slot_count for key, entry in found if entry is not None}
        return self._kept

    def restore(self, saved: object) -> tuple[Mapping[ServiceKey, int], int]:
        """Return what a snapshot says, and how many entries made no sense."""
        found: dict[ServiceKey, int] = {}
        if not isinstance(saved, dict):
            return found, int(saved is not None)
        for name, count in saved.items():
            try:
                key = ServiceKey.parse(str(name))
            except ValueError:
                continue
            if type(count) is int and count > 0:
                found[key] = count
        self._kept = {str(key): count for key, count in found.items()}
        return found, len(saved) - len(found)
