"""The ends of generated flows, and what packets between them have in common."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from appliance.model import Address
from tests.dataplane.frames import Frame, internet_checksum

CLIENTS = [IPv4Address("198.51.100.7") + number for number in range(4)]
CLIENTS6 = [IPv6Address("2001:db8:9::7") + number for number in range(4)]
STRANGER = IPv4Address("192.0.2.1")
STRANGER6 = IPv6Address("2001:db8:77::1")
OPTIONS = (b"\1\1\1\0", bytes.fromhex("94040000"), b"\1" * 40)
"""No-operations, router alert, and as many as fit."""


def v4(address: object) -> IPv4Address:
    assert isinstance(address, IPv4Address)
    return address


def v6(address: object) -> IPv6Address:
    assert isinstance(address, IPv6Address)
    return address


def between(source: Address, destination: Address, *, ttl: int = 64, options: bytes = b"") -> Frame:
    """An IP header between two addresses of one family; options only in IPv4."""
    if isinstance(source, IPv6Address):
        return Frame().ipv6(source, v6(destination), hops=ttl)
    return Frame().ipv4(source, v4(destination), ttl=ttl, options=options)


def turns_zero(old: bytes, new: bytes) -> int:
    """The checksum that becomes 0 when `old` becomes `new` in what it covers."""
    return 0xFFFF - internet_checksum(bytes(255 - byte for byte in old) + new)
