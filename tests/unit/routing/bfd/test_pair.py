"""Engine against engine over networks that lose, double, delay and reorder packets, and clocks that jump."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.routing.bfd.packet import Diagnostic, Packet, State, decode
from appliance.routing.bfd.session import Session, Timing
from tests.profile import EXAMPLES
from tests.unit.routing.bfd.pair import Pair, straight
from tests.unit.routing.bfd.test_packet import PACKETS

TIMINGS = st.builds(Timing, st.sampled_from([20_000, 100_000, 300_000, 1_000_000, 1_700_000]), st.integers(1, 6))

# RFC 5880 section 6.2, the picture: what one end may go to, at one step.
ALLOWED = {
    (State.DOWN, State.INIT),
    (State.DOWN, State.UP),
    (State.INIT, State.UP),
    (State.INIT, State.DOWN),
    (State.UP, State.DOWN),
    (State.DOWN, State.ADMIN_DOWN),
    (State.INIT, State.ADMIN_DOWN),
    (State.UP, State.ADMIN_DOWN),
}


def holds(pair: Pair) -> None:
    """What holds at every time."""
    for end in pair.ends:
        states = [State.DOWN, *(change.state for change in end.changes)]
        assert all(step in ALLOWED for step in pairwise(states))
        assert all(change.was is before for change, before in zip(end.changes, states, strict=False))
        for _, packet in end.sent:
            assert not (packet.poll and packet.final)
            assert packet.control_independent
            assert not packet.demand
            assert packet.echo_us == 0
            assert packet.mine == end.session.discriminator
            if packet.state is not State.UP:
                assert packet.desired_us >= 1_000_000
            if packet.state in (State.INIT, State.UP):
                assert packet.yours


class Weather:
    """A way that is bad until a time, and good from then on."""

    def __init__(self, seed: int, loss: float, doubled: float, slowest: float, until: float) -> None:
        self._random = Random(seed)
        self._loss, self._doubled, self._slowest, self._until = loss, doubled, slowest, until

    def __call__(self, now: float) -> list[float]:
        if now >= self._until:
            return straight(now)
        copies = 0 if self._random.random() < self._loss else 2 if self._random.random() < self._doubled else 1
        return [now + self._random.uniform(0.0001, self._slowest) for _ in range(copies)]


WEATHERS = st.builds(
    Weather,
    st.integers(0, 1 << 30),
    st.floats(0, 0.9),
    st.floats(0, 0.5),
    st.sampled_from([0.0002, 0.05, 0.5, 3.0]),
    st.sampled_from([1000.0, 1003.0, 1010.0]),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.tuples(TIMINGS, TIMINGS), st.tuples(WEATHERS, WEATHERS), st.integers(0, 1 << 30))
def test_both_come_up_once_the_way_is_good(
    timings: tuple[Timing, Timing], weathers: tuple[Weather, Weather], seed: int
) -> None:
    pair = Pair(timings, Random(seed).random, weathers)
    pair.run(13)  # the last packet of the bad weather has arrived
    holds(pair)
    worst = 3 + max(end.session.detection_us for end in pair.ends) / 1e6
    pair.run(worst + 3)
    assert pair.states == ("up", "up")
    before = [len(end.changes) for end in pair.ends]
    pair.run(5)
    assert [len(end.changes) for end in pair.ends] == before
    slower = max(timing.interval for timing in timings)
    for end, other in zip(pair.ends, reversed(pair.ends), strict=True):
        assert not end.session.polling
        assert end.session.transmit_us == slower
        assert end.session.detection_us == slower * other.session.timing.multiplier
    holds(pair)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.tuples(TIMINGS, TIMINGS), st.integers(0, 1 << 30), st.floats(0, 2), st.sampled_from(["dead", "deaf"]))
def test_silence_is_noticed_within_the_detection_time(
    timings: tuple[Timing, Timing], seed: int, after: float, how: str
) -> None:
    """Both notice where the way is cut in one direction: the other hears of it from the one who does not hear."""
    pair = Pair(timings, Random(seed).random)
    pair.run(5 + after)
    assert pair.states == ("up", "up")
    before = [len(end.changes) for end in pair.ends]
    cut, detection = pair.now, pair.ends[0].session.detection_us / 1e6
    if how == "dead":
        pair.ends[1].asleep = True
    pair.ends[1].fate = lambda now: []
    pair.run(detection + 0.002)
    first = pair.ends[0].changes[before[0]]
    assert (first.state, first.diagnostic) == (State.DOWN, Diagnostic.SILENCE)
    pace = max(timing.interval for timing in timings) / 1e6
    assert detection - pace <= first.at - cut <= detection + 0.001
    if how == "deaf":
        second = pair.ends[1].changes[before[1]]
        assert (second.state, second.diagnostic) == (State.DOWN, Diagnostic.NEIGHBOUR_DOWN)
        assert second.at - first.at <= 0.002
    holds(pair)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.tuples(TIMINGS, TIMINGS), st.integers(0, 1 << 30), st.floats(0.01, 100))
def test_the_clock_jumps_forward(timings: tuple[Timing, Timing], seed: int, jump: float) -> None:
    """A machine that was suspended, or a process that was stopped: both come up again, without a burst."""
    pair = Pair(timings, Random(seed).random)
    pair.run(5)
    sent = [len(end.sent) for end in pair.ends]
    pair.now += jump
    pair.run(0.0)
    assert all(len(end.sent) <= before + 4 for end, before in zip(pair.ends, sent, strict=True))
    pair.run(13)
    assert pair.states == ("up", "up")
    holds(pair)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(
        st.tuples(PACKETS, st.floats(0, 2), st.sampled_from(["receive", "expire", "retime", "jump back"]), TIMINGS),
        max_size=30,
    )
)
def test_whatever_a_peer_says(steps: list[tuple[Packet, float, str, Timing]]) -> None:
    """Any packets in any order: a state that the machine has, a deadline, numbers that fit into a packet."""
    now = 1000.0
    ours = Session(5, Timing(300_000, 3), now, lambda: 0.3)
    for packet, pause, what, timing in steps:
        now += -pause if what == "jump back" else pause
        before = ours.state
        if what == "retime":
            ours.retime(timing, now)
        actions = ours.receive(packet, now) if what == "receive" else ours.expire(now)
        assert ours.state is before or (before, ours.state) in ALLOWED
        assert ours.state is not State.ADMIN_DOWN
        assert len(actions) <= 2
        assert ours.silent_at > now or what == "retime"
        assert Session.restore(ours.keep(), lambda: 0.3).keep() == ours.keep()


@given(PACKETS)
def test_an_ended_session_hears_nothing(packet: Packet) -> None:
    ours = Session(5, Timing(300_000, 3), 1.0, lambda: 0.3)
    ours.close(1.0)
    assert not ours.receive(packet, 1.5)
    assert decode(ours.say_again().data).state is State.ADMIN_DOWN
