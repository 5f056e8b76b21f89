"""Addresses, and what is named by them, as all packages know them. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_

from appliance.model_check import Protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def same_addresses(one: Mapping[Address, object], other: Mapping[Address, object]) -> bool:
    """Return whether two mappings have the same address objects in the same order, as a copy has.

    No address is hashed for that: to hash thousands takes longer than all else that a change of one of them brings.
    """
    return len(one) == len(other) and all(map(is_, one, other))


def differing(before: Mapping[Address, object], after: Mapping[Address, object]) -> list[Address]:
    """Return the addresses of which the two do not say the same, or only one of them says anything."""
    if same_addresses(before, after):
        pairs = zip(after, before.values(), after.values(), strict=True)
        return [address for address, was, now in pairs if was != now]
    found = [address for address, now in after.items() if address not in before or before[address] != now]
    return found + [address for address in before if address not in after]


@dataclass(frozen=True)
class Endpoint:
    """Where something listens: a port (1..65535) of an address, or of every address where that is None.

    Port 0 is nowhere at all.
    """

    address: Address | None
    port: int

    def __str__(self) -> str:
        if not self.port:
            return "no"
        host = f"[{self.address}]" if self.address is not None and self.address.version == 6 else self.address or ""
        return f"{host}:{self.port}"


NOWHERE = Endpoint(None, 0)


@dataclass(frozen=True)
class ServiceKey:
    """A service is named by VIP, port (1..65535) and protocol; written `203.0.113.10:443/tcp`."""

    vip: Address
    port: int
    protocol: Protocol

    def __post_init__(self) -> None:
        # A key is looked up far more often than it is made, and hashing an address takes ten times as long.
        object.__setattr__(self, "_hash", hash((int(self.vip), self.port, int(self.protocol))))

    def __hash__(self) -> int:
        found: int = self.__dict__["_hash"]
        return found

    def __str__(self) -> str:
        found: str | None = self.__dict__.get("_text")
        if found is None:
            host = f"[{self.vip}]" if self.vip.version == 6 else str(self.vip)
            found = f"{host}:{self.port}/{self.protocol}"
            object.__setattr__(self, "_text", found)
        return found

    def __lt__(self, other: object) -> bool:
        """Order by family, VIP, port, protocol (addresses of two families cannot be compared by `ipaddress`)."""
        if not isinstance(other, ServiceKey):
            return NotImplemented
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, int]:
        return (self.vip.version, int(self.vip), self.port, int(self.protocol))

    @classmethod
    def parse(cls, text: str) -> ServiceKey:
        """Read `203.0.113.10:443/tcp` or `[2001:db8::1]:443/tcp`; raises ValueError that says what is wrong."""
        address, slash, protocol = text.rpartition("/")
        host, colon, port = address.rpartition(":")
        if not slash or not colon or protocol.lower() not in ("tcp", "udp") or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is not a service; write VIP:PORT/tcp or VIP:PORT/udp")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"{text!r}: port {port} is not between 1 and 65535")
        try:
            vip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is not an IP address") from None
        return cls(vip, int(port), Protocol[protocol.upper()])
