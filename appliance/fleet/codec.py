"""Records and their bytes: type (1), length (2), value; all numbers in network byte order. Pure.

    address    family 4 or 6 (1), then 4 or 16 octets; no address: 0 (1)
    service    address, port (2), protocol (1)

    1 Slots      service, slot count (4), was: address, now: address; slots: number (4), changed (2), diverted (2)
    2 Flows      service, backend: address, name bits (1); flows: name (8), left (2), flags (1)
    3 View       digest (8), part (2), of (2); services: service, backends (2); address, dead (1), age (4) for each
    4 Load       services: service, backends (2); address, flows (4) for each
    5 Tables     service, slot count (4), digest of slots (8), digest of configuration (8)
    6 Announces  address, how (1)
    7 Overrides  service, backend: address, words: length (1), UTF-8

What repeats goes to the end of the value. A record that is too long for a datagram is told in several, each of which
can be understood alone; only a View has numbered parts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from appliance.fleet import records as r
from appliance.fleet.reader import Reader, address_bytes, service_bytes

_TLV = struct.Struct("!BH")
_SLOT, _FLOW = "IHH", "QHB"
_SLOT_SIZE, _FLOW_SIZE = 8, 11
_SLOT_FORM, _FLOW_FORM = struct.Struct("!" + _SLOT), struct.Struct("!" + _FLOW)
_COUNT = struct.Struct("!H")
_PARTS = struct.Struct("!8sHH")
_TABLE = struct.Struct("!I8s8s")
_WORD = struct.Struct("!I")
_DOWN = struct.Struct("!BI")
SLOTS, FLOWS, VIEW, LOAD, TABLES, ANNOUNCES, OVERRIDES = range(1, 8)
MOST_SLOTS = 1 << 24
"""A service has fewer slots than that."""
MOST_PARTS = 256
"""Of a View."""


def pieces(record: r.Record, room: int, first: int | None = None) -> Iterator[bytes]:
    """Yield a record as one or more, each of `room` (at least 256) octets at most.

    Slots and flows begin with a piece of `first` octets at most, if any fit into these, so that a datagram that has
    begun is filled.

    Raises ValueError where a number is out of its range, or a View does not fit into MOST_PARTS.
    """
    try:
        yield from _ENCODERS[type(record)](record, room - _TLV.size, (first or room) - _TLV.size)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{type(record).__name__}: {error}") from None


def decode(data: bytes) -> tuple[list[r.Record], int]:
    """Read records; returns them, and how many there are of kinds that are not known. Raises ValueError."""
    found: list[r.Record] = []
    unknown = at = 0
    while at < len(data):
        if at + _TLV.size > len(data):
            raise ValueError("a record without its length")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size + length
        if at > len(data):
            raise ValueError("a record is longer than its datagram")
        decoder = _DECODERS.get(kind)
        if decoder is None:
            unknown += 1
        else:
            found.append(decoder(Reader(data, at - length, at)))
    return found, unknown


# ---- telling


def _record(kind: int, *parts: bytes | bytearray) -> bytes:
    value = b"".join(parts)
    return _TLV.pack(kind, len(value)) + value


@lru_cache(64)
def _many(form: str, count: int) -> struct.Struct:
    return struct.Struct("!" + form * count)


def _repeated(
    kind: int, head: bytes, form: str, size: int, entries: Sequence[tuple[int, ...]], room: int, first: int
) -> Iterator[bytes]:
    most = (room - len(head)) // size
    fitting = (first - len(head)) // size
    at = 0
    while at < len(entries):
        some = entries[at : at + (fitting if not at and fitting > 0 else most)]
        at += len(some)
        yield _record(kind, head, _many(form, len(some)).pack(*chain.from_iterable(some)))


def _slots(record: r.Slots, room: int, first: int) -> Iterator[bytes]:
    head = (
        service_bytes(record.service)
        + _WORD.pack(record.slot_count)
        + address_bytes(record.was)
        + address_bytes(record.now)
    )
    return _repeated(SLOTS, head, _SLOT, _SLOT_SIZE, record.entries, room, first)


def _flows(record: r.Flows, room: int, first: int) -> Iterator[bytes]:
    head = service_bytes(record.service) + address_bytes(record.backend) + bytes([record.name_bits])
    return _repeated(FLOWS, head, _FLOW, _FLOW_SIZE, record.entries, room, first)


def _grouped(groups: Iterable[tuple[bytes, list[bytes]]], room: int) -> Iterator[bytes]:
    """Yield values of `room` octets at most: of each group its head, a count, its entries; a long one in several."""
    value = bytearray()
    for head, entries in groups:
        start, size = 0, len(head) + _COUNT.size
        while start < len(entries):
            if value and len(value) + size + len(entries[start]) > room:
                yield bytes(value)
                value.clear()
            left = room - len(value) - size
            end = start
            while end < len(entries) and len(entries[end]) <= left:
                left -= len(entries[end])
                end += 1
            value += head + _COUNT.pack(end - start) + b"".join(entries[start:end])
            start = end
    if value:
        yield bytes(value)


def _view(record: r.View, room: int, _: int) -> Iterator[bytes]:
    groups = (
        (service_bytes(one.service), [address_bytes(to) + _DOWN.pack(dead, age) for to, dead, age in one.down])
        for one in record.services
    )
    values = list(_grouped(groups, room - _PARTS.size)) or [b""]
    if len(values) > MOST_PARTS:
        raise ValueError(f"View: {len(values)} parts, and at most {MOST_PARTS} can be told")
    for part, value in enumerate(values):
        yield _record(VIEW, _PARTS.pack(record.digest, part, len(values)), value)


def _load(record: r.Load, room: int, _: int) -> Iterator[bytes]:
    groups = (
        (service_bytes(one.service), [address_bytes(to) + _WORD.pack(flows) for to, flows in one.backends])
        for one in record.services
    )
    return (_record(LOAD, value) for value in _grouped(groups, room))


def _packed(kind: int, entries: Iterable[bytes], room: int) -> Iterator[bytes]:
    value = bytearray()
    for entry in entries:
        if len(value) + len(entry) > room:
            yield _record(kind, value)
            value.clear()
        value += entry
    if value:
        yield _record(kind, value)


def _tables(record: r.Tables, room: int, _: int) -> Iterator[bytes]:
    entries = (
        service_bytes(one.service) + _TABLE.pack(one.slot_count, one.slots, one.configuration) for one in record.entries
    )
    return _packed(TABLES, entries, room)


def _announces(record: r.Announces, room: int, _: int) -> Iterator[bytes]:
    return _packed(ANNOUNCES, (address_bytes(vip) + bytes([how]) for vip, how in record.entries), room)


def _overrides(record: r.Overrides, room: int, _: int) -> Iterator[bytes]:
    return _packed(OVERRIDES, (_override(one) for one in record.entries), room)


def _override(one: r.Override) -> bytes:
    words = one.words.encode()
    if len(words) > r.WORDS:
        raise ValueError(f"Overrides: words of {len(words)} octets")
    return service_bytes(one.service) + address_bytes(one.backend) + bytes([len(words)]) + words


_ENCODERS: dict[type[Any], Callable[[Any, int, int], Iterator[bytes]]] = {
    r.Slots: _slots,
    r.Flows: _flows,
    r.View: _view,
    r.Load: _load,
    r.Tables: _tables,
    r.Announces: _announces,
    r.Overrides: _overrides,
}


# ---- reading


def _read_slots(reader: Reader) -> r.Slots:
    service, count = reader.service(), reader.number(_WORD)
    was, now = reader.address_or_none(), reader.address_or_none()
    entries = tuple(map(r.Slot._make, _SLOT_FORM.iter_unpack(reader.rest(_SLOT_SIZE))))
    if not 0 < count < MOST_SLOTS or any(entry.number >= count for entry in entries):
        raise ValueError(f"a slot beyond the last of {count}")
    return r.Slots(service, count, was, now, entries)


def _read_flows(reader: Reader) -> r.Flows:
    service, backend, bits = reader.service(), reader.address(), reader.octet()
    entries = tuple(map(r.Flow._make, _FLOW_FORM.iter_unpack(reader.rest(_FLOW_SIZE))))
    if bits > r.WHOLE_NAME or any(entry.flags > r.CANDIDATE | r.OPENED for entry in entries):
        raise ValueError("flows with names or flags that cannot be")
    return r.Flows(service, backend, entries, bits)


def _read_view(reader: Reader) -> r.View:
    digest, part, of = reader.unpack(_PARTS)
    if not part < of <= MOST_PARTS:
        raise ValueError(f"part {part} of {of} of a view")
    services = []
    while reader:
        service, count = reader.service(), reader.number(_COUNT)
        down = []
        for _ in range(count):
            backend, (dead, age) = reader.address(), reader.unpack(_DOWN)
            if dead > 1:
                raise ValueError("a backend that is neither dead nor wrong")
            down.append(r.Down(backend, bool(dead), age))
        services.append(r.ServiceDown(service, tuple(down)))
    return r.View(digest, tuple(services), part, of)


def _read_load(reader: Reader) -> r.Load:
    services = []
    while reader:
        service, count = reader.service(), reader.number(_COUNT)
        loads = tuple(r.BackendLoad(reader.address(), reader.number(_WORD)) for _ in range(count))
        services.append(r.ServiceLoad(service, loads))
    return r.Load(tuple(services))


def _read_tables(reader: Reader) -> r.Tables:
    entries = []
    while reader:
        entries.append(r.TableDigest(reader.service(), *reader.unpack(_TABLE)))
    return r.Tables(tuple(entries))


def _read_announces(reader: Reader) -> r.Announces:
    entries = []
    while reader:
        entries.append(r.Announced(reader.address(), r.How(reader.octet())))
    return r.Announces(tuple(entries))


def _read_overrides(reader: Reader) -> r.Overrides:
    entries = []
    while reader:
        one = r.Override(reader.service(), reader.address(), reader.text())
        if len(one.words.encode()) > r.WORDS:
            raise ValueError("words that are too long")
        entries.append(one)
    return r.Overrides(tuple(entries))


_DECODERS: dict[int, Callable[[Reader], r.Record]] = {
    SLOTS: _read_slots,
    FLOWS: _read_flows,
    VIEW: _read_view,
    LOAD: _read_load,
    TABLES: _read_tables,
    ANNOUNCES: _read_announces,
    OVERRIDES: _read_overrides,
}
