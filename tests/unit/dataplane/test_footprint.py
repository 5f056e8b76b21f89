"""What the tables take, and what is refused."""

from __future__ import annotations

import re

import pytest

from appliance.dataplane.footprint import SPARE, available, described, footprint, needed, require
from appliance.dataplane.shape import Shape
from appliance.errors import PlanError

SMALL = Shape(cpus=4, services=1024, destinations=4096, slots=1 << 17, sets=1 << 17)


def test_counters_are_kept_for_every_cpu_and_one_more() -> None:
    assert footprint(SMALL)["counters"] == 5 * 2 * 4096 * 16
    assert footprint(SMALL)["flows"] == (1 << 17) * 8 * 8


def test_only_what_changes_its_size_is_needed_anew() -> None:
    large = Shape(cpus=4, services=1024, destinations=8192, slots=1 << 17, sets=1 << 17)
    assert needed(SMALL) == footprint(SMALL)
    assert needed(SMALL, SMALL) == {}
    assert needed(large, SMALL).keys() == {"destinations", "identities", "counters"}


def test_the_line_for_people_names_the_largest_first() -> None:
    pattern = r"tables: \d+ MiB of .* \(flows 8 MiB, answers 8 MiB, histories 2 MiB; 4 possible CPUs\)"
    assert re.fullmatch(pattern, described(SMALL))


@pytest.mark.parametrize(
    ("text", "found"),
    [("MemTotal: 9 kB\nMemAvailable:     20 kB\n", 20480), ("MemTotal: 9 kB\n", 0), ("", 0)],
)
def test_what_a_host_has_left(text: str, found: int) -> None:
    assert available(text) == found


def test_what_does_not_fit_is_refused_by_name() -> None:
    sizes = {"flows": 300 << 20, "slots": 20 << 20}
    require(sizes, 0)
    require(sizes, (320 << 20) + SPARE)
    require({}, 1)
    message = (
        "the tables need 320 MiB more memory, 300 MiB of it for flows, and this host has 100 MiB left, of which 64 MiB "
        "stay free: use fewer services or backends, a smaller max_flows, or more memory"
    )
    with pytest.raises(PlanError, match=re.escape(message)):
        require(sizes, 100 << 20)
