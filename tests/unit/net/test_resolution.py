"""When the kernel is asked for which neighbour."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.model import Address
from appliance.net.resolution import BURST, Resolution
from appliance.net.view import NeighbourState

NUD = NeighbourState
NEIGHBOUR: tuple[int, Address] = (5, IPv4Address("192.0.2.7"))


def asked_at(states: dict[int, NeighbourState], seconds: int) -> list[int]:
    """Return the seconds at which a neighbour is asked for, whose state changes as `states` says."""
    resolution = Resolution()
    resolution.want([NEIGHBOUR])
    current, asked = NUD.NONE, []
    for second in range(seconds):
        current = states.get(second, current)
        if resolution.due(lambda _index, _address, state=current: state, float(second)):  # type: ignore[misc]
            asked.append(second)
    return asked


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param({0: NUD.NONE}, [0, 1, 3, 7, 12, 17], id="unresolved: at once, then slower, at most 5 s apart"),
        pytest.param({0: NUD.FAILED}, [0, 1, 3, 7, 12, 17], id="failed is unresolved"),
        pytest.param({0: NUD.REACHABLE}, [], id="confirmed: never"),
        pytest.param({0: NUD.PERMANENT}, [], id="permanent: never, for a request would take that from it"),
        pytest.param({0: NUD.STALE}, [0, 5, 10, 15], id="stale: every 5 s"),
        pytest.param({0: NUD.REACHABLE, 7: NUD.STALE, 8: NUD.REACHABLE}, [7], id="confirmed when stale"),
        pytest.param(
            {0: NUD.STALE, 2: NUD.PROBE, 6: NUD.FAILED}, [0, 5, 6, 7, 9, 13, 18], id="failure is seen at once"
        ),
        pytest.param({0: NUD.NONE, 13: NUD.STALE, 14: NUD.NONE}, [0, 1, 3, 7, 12, 13, 14, 15, 17], id="pace anew"),
    ],
)
def test_pace(states: dict[int, NeighbourState], expected: list[int]) -> None:
    assert asked_at(states, 19) == expected


def test_pace_survives_a_new_set_and_ends_with_it() -> None:
    resolution = Resolution()
    other = (5, IPv4Address("192.0.2.8"))
    resolution.want([NEIGHBOUR])
    assert resolution.due(lambda *_: NUD.NONE, 0.0) == [NEIGHBOUR]
    resolution.want([NEIGHBOUR, other])
    assert resolution.due(lambda *_: NUD.NONE, 0.5) == [other]
    resolution.want([])
    assert resolution.due(lambda *_: NUD.NONE, 100.0) == []


def test_a_burst_is_bounded_and_nobody_starves() -> None:
    resolution = Resolution()
    wanted = {(5, IPv4Address(index)) for index in range(10 * BURST)}
    resolution.want(wanted)
    asked = [resolution.due(lambda *_: NUD.NONE, float(second)) for second in range(10)]
    assert {len(burst) for burst in asked} == {BURST}
    assert set().union(*asked) == wanted
