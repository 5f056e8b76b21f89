"""What happens to balancers: killed, stopped, restarted, added, while slots remember that backends have changed."""

from __future__ import annotations

from tests.fleet.scenario import (
    FORGOTTEN,
    QUIET,
    Scenario,
    added,
    daemon_dies,
    dies,
    drained,
    one_by_one,
    starts,
    stops,
)

CHANGED = one_by_one(added("b6"), QUIET, QUIET)
"""A sixth of the slots is tracked, and so many flows have begun since that some break where nobody is told of them."""

SCENES = (
    Scenario(
        "one dies and nothing else has happened",
        one_by_one(dies("n2"), starts("n2")),
        needs_exchange=False,
    ),
    Scenario(
        "one dies after a backend was added",
        (*CHANGED, *one_by_one(dies("n2"))),
        needs_exchange=True,
    ),
    Scenario(
        "one dies after a backend was added and comes back",
        (*CHANGED, *one_by_one(dies("n2"), starts("n2"))),
        needs_exchange=True,
    ),
    Scenario(
        "one dies after the former owners are forgotten",
        one_by_one(added("b6"), QUIET, FORGOTTEN, dies("n1")),
        needs_exchange=True,
        idle=8,
        udp_grace=4,
    ),
    Scenario(
        "one is stopped after a backend was drained",
        one_by_one(drained("b1"), QUIET, stops("n3")),
        needs_exchange=True,
    ),
    Scenario(
        "one is restarted after a backend was drained",
        one_by_one(drained("b1"), QUIET, stops("n3"), starts("n3")),
        needs_exchange=True,
    ),
    Scenario(
        "one is added after a backend was drained",
        one_by_one(drained("b1"), QUIET, starts("n3")),
        needs_exchange=True,
        absent=("n3",),
    ),
    Scenario(
        "a daemon dies and comes back after a backend was drained",
        one_by_one(drained("b1"), QUIET, daemon_dies("n2"), starts("n2")),
        needs_exchange=False,
    ),
    Scenario(
        "all are replaced, one after the other",
        (*CHANGED, *one_by_one(stops("n1"), starts("n1"), stops("n2"), starts("n2"), stops("n3"), starts("n3"))),
        needs_exchange=True,
    ),
    Scenario(
        "one dies where all flows are remembered",
        one_by_one(QUIET, dies("n2"), starts("n2")),
        needs_exchange=True,
        scheduler="least-connections",
    ),
)
