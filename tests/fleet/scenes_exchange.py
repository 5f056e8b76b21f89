"""What happens to the exchange itself, while backends change, and before a balancer dies."""

from __future__ import annotations

from tests.fleet.scenario import (
    CUT,
    MENDED,
    QUIET,
    Scenario,
    added,
    at_once,
    dies,
    drained,
    isolated,
    one_by_one,
    starts,
    unwell,
    well,
)

MENDED_IN_TIME = (
    Scenario(
        "one is alone while a backend is added and is heard again before another dies",
        one_by_one(isolated("n2"), added("b6"), QUIET, MENDED, dies("n1")),
        needs_exchange=True,
    ),
    Scenario(
        "all are alone while a backend is unwell and recovers and are heard again before one dies",
        one_by_one(CUT, unwell("b3"), QUIET, well("b3"), QUIET, MENDED, dies("n3")),
        needs_exchange=True,
    ),
)
"""Once balancers hear each other again they tell all that was missed."""

HEARD_LATER = (
    Scenario(
        "one starts that hears nobody and is heard before another dies",
        one_by_one(drained("b1"), QUIET, isolated("n3"), starts("n3"), QUIET, MENDED, dies("n1")),
        needs_exchange=True,
        absent=("n3",),
    ),
)
"""A balancer that was told nothing learns what it can, and breaks nothing from then on."""

TOO_LATE = (
    Scenario(
        "one dies that nobody has heard for a while",
        one_by_one(isolated("n2"), added("b6"), QUIET, dies("n2")),
        needs_exchange=True,
    ),
    Scenario(
        "one starts that hears nobody",
        one_by_one(drained("b1"), QUIET, isolated("n3"), starts("n3")),
        needs_exchange=True,
        absent=("n3",),
    ),
    Scenario(
        "one dies at the moment in which it is cut off",
        (*one_by_one(added("b6"), QUIET), at_once(isolated("n2"), dies("n2"))),
        needs_exchange=True,
    ),
)
"""What a balancer has not told, or was not told, breaks at most the tracked share."""
