"""From configuration, health, drains and host to what every backend receives, and which services and VIPs are up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.control.plan import dead_while_leaving, grace
from appliance.control.receivers import receives
from appliance.control.state import Leaving, State
from appliance.dataplane.desired import Hop, Member, ProbeLink
from appliance.dataplane.enums import DeadPolicy
from appliance.dataplane.enums import State as Receives
from appliance.model import Backend, Config, Health, OnDead, OnDown, Protocol, ServiceKey, Tracking, UnknownPort
from tests.unit.control import networks
from tests.unit.control.networks import LAN
from tests.unit.control.sample import DNS, ETH0, SEED, TLS, WEB, Planner, address, config, drained, host, mac, service

UNKNOWN, UP, WRONG, DEAD_ = Health.UNKNOWN, Health.UP, Health.WRONG, Health.DEAD
NONE, DEAD, DRAINING, AVAILABLE = Receives.NONE, Receives.DEAD, Receives.DRAINING, Receives.AVAILABLE
PLAIN, WEIGHTLESS, DISABLED = Backend(address(1)), Backend(address(1), 0), Backend(address(1), enabled=False)
DRAIN, CUT = OnDown.DRAIN, OnDown.CUT
NOBODY, OPERATOR, LEAVING, BOTH = (), ("drain",), ("leave",), ("drain", "leave")

# Configured as, on_down, who wants it to drain, health -> what it receives. The order of precedence: unknown, dead,
# draining, available.
TABLE = [
    (PLAIN, DRAIN, NOBODY, UP, AVAILABLE),
    (PLAIN, CUT, NOBODY, UP, AVAILABLE),
    (PLAIN, DRAIN, NOBODY, WRONG, DRAINING),
    (PLAIN, CUT, NOBODY, WRONG, DEAD),
    *[(PLAIN, down, NOBODY, DEAD_, DEAD) for down in OnDown],
    *[
        (backend, down, wish, UNKNOWN, NONE)
        for backend in (PLAIN, WEIGHTLESS, DISABLED)
        for down in OnDown
        for wish in (NOBODY, OPERATOR, LEAVING, BOTH)
    ],
    *[
        (backend, down, wish, health, gets)
        for backend, wish in (
            (WEIGHTLESS, NOBODY),
            (DISABLED, NOBODY),
            (PLAIN, OPERATOR),
            (PLAIN, LEAVING),
            (PLAIN, BOTH),
            (DISABLED, BOTH),
        )
        for down in OnDown
        for health, gets in ((UP, DRAINING), (WRONG, DEAD if down is CUT else DRAINING), (DEAD_, DEAD))
    ],
]


@pytest.mark.parametrize(("backend", "on_down", "wish", "health", "gets"), TABLE)
def test_what_a_backend_receives(
    backend: Backend, on_down: OnDown, wish: tuple[str, ...], health: Health, gets: Receives
) -> None:
    one = service(WEB, backends=(backend,), on_down=on_down)
    state = State(config(one))
    if "drain" in wish:
        state.overrides = drained((WEB, address(1)))
    if "leave" in wish:
        state.leaving[WEB, address(1)] = Leaving(one, backend, 1_000)
    assert receives(one, backend, health, state) is gets


def test_drains_are_of_one_service_alone() -> None:
    planner = Planner(State(config(service(WEB, 1, 2), service(TLS, 1, 2))))
    planner.state.overrides = drained((WEB, address(1)))
    web, tls = planner.plan().desired.services
    assert [member.state for member in web.members] == [DRAINING, AVAILABLE]
    assert [member.state for member in tls.members] == [AVAILABLE, AVAILABLE]


def test_members_have_weights_and_ways() -> None:
    backends = (Backend(address(1), 5), Backend(address(2), 0), Backend(address(3), 7), Backend(address(4), 2))
    planner = Planner(State(config(service(WEB, backends=backends))), host=host(1, 2))
    planner.set(WEB, {3: DEAD_})
    made = planner.plan()
    (one,) = made.desired.services
    ways = [Hop(2, mac(number) + ETH0.mac, ETH0.addresses[0].ip) for number in (1, 2)]
    assert one.members == (
        Member(address(1), 5, AVAILABLE, ways[0]),
        Member(address(2), 0, DRAINING, ways[1]),
        Member(address(3), 0, DEAD, None),
        Member(address(4), 2, AVAILABLE, None),
    )
    assert made.wanted == {address(number) for number in (1, 2, 3, 4)}


def test_who_leaves_keeps_its_way() -> None:
    state = State(config(service(WEB, 1, 2)))
    state.reconfigure(config(service(WEB, 1)), 100)
    made = Planner(state).plan()
    assert made.wanted == {address(1), address(2)}
    assert made.neighbours == {(2, address(1)), (2, address(2))}
    assert [member.hop is not None for member in made.desired.services[0].members] == [True, True]


def test_probes_of_another_family_have_a_source_of_the_vips() -> None:
    six = ip_address("2001:db8:1::1")
    keys = [ServiceKey(ip_address(vip), 80, Protocol.TCP) for vip in ("203.0.113.10", "2001:db8:ff::10")]
    backends = (Backend(address(1)), Backend(six))
    made = Planner(State(config(*(service(key, backends=backends) for key in keys))), host=networks.host([LAN])).plan()
    four, own = ip_address("10.1.0.5"), ip_address("2001:db8:1::5")
    assert [[member.source for member in one.members] for one in made.desired.services] == [[None, four], [own, None]]
    assert made.desired.vips == {key.vip: True for key in keys}


# Health of three backends, need -> how many are available, and whether the service is up
NEEDS = [
    ((UP, UP, UP), 1, 3, True),
    ((UP, DEAD_, DEAD_), 1, 1, True),
    ((WRONG, DEAD_, DEAD_), 1, 0, False),
    ((UP, UP, DEAD_), 2, 2, True),
    ((UP, WRONG, DEAD_), 2, 1, False),
    ((UP, UP, UP), 4, 3, False),
    ((DEAD_, DEAD_, DEAD_), 0, 0, True),
    ((UNKNOWN, UNKNOWN, UNKNOWN), 1, 0, False),
]


@pytest.mark.parametrize(("healths", "need", "available", "up"), NEEDS)
def test_a_service_is_up_with_what_it_needs(healths: tuple[Health, ...], need: int, available: int, up: bool) -> None:
    planner = Planner(State(config(service(WEB, 1, 2, 3, need=need))))
    planner.set(WEB, dict(enumerate(healths, 1)))
    made = planner.plan()
    assert (made.services[WEB].available, made.services[WEB].up) == (available, up)
    assert made.desired.vips == {WEB.vip: up}


def test_a_vip_is_up_when_all_its_services_are() -> None:
    planner = Planner(State(config(service(WEB, 1), service(TLS, 1), service(DNS, 1))))
    assert planner.plan().desired.vips == {WEB.vip: True, DNS.vip: True}
    planner.set(TLS, {1: DEAD_})
    assert planner.plan().desired.vips == {WEB.vip: False, DNS.vip: True}


def test_a_vip_with_nothing_but_leaving_backends_is_known_and_down() -> None:
    state = State(config(service(WEB, 1), service(DNS, 1)))
    state.reconfigure(config(service(DNS, 1)), 100)
    made = Planner(state).plan()
    assert made.desired.vips == {WEB.vip: False, DNS.vip: True}
    assert [(one.key, [m.state for m in one.members]) for one in made.desired.services] == [
        (WEB, [DRAINING]),
        (DNS, [AVAILABLE]),
    ]


def test_a_leaving_service_does_not_take_the_vip_down() -> None:
    state = State(config(service(WEB, 1), service(TLS, 1)))
    state.reconfigure(config(service(WEB, 1)), 100)
    assert Planner(state).plan().desired.vips == {WEB.vip: True}


@pytest.mark.parametrize(
    ("tracking", "tracks", "remembers"),
    [(Tracking.AUTO, True, False), (Tracking.ALL, True, True), (Tracking.NONE, False, False)],
)
@pytest.mark.parametrize("sticky", [True, False])
def test_which_flows_are_remembered(tracking: Tracking, tracks: bool, remembers: bool, sticky: bool) -> None:
    (one,) = Planner(State(config(service(WEB, 1, tracking=tracking, sticky=sticky)))).plan().desired.services
    assert (one.tracking, one.remember_all, one.sticky) == (tracks, remembers, sticky)


@pytest.mark.parametrize(
    ("key", "idle", "udp_grace", "seconds"),
    [(WEB, 900.0, 30.0, 900), (DNS, 900.0, 30.0, 30), (WEB, 0.2, 30.0, 1), (DNS, 900.0, 0.4, 1), (DNS, 9.0, 2.6, 3)],
)
def test_grace(key: ServiceKey, idle: float, udp_grace: float, seconds: int) -> None:
    assert grace(Config(idle=idle, udp_grace=udp_grace), key) == seconds


@pytest.mark.parametrize(
    ("on_dead", "policy"),
    [(OnDead.RESELECT, DeadPolicy.RESELECT), (OnDead.RESET, DeadPolicy.RESET), (OnDead.DROP, DeadPolicy.DROP)],
)
def test_settings_of_the_whole(on_dead: OnDead, policy: DeadPolicy) -> None:
    planner = Planner(State(config(service(WEB, 1, on_dead=on_dead), idle=77.4, unknown_port=UnknownPort.PASS)))
    wanted = planner.plan().desired
    assert (wanted.seed, wanted.idle, wanted.pass_unknown_port, wanted.probe) == (SEED, 77, True, None)
    assert wanted.services[0].on_dead is policy


def test_the_probe_link_is_handed_on() -> None:
    from appliance.control.plan import Openings, plan

    link = ProbeLink(7, bytes(12), address(1))
    state = State(config())
    made = plan(state, lambda *_: UP, host(), seed=SEED, now=0.0, openings=Openings(), probe=link)
    assert made.desired.probe == link


def test_dead_while_leaving() -> None:
    state = State(config(service(WEB, 1, 2, 3)))
    state.reconfigure(config(service(WEB, 3)), 100)
    planner = Planner(state)
    planner.set(WEB, {1: DEAD_, 2: WRONG, 3: DEAD_})
    assert dead_while_leaving(state, planner.verdict) == [(WEB, address(1))]
