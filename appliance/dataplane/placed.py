"""Services in the tables: where they lie, where they will lie, and what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.dataplane.desired import DesiredService
from appliance.dataplane.lookup import Entry
from appliance.dataplane.slots import SlotTable
from appliance.model import Address, ServiceKey


@dataclass
class Applied:
    """What one `apply` did: for each service that changed, how many slots got another answer."""

    changed: dict[ServiceKey, int] = field(default_factory=dict)


@dataclass
class Placed:
    """A service in the tables: where it lies, the numbers of its backends, and what was last written."""

    entry: Entry
    slots: SlotTable
    numbers: dict[Address, int]
    written: DesiredService | None = None


@dataclass(frozen=True)
class Plan:
    """Where a service will lie, and the index of each member inside it; made before anything is stored."""

    entry: Entry
    indexes: dict[Address, int]


def with_values(entry: Entry, **values: Any) -> Entry:
    """The entry with these values; itself where it has them, so that comparing thousands of entries takes no time."""
    return entry if all(getattr(entry, name) == value for name, value in values.items()) else replace(entry, **values)


def without_answers(placed: Mapping[ServiceKey, Placed], told: Mapping[ServiceKey, int]) -> set[ServiceKey]:
    """The services that have another number of slots in the fleet than here, where they have answered nobody yet."""
    known = ((key, placed[key]) for key in told if key in placed)
    return {key for key, one in known if one.entry.slot_count != told[key] and one.slots.blank}
