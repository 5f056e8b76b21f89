"""Stories of tracked slots: what happens, which packet comes, which backend gets it.

One service with three backends of which one at a time is in service, so that every slot has the same answer and the
backend of each packet is known. A is in service first, and old connections began with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from appliance.dataplane.abi import FIN_LIFE, RST_LIFE
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.model import Action, Exit
from appliance.model import Protocol, ServiceKey
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

VIP, CLIENT, IDLE, GRACE = "203.0.113.10", "198.51.100.7", 900, 30
START = 1000
BACKENDS = {"A": 11, "B": 12, "C": 13}
STATES = {"up": State.AVAILABLE, "draining": State.DRAINING, "dead": State.DEAD, "unknown": State.NONE}


@dataclass(frozen=True)
class Now:
    """The backends' states from now on; those not named are unknown."""

    states: dict[str, str]


@dataclass(frozen=True)
class After:
    """So many seconds later; with `sweep`, the control plane settles what it may."""

    seconds: int
    sweep: bool = False


@dataclass(frozen=True)
class Packet:
    """A packet of a flow (by its source port), and the backend that gets it, or the reason why none does.

    `counted` are the decisions that it is counted as. Flags are TCP's; UDP services have none.
    """

    flow: int
    flags: str
    goes: str | Reason
    counted: tuple[Reason, ...]


HIT, NEW, OLD, KEPT = Reason.TRACKED_HIT, Reason.TRACKED_NEW, Reason.TRACKED_OLD, Reason.REMEMBERED
Step = Now | After | Packet


@dataclass(frozen=True)
class Story:
    """What happens in turn, from a settled A on, and why it is right."""

    why: str
    steps: tuple[Step, ...]
    on_dead: DeadPolicy = DeadPolicy.RESELECT
    protocol: Protocol = Protocol.TCP
    tracking: bool = True
    remember_all: bool = False
    sticky: bool = False
    states: dict[str, str] = field(default_factory=lambda: {"A": "up"})


A_UP, B_UP, C_UP = (
    Now({"A": "up", "B": "draining"}),
    Now({"A": "draining", "B": "up"}),
    Now({"A": "dead", "B": "draining", "C": "up"}),
)
A_DIED = Now({"A": "dead", "B": "up"})
NEW_ON_B = Packet(1, "S", "B", (NEW, KEPT))

STORIES = (
    Story("settled: no decision, nothing kept", (Packet(1, "S", "A", ()), Packet(1, "A", "A", ()))),
    Story(
        "a drained backend keeps its connections", (B_UP, Packet(1, "A", "A", (OLD, KEPT)), Packet(1, "A", "A", (HIT,)))
    ),
    Story("and gets no new ones", (B_UP, NEW_ON_B, Packet(1, "A", "B", (HIT,)))),
    Story("a SYN with ACK opens nothing", (B_UP, Packet(1, "SA", "A", (OLD, KEPT)))),
    Story("a repeated SYN stays", (B_UP, NEW_ON_B, Packet(1, "S", "B", (HIT,)))),
    Story(
        "a stray RST is not worth remembering", (B_UP, Packet(1, "R", "A", (OLD,)), Packet(1, "A", "A", (OLD, KEPT)))
    ),
    Story(
        "a reused 5-tuple leaves a draining backend",
        (B_UP, Packet(1, "A", "A", (OLD, KEPT)), Packet(1, "S", "B", (NEW, KEPT)), Packet(1, "A", "B", (HIT,))),
    ),
    Story(
        "there and back within one window",
        (B_UP, NEW_ON_B, A_UP, Packet(1, "A", "B", (HIT,)), Packet(2, "A", "A", (OLD,))),
    ),
    Story(
        "three owners within one window",
        (B_UP, NEW_ON_B, C_UP, Packet(1, "A", "B", (HIT,)), Packet(2, "S", "C", (NEW, KEPT)), Packet(3, "A", "C", ())),
        states={"A": "up"},
    ),
    # The dead.
    Story("reselect: a broken connection is told so by another backend", (A_DIED, Packet(1, "A", "B", ()))),
    Story("reselect: a new connection", (A_DIED, Packet(1, "S", "B", (NEW, KEPT)))),
    Story("drop", (A_DIED, Packet(1, "A", Reason.DEAD, ()), Packet(1, "S", "B", (NEW, KEPT))), DeadPolicy.DROP),
    Story("reset", (A_DIED, Packet(1, "A", Reason.RESET, ()), Packet(1, "S", "B", (NEW, KEPT))), DeadPolicy.RESET),
    Story(
        "a remembered connection of a dead backend",
        (
            B_UP,
            NEW_ON_B,
            Now({"A": "up", "B": "dead"}),
            Packet(1, "A", Reason.DEAD, ()),
            Packet(1, "S", "A", (NEW, KEPT)),
        ),
        DeadPolicy.DROP,
    ),
    Story(
        "a backend that returns has its connections back",
        (B_UP, NEW_ON_B, Now({"A": "up", "B": "dead"}), Now({"A": "up", "B": "up"}), Packet(1, "A", "B", (HIT,))),
        DeadPolicy.DROP,
    ),
    Story(
        "nobody is left",
        (Now({"A": "dead"}), Packet(1, "A", Reason.NO_BACKEND, ()), Packet(1, "S", Reason.NO_BACKEND, (NEW,))),
    ),
    Story(
        "nobody was there: nothing can have ended",
        (Packet(1, "A", Reason.NO_BACKEND, ()), Now({"A": "up"}), Packet(1, "A", "A", ())),
        DeadPolicy.DROP,
        states={},
    ),
    # Datagrams.
    Story(
        "UDP: unknown flows are old ones",
        (B_UP, Packet(1, "", "A", (OLD, KEPT)), Packet(1, "", "A", (HIT,))),
        protocol=Protocol.UDP,
    ),
    Story(
        "UDP chooses again at once",
        (A_DIED, Packet(1, "", "B", (NEW, KEPT)), Packet(1, "", "B", (HIT,))),
        DeadPolicy.DROP,
        protocol=Protocol.UDP,
    ),
    Story(
        "UDP: after the grace unknown flows are new ones",
        (B_UP, After(GRACE + 1, sweep=True), Packet(1, "", "B", (OLD,))),
        protocol=Protocol.UDP,
    ),
    # Every flow remembered.
    Story(
        "remembering all: a new flow, though nothing changes",
        (Packet(1, "S", "A", (NEW, KEPT)), Packet(1, "A", "A", (HIT,))),
        remember_all=True,
    ),
    Story(
        "remembering all: an older flow, but no stray RST",
        (Packet(1, "A", "A", (OLD, KEPT)), Packet(2, "R", "A", (OLD,)), Packet(2, "S", "A", (NEW, KEPT))),
        remember_all=True,
    ),
    Story(
        "remembering all: known flows stay, whoever is in service",
        (Packet(1, "S", "A", (NEW, KEPT)), B_UP, Packet(1, "A", "A", (HIT,)), Packet(2, "S", "B", (NEW, KEPT))),
        remember_all=True,
    ),
    Story(
        "remembering all: unknown flows were there before, at first",
        (B_UP, Packet(1, "A", "A", (OLD, KEPT))),
        remember_all=True,
    ),
    Story(
        "remembering all: and after `idle` there are none",
        (After(IDLE + 1), B_UP, Packet(1, "A", "B", (OLD, KEPT))),
        remember_all=True,
    ),
    # A sticky client.
    Story(
        "sticky: a client's new flow does not take along its older ones",
        (B_UP, Packet(1, "S", "B", (NEW, KEPT)), Packet(2, "A", "A", (OLD, KEPT)), Packet(1, "A", "B", (HIT,))),
        sticky=True,
    ),
    Story("no tracking: changes at once", (B_UP, Packet(1, "", "B", ())), protocol=Protocol.UDP, tracking=False),
    # Time.
    Story(
        "a flow is remembered for as long as idle says",
        (B_UP, NEW_ON_B, A_UP, After(IDLE - 1), Packet(1, "A", "B", (HIT,)), After(IDLE), Packet(1, "A", "A", (OLD,))),
    ),
    Story(
        "FIN shortens that",
        (B_UP, NEW_ON_B, Packet(1, "FA", "B", (HIT,)), A_UP, After(FIN_LIFE), Packet(1, "A", "A", (OLD,))),
    ),
    Story(
        "FIN, but another packet follows in time",
        (
            *(B_UP, NEW_ON_B, Packet(1, "FA", "B", (HIT,)), A_UP, After(FIN_LIFE - 1), Packet(1, "A", "B", (HIT,))),
            *(After(FIN_LIFE), Packet(1, "A", "B", (HIT,))),
        ),
    ),
    Story(
        "RST shortens it more",
        (B_UP, NEW_ON_B, Packet(1, "R", "B", (HIT,)), A_UP, After(RST_LIFE), Packet(1, "A", "A", (OLD,))),
    ),
    Story(
        "RST, but another packet follows in time",
        (B_UP, NEW_ON_B, Packet(1, "R", "B", (HIT,)), A_UP, After(RST_LIFE - 1), Packet(1, "A", "B", (HIT,))),
    ),
    Story(
        "a stale entry gives way to its flow's next life",
        (B_UP, NEW_ON_B, A_UP, After(IDLE), Packet(1, "S", "A", (NEW, KEPT)), Packet(1, "A", "A", (HIT,))),
    ),
    Story(
        "after idle the answer for new flows counts for unknown ones",
        (B_UP, After(IDLE + 1, sweep=True), Packet(1, "A", "B", (OLD,)), Packet(2, "S", "B", (NEW,))),
    ),
    Story(
        "after two the slot is settled",
        (B_UP, After(2 * IDLE, sweep=True), Packet(1, "A", "B", (OLD,)), After(1, sweep=True), Packet(1, "A", "B", ())),
    ),
    Story(
        "unless an old connection still goes elsewhere",
        (
            *(B_UP, Packet(1, "A", "A", (OLD, KEPT)), After(IDLE - 1), Packet(1, "A", "A", (HIT,))),
            *(After(IDLE - 1), Packet(1, "A", "A", (HIT,)), After(IDLE - 1, sweep=True), Packet(1, "A", "A", (HIT,))),
        ),
    ),
    Story(
        "one packet alone does not hold a slot",
        (B_UP, After(2 * IDLE), Packet(1, "A", "A", (OLD, KEPT)), After(1, sweep=True), Packet(1, "A", "B", ())),
    ),
)


class Stage:
    """A service whose backends come and go, on the program and on the model."""

    def __init__(self, pair: Pair, story: Story) -> None:
        self.pair = pair
        self.story = story
        self.time = START
        self.key = ServiceKey(IPv4Address(VIP), 80, story.protocol)
        self.desired = self._desired(story.states)
        pair.at(self.time)
        pair.apply("open", self.desired)

    def _desired(self, states: dict[str, str]) -> Desired:
        members = tuple(
            Member(
                IPv4Address(f"10.1.10.{host}"),
                1,
                STATES[states.get(name, "unknown")],
                Hop(2, bytes([2, 0, 0, 0, 1, host]) + BALANCER, IPv4Address("10.1.10.5")),
            )
            for name, host in BACKENDS.items()
        )
        grace = GRACE if self.story.protocol is Protocol.UDP else IDLE
        service = DesiredService(
            self.key,
            members,
            grace,
            self.story.on_dead,
            self.story.tracking,
            remember_all=self.story.remember_all,
            sticky=self.story.sticky,
        )
        return Desired((service,), {IPv4Address(VIP): True}, idle=IDLE)

    def play(self, step: Step) -> None:
        """One step; a packet's fate is asserted."""
        if isinstance(step, Now):
            self.desired = self._desired(step.states)
            self.pair.apply(str(step.states), self.desired)
        elif isinstance(step, After):
            self.time += step.seconds
            self.pair.at(self.time)
            if step.sweep:
                self.pair.sweep(self.desired)
        else:
            self._packet(step)

    def _packet(self, packet: Packet) -> None:
        before = Counter(self.pair.mix.reasons)
        left = self.pair.send(self.frame(packet.flow, packet.flags).bytes)
        counted = Counter(self.pair.mix.reasons) - before - Counter([left.reason])
        assert self.fate(left) == packet.goes
        assert counted == Counter(packet.counted)

    def frame(self, flow: int, flags: str) -> Frame:
        """A packet of a flow."""
        ip = Frame().ipv4(CLIENT, VIP)
        return ip.udp(flow, 80, bytes(20)) if self.story.protocol is Protocol.UDP else ip.tcp(flow, 80, flags)

    def fate(self, left: Exit) -> str | Reason:
        """The backend whose MAC address the frame has, else the reason."""
        if left.reason is not Reason.FORWARD:
            return left.reason
        return next(name for name, host in BACKENDS.items() if host == left.frame[5])


@pytest.mark.parametrize("story", STORIES, ids=[story.why.replace(" ", "-") for story in STORIES])
def test_story(pair: Pair, story: Story) -> None:
    stage = Stage(pair, story)
    for step in story.steps:
        stage.play(step)
    pair.compare()


def test_floods_of_a_settled_service_write_nothing(pair: Pair) -> None:
    stage = Stage(pair, STORIES[0])
    for flow in range(500):
        assert stage.fate(pair.send(stage.frame(flow, "S").bytes)) == "A"
    assert not any(pair.real.flows)
    assert not any(pair.real.raw["vc5_histories"])


def test_floods_put_out_no_connection(pair: Pair) -> None:
    """Four sets of eight ways hold 32 flows. Those that are confirmed stay, whatever else comes."""
    stage = Stage(pair, STORIES[0])
    stage.play(B_UP)
    for flow in range(1, 11):
        stage.play(Packet(flow, "S", "B", (NEW, KEPT)))
        stage.play(Packet(flow, "A", "B", (HIT,)))
    for flow in range(1000, 1500):
        pair.send(stage.frame(flow, "S").bytes)
        pair.send(stage.frame(flow + 1000, "A").bytes)
    stage.play(A_UP)
    for flow in range(1, 11):
        stage.play(Packet(flow, "A", "B", (HIT,)))


def test_a_set_full_of_connections_refuses_and_counts_it(pair: Pair) -> None:
    stage = Stage(pair, STORIES[0])
    stage.play(B_UP)
    for flow in range(1, 400):
        for flags in ("S", "A"):
            pair.send(stage.frame(flow, flags).bytes)
    ways = [way for way in pair.real.flows if way]
    assert len(ways) == 32
    assert pair.real.reason(Reason.REFUSED) > 300
    pair.at(START + IDLE)
    stage.play(Packet(999, "S", "B", (NEW, KEPT)))


def test_only_confirmed_flows_elsewhere_stamp_the_slot(pair: Pair) -> None:
    stage = Stage(pair, STORIES[0])
    stage.play(B_UP)
    frame = stage.frame(1, "A").bytes
    slot = pair.model.slot(frame)
    assert slot is not None
    pair.at(START + 5)
    stamps = []
    for _ in range(2):
        pair.send(frame)
        stamps.append(pair.real.histories.get(slot, "diverted"))
    assert stamps == [0, START + 5]


@pytest.mark.parametrize(
    ("flags", "length", "sequence", "acknowledgement", "answer"),
    [
        ("A", 0, 2000, 0, "R"),
        ("PA", 500, 2000, 0, "R"),
        ("FA", 3, 2000, 0, "R"),
        ("SA", 0, 2000, 0, "R"),
        ("", 7, 0, 1007, "RA"),
        ("F", 7, 0, 1008, "RA"),
    ],
)
@pytest.mark.parametrize("options", [b"", b"\1" * 40], ids=["plain", "options"])
def test_resets_are_those_of_a_host_that_does_not_know_the_connection(
    pair: Pair, flags: str, length: int, sequence: int, acknowledgement: int, answer: str, options: bytes
) -> None:
    """RFC 9293 section 3.10.7.1. A host with a connection in its place would believe nothing else."""
    stage = Stage(pair, Story("", (), DeadPolicy.RESET))
    stage.play(A_DIED)
    segment = Frame().ipv4(CLIENT, VIP, options=options).tcp(4000, 80, flags, options=options, data=b"x" * length)
    left = pair.send(segment.bytes)
    assert (left.action, left.reason) == (Action.TX, Reason.RESET)
    assert len(left.frame) == max(54, min(60, len(segment.bytes)))
    back = Frame(ROUTER, BALANCER).ipv4(VIP, CLIENT, ident=0)
    expected = back.tcp(80, 4000, answer, sequence=sequence, acknowledgement=acknowledgement).bytes
    # A reset has no window; what tcp() builds has one.
    assert left.frame[:48] == expected[:48]
    assert left.frame[48:50] == b"\0\0"
    assert checksums_are_right(left.frame[:54])


def test_a_reset_is_not_answered(pair: Pair) -> None:
    stage = Stage(pair, Story("", (), DeadPolicy.RESET))
    stage.play(A_DIED)
    left = pair.send(stage.frame(1, "R").bytes)
    assert (left.action, left.reason) == (Action.DROP, Reason.DEAD)
