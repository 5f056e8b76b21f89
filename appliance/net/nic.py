"""Facts of a network interface: its driver, queues, offloads and MTU; nothing is switched here.

The ioctls of ethtool (linux/ethtool.h) and of interfaces (netdevice(7)), in the network namespace of the calling
thread.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct

from appliance.control.nic import Nic
from appliance.errors import KernelError

_SIOCETHTOOL = 0x8946  # linux/sockios.h, the same on every architecture
_SIOCGIFMTU = 0x8921
_GDRVINFO, _GSTRINGS, _GSSET_INFO, _GFEATURES, _GCHANNELS = 0x03, 0x1B, 0x37, 0x3A, 0x3C
_SS_FEATURES = 4
_STRING = 32  # ETH_GSTRING_LEN
_DRVINFO = struct.Struct("=I32s160x")  # the command, the driver's name, and what is of no concern
_CHANNELS = struct.Struct("=9I")  # the command; at most: receive, transmit, other, combined; now: the same
_SSET_INFO = struct.Struct("=IIQI")
_GSTRINGS_HEAD = struct.Struct("=III")
_FEATURES_HEAD = struct.Struct("=II")
_BLOCK = struct.Struct("=4I")  # of 32 features each: available, requested, active, never changed


class _Request(ctypes.Structure):
    """`struct ifreq` (linux/if.h): a name of 16 bytes and a union of 24, here a pointer or a number."""

    _fields_ = (("name", ctypes.c_char * 16), ("data", ctypes.c_void_p), ("rest", ctypes.c_uint8 * 16))


def read(name: str) -> Nic:
    """Return the facts of an interface; raises KernelError if there is none of this name."""
    mtu = _mtu(name)
    info = _ethtool(name, _DRVINFO.pack(_GDRVINFO, b""))
    driver = _DRVINFO.unpack_from(info)[1].split(b"\0")[0].decode("ascii", "replace") if info else ""
    most_receive = most_combined = receive = combined = 0
    if answer := _ethtool(name, _CHANNELS.pack(_GCHANNELS, *[0] * 8)):
        _, most_receive, _, _, most_combined, receive, _, _, combined = _CHANNELS.unpack(answer)
    on, fixed = _features(name)
    return Nic(name, driver, mtu, max(1, receive + combined), most_receive + most_combined, on, fixed)


def _features(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """The offloads that are on, and those that cannot be switched."""
    answer = _ethtool(name, _SSET_INFO.pack(_GSSET_INFO, 0, 1 << _SS_FEATURES, 0))
    count = _SSET_INFO.unpack(answer)[3] if answer else 0
    strings = _ethtool(name, _GSTRINGS_HEAD.pack(_GSTRINGS, _SS_FEATURES, count) + bytes(count * _STRING))
    blocks = (count + 31) // 32
    values = _ethtool(name, _FEATURES_HEAD.pack(_GFEATURES, blocks) + bytes(blocks * _BLOCK.size))
    if not count or not strings or not values:
        return frozenset(), frozenset()
    on, fixed = set(), set()
    for number in range(count):
        start = _GSTRINGS_HEAD.size + number * _STRING
        feature = strings[start : start + _STRING].split(b"\0")[0].decode("ascii", "replace")
        block = _FEATURES_HEAD.size + number // 32 * _BLOCK.size
        available, _, active, never_changed = _BLOCK.unpack_from(values, block)
        bit = 1 << number % 32
        if active & bit:
            on.add(feature)
        if never_changed & bit or not available & bit:  # as `ethtool -k` decides where to write [fixed]
            fixed.add(feature)
    return frozenset(on - {""}), frozenset(fixed - {""})


def _mtu(name: str) -> int:
    request = _Request(name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel, _SIOCGIFMTU, request)
        except OSError as error:
            raise KernelError("read the MTU of", name, error.errno or errno.EIO) from error
    return int(struct.unpack_from("=i", bytes(request), 16)[0])


def _ethtool(name: str, question: bytes) -> bytes:
    """Return the answer, of the question's length; empty where the driver has none."""
    buffer = ctypes.create_string_buffer(question, len(question))
    request = _Request(name.encode(), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel, _SIOCETHTOOL, request)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return b""
            raise KernelError("read the driver's facts of", name, error.errno or errno.EIO) from error
    return buffer.raw
