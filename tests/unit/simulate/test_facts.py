"""What the simulator's figures must say, on a small site."""

from __future__ import annotations

from functools import lru_cache

import pytest

from appliance.dataplane.slots import SlotTable
from bench.simulate import sizes
from bench.simulate.churn import SCENARIOS, Cause
from bench.simulate.history import History
from bench.simulate.lifetimes import Exponential, Kind, LogNormal, Measured
from bench.simulate.report import as_json, tables
from bench.simulate.results import ALONE, FULL, OURS, SCHEMES, SHARED, Result, run
from bench.simulate.site import Site
from tests.unit.dataplane.test_slot_histories import HastyTable

KINDS = (
    Kind("short", 0.8, LogNormal(10, 1), Exponential(2.0)),
    Kind("long", 0.15, Exponential(300), Exponential(15)),
    Kind("quiet", 0.05, Exponential(900), Measured(((0.0, 20.0), (1.0, 95.0)))),
)
"""None is silent for as long as `idle`, or hardly any; some for nearly as long."""
SMALL = {"balancers": 30, "backends": 20, "arrivals": 40.0, "duration": 1200.0, "idle": 100, "sample": 10}


@lru_cache(maxsize=16)
def result(scenario: str, rules: type[SlotTable] = SlotTable, **more: float) -> Result:
    """A scenario on a small site."""
    site = Site(**{"loss": 0.0, "kinds": KINDS, **SMALL, **more})  # type: ignore[arg-type]
    churn = SCENARIOS[scenario].churn(site)
    return run(scenario, History(site, churn, lambda text: None), churn, lambda text: None, rules)


@pytest.mark.parametrize("scenario", ["steady", "balancers"])
def test_where_no_backend_changes_nothing_is_tracked_told_or_broken(scenario: str) -> None:
    one = result(scenario)
    assert one.connections > 40_000
    assert (one.moved > 1_000) == (scenario == "balancers")
    for scheme in (OURS, ALONE):
        assert set(one.tracked[scheme]) == {0.0}
        assert set(one.flows[scheme]) == {0.0}
    assert set(one.entries[OURS]) == set(one.entries["slots"]) == set(one.received[OURS]) == {0.0}
    assert one.received[SHARED][0] > 1_000
    assert [one.per_million(scheme, Cause) for scheme in SCHEMES] == [0.0] * len(SCHEMES)


def test_changes_of_backends_alone_break_nothing_that_is_tracked() -> None:
    one = result("deploy")
    assert max(one.tracked[OURS]) > 0.5
    assert max(one.flows[OURS]) > one.site.balancers * max(one.flows[ALONE]) * 0.9 > 100
    for scheme in (OURS, ALONE, FULL, SHARED):
        assert one.per_million(scheme) == 0.0
    assert one.per_million("stateless") > one.per_million("second chance") > 0.0


def test_with_both_only_those_who_tell_each_other_break_nothing() -> None:
    one = result("all-plain")
    assert one.per_million(OURS) == 0.0
    assert one.per_million(ALONE) > 100.0
    assert one.per_million(FULL) > 100.0


def test_without_memory_as_many_break_as_there_are_connections_in_what_changes() -> None:
    one = result("scale", sample=40)
    site, (_, added) = one.site, one.events[0]
    assert one.broken["stateless"][Cause.ADD] == pytest.approx(site.open * added / site.table, rel=0.2)


def test_the_same_seed_gives_the_same_figures() -> None:
    first = as_json([result("all-plain")]), tables([result("all-plain")])
    result.cache_clear()
    assert (as_json([result("all-plain")]), tables([result("all-plain")])) == first
    assert as_json([result("all-plain", seed=2)]) != first[0]


def test_a_slot_that_is_settled_too_early_shows() -> None:
    """Where a slot's only flow is a quiet one, nothing but time keeps it tracked."""
    lonely = {"arrivals": 5.0, "sample": 200}
    assert result("scale", HastyTable, **lonely).per_million(OURS) > 100.0
    assert result("scale", **lonely).per_million(OURS) == 0.0


def test_a_cut_exchange_breaks_at_most_what_is_tracked() -> None:
    one = result("all-plain")
    assert sum(one.broken[ALONE].values()) < one.moved * max(one.tracked[ALONE])


def test_entries_that_come_together_share_a_datagram() -> None:
    alone, many = sizes.flows(1, 10, 100), sizes.flows(100_000, 10, 1)
    assert alone == pytest.approx(sizes.IP_UDP + sizes.ENVELOPE + sizes.STREAM + sizes.FLOWS + sizes.FLOW, rel=0.01)
    assert 100_000 * sizes.FLOW < many < 100_000 * (sizes.FLOW + 4)
    assert sizes.flows(0, 10, 100) == 0.0
    assert sizes.flows(1, 10, 100, twice=True) == 2 * alone


def test_the_latest_datagrams_are_sent_twice() -> None:
    one, many = sizes.slots(10, 1, 3), sizes.slots(100_000, 1, 3)
    assert one == pytest.approx(2 * 3 * (sizes.IP_UDP + sizes.ENVELOPE + sizes.STREAM + sizes.SLOTS + 10 * sizes.SLOT))
    assert 3 * 100_000 * sizes.SLOT < many < 3 * 100_000 * (sizes.SLOT + 1)
    assert sizes.slots(0, 0, 3) == 0.0
