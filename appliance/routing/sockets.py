"""Sockets as BGP wants them: who may send, from where, how far away, and with which key."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address

from appliance.errors import HostError
from appliance.model_address import Address
from appliance.model_bgp import Peer

PORT = 179
MOST_HOPS = 255
BACKLOG = 64
TCP_MD5SIG = 14
TCP_USER_TIMEOUT = 18
MD5_KEY = 80
"""Linux, include/uapi/linux/tcp.h: TCP_MD5SIG, TCP_MD5SIG_MAXKEYLEN, struct tcp_md5sig."""
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
INTERNET_CONTROL = 0xC0
"""The DSCP CS6, in which routers send what keeps a network together (RFC 4594, 3.2)."""


def family_of(address: Address) -> int:
    """Return the family of sockets for an address."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def place(address: Address, port: int) -> tuple[object, ...]:
    """Return what bind(2) and connect(2) take for an address, with the scope of one that is link-local."""
    (found, *_) = socket.getaddrinfo(str(address), port, family_of(address), socket.SOCK_STREAM, 0, _NUMERIC)
    return found[4]


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def own_address(end: socket.socket) -> Address:
    """Return the local address of a connection; one of an IPv4 peer is never written as IPv6. Raises OSError."""
    return ip_address(end.getsockname()[0])


def peer_address(end: socket.socket) -> Address:
    """Return the address of the other end; raises OSError."""
    name = end.getpeername()
    text = name[0] if "%" in name[0] or len(name) < 4 or not name[3] else f"{name[0]}%{socket.if_indextoname(name[3])}"
    return ip_address(text)


def dialling(peer: Peer) -> socket.socket:
    """Return a socket that is ready for connect(2); raises OSError, where our own address or key cannot be used."""
    end = socket.socket(family_of(peer.address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        distance(end, peer)
        if peer.password:
            set_key(end, peer.address, peer.password)
        if peer.source_ip is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind(place(peer.source_ip, 0))
    except OSError:
        end.close()
        raise
    return end


def distance(end: socket.socket, peer: Peer) -> None:
    """Let packets go no further than the peer may be, or take none from further away (RFC 5082); raises OSError."""
    four = peer.address.version == 4
    level, hops = (socket.IPPROTO_IP, socket.IP_TTL) if four else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    if peer.ttl_security:
        end.setsockopt(level, hops, MOST_HOPS)
        end.setsockopt(level, IP_MINTTL if four else IPV6_MINHOPCOUNT, MOST_HOPS + 1 - max(1, peer.multihop))
    elif peer.remote_as is not None and peer.remote_as != peer.local_as:
        end.setsockopt(level, hops, peer.multihop or 1)
    if four:
        end.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, INTERNET_CONTROL)
    else:
        end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, INTERNET_CONTROL)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def set_key(end: socket.socket, address: Address, key: str) -> None:
    """Have what goes to and comes from a peer signed (RFC 2385); an empty key: no more. Raises OSError.

    struct tcp_md5sig: the address as struct sockaddr_storage (128 bytes), flags, prefix length, key length, interface.
    """
    secret = key.encode()
    where = struct.pack("=H", family_of(address)) + bytes(2)  # the port is not looked at
    where += address.packed if address.version == 4 else bytes(4) + address.packed
    end.setsockopt(
        socket.IPPROTO_TCP, TCP_MD5SIG, struct.pack(f"=128sBBHi{MD5_KEY}s", where, 0, 0, len(secret), 0, secret)
    )


def listening(family: int) -> socket.socket:
    """Return a socket on which peers of a family may connect; raises HostError that says what to do."""
    end = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, MOST_HOPS)
        else:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, MOST_HOPS)
        end.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
        end.listen(BACKLOG)
    except OSError as error:
        end.close()
        why = os.strerror(error.errno or 0)
        hint = "is another BGP daemon running here? End it, or remove `listen`"
        if isinstance(error, PermissionError):
            hint = (
                "this process lacks CAP_NET_BIND_SERVICE; run vc5 as root, or give the service this capability "
                "(AmbientCapabilities= and CapabilityBoundingSet= in vc5.service), or remove `listen`"
            )
        raise HostError(f"port {PORT}: {why}; {hint}") from error
    return end
