"""The loaded program does what the model says: every verdict, reason, byte, counter, remembered flow, and its news.

Not judged here: the interface of a redirect, which a test run does not tell (the namespace tests see where frames come
out), and what needs a part that is missing: INCOMPLETE, NO_INTERFACE, NO_ROOM (see the packet tables).
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.enums import Reason
from appliance.dataplane.shape import Shape
from appliance.model import Mode
from tests import profile
from tests.dataplane.equivalence.pair import Mix, Pair, loaded, shape
from tests.dataplane.equivalence.play import BURST, Step, any_steps, play

FRAMES = max(20_000, profile.PACKETS)
"""Frames for a program with everything that most configurations have."""
SOME = max(8_000, profile.PACKETS)
"""Frames for each of the others."""
FORWARDED, TRACKED = 0.6, 0.3
"""Of the frames, at least so many are forwarded, and go to tracked slots."""
CHANGES, LONG = 8, 16
SEEDS = st.integers(0, 2**32 - 1)
STEPS = st.lists(st.tuples(SEEDS, st.lists(SEEDS, min_size=BURST, max_size=BURST)), min_size=3, max_size=CHANGES)


SHAPES = {
    "large-resets": shape(resets=True),
    "small-no-resets": shape(resets=False, small=True),
    "vlan-ipv6": shape(resets=True, mode=Mode.VLAN, ipv6=True),
    "multi-nic-ipv6": shape(resets=True, mode=Mode.MULTI_NIC, ipv6=True, small=True, narrow=True, tracks_all=False),
    "mixed-ipv6": shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True, narrow=True),
    "ddos": shape(resets=False, ddos=True),
    "mixed-ipv6-ddos": shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True, ddos=True),
    "tunnels-ipv6": shape(resets=True, ipv6=True, tunnels=ALL),
    "tunnels-mixed-ipv6": shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True, tunnels=ALL),
    "small-ipip4": shape(resets=False, small=True, tunnels=("ipip4",)),
    "fleet": shape(resets=True, fleet=True),
    "small-fleet-ipv6": shape(resets=False, ipv6=True, small=True, tracks_all=False, fleet=True),
    "nat": shape(resets=True, ipv6=True, nat=True),
    "nat-mixed": shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True, nat=True),
}


@pytest.mark.root
@pytest.mark.hypothesis
@pytest.mark.parametrize("what", SHAPES.values(), ids=SHAPES)
def test_program_and_model_agree(what: Shape) -> None:
    with loaded(what) as pair:
        _search(pair)
        mix = pair.mix
        seed, never = 0, _never(what)
        frames = FRAMES if what.mode is Mode.SIMPLE and not what.tunnels and not what.nat else SOME
        # What Hypothesis draws depends on what else is loaded; what is too rare in it gets a few more plays.
        while mix.frames < frames or (mix.frames < 5 * frames and not _is_ample(mix, never)):
            play(pair, seed, any_steps(seed, LONG))
            seed += 1
        print(f"{mix.frames} frames, {mix.rewritten} forwarded, {mix.tracked} in tracked slots; {dict(mix.reasons)}")
        assert not what.fleet or pair.told > mix.reasons[Reason.REMEMBERED] > 1000
    assert mix.rewritten >= FORWARDED * mix.frames
    assert mix.tracked >= TRACKED * mix.frames
    assert set(Reason) - set(mix.reasons) == never


@pytest.mark.root
@pytest.mark.parametrize("name", ["nat", "nat-mixed"])
def test_errors_and_fragments_behind_nat(name: str) -> None:
    with loaded(SHAPES[name]) as pair:
        seed = 0
        while pair.mix.reasons[Reason.RETURN] < 150 or pair.mix.frames < FRAMES // 10:
            play(pair, seed, any_steps(seed, CHANGES), about=0.8)
            seed += 1
        assert pair.mix.reasons[Reason.FRAGMENT_FOLLOWED] > 100
        assert pair.mix.frames < FRAMES


def _is_ample(mix: Mix, never: set[Reason]) -> bool:
    """Whether the frames so far are such that they show something."""
    seen = set(Reason) - set(mix.reasons) <= never
    return seen and mix.rewritten >= FORWARDED * mix.frames and mix.tracked >= TRACKED * mix.frames


def _never(what: Shape) -> set[Reason]:
    """Reasons that no frame can have in a program of this shape, or only by what a test run does not have."""
    never = {Reason.INCOMPLETE, Reason.NO_INTERFACE, Reason.NO_ROOM, Reason.TAGGED if what.tagged else Reason.UNTAGGED}
    # No play is so long that the ring of news fills up; test_packets_fleet.py has that.
    never |= {Reason.UNTOLD} if what.fleet else {Reason.UNTOLD, Reason.TRACKED_UNKNOWN, Reason.TRACKED_FIRST}
    if not what.resets:
        never.add(Reason.RESET)
    if not what.narrow and not what.tunnels:
        never |= {Reason.TOO_BIG, Reason.TOO_BIG_LIMITED}
    if not what.blocks:
        never.add(Reason.BLOCKED)
    if not what.nat:
        never |= {Reason.RETURN, Reason.NO_ROUTE}
    if not what.ipv6:
        never.add(Reason.NEIGHBOUR)
    return never


def _search(pair: Pair) -> None:
    """Let Hypothesis look for a difference, and make the shortest play of it that still shows it.

    It likes short plays, in which little has changed yet; so most frames are left to the plays that have all changes.
    """

    @settings(
        max_examples=max(20, FRAMES // (4 * CHANGES * BURST)),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(SEEDS, STEPS)
    def agrees(seed: int, steps: list[Step]) -> None:
        play(pair, seed, steps)

    agrees()
