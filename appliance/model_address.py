"""Addresses as all packages know them. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Endpoint:
    """Where something listens: a port (1..65535) of an address, or of every address where that is None."""

    address: Address | None
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address is not None and self.address.version == 6 else self.address or ""
        return f"{host}:{self.port}"
