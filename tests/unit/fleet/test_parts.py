"""What the engine is made of, each alone: envelope, window, nonces, bucket, streams, transfers."""

from __future__ import annotations

import hashlib
import hmac
from itertools import count, pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet import stream as s
from appliance.fleet.envelope import BODY, MOST, OVERHEAD, Drop, Header, Keys, Kind, Unusable, key_id
from appliance.fleet.messages import LAST, ROOM, STOP, Ack, Part, Range, Records, Request, What
from appliance.fleet.pacing import HEADERS, Bucket
from appliance.fleet.replay import DEPARTED, MEMORY, PENDING, RENEWAL, WINDOW, Nonces, Strangers, Window
from appliance.fleet.replay import PATIENCE as NONCE_PATIENCE
from appliance.fleet.transfer import ASK_AGAIN, EACH, PATIENCE, RESEND, Asking, Telling
from appliance.fleet.transfer import WINDOW as PARTS

KEY, OTHER = b"a secret of the fleet", b"another secret of it"


# ---- envelope


def test_a_datagram_is_as_it_is_written_down() -> None:
    head = b"V5F1" + hashlib.sha256(KEY).digest()[:4] + (5).to_bytes(8) + (7).to_bytes(8) + b"\x03\0\0\0"
    data = head + b"body" + hmac.new(KEY, head + b"body", "sha256").digest()[:16]
    keys = Keys((KEY,))
    assert keys.seal(5, 7, Kind.NAK, b"body") == data
    header = keys.head(data)
    assert header == Header(key_id(KEY), 5, 7, Kind.NAK)
    assert keys.body(data, header) == b"body"


def test_the_first_key_signs_and_all_are_accepted() -> None:
    both, first, second = Keys((KEY, OTHER)), Keys((KEY,)), Keys((OTHER,))
    for keys in (first, second, both):
        data = keys.seal(1, 1, Kind.HELLO, b"x")
        assert both.body(data, both.head(data)) == b"x"
    with pytest.raises(Unusable) as refused:
        second.head(both.seal(1, 1, Kind.HELLO, b"x"))
    assert refused.value.reason is Drop.KEY


def test_what_is_too_long_is_not_sealed() -> None:
    keys = Keys((KEY,))
    assert len(keys.seal(1, 1, Kind.HELLO, bytes(BODY))) == MOST == BODY + OVERHEAD
    with pytest.raises(ValueError, match="1357 octets"):
        keys.seal(1, 1, Kind.HELLO, bytes(BODY + 1))


# ---- replay


@given(st.lists(st.integers(900, 4000), max_size=60))
def test_a_window_knows_what_it_has_seen_and_what_is_too_old(sequences: list[int]) -> None:
    window, seen = Window(1000), set(range(1001))
    for sequence in sequences:
        top = max(seen)
        known = sequence in seen or sequence <= top - WINDOW
        assert window.knows(sequence) == known
        if not known:
            window.add(sequence)
            seen.add(sequence)


def test_a_window_keeps_1024() -> None:
    window = Window(1)
    window.add(5000)
    assert window.knows(5000 - WINDOW)
    assert not window.knows(5000 - WINDOW + 1)
    window.add(5000 - WINDOW + 1)
    assert window.knows(5000 - WINDOW + 1)
    window.add(5001)
    assert not window.knows(5000 - WINDOW + 2)
    assert window.knows(0)


def test_the_current_nonce_and_the_one_before_are_accepted() -> None:
    numbers = count(1)
    nonces = Nonces(lambda: next(numbers), 0.0)
    assert nonces.renewal_at == RENEWAL
    assert [nonces.accepts(one) for one in (0, 1, 2)] == [False, True, False]
    nonces.renew(10.0)
    assert nonces.current == 2
    assert [nonces.accepts(one) for one in (1, 2, 3)] == [True, True, False]
    assert [nonces.accepts(one, since=10.0) for one in (1, 2)] == [False, True], "made before it had gone"
    nonces.renew(20.0)
    assert [nonces.accepts(one) for one in (1, 2, 3)] == [False, True, True]


def test_strangers_are_remembered_for_a_while_and_in_a_bounded_place() -> None:
    strangers = Strangers()
    assert strangers.show(1, 11, 0.0)
    assert not strangers.show(1, 11, 1.0), "no news"
    assert strangers.show(1, 12, 1.0)
    for life in range(2, 2 + PENDING):
        strangers.show(life, 1, 2.0)
    assert 1 not in strangers.shown
    assert len(strangers.shown) == PENDING
    strangers.expire(2.0 + NONCE_PATIENCE + 0.1)
    assert not strangers.shown


def test_who_has_gone_needs_a_nonce_of_later_or_none_will_do() -> None:
    strangers = Strangers()
    strangers.show(1, 5, 9.0)
    strangers.depart(1, 10.0)
    strangers.depart(2, 11.0, for_ever=True)
    assert [strangers.since(life) for life in (1, 2, 3)] == [10.0, inf, -inf]
    assert not strangers.shown
    strangers.expire(11.0 + MEMORY)
    assert [strangers.since(life) for life in (1, 2)] == [-inf, inf]
    for life in range(100, 100 + DEPARTED):
        strangers.depart(life, 12.0)
    assert strangers.since(2) == -inf


# ---- pacing


def test_a_bucket_lets_out_its_rate() -> None:
    bucket = Bucket(1_000_000, 0.0)
    sent = 0
    while bucket.allows(0.0):
        bucket.spend(1000)
        sent += 1000 + HEADERS
    assert 50_000 <= sent <= 52_000
    assert bucket.urgent(0.0), "what comes first may overdraw it"
    while bucket.urgent(0.0):
        bucket.spend(1000)
        sent += 1000 + HEADERS
    assert 100_000 <= sent <= 102_000
    assert not bucket.allows(0.04)
    assert bucket.allows(bucket.ready_at())
    late = Bucket(1_000_000, 0.0)
    while late.urgent(0.0):
        late.spend(1000)
    assert 0 < late.urgent_at() < 0.002
    assert late.urgent(late.urgent_at())
    assert not late.allows(late.urgent_at())


# ---- streams


def body(number: int) -> bytes:
    """What a datagram has."""
    return b"%d" % number


def taken(incoming: s.Incoming, *numbers: int, now: float = 0.0) -> list[bytes]:
    """Take datagrams."""
    return [one for number in numbers for one in incoming.take(Records(number, body(number)), now, True)]


@given(st.permutations(range(1, 30)), st.integers(1, 15))
def test_in_whatever_order_they_come_they_are_taken_in_theirs(numbers: list[int], first: int) -> None:
    incoming = s.Incoming()
    before = taken(incoming, *numbers[:first])
    assert before == []
    learnt = incoming.begin(5, 0.0) + taken(incoming, *numbers, *numbers)
    assert learnt == [body(number) for number in range(5, 30)]
    assert incoming.nak_at == inf
    assert not incoming.held, "what comes twice is not kept"


def test_what_is_missing_is_asked_for_after_a_delay_and_again_after_longer_ones() -> None:
    incoming = s.Incoming()
    incoming.begin(1, 0.0)
    assert taken(incoming, 1, 3, 4, 7, now=10.0) == [body(1)]
    assert incoming.nak_at == 10.0 + s.NAK_DELAY
    assert incoming.ask(10.0) == ()
    times = []
    while not incoming.exhausted:
        now = incoming.nak_at
        assert incoming.ask(now) == (Range(2, 1), Range(5, 2))
        times.append(now)
    waits = [after - before for before, after in pairwise(times)]
    assert waits[:3] == pytest.approx([s.RETRY, 2 * s.RETRY, 4 * s.RETRY])
    assert waits[-1] == pytest.approx(s.LONGEST_RETRY)
    assert len(times) == s.TRIES
    assert incoming.losses == 3
    assert taken(incoming, 2, now=20.0) == [body(2), body(3), body(4)]
    assert (incoming.exhausted,) == (False,)
    assert taken(incoming, 6, 5, now=20.0) == [body(5), body(6), body(7)]
    assert incoming.nak_at == inf


def test_the_last_ones_are_missed_when_a_hello_tells_of_them() -> None:
    incoming = s.Incoming()
    incoming.begin(1, 0.0)
    incoming.told(3, 5.0)
    assert incoming.ask(5.0 + s.NAK_DELAY) == (Range(1, 3),)


def test_what_is_asked_for_at_once_is_bounded() -> None:
    incoming = s.Incoming()
    incoming.begin(1, 0.0)
    incoming.told(2**40, 0.0)
    assert incoming.ask(1.0) == (Range(1, s.ASKED),)
    scattered = s.Incoming()
    scattered.begin(1, 0.0)
    taken(scattered, *range(2, 1000, 2))
    assert len(scattered.ask(1.0)) == 64


def test_what_comes_too_early_is_bounded() -> None:
    incoming = s.Incoming()
    incoming.begin(1, 0.0)
    taken(incoming, *range(2, 2 * s.HELD))
    assert len(incoming.held) == s.HELD - 1
    incoming.take(Records(1, b""), 0.0, False)
    assert not incoming.held
    incoming.take(Records(s.HELD + 5, b""), 0.0, False)
    assert not incoming.held, "there is no room"


def test_the_latest_are_kept_and_the_open_one_is_filled() -> None:
    outgoing = s.Outgoing()
    for number in range(s.KEPT + 10):
        outgoing.add(body(number), 1.0)
        assert outgoing.flush_at == (1.0 + s.PACKING if number else 1.0), "the first one does not wait"
        outgoing.flush(1.0)
        assert outgoing.next(1.0) == Records(number + 1, body(number))
    assert (outgoing.oldest, outgoing.last, outgoing.backlog) == (11, s.KEPT + 10, 0)
    assert outgoing.again(10) is None
    assert outgoing.again(11) == Records(11, body(10))
    assert outgoing.again(s.KEPT + 11) is None
    outgoing.flush(1.0)
    assert outgoing.next(1.0) is None, "an empty one is none"
    outgoing.add(bytes(1000), 2.0)
    assert outgoing.left == ROOM - 1000
    outgoing.add(bytes(ROOM - 1000), 2.5)
    assert outgoing.last == s.KEPT + 10
    outgoing.add(b"x", 3.0)
    assert outgoing.last == s.KEPT + 11, "a full one does not wait"
    assert outgoing.flush_at == 3.0 + s.PACKING
    assert outgoing.again(outgoing.last) is None, "it was not sent yet"


def test_what_waits_for_too_long_is_passed_over() -> None:
    outgoing = s.Outgoing()
    for number in range(s.KEPT + 5):
        outgoing.add(body(number), 0.0)
        outgoing.flush(0.0)
    assert outgoing.next(0.0) == Records(6, body(5))


def test_the_latest_are_sent_a_second_time() -> None:
    outgoing = s.Outgoing()
    for number in range(s.LATEST + 2):
        outgoing.add(body(number), 1.0 + number / 1000)
        outgoing.flush(1.0 + number / 1000)
        assert outgoing.next(1.0 + number / 1000)
    assert outgoing.second_at == 1.002 + s.AGAIN
    assert outgoing.second(1.002) is None, "it is too early"
    assert outgoing.second(1.002 + s.AGAIN) == Records(3, body(2))
    assert outgoing.second(1.002 + s.AGAIN) is None
    assert [outgoing.second(2.0) for _ in range(s.LATEST)] == [
        *(Records(one, body(one - 1)) for one in (4, 5, 6)),
        None,
    ]
    assert outgoing.second_at == inf
    outgoing.add(b"x", 3.0)
    outgoing.flush(3.0)
    outgoing.next(3.0)
    outgoing.skip()
    assert outgoing.second_at == inf, "there is nobody who could hear it"


def test_what_is_asked_for_again_is_remembered_once_and_bounded() -> None:
    repeats = s.Repeats()
    repeats.add((Range(1, 5), Range(3, 4), Range(100, 0xFFFF)), 2, 103)
    found = []
    while repeats:
        found.append(repeats.pop())
    assert found == [2, 3, 4, 5, 6, 100, 101, 102, 103]
    repeats.add((Range(0, 0xFFFF),) * 64, 1, 2**63)
    assert sum(1 for _ in iter(lambda: bool(repeats) and repeats.pop(), False)) == s.ASKED


# ---- transfers

REQUEST = Request(1, 7, What.EVERYTHING)


def telling(parts: int) -> Telling:
    """Return an answer of so many parts."""
    return Telling(2, REQUEST, ((0, body(number)) for number in range(parts)), 0.0)


@pytest.mark.parametrize("parts", [0, 1, 2, 500])
def test_an_answer_is_told_in_a_window_and_comes_whole(parts: int) -> None:
    told, asking = telling(parts), Asking(1, REQUEST, 0.0)
    learnt: list[bytes] = []
    acknowledgements = 0
    while not asking.done:
        sent = 0
        while told.has_next(0.0):
            learnt += [one.octets for one in asking.take(told.next(0.0), 0.0)]
            sent += 1
        assert sent <= PARTS
        acknowledgements += 1
        assert asking.ack_at <= 0.005
        done = told.acknowledge(asking.acknowledge(0.0), 0.0)
    assert done
    assert learnt == ([body(number) for number in range(parts)] or [b""])
    assert acknowledgements <= parts // EACH + 1


def test_a_lost_part_is_told_again_where_it_is_missed() -> None:
    told, asking = telling(100), Asking(1, REQUEST, 0.0)
    parts = [told.next(0.0) for _ in range(10)]
    assert [one.number for one in asking.take(parts[0], 0.0)] == [0]
    for number in (2, 3, 6):
        assert asking.take(parts[number], 0.0) == []
    assert asking.ack_at == 0.0
    ack = asking.acknowledge(0.0)
    assert ack == Ack(1, 7, 1, (Range(1, 1), Range(4, 2)))
    assert not told.acknowledge(ack, 0.0)
    assert [told.next(0.0).number for _ in range(4)] == [1, 4, 5, 10]
    assert asking.acknowledge(0.001).missing == (), "not told of again at once"
    assert [one.number for one in asking.take(parts[1], 0.002)] == [1, 2, 3]


def test_the_last_ones_are_told_again_after_a_while() -> None:
    told = telling(3)
    assert [told.next(0.0).flags for _ in range(3)] == [0, 0, LAST]
    assert not told.has_next(RESEND / 2)
    assert told.resend_at == RESEND
    assert told.deadline == PATIENCE
    assert told.has_next(RESEND)
    assert [told.next(RESEND).number for _ in range(3)] == [0, 1, 2]
    assert not told.has_next(RESEND)
    assert told.given_up(3.6)
    assert not told.given_up(3.4)


def test_who_wants_no_more_gets_no_more() -> None:
    told = telling(1000)
    told.next(0.0)
    assert told.acknowledge(Ack(1, 7, STOP), 0.0)


def test_a_request_is_made_again_until_something_comes() -> None:
    asking = Asking(1, REQUEST, 0.0)
    assert asking.deadline(1.2) == ASK_AGAIN
    assert not asking.asks_again(0.1)
    assert asking.asks_again(ASK_AGAIN)
    assert not asking.asks_again(ASK_AGAIN + 0.1)
    assert asking.given_up(1.2, 1.2)
    asking.take(Part(1, 7, 0, 0, b""), 1.0)
    assert not asking.asks_again(9.0)
    assert not asking.given_up(2.3, 1.2)
    assert asking.given_up(4.6, 1.2)


def test_parts_from_beyond_the_window_are_not_held() -> None:
    asking = Asking(1, REQUEST, 0.0)
    assert asking.take(Part(1, 7, PARTS, LAST, b""), 0.0) == []
    assert asking.acknowledge(0.0) == Ack(1, 7, 0)
