"""What all datagrams are made of: addresses, services and numbers, and the reader of them. Pure.

A reader never reads beyond its end, and raises ValueError, and nothing else.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from appliance.model import Protocol
from appliance.model_address import Address, ServiceKey

_PORT = struct.Struct("!HB")
_LENGTHS = {4: 4, 6: 16}
_PROTOCOLS = frozenset(Protocol)


def address_bytes(address: Address | None) -> bytes:
    """Return the family and the octets of an address, or a 0."""
    return b"\0" if address is None else bytes([address.version]) + address.packed


@lru_cache(4096)
def service_bytes(service: ServiceKey) -> bytes:
    """Return the octets of a service."""
    return address_bytes(service.vip) + _PORT.pack(service.port, service.protocol)


@lru_cache(16384)
def _address(octets: bytes) -> Address:
    return IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)


@lru_cache(4096)
def _service(octets: bytes, port: int, protocol: int) -> ServiceKey:
    return ServiceKey(_address(octets), port, Protocol(protocol))


class Reader:
    """Reads from `at` to `end`, once; true while something is left."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data, self._at = data, at
        self._end = len(data) if end is None else end

    def __bool__(self) -> bool:
        return self._at < self._end

    def octets(self, count: int) -> bytes:
        """Return the next so many octets."""
        at = self._at
        if at + count > self._end:
            raise ValueError(f"{count} octets are wanted, and {self._end - at} are left")
        self._at = at + count
        return self._data[at : self._at]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Return what a structure has."""
        return form.unpack(self.octets(form.size))

    def number(self, form: struct.Struct) -> int:
        """Return a structure's only number."""
        found: int = form.unpack(self.octets(form.size))[0]
        return found

    def octet(self) -> int:
        """Return a number of one octet."""
        return self.octets(1)[0]

    def rest(self, size: int) -> bytes:
        """Return all that is left, a multiple of `size`."""
        if (self._end - self._at) % size:
            raise ValueError(f"{self._end - self._at} octets are left, not a multiple of {size}")
        return self.octets(self._end - self._at)

    def address_or_none(self) -> Address | None:
        """Return an address, or None for a 0."""
        family = self.octet()
        if not family:
            return None
        if family not in _LENGTHS:
            raise ValueError(f"an address of family {family}")
        return _address(self.octets(_LENGTHS[family]))

    def address(self) -> Address:
        """Return an address."""
        found = self.address_or_none()
        if found is None:
            raise ValueError("an address is missing")
        return found

    def service(self) -> ServiceKey:
        """Return a service."""
        family = self.octet()
        if family not in _LENGTHS:
            raise ValueError(f"a VIP of family {family}")
        octets = self.octets(_LENGTHS[family])
        port, protocol = self.unpack(_PORT)
        if not port or protocol not in _PROTOCOLS:
            raise ValueError(f"a service of port {port} and protocol {protocol}")
        return _service(octets, port, protocol)

    def text(self) -> str:
        """Return a text, after its length (1)."""
        return self.octets(self.octet()).decode("utf-8")

    def end(self) -> None:
        """Raise ValueError where something is left."""
        if self:
            raise ValueError(f"{self._end - self._at} octets too many")
