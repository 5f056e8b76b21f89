"""The judge of the fleet's scenarios, and the chance of its network: as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fleet.judge import Death, Name, judge
from tests.lab.flows import FlowRecord
from tests.lab.impairment import BAD, GOOD, HELD_BACK, Chance, Impairment
from tests.lab.relay import is_datagram

WHOLE = FlowRecord(0, False, backend="b1", state="done", opened_at=10.0, longest_stall=0.5)
BROKEN = replace(WHOLE, state="broken", broken_at=20.0, longest_stall=9.0)
REFUSED = replace(BROKEN, backend="", opened_at=0.0)
DEATH = Death("b1", 19.0, 21.0)
LATER = Death("b1", 21.0, 22.0)
BEFORE = Death("b1", 5.0, 6.0)
OTHERS = Death("b2", 19.0, 21.0)


@pytest.mark.parametrize(
    ("flow", "deaths", "broken", "orphans", "why"),
    [
        (WHOLE, [], 0, 0, "nothing happened to it"),
        (BROKEN, [], 1, 0, "its backend lives"),
        (BROKEN, [DEATH], 0, 1, "its backend died when it broke"),
        (BROKEN, [LATER], 1, 0, "it had broken before its backend died"),
        (BROKEN, [BEFORE], 1, 0, "it began after its backend had come back"),
        (BROKEN, [OTHERS], 1, 0, "another backend died"),
        (BROKEN, [BEFORE, DEATH], 0, 1, "its backend died twice"),
        (WHOLE, [DEATH], 0, 1, "it has not noticed yet that its backend died"),
    ],
)
def test_who_broke_although_its_backend_lived(
    flow: FlowRecord, deaths: list[Death], broken: int, orphans: int, why: str
) -> None:
    verdict = judge({"tcp": [flow]}, deaths, (), ())
    assert (len(verdict.broken), verdict.orphans, verdict.established) == (broken, orphans, 1), why


def test_accounts_are_of_flows_whose_backend_lived() -> None:
    flows = {"tcp": [WHOLE, replace(BROKEN, number=1)], "udp": [WHOLE, replace(WHOLE, number=1, backend="b2")]}
    refused = replace(REFUSED, number=2)
    names = [Name(protocol, number) for protocol in flows for number in (0, 1)]
    verdict = judge({**flows, "udp": [*flows["udp"], refused]}, [OTHERS], names, names[:1])
    assert (verdict.established, verdict.living, verdict.refused) == (4, 3, 1)
    assert (verdict.at_stake, verdict.moved, verdict.longest_stall) == (3, 1, 0.5)
    assert [name for name, _ in verdict.broken] == [Name("tcp", 1)]
    assert "1 of 3 broke (100% at stake" in verdict.text()
    assert "0 of 0" in judge({}, (), (), ()).text()


# ---- the network


def test_chance_is_the_same_for_the_same_seed_and_direction() -> None:
    def fates(seed: int, source: str) -> list[tuple[float, ...]]:
        chance = Chance(seed, source, "z")
        return [chance.fate(BAD) for _ in range(50)]

    assert fates(1, "x") == fates(1, "x")
    assert len({str(fates(seed, source)) for seed in (1, 2) for source in "xy"}) == 4


def test_what_was_done_before_does_not_change_what_comes() -> None:
    changed, same = Chance(1, "x", "y"), Chance(1, "x", "y")
    for impairment in (GOOD, BAD, Impairment(drop=1.0)):
        changed.fate(impairment)
        same.fate(GOOD)
    assert [changed.fate(BAD) for _ in range(20)] == [same.fate(BAD) for _ in range(20)]


@pytest.mark.parametrize(
    ("impairment", "lost", "doubled", "late"),
    [
        (GOOD, 0.0, 0.0, 0.0),
        (Impairment(drop=1.0), 1.0, 0.0, 0.0),
        (Impairment(duplicate=1.0, delay=0.2), 0.0, 1.0, 0.0),
        (Impairment(reorder=1.0), 0.0, 0.0, 1.0),
        (BAD, 0.1, 0.09, 0.18),
    ],
)
def test_shares_are_as_they_were_given(impairment: Impairment, lost: float, doubled: float, late: float) -> None:
    chance = Chance(7, "x", "y")
    fates = [chance.fate(impairment) for _ in range(4000)]
    arrived = [fate for fate in fates if fate]
    close = pytest.approx
    assert len([fate for fate in fates if not fate]) / 4000 == close(lost, abs=0.02)
    assert len([fate for fate in arrived if len(fate) == 2]) / 4000 == close(doubled, abs=0.02)
    assert len([fate for fate in arrived if fate[0] > impairment.delay]) / 4000 == close(late, abs=0.02)
    assert all(impairment.delay <= each <= impairment.delay + HELD_BACK for fate in arrived for each in fate)


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x11" + bytes(10), True),
        (bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x06" + bytes(10), False),
        (bytes(12) + b"\x86\xdd" + b"\x60" + bytes(5) + b"\x11" + bytes(33), True),
        (bytes(12) + b"\x86\xdd" + b"\x60" + bytes(5) + b"\x3a" + bytes(33), False),
        (bytes(12) + b"\x08\x06" + bytes(28), False),
        (bytes(12) + b"\x08\x00" + b"\x45", False),
        (b"\x08", False),
    ],
)
def test_datagrams_are_told_from_other_frames(frame: bytes, wanted: bool) -> None:
    assert is_datagram(frame) is wanted
