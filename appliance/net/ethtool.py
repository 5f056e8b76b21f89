"""The ioctl of ethtool (linux/ethtool.h), in the network namespace of the calling thread."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket

_SIOCETHTOOL = 0x8946  # linux/sockios.h, the same on every architecture
_NAME = 16  # IFNAMSIZ, the final zero included


class _Request(ctypes.Structure):
    """`struct ifreq` (linux/if.h): a name of 16 bytes and a union of at most 24, of which ethtool uses a pointer."""

    _fields_ = (
        ("name", ctypes.c_char * _NAME),
        ("data", ctypes.c_void_p),
        ("rest", ctypes.c_uint8 * 16),
    )


def call(interface: str, command: bytes) -> bytes:
    """Hand a command's structure to the kernel and return it as the kernel left it.

    Raises OSError: ENODEV for an interface that does not exist, EOPNOTSUPP for what the driver does not offer, EPERM
    without CAP_NET_ADMIN where something is set.
    """
    if len(interface.encode()) >= _NAME:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    buffer = ctypes.create_string_buffer(command, len(command))
    request = _Request(interface.encode(), ctypes.cast(buffer, ctypes.c_void_p))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCETHTOOL, request)
    return buffer.raw
