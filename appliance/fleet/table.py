"""All slots of a service, as octets (network byte order). Pure.

service, backends (2): address for each; slots (4): index of the backend plus 1, or 0 (2) for each
"""

from __future__ import annotations

import struct

from appliance.fleet.codec import MOST_SLOTS
from appliance.fleet.reader import Reader, address_bytes, service_bytes
from appliance.fleet.records import TableOf

_BACKENDS = struct.Struct("!H")
_SLOTS = struct.Struct("!I")


def encode_table(table: TableOf) -> bytes:
    """Return the octets. Raises ValueError where a number is out of its range."""
    try:
        return b"".join(
            (
                service_bytes(table.service),
                _BACKENDS.pack(len(table.backends)),
                *map(address_bytes, table.backends),
                _SLOTS.pack(len(table.owners)),
                struct.pack(f"!{len(table.owners)}H", *table.owners),
            )
        )
    except struct.error as error:
        raise ValueError(f"the table of {table.service}: {error}") from None


def decode_table(octets: bytes) -> TableOf:
    """Read it. Raises ValueError."""
    reader = Reader(octets)
    service = reader.service()
    backends = tuple(reader.address() for _ in range(reader.number(_BACKENDS)))
    count = reader.number(_SLOTS)
    if count >= MOST_SLOTS:
        raise ValueError(f"a table of {count} slots")
    owners = struct.unpack(f"!{count}H", reader.octets(2 * count))
    reader.end()
    if any(owner > len(backends) for owner in owners):
        raise ValueError("a slot of a backend that is not there")
    return TableOf(service, backends, owners)
