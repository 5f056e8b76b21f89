"""The addresses of the lab; the drawing is in tests.lab.topology."""

from __future__ import annotations

from ipaddress import IPv4Address

CLIENT_ADDRESSES = tuple(IPv4Address("198.51.100.10") + n for n in range(8))
CLIENT_GATEWAY = IPv4Address("198.51.100.1")
ROUTER = IPv4Address("10.1.10.1")
BALANCER = IPv4Address("10.1.10.5")
FIRST_BACKEND = IPv4Address("10.1.10.11")
VIP = IPv4Address("203.0.113.10")
SECOND_VIP = IPv4Address("203.0.113.20")
"""For tests and the demo to add; a lab begins with VIP alone."""

HTTP, HTTPS, ECHO = 80, 443, 7000
"""The ports of every backend's servers."""


def mac_of(address: IPv4Address) -> str:
    """Return the MAC that the lab gives to the interface with this address: the address is readable in it."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in address.packed)
