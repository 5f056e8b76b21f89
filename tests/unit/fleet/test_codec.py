"""Records, messages and tables: golden bytes, both ways, and whatever anybody may send."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.fleet import messages as m
from appliance.fleet import records as r
from appliance.fleet.codec import MOST_PARTS, decode, pieces
from appliance.fleet.envelope import BODY
from appliance.fleet.peer import Viewing
from appliance.fleet.table import decode_table, encode_table
from appliance.model import Protocol
from appliance.model_address import ServiceKey
from tests.profile import PARSER_INPUTS
from tests.unit.fleet import samples

FOUR = ServiceKey(ip_address("203.0.113.10"), 443, Protocol.TCP)
SIX = ServiceKey(ip_address("2001:db8::10"), 53, Protocol.UDP)
ONE, TWO = ip_address("10.1.2.1"), ip_address("2001:db8::1")
FOUR_BYTES, SIX_BYTES = "04cb00710a01bb06", "0620010db8000000000000000000000010003511"
DIGEST = bytes(range(8))

# By hand, from the table in codec.py.
GOLDEN = {
    "01001a" + FOUR_BYTES + "00000400" + "040a010201" + "00" + "00000007" + "0005" + "ffff": r.Slots(
        FOUR, 1024, ONE, None, (r.Slot(7, 5, r.OLDEST),)
    ),
    "01001a" + FOUR_BYTES + "00000400" + "00" + "040a010201" + "00000007" + "0005" + "0000": r.Slots(
        FOUR, 1024, None, ONE, (r.Slot(7, 5, 0),)
    ),
    "020024" + FOUR_BYTES + "040a010201" + "40" + "0123456789abcdef" + "0384" + "03" + "ff" * 8 + "000000": r.Flows(
        FOUR, ONE, (r.Flow(0x0123456789ABCDEF, 900, r.CANDIDATE | r.OPENED), r.Flow(2**64 - 1, 0))
    ),
    "030020" + "0001020304050607" + "0000" + "0001" + FOUR_BYTES + "0001" + "040a010201" + "01" + "0000000a": r.View(
        DIGEST, (r.ServiceDown(FOUR, (r.Down(ONE, True, 10),)),)
    ),
    "03000c" + "0001020304050607" + "0000" + "0001": r.View(DIGEST, ()),
    "04001f" + FOUR_BYTES + "0001" + "0620010db8000000000000000000000001" + "0000002a": r.Load(
        (r.ServiceLoad(FOUR, (r.BackendLoad(TWO, 42),)),)
    ),
    "050028" + SIX_BYTES + "00010001" + "0001020304050607" + "0706050403020100": r.Tables(
        (r.TableDigest(SIX, 65537, DIGEST, DIGEST[::-1]),)
    ),
    "060006" + "04cb00710a" + "02": r.Announces((r.Announced(FOUR.vip, r.How.DEMOTE),)),
    "070013" + FOUR_BYTES + "040a010201" + "05" + b"drain".hex(): r.Overrides((r.Override(FOUR, ONE, "drain"),)),
}  # fmt: skip


@pytest.mark.parametrize(("text", "record"), GOLDEN.items())
def test_golden_bytes_both_ways(text: str, record: r.Record) -> None:
    assert [piece.hex() for piece in pieces(record, m.ROOM)] == [text]
    assert decode(bytes.fromhex(text)) == ([record], 0)


def joined(records: list[Any]) -> Any:
    """What the pieces of one record say together."""
    first = records[0]
    match first:
        case r.Slots():
            return r.Slots(
                first.service,
                first.slot_count,
                first.was,
                first.now,
                tuple(one for some in records for one in some.entries),
            )
        case r.Flows():
            entries = tuple(one for some in records for one in some.entries)
            return r.Flows(first.service, first.backend, entries, first.name_bits)
        case r.Load():
            return [(one.service, to) for some in records for one in some.services for to in one.backends]
        case r.View():
            viewing = Viewing()
            return next(whole for one in records if (whole := viewing.take(one)) is not None)
        case _:
            return type(first)(tuple(one for some in records for one in some.entries))


@given(samples.RECORDS, st.integers(256, m.ROOM), st.integers(0, m.ROOM))
def test_records_come_back_from_pieces_that_fit(record: r.Record, room: int, first: int) -> None:
    some = list(pieces(record, room, min(first, room)))
    assert all(len(one) <= room for one in some)
    told = [decode(one)[0][0] for one in some]
    assert joined(told) == (joined([record]) if isinstance(record, r.Load) else record)
    assert decode(b"".join(some)) == (told, 0), "they may share a datagram"


def test_what_is_left_of_a_datagram_is_filled() -> None:
    record = r.Flows(FOUR, ONE, tuple(r.Flow(name, 1) for name in range(150)))
    for first, entries in ((100, 7), (20, 120), (0, 120), (m.ROOM, 120)):
        some = [decode(one)[0][0] for one in pieces(record, m.ROOM, first)]
        assert next(len(one.entries) for one in some if isinstance(one, r.Flows)) == entries


DECODERS: dict[str, Callable[[bytes], object]] = {
    "records": decode,
    "hello": m.decode_hello,
    "stream": m.decode_records,
    "nak": m.decode_nak,
    "request": m.decode_request,
    "part": m.decode_part,
    "ack": m.decode_ack,
    "positions": m.decode_positions,
    "table": decode_table,
}
TABLE = r.TableOf(FOUR, (ONE, TWO), (0, 1, 2, 2, 1))
GOOD = [
    *(bytes.fromhex(text) for text in GOLDEN),
    m.encode_hello(m.Hello(r.Facts("node", "1.0", r.NodeState.READY), 1, {2: m.Heard(3), 4: m.Heard(5, 6)}, 9, 1)),
    m.encode_records(m.Records(7, b"x")),
    m.encode_nak(m.Nak(1, (m.Range(2, 3),))),
    m.encode_request(m.Request(1, 2, m.What.TABLE, SIX)),
    m.encode_part(m.Part(1, 2, 3, m.LAST, b"abc")),
    m.encode_ack(m.Ack(1, 2, 3, (m.Range(4, 5),))),
    encode_table(TABLE),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Good bytes, with something wrong in them: most get past the first numbers."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data) - 1))
        data[place] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=4))


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=PARSER_INPUTS)
@given(data=st.one_of(st.binary(max_size=200), damaged()))
def test_whatever_comes_is_read_or_refused(name: str, data: bytes) -> None:
    try:
        DECODERS[name](data)
    except ValueError:
        pass


@settings(max_examples=PARSER_INPUTS)
@given(data=damaged())
def test_what_is_read_can_be_told_again(data: bytes) -> None:
    try:
        records, _ = decode(data)
    except ValueError:
        return
    for record in records:
        again = [decode(one)[0][0] for one in pieces(record, m.ROOM)]
        if again and not isinstance(record, r.View | r.Load):
            assert again == [record]


@given(samples.HELLOS)
def test_hellos_both_ways(hello: m.Hello) -> None:
    body = m.encode_hello(hello)
    assert len(body) <= BODY
    assert m.decode_hello(body) == hello
    assert m.decode_hello(body + b"what later versions add") == hello


MESSAGES: list[tuple[Any, Any, Any]] = [
    (samples.NAKS, m.encode_nak, m.decode_nak),
    (samples.REQUESTS, m.encode_request, m.decode_request),
    (samples.PARTS, m.encode_part, m.decode_part),
    (samples.ACKS, m.encode_ack, m.decode_ack),
]


@given(st.data())
@pytest.mark.parametrize(("strategy", "encode", "read"), MESSAGES)
def test_messages_both_ways(strategy: Any, encode: Any, read: Any, data: st.DataObject) -> None:
    message = data.draw(strategy)
    body = encode(message)
    assert len(body) <= BODY
    assert read(body) == message


def test_a_long_name_is_cut_between_characters() -> None:
    facts = r.Facts("\u00e4" * 60, "v" * 50, r.NodeState.READY, flows=2**40)
    read = m.decode_hello(m.encode_hello(m.Hello(facts, 1, {}, 0, 1))).facts
    assert (read.name, read.version, read.flows) == ("\u00e4" * 32, "v" * 32, 2**32 - 1)


def test_a_record_of_a_later_version_is_passed_over() -> None:
    known = bytes.fromhex("060006" + "04cb00710a" + "02")
    assert decode(b"\xfe\x00\x02ab" + known) == (decode(known)[0], 1)


WRONG = {
    "01001a" + FOUR_BYTES + "00000007" + "040a010201" + "00" + "00000007" + "0005" + "ffff": "a slot that is not there",
    "020019" + FOUR_BYTES + "040a010201" + "41" + "0123456789abcdef" + "0384" + "01": "more than 64 bits",
    "020019" + FOUR_BYTES + "040a010201" + "40" + "0123456789abcdef" + "0384" + "04": "an unknown flag",
    "020018" + FOUR_BYTES + "040a010201" + "40" + "0123456789abcdef" + "0384": "half a flow",
    "020019" + FOUR_BYTES + "000a010201" + "40" + "0123456789abcdef" + "0384" + "01": "no backend",
    "03000c" + "0001020304050607" + "0001" + "0001": "part 1 of 1",
    "03000c" + "0001020304050607" + "0000" + "0101": "too many parts",
    "060006" + "05cb00710a" + "02": "family 5",
    "060006" + "04cb00710a" + "04": "a way to announce that is not known",
    "060007" + "04cb00710a" + "02": "shorter than it says",
    "0600": "a header cut off",
    "050028" + SIX_BYTES[:-2] + "01" + "00010001" + DIGEST.hex() * 2: "protocol 1",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(bytes.fromhex(text))


IMPOSSIBLE = [
    r.Flows(FOUR, ONE, (r.Flow(2**64, 1),)),
    r.Flows(FOUR, ONE, (r.Flow(1, r.OLDEST + 1),)),
    r.Slots(FOUR, 10, ONE, ONE, (r.Slot(-1, 0, 0),)),
    r.Load((r.ServiceLoad(FOUR, (r.BackendLoad(ONE, -1),)),)),
    r.Overrides((r.Override(FOUR, ONE, "x" * 65),)),
    r.View(DIGEST, (r.ServiceDown(FOUR, (r.Down(TWO, True, 1),) * (MOST_PARTS * 61)),)),
]


@pytest.mark.parametrize("record", IMPOSSIBLE, ids=lambda one: type(one).__name__)
def test_what_cannot_be_told_is_refused(record: r.Record) -> None:
    with pytest.raises(ValueError):
        list(pieces(record, m.ROOM))


def test_a_part_of_a_view_that_is_missing_is_missed() -> None:
    whole = r.View(DIGEST, (r.ServiceDown(FOUR, tuple(r.Down(ONE + one, True, 1) for one in range(300))),))
    parts = [decode(one)[0][0] for one in pieces(whole, m.ROOM)]
    assert len(parts) == 3
    views: list[r.View] = [one for one in parts if isinstance(one, r.View)]
    for order in ((0, 2), (1, 2), (0, 1, 1, 2), (0, 0, 2)):
        viewing = Viewing()
        assert [viewing.take(views[one]) for one in order] == [None] * len(order)
    viewing = Viewing()
    assert [viewing.take(views[one]) for one in (0, 1, 0, 1, 2)] == [None] * 4 + [whole]


def test_tables_both_ways() -> None:
    assert decode_table(encode_table(TABLE)) == TABLE
    for wrong in (r.TableOf(FOUR, (ONE,), (70000,)), r.TableOf(FOUR, (ONE,) * 70000, ())):
        with pytest.raises(ValueError):
            encode_table(wrong)
    with pytest.raises(ValueError):
        decode_table(encode_table(r.TableOf(FOUR, (ONE,), (0, 2))))
