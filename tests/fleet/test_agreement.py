"""For how long balancers answer differently: the account as a table, and real balancers side by side."""

from __future__ import annotations

import pytest

from tests.fleet.agreement import Disagreement, Place, watch
from tests.fleet.checks import MISSING
from tests.fleet.configuration import TCP, UDP
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario, starts, unwell, well

ONE, TWO, THREE = (TCP, 1), (TCP, 2), (UDP, 1)


@pytest.mark.parametrize(
    ("comparisons", "durations", "agreed", "why"),
    [
        ([set(), set()], [], True, "they never differed"),
        ([{ONE}, set()], [1.0], True, "from the first comparison that differs to the first that does not"),
        ([{ONE}, {ONE}, {ONE, TWO}, {TWO}, set()], [3.0, 2.0], True, "each slot for itself"),
        ([{ONE}, set(), {ONE}, set()], [1.0, 1.0], True, "a slot that differs again counts again"),
        ([{ONE, THREE}, {THREE}], [1.0], False, "one has not ended"),
    ],
)
def test_differences_last_until_a_comparison_finds_none(
    comparisons: list[set[Place]], durations: list[float], agreed: bool, why: str
) -> None:
    found = Disagreement(slots=10)
    for at, differing in enumerate(comparisons):
        found.compared(float(at), differing)
    assert sorted(found.durations, reverse=True) == durations, why
    assert found.agreed is agreed
    assert found.cost == pytest.approx(sum(durations) / 10)
    assert found.text().startswith(f"{len(durations)} slots" if durations else "no difference")


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.appliance
@pytest.mark.skipif(bool(MISSING), reason=MISSING or "it is there")
def test_balancers_agree_again_whatever_happens_to_a_backend() -> None:
    scenario = Scenario("agreement", (), needs_exchange=False)
    with Performance(scenario, exchange=False) as performance:
        found = [watch(performance, step)[0] for step in (unwell("b2"), well("b2"), starts("b2"))]
    for one in found[:2]:
        assert one.agreed
        assert one.durations, "they have not noticed at the very same moment"
        # Only the slots that change hands: two services of six shares each.
        assert len(one.durations) < one.slots / 3
        print(one.text())
    assert found[2].durations == [], "nothing happened to it"
