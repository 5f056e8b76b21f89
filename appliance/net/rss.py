"""How a NIC spreads what it receives over its queues (receive side scaling), as its driver says it.

Documentation/networking/scaling.rst; ETHTOOL_GRSSH and ETHTOOL_GRXFH of linux/ethtool.h, in the network namespace of
the calling thread. No privilege is needed.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field

from appliance.errors import HostError
from appliance.net import ethtool

_GRSSH, _GRXFH = 0x46, 0x29
_RXFH = struct.Struct(
    "=IIIIB3xI"
)  # struct ethtool_rxfh: command, context, words of the table, bytes of the key, function
_RXNFC = struct.Struct("=IIQ")  # the beginning of struct ethtool_rxnfc: command, flow type, data
_RXNFC_BYTES = 256  # all of it, and more: what lies behind is zero
_LETTERS = {0x10: "s", 0x20: "d", 0x40: "f", 0x80: "n"}
"""RXH_IP_SRC and so on, as ethtool(8) writes them."""
FLOWS = {"tcp4": 1, "udp4": 2, "tcp6": 5, "udp6": 6}
"""The kinds of flow, by the names of ethtool(8)."""
MOST = 4096
"""Entries of a table, at most, that are believed."""


@dataclass(frozen=True)
class Spreading:
    """`table` holds a queue for each hash, `key` is the key of the hash; empty where the driver does not say.

    `fields` are those that the hash covers, by kind of flow, in the letters of `ethtool -N`.
    """

    table: tuple[int, ...] = ()
    key: bytes = b""
    function: int = 0
    fields: dict[str, str] = field(default_factory=dict)


def read(interface: str) -> Spreading:
    """Return how an interface spreads; raises HostError if there is no such interface."""
    sizes = _asked(interface, _RXFH.pack(_GRSSH, 0, 0, 0, 0, 0))
    if sizes is None:
        return Spreading(fields=_fields(interface))
    _, _, entries, octets, function, _ = _RXFH.unpack_from(sizes)
    if not 0 <= entries <= MOST or not 0 <= octets <= MOST:
        return Spreading(fields=_fields(interface))
    answer = _asked(interface, _RXFH.pack(_GRSSH, 0, entries, octets, 0, 0) + bytes(4 * entries + octets))
    if answer is None:
        return Spreading(function=function, fields=_fields(interface))
    table = struct.unpack_from(f"={entries}I", answer, _RXFH.size)
    start = _RXFH.size + 4 * entries
    return Spreading(table, answer[start : start + octets], function, _fields(interface))


def _fields(interface: str) -> dict[str, str]:
    found = {}
    for name, kind in FLOWS.items():
        answer = _asked(interface, _RXNFC.pack(_GRXFH, kind, 0).ljust(_RXNFC_BYTES, b"\0"))
        if answer is not None:
            bits = _RXNFC.unpack_from(answer)[2]
            found[name] = "".join(letter for bit, letter in _LETTERS.items() if bits & bit)
    return found


def _asked(interface: str, command: bytes) -> bytes | None:
    """Ask; None where the driver does not say."""
    try:
        return ethtool.call(interface, command)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM):
            return None
        raise HostError(f"cannot read how interface {interface} spreads packets: {error.strerror}") from error
