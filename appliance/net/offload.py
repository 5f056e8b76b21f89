"""Offloads of a network interface: what the kernel leaves to the hardware, and must not leave to it on a veth.

In the network namespace of the calling thread. Switching needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import struct
from enum import Enum

from appliance.errors import KernelError
from appliance.net import ethtool

_VALUE = struct.Struct("=II")  # struct ethtool_value: command, data


class Offload(Enum):
    """One feature, by the ethtool commands that get and set it."""

    TX_CHECKSUM = (0x16, 0x17)
    TSO = (0x1E, 0x1F)
    GSO = (0x23, 0x24)


def enabled(interface: str, offload: Offload) -> bool:
    """Tell whether the offload is on; raises KernelError if there is no such interface."""
    return bool(_ethtool("read", interface, offload, offload.value[0], 0))


def switch(interface: str, offload: Offload, on: bool) -> None:
    """Switch the offload; raises KernelError, EOPNOTSUPP where the driver does not let it be switched."""
    _ethtool("switch", interface, offload, offload.value[1], int(on))


def _ethtool(verb: str, interface: str, offload: Offload, command: int, value: int) -> int:
    try:
        answer = ethtool.call(interface, _VALUE.pack(command, value))
    except OSError as error:
        name = offload.name.lower().replace("_", " ")
        raise KernelError(f"{verb} {name} offload of", interface, error.errno or errno.EIO) from error
    return int(_VALUE.unpack(answer)[1])
