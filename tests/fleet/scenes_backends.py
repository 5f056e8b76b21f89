"""What happens to backends, alone and together with balancers."""

from __future__ import annotations

from tests.fleet.scenario import (
    QUIET,
    Scenario,
    added,
    at_once,
    dies,
    drained,
    one_by_one,
    removed,
    starts,
    stops,
    unwell,
    well,
)

ALONE = (
    Scenario("one is added", one_by_one(added("b6")), needs_exchange=False),
    Scenario("one is drained and comes back", one_by_one(drained("b1"), added("b1")), needs_exchange=False),
    Scenario("one is removed while it drains", one_by_one(drained("b1"), removed("b1")), needs_exchange=False),
    Scenario("one dies and comes back", one_by_one(dies("b2"), starts("b2")), needs_exchange=False),
    Scenario("one is unwell and recovers", one_by_one(unwell("b3"), well("b3")), needs_exchange=False),
)

BOTH = (
    Scenario(
        "a backend and a balancer die at once",
        (at_once(dies("b2"), dies("n2")), *one_by_one(QUIET, starts("b2"), starts("n2"))),
        needs_exchange=True,
    ),
    Scenario(
        "a backend is added while a balancer dies",
        (at_once(added("b6"), dies("n1")), *one_by_one(QUIET, starts("n1"))),
        needs_exchange=True,
    ),
    Scenario(
        "a backend recovers while a balancer dies",
        (*one_by_one(unwell("b3"), QUIET), at_once(well("b3"), dies("n3")), *one_by_one(starts("n3"))),
        needs_exchange=True,
    ),
    Scenario(
        "a backend is drained while a balancer is stopped",
        (*one_by_one(added("b6"), QUIET), at_once(drained("b1"), stops("n2")), *one_by_one(starts("n2"))),
        needs_exchange=True,
    ),
    Scenario(
        "a backend dies while a balancer is added",
        (*one_by_one(added("b6"), QUIET), at_once(dies("b4"), starts("n3")), *one_by_one(starts("b4"), QUIET)),
        needs_exchange=True,
        absent=("n3",),
    ),
    Scenario(
        "a backend flaps and a balancer dies",
        one_by_one(dies("b2"), starts("b2"), unwell("b2"), well("b2"), dies("n1"), starts("n1")),
        needs_exchange=True,
    ),
)
