"""What a backend's cable carries to it: for each destination, in which outer headers its packets came.

Backends take a VIP's packets with an outer header and without, so only the cable tells what the balancer has sent.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from appliance.dataplane.frame import checksum
from appliance.model import Address, TunnelKind
from tests.lab.backend import Backend
from tests.lab.namespace import Namespace

# include/uapi/linux/if_ether.h and include/uapi/asm-generic/socket.h
ETH_P_ALL: Final = 3
SO_RCVBUFFORCE: Final = 33
ETHERNET: Final = 14
FAMILIES: Final = (b"\x08\x00", b"\x86\xdd")
BUFFER: Final = 32 << 20
"""Bytes, for all frames until somebody looks; what is beyond that is not seen."""
LONGEST: Final = 1 << 16


@dataclass(frozen=True)
class Outer:
    """How a packet came; without a tunnel the addresses are its own."""

    kind: TunnelKind | None
    source: Address
    destination: Address
    checksum: str = ""
    """Of the outer UDP header: none, right or wrong."""


class Capture:
    """All that the switch sends to a backend from now on, by the port of the backend's name."""

    def __init__(self, switch: Namespace, backend: Backend, port: int) -> None:
        """Begin; `port` is the UDP port of tunnels. Raises OSError."""
        self._mac = bytes.fromhex(backend.mac.replace(":", ""))
        self._port = port

        def opened() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            made.bind((backend.name, ETH_P_ALL))
            return made

        self._socket = switch.call(opened)
        self._socket.setblocking(False)

    def finish(self) -> dict[Address, set[Outer]]:
        """Return how the packets for each inner destination came, and capture no more."""
        found: dict[Address, set[Outer]] = {}
        with self._socket:
            for frame in self._frames():
                if frame[:6] == self._mac and frame[12:ETHERNET] in FAMILIES:
                    destination, outer = self._look(frame[ETHERNET:])
                    found.setdefault(destination, set()).add(outer)
        return found

    def _frames(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._socket.recv(LONGEST)
            except BlockingIOError:
                return

    def _look(self, packet: bytes) -> tuple[Address, Outer]:
        source, destination, protocol, inside = _addressed(packet)
        kind: TunnelKind | None = None
        verdict = ""
        if protocol in (socket.IPPROTO_IPIP, socket.IPPROTO_IPV6):
            kind = TunnelKind.IPIP
        elif protocol == socket.IPPROTO_GRE:
            kind, inside = TunnelKind.GRE, inside[4:]
        elif protocol == socket.IPPROTO_UDP and int.from_bytes(inside[2:4]) == self._port:
            verdict = _verdict(source, destination, inside)
            # A GUE header without options is four bytes of which the first is zero, see draft-ietf-intarea-gue.
            kind, skip = (TunnelKind.FOU, 8) if inside[8] >> 4 else (TunnelKind.GUE, 12)
            inside = inside[skip:]
        inner = _addressed(inside)[1] if kind else destination
        return inner, Outer(kind, source, destination, verdict)


def _addressed(packet: bytes) -> tuple[Address, Address, int, bytes]:
    """Return source, destination, protocol and payload of a packet; extension headers count as payload."""
    if packet[0] >> 4 == 4:
        header, length = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4])
        return ip_address(packet[12:16]), ip_address(packet[16:20]), packet[9], packet[header:length]
    length = 40 + int.from_bytes(packet[4:6])
    return ip_address(packet[8:24]), ip_address(packet[24:40]), packet[6], packet[40:length]


def _verdict(source: Address, destination: Address, datagram: bytes) -> str:
    if not int.from_bytes(datagram[6:8]):
        return "none"
    # RFC 768 and RFC 8200 section 8.1: the two pseudo headers add up to the same.
    pseudo = source.packed + destination.packed + bytes((0, socket.IPPROTO_UDP)) + datagram[4:6]
    return "wrong" if checksum(pseudo + datagram) else "right"
