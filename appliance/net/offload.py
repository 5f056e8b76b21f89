"""Offloads of a network interface: what the kernel leaves to the hardware, and must not leave to it on a veth.

The ioctl of ethtool (linux/ethtool.h), in the network namespace of the calling thread. Switching needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
from enum import Enum

from appliance.errors import KernelError

_SIOCETHTOOL = 0x8946  # linux/sockios.h, the same on every architecture


class Offload(Enum):
    """One feature, by the ethtool commands that get and set it."""

    TX_CHECKSUM = (0x16, 0x17)
    TSO = (0x1E, 0x1F)
    GSO = (0x23, 0x24)


class _Value(ctypes.Structure):
    """`struct ethtool_value`."""

    _fields_ = (("command", ctypes.c_uint32), ("data", ctypes.c_uint32))


class _Request(ctypes.Structure):
    """`struct ifreq` (linux/if.h): a name of 16 bytes and a union of at most 24, of which ethtool uses a pointer."""

    _fields_ = (
        ("name", ctypes.c_char * 16),
        ("data", ctypes.POINTER(_Value)),
        ("rest", ctypes.c_uint8 * 16),
    )


def enabled(interface: str, offload: Offload) -> bool:
    """Tell whether the offload is on; raises KernelError if there is no such interface."""
    return bool(_ethtool("read", interface, offload, _Value(offload.value[0], 0)))


def switch(interface: str, offload: Offload, on: bool) -> None:
    """Switch the offload; raises KernelError, EOPNOTSUPP where the driver does not let it be switched."""
    _ethtool("switch", interface, offload, _Value(offload.value[1], int(on)))


def _ethtool(verb: str, interface: str, offload: Offload, value: _Value) -> int:
    request = _Request(interface.encode(), ctypes.pointer(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel, _SIOCETHTOOL, request)
        except OSError as error:
            name = offload.name.lower().replace("_", " ")
            raise KernelError(f"{verb} {name} offload of", interface, error.errno or errno.EIO) from error
    return int(value.data)
