"""What `--max-disruption` counts: slots that move, VIPs that are withdrawn, services that disappear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from appliance.control.disruption import Disruption, Loss, disruptions, percent, refusal
from appliance.control.forecast import Cause, Move
from appliance.control.outlook import look, without_daemon
from appliance.control.state import Pair
from appliance.model import Backend, Config, Health, ServiceKey
from tests.unit.control.sample import DNS, TLS, WEB, address, config, service
from tests.unit.control.test_outlook import Running

MOVES: dict[ServiceKey, Move] = {
    WEB: Move(1000, 334, 334, Cause.BACKENDS, {address(1): 334}, {address(1): 500}),
    TLS: Move(1000, 1000, 1000, Cause.SEED),
    DNS: Move(1000, 50, 60, Cause.BACKENDS),
}
LOST = {key: Disruption(max(move.moved, move.at_once) / move.slots, Loss.SLOTS) for key, move in MOVES.items()}
REFUSALS: list[tuple[Mapping[ServiceKey, Disruption], float, str]] = [
    (LOST, 1.0, ""),
    (LOST, 0.5, f"{TLS} 100 % (1000 of 1000 slots: hash seed)"),
    (LOST, 0.3, f"{TLS} 100 % (1000 of 1000 slots: hash seed), {WEB} 33.4 % (334 of 1000 slots: backends)"),
    ({DNS: LOST[DNS]}, 0.05, f"{DNS} 6.0 % (60 of 1000 slots: backends)"),
    ({DNS: LOST[DNS]}, 0.06, ""),
    ({DNS: Disruption(1.0, Loss.WITHDRAWN)}, 0.99, f"{DNS} 100 % (VIP withdrawn)"),
    ({DNS: Disruption(1.0, Loss.REMOVED), WEB: Disruption()}, 0.0, f"{DNS} 100 % (service removed)"),
    ({DNS: Disruption(1.0, Loss.REMOVED)}, 1.0, ""),
]


@pytest.mark.parametrize(("lost", "most", "text"), REFUSALS)
def test_what_is_refused(lost: Mapping[ServiceKey, Disruption], most: float, text: str) -> None:
    assert refusal(lost, MOVES, most) == text


def test_of_many_the_worst_are_named() -> None:
    keys = [ServiceKey(address(1), port, WEB.protocol) for port in range(1, 21)]
    found = {key: Move(1000, key.port, key.port, Cause.BACKENDS) for key in keys}
    text = refusal(disruptions(found, {}, ()), found, 0.0)
    assert text.startswith("10.1.10.1:20/tcp 2.0 %")
    assert text.endswith(", and 12 more")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.00001, "0.1 %"), (0.334, "33.4 %"), (0.99999, "99.9 %"), (1.0, "100 %")]
)
def test_shares_in_words(share: float, text: str) -> None:
    assert percent(share) == text


def whole(loss: Loss) -> Disruption:
    return Disruption(1.0, loss)


OLD = config(service(WEB, 1, 2, 3), service(TLS, 1, 2, 3), service(DNS, 4, 5))
"""WEB and TLS share a VIP."""
QUICK = config(service(WEB, 1, 2), service(DNS, 4, 5, drain_timeout=0.0))
OFF = tuple(Backend(address(number), enabled=False) for number in (4, 5))
GONE, DOWN = whole(Loss.REMOVED), whole(Loss.WITHDRAWN)
# before, after, what is lost without a daemon (all backends being up)
TABLE: dict[str, tuple[Config, Config, dict[ServiceKey, Disruption]]] = {
    "nothing": (OLD, OLD, {}),
    "a service more": (config(service(DNS, 4, 5)), OLD, {}),
    "a service less, its VIP kept": (OLD, config(service(WEB, 1, 2, 3), service(DNS, 4, 5)), {TLS: GONE}),
    "a VIP less": (OLD, config(service(DNS, 4, 5)), {WEB: GONE, TLS: GONE}),
    "a service less, at once": (QUICK, config(service(WEB, 1, 2)), {DNS: GONE}),
    "all services less": (OLD, config(), {WEB: GONE, TLS: GONE, DNS: GONE}),
    "a VIP marked": (
        OLD,
        config(service(WEB, 1, 2, 3, vip_enabled=False), service(TLS, 1, 2, 3), service(DNS, 4, 5)),
        {WEB: DOWN, TLS: DOWN},
    ),
    "a marked VIP less": (config(service(DNS, 4, 5, vip_enabled=False)), config(), {DNS: GONE}),
    "one service of a VIP down": (
        OLD,
        config(service(WEB, 1, 2, 3, need=4), service(TLS, 1, 2, 3), service(DNS, 4, 5)),
        {WEB: DOWN, TLS: DOWN},
    ),
    "one that does not matter": (
        OLD,
        config(service(WEB, 1, 2, 3, need=4, critical=False), service(TLS, 1, 2, 3), service(DNS, 4, 5)),
        {},
    ),
    "all backends disabled": (
        OLD,
        config(service(WEB, 1, 2, 3), service(TLS, 1, 2, 3), service(DNS, backends=OFF)),
        {DNS: DOWN},
    ),
    "a port for another": (config(service(WEB, 1, 2)), config(service(TLS, 1, 2)), {WEB: GONE}),
}


@pytest.mark.parametrize(("old", "new", "lost"), TABLE.values(), ids=TABLE)
def test_what_is_lost(old: Config, new: Config, lost: dict[ServiceKey, Disruption]) -> None:
    assert without_daemon(old, new).lost == lost
    live = look(replace(Running(old).scene(new), new_are=Health.UP))
    assert live.lost == lost


def test_slots_that_move() -> None:
    outlook = without_daemon(OLD, config(service(WEB, 1, 2), service(TLS, 1, 2, 3), service(DNS, 4, 5)))
    move = outlook.moves[WEB]
    assert outlook.lost == {WEB: Disruption(move.moved / move.slots, Loss.SLOTS)}
    assert 0.3 < outlook.lost[WEB].share < 0.4


def test_a_port_more_disturbs_nobody() -> None:
    old = config(service(WEB, 1, 2, 3), service(DNS, 4, 5))
    assert look(Running(old).scene(OLD)).lost == {}


def test_others_in_their_place_move_all_slots() -> None:
    new = config(service(WEB, 11, 12), service(TLS, 1, 2, 3), service(DNS, 4, 5))
    assert look(Running(OLD).scene(new)).lost == {WEB: whole(Loss.SLOTS)}


def test_a_vip_that_the_checks_of_new_backends_cannot_keep() -> None:
    new = config(service(WEB, 11, 12, need=3), service(TLS, 1, 2, 3), service(DNS, 4, 5))
    assert look(Running(OLD).scene(new)).lost == {WEB: DOWN, TLS: DOWN}


def test_a_vip_that_is_down_already_is_not_withdrawn() -> None:
    sick: dict[Pair, Health] = {(DNS, address(number)): Health.DEAD for number in (4, 5)}
    new = config(service(WEB, 1, 2, 3), service(TLS, 1, 2, 3), service(DNS, 4, 5, need=2))
    assert look(Running(OLD, dict(sick)).scene(new)).lost == {}
    without = config(service(WEB, 1, 2, 3), service(TLS, 1, 2, 3))
    assert look(Running(OLD, dict(sick)).scene(without)).lost == {DNS: GONE}


def test_slots_that_move_before_the_first_verdicts_count() -> None:
    assert disruptions({DNS: MOVES[DNS]}, {}, ()) == {DNS: Disruption(0.06, Loss.SLOTS)}
