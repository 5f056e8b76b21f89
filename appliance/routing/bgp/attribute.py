"""Path attributes (RFC 4271 section 5): ours to bytes, and a peer's from bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.model_address import Address
from appliance.model_bgp import Community


@dataclass(frozen=True)
class Path:
    """What a peer says of its routes, as far as people may want to see it."""

    origin: int | None = None
    as_path: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Segments: type (1 AS_SET, 2 AS_SEQUENCE) and AS numbers."""
    next_hop: Address | None = None
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[Community, ...] = ()
    others: tuple[int, ...] = ()
    """Types of all other attributes."""
