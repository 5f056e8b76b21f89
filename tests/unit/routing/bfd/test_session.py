"""One session against RFC 5880, sentence by sentence, and two of them against each other on a good network."""

from __future__ import annotations

import json
from math import inf

import pytest

from appliance.routing.bfd.packet import Diagnostic, Packet, State, decode
from appliance.routing.bfd.session import HEARD, TRANSITIONS, Action, Changed, Event, Send, Session, Timing
from tests.unit.routing.bfd.pair import End, Pair

NOW = 100.0
TIMING = Timing(300_000, 3)
OURS, THEIRS = 7, 9


def session(timing: Timing = TIMING) -> Session:
    return Session(OURS, timing, NOW, lambda: 0.0)


def packets(actions: list[Action]) -> list[Packet]:
    return [decode(action.data) for action in actions if isinstance(action, Send)]


def heard(state: State, **more: int | bool) -> Packet:
    values = {"desired_us": 300_000, "required_us": 300_000, "multiplier": 3, "yours": OURS} | more
    return Packet(state=state, mine=THEIRS, **values)  # type: ignore[arg-type]


def up(timing: Timing = TIMING, **more: int | bool) -> Session:
    """A session that is up, has no poll under way, and heard its peer last at NOW."""
    made = session(timing)
    made.receive(heard(State.INIT, **more | {"required_us": 300_000}), NOW)
    made.expire(made.next_send)
    made.receive(heard(State.UP, final=True, **more), NOW)
    assert made.state is State.UP
    assert not made.polling
    made.next_send = NOW + 0.2
    return made


# The state machine of section 6.2, written out once more: state, what is heard (or nothing), state.
MACHINE = [
    (State.DOWN, "admin-down", State.DOWN),
    (State.DOWN, "down", State.INIT),
    (State.DOWN, "init", State.UP),
    (State.DOWN, "up", State.DOWN),
    (State.DOWN, "", State.DOWN),
    (State.INIT, "admin-down", State.DOWN),
    (State.INIT, "down", State.INIT),
    (State.INIT, "init", State.UP),
    (State.INIT, "up", State.UP),
    (State.INIT, "", State.DOWN),
    (State.UP, "admin-down", State.DOWN),
    (State.UP, "down", State.DOWN),
    (State.UP, "init", State.UP),
    (State.UP, "up", State.UP),
    (State.UP, "", State.DOWN),
    *((State.ADMIN_DOWN, what, State.ADMIN_DOWN) for what in ("admin-down", "down", "init", "up", "")),
]


@pytest.mark.parametrize(("before", "what", "after"), MACHINE)
def test_the_state_machine(before: State, what: str, after: State) -> None:
    ours = session()
    if before is State.INIT:
        ours.receive(heard(State.DOWN), NOW)
    elif before is State.UP:
        ours.receive(heard(State.INIT), NOW)
    elif before is State.ADMIN_DOWN:
        ours.close(NOW)
    assert ours.state is before
    if what:
        told = next(state for state in State if state.words == what)
        actions = ours.receive(heard(told), NOW + 0.1)
    else:
        actions = ours.expire(NOW + 10)
    assert ours.state is after
    changes = [action for action in actions if isinstance(action, Changed)]
    assert [(change.was, change.state) for change in changes] == ([(before, after)] if before is not after else [])
    if changes:
        # Section 6.8.7: who has something new to say says it at once.
        assert [packet.state for packet in packets(actions)] == [after]


def test_the_table_is_total_in_what_it_does_not_name() -> None:
    assert {event for _, event in TRANSITIONS} | {Event.HEARD_UP} == set(Event)
    assert set(HEARD) == set(State)
    assert not [state for state, _ in TRANSITIONS if state is State.ADMIN_DOWN]


def test_two_sessions_come_up_at_once_and_agree() -> None:
    pair = Pair()
    pair.run(0.1)
    assert pair.states == ("up", "up")
    pair.run(3)
    for end in pair.ends:
        assert (end.session.transmit_us, end.session.detection_us) == (300_000, 900_000)
        assert not end.session.polling
        assert [change.state for change in end.changes][-1] is State.UP


def test_an_unheard_peer_gets_one_packet_a_second() -> None:
    pair = Pair(fates=(lambda now: [], lambda now: []))
    pair.run(100)
    assert 100 <= len(pair.ends[0].sent) <= 134
    assert {packet.desired_us for _, packet in pair.ends[0].sent} == {1_000_000}
    assert pair.states == ("down", "down")


def test_jitter() -> None:
    """Section 6.8.7: less by up to a quarter, and by a tenth at least where a single packet counts."""
    for multiplier, chance, least in ((3, 0.0, 0.225), (3, 1.0, 0.3), (1, 0.0, 0.225), (1, 1.0, 0.27)):
        ours = Session(OURS, Timing(300_000, multiplier), NOW, lambda chance=chance: chance)  # type: ignore[misc]
        ours.receive(heard(State.INIT), NOW)
        ours.expire(ours.next_send)
        before = ours.next_send
        ours.expire(before)
        assert ours.next_send - before == pytest.approx(least)


@pytest.mark.parametrize(
    ("mine", "their_desired", "their_required", "their_multiplier", "sends", "detects"),
    [
        (300_000, 300_000, 300_000, 3, 300_000, 900_000),
        (300_000, 50_000, 50_000, 3, 300_000, 900_000),
        (300_000, 1_000_000, 2_000_000, 5, 2_000_000, 5_000_000),
        (50_000, 100_000, 10_000, 3, 50_000, 300_000),
        (300_000, 300_000, 0, 3, 0, 900_000),
        (60_000_000, 300_000, 300_000, 1, 60_000_000, 60_000_000),
    ],
)
def test_what_is_in_force(
    mine: int, their_desired: int, their_required: int, their_multiplier: int, sends: int, detects: int
) -> None:
    """Sections 6.8.4 and 6.8.7: the slower of both, and the peer's multiplier."""
    ours = up(Timing(mine, 3), desired_us=their_desired, required_us=their_required, multiplier=their_multiplier)
    assert (ours.transmit_us, ours.detection_us) == (sends, detects)


def test_silence_is_noticed_when_the_detection_time_is_over() -> None:
    ours = up()
    ours.next_send = inf
    assert ours.deadline == pytest.approx(NOW + 0.9)
    assert not ours.expire(NOW + 0.899)
    [change, sent] = ours.expire(NOW + 0.9)
    assert isinstance(change, Changed)
    assert (change.state, change.diagnostic, change.at) == (State.DOWN, Diagnostic.SILENCE, NOW + 0.9)
    assert change.why == "the peer has not been heard for 0.9 s"
    # Section 6.8.1: nothing is known of the peer any more; and it hears why.
    [packet] = packets([sent])
    assert (packet.state, packet.yours, packet.diagnostic) == (State.DOWN, 0, Diagnostic.SILENCE)
    assert packet.desired_us == 1_000_000
    assert ours.silent_at == inf


def test_a_peer_that_wanted_nothing_and_fell_silent_is_talked_to_again() -> None:
    ours = up(required_us=0)
    ours.expire(NOW + 0.2)
    assert ours.next_send == inf
    ours.expire(NOW + 0.9)
    assert ours.next_send < NOW + 2


def test_the_peers_own_word_is_repeated() -> None:
    ours = up()
    actions = ours.receive(heard(State.DOWN, diagnostic=Diagnostic.SILENCE), NOW + 0.1)
    [change] = [action for action in actions if isinstance(action, Changed)]
    assert change.diagnostic is Diagnostic.NEIGHBOUR_DOWN
    assert change.why == "the peer says that it is down: control detection time expired"
    ours = up()
    ours.receive(heard(State.ADMIN_DOWN, diagnostic=7), NOW + 0.1)
    assert ours.why == "the peer has ended the session: it is administratively down"


def test_a_poll_is_answered_at_once_and_once() -> None:
    ours = up()
    before = ours.next_send
    [packet] = packets(ours.receive(heard(State.UP, poll=True), NOW + 0.1))
    assert (packet.poll, packet.final, packet.yours) == (False, True, THEIRS)
    assert ours.next_send == before, "an answer takes the place of no periodic packet"
    assert not packets(ours.receive(heard(State.UP), NOW + 0.15))


def test_no_packet_has_both_bits() -> None:
    ours = up()
    ours.retime(Timing(100_000, 3), NOW)
    [packet] = packets(ours.receive(heard(State.UP, poll=True), NOW))
    assert (packet.poll, packet.final) == (False, True)
    [packet] = packets(ours.expire(ours.next_send))
    assert (packet.poll, packet.final) == (True, False)


def test_slower_packets_wait_for_the_peer_to_know() -> None:
    """Section 6.8.3: a longer interval of ours is not used before the poll has been answered."""
    ours = up()
    ours.retime(Timing(2_000_000, 3), NOW)
    assert (ours.desired, ours.transmit_us) == (2_000_000, 300_000)
    assert ours.detection_us == 6_000_000, "that more patience does no harm"
    ours.receive(heard(State.UP, final=True), NOW + 0.1)
    assert ours.polling, "an answer that nobody asked for"
    [packet] = packets(ours.expire(NOW + 0.2))
    assert (packet.poll, packet.desired_us, packet.required_us) == (True, 2_000_000, 2_000_000)
    ours.receive(heard(State.UP, final=True), NOW + 0.3)
    assert (ours.polling, ours.transmit_us) == (False, 2_000_000)


def test_less_patience_waits_for_the_peer_to_know() -> None:
    ours = up()
    ours.retime(Timing(50_000, 3), NOW)
    assert (ours.transmit_us, ours.detection_us) == (300_000, 900_000)
    ours.receive(heard(State.UP, desired_us=50_000, required_us=50_000), NOW + 0.1)
    assert (ours.transmit_us, ours.detection_us) == (50_000, 900_000)
    assert ours.next_send <= NOW + 0.15, "what is due sooner now is not waited for"
    ours.expire(ours.next_send)
    ours.receive(heard(State.UP, final=True, desired_us=50_000, required_us=50_000), NOW + 0.2)
    assert (ours.transmit_us, ours.detection_us) == (50_000, 150_000)
    assert ours.silent_at == pytest.approx(NOW + 0.35)


def test_a_change_during_a_poll_is_polled_for_as_well() -> None:
    ours = up()
    ours.retime(Timing(1_000_000, 3), NOW)
    ours.expire(NOW + 0.2)
    ours.retime(Timing(2_000_000, 3), NOW + 0.25)
    ours.receive(heard(State.UP, final=True), NOW + 0.3)  # the answer to the first
    assert (ours.polling, ours.transmit_us) == (True, 300_000)
    [packet] = packets(ours.expire(ours.next_send))
    assert (packet.poll, packet.desired_us) == (True, 2_000_000)
    ours.receive(heard(State.UP, final=True), NOW + 0.6)
    assert (ours.polling, ours.transmit_us) == (False, 2_000_000)


def test_a_multiplier_needs_no_poll() -> None:
    ours = up()
    ours.retime(Timing(300_000, 10), NOW)
    assert not ours.polling
    [packet] = packets(ours.expire(NOW + 0.2))
    assert packet.multiplier == 10


def test_intervals_change_under_a_session_that_is_up() -> None:
    pair = Pair()
    pair.run(5)
    slower = 300_000
    for interval in (2_000_000, 50_000, 10_000, 300_000, 60_000_000, 300_000):
        for number in (0, 1):
            pair.ends[number].session.retime(Timing(interval, 3), pair.now)
            pair.run(0.7)
        pair.run(3 + max(slower, interval) / 1e6 * 3)
        slower = interval
        assert pair.states == ("up", "up")
        assert pair.ends[0].session.transmit_us == interval
        assert pair.ends[0].session.detection_us == 3 * interval
    assert all(end.changes[-1].at < 1001 for end in pair.ends)


def test_demand_of_the_peer_is_honoured_and_never_asked_for() -> None:
    """Section 6.8.7: no periodic packets to who asks for demand mode while both are up, but for a poll."""
    ours = up()
    assert not packets(ours.receive(heard(State.UP, demand=True), NOW + 0.1))
    assert ours.next_send == inf
    ours.retime(Timing(500_000, 3), NOW + 0.2)
    assert ours.next_send < NOW + 1, "a poll is made"
    [packet] = packets(ours.expire(ours.next_send))
    assert (packet.poll, packet.demand) == (True, False)
    ours.receive(heard(State.UP, demand=True, final=True), NOW + 0.6)
    assert ours.next_send == inf
    ours.receive(heard(State.UP), NOW + 0.7)
    assert ours.next_send < NOW + 1.3


def test_the_end_is_told_and_final() -> None:
    pair = Pair()
    pair.run(2)
    pair.act(0, pair.ends[0].session.close(pair.now))
    pair.run(0.01)
    assert pair.states == ("admin-down", "down")
    _, packet = pair.ends[0].sent[-1]
    assert (packet.state, packet.diagnostic) == (State.ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN)
    pair.run(5)
    assert pair.states == ("admin-down", "down")
    assert not pair.ends[0].session.close(pair.now)


def test_every_packet_says_that_forwarding_does_not_hang_on_the_daemon() -> None:
    pair = Pair()
    pair.run(5)
    assert all(packet.control_independent and not packet.demand for end in pair.ends for _, packet in end.sent)


def test_a_session_goes_on_in_another_process() -> None:
    pair = Pair()
    pair.run(3.3)
    kept = json.loads(json.dumps(pair.ends[0].session.keep()))
    again = Session.restore(kept, lambda: 0.5)
    assert again.keep() == pair.ends[0].session.keep()
    pair.ends[0] = End(again, pair.ends[0].fate)
    pair.run(10)
    assert pair.states == ("up", "up")
    assert not pair.ends[0].changes
    del kept["remote_independent"]
    assert Session.restore(kept | {"unheard of": 1}, lambda: 0.5).state is State.UP
    wrongs: list[dict[str, object]] = [
        {},
        kept | {"state": 17},
        kept | {"next_send": "soon"},
        kept | {"interval": None},
    ]
    for wrong in wrongs:
        with pytest.raises((ValueError, KeyError, TypeError)):
            Session.restore(wrong, lambda: 0.5)
