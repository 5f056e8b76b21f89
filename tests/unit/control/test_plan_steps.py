"""A plan made from the one before is the plan made from nothing, whatever changed in between, in every mode."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from appliance.control import ways
from appliance.control.overrides import Override, Overrides, What
from appliance.control.plan import Openings, Plan, plan
from appliance.control.state import Pair, State
from appliance.model import (
    Address,
    Backend,
    Config,
    Health,
    Host,
    Mode,
    Protocol,
    Service,
    ServiceKey,
    Tunnel,
    TunnelKind,
)
from tests.unit.control.networks import LAN, NICS, ON_TRUNK, TRUNK, down, host, mac, route, vlan, without
from tests.unit.control.sample import SEED

KEYS = tuple(
    ServiceKey(ip_address(vip), port, protocol)
    for vip, port, protocol in (
        ("203.0.113.10", 80, Protocol.TCP),
        ("203.0.113.10", 53, Protocol.UDP),
        ("2001:db8:ff::10", 80, Protocol.TCP),
        ("2001:db8:ff::11", 443, Protocol.TCP),
    )
)
BACKENDS = tuple(
    map(ip_address, ("10.1.10.1", "10.1.20.1", "10.9.0.1", "2001:db8:1::1", "2001:db8:10::1", "2001:db8:9::1"))
)
GATEWAYS = (vlan(10, "10.1.10.0/24", "10.1.10.9"), vlan(10, "2001:db8:10::/64"), vlan(20, "10.1.20.0/24"))
ROUTES = (route("0.0.0.0/0", "10.1.20.9", 20), route("0.0.0.0/0", "10.1.0.9", 2), route("::/0", "2001:db8:1::9", 2))
NEIGHBOURS = tuple(map(ip_address, ("10.1.10.9", "10.1.20.9", "10.1.0.9", "2001:db8:1::9"))) + BACKENDS

bare = [host(interfaces, (), routes) for interfaces in ((LAN,), NICS, ON_TRUNK, (TRUNK,)) for routes in ((), ROUTES)]
HOSTS = [*bare, down(bare[0], "eth0"), without(bare[5], "eth0.10"), down(bare[5], "eth0.20")]

tunnels = st.sampled_from(
    [None, Tunnel(TunnelKind.IPIP), Tunnel(TunnelKind.GUE, 6080), Tunnel(TunnelKind.DSCP, code=3)]
)
backends = st.lists(
    st.builds(Backend, st.sampled_from(BACKENDS), st.integers(0, 2), st.booleans()),
    max_size=4,
    unique_by=lambda backend: backend.address,
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    services = []
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        found = sorted(draw(backends), key=lambda backend: (backend.address.version, int(backend.address)))
        services.append(Service(key, tuple(found), (), draw(st.integers(0, 2)), tunnel=draw(tunnels)))
    names = draw(st.sampled_from([("eth0",), ("eth0", "eth1", "eth2")]))
    vlans = draw(st.sampled_from([(), GATEWAYS, tuple(replace(one, gateway=None) for one in GATEWAYS)]))
    return Config(
        names, draw(st.sampled_from(Mode)), services=tuple(sorted(services, key=lambda s: s.key)), vlans=vlans
    )


NOBODY = st.sampled_from([None, set[ServiceKey]()])
"""What is said to have changed where it is the host or the configuration, which the planner sees for itself."""


def resolved(found: Host, known: set[Address]) -> Host:
    pairs = {(interface.index, address): mac(address) for interface in found.interfaces for address in known}
    return replace(found, neighbours=pairs)


class Site:
    """One configuration and host that change, planned from the plan before."""

    def __init__(self, config: Config, found: Host) -> None:
        self.state, self.host = State(config), found
        self.openings, self.health = Openings(), dict[Pair, Health]()
        self.now = 100.0
        self.before: Plan | None = None

    def verdict(self, key: ServiceKey, address: Address) -> Health:
        return self.health.get((key, address), Health.UNKNOWN)

    def step(self, dirty: set[ServiceKey] | None) -> None:
        """Plan both ways, and compare."""
        apart = copy.deepcopy(self.openings)
        planned = partial(plan, self.state, self.verdict, self.host, seed=SEED, now=self.now)
        made = planned(openings=self.openings, before=self.before, dirty=dirty)
        fresh = planned(openings=apart, vips=self.before.desired.vips if self.before else None)
        assert made == fresh
        assert (made.troubles, made.wanted) == (fresh.troubles, fresh.wanted)
        assert self.openings == apart
        self.before = made


@given(st.data())
def test_step_by_step(data: st.DataObject) -> None:
    site = Site(data.draw(configs()), resolved(data.draw(st.sampled_from(HOSTS)), set(BACKENDS)))
    site.step(None)
    for _ in range(data.draw(st.integers(1, 8))):
        pairs = [(one.key, backend.address) for one in site.state.services() for backend in one.backends]
        dirty: set[ServiceKey] | None = None
        match data.draw(st.sampled_from(["health"] * 4 + ["time", "host", "macs", "reload", "drain", "expire"])):
            case "health":
                dirty = set()
                for pair in data.draw(st.lists(st.sampled_from(pairs), max_size=3)) if pairs else []:
                    site.health[pair] = data.draw(st.sampled_from(Health))
                    dirty.add(pair[0])
            case "time":
                site.now += data.draw(st.sampled_from([0.3, 1.0]))
                dirty = set()
            case "host":
                known = {address for _, address in site.host.neighbours}
                site.host = resolved(data.draw(st.sampled_from(HOSTS)), known)
                dirty = data.draw(NOBODY)
            case "macs":
                site.host = resolved(site.host, data.draw(st.sets(st.sampled_from(NEIGHBOURS))))
                dirty = data.draw(NOBODY)
            case "reload":
                site.state.reconfigure(data.draw(configs()), int(site.now))
                site.openings.keep({one.key for one in site.state.services()})
                dirty = data.draw(NOBODY)
            case "drain" if pairs:
                pair = data.draw(st.sampled_from(pairs))
                others = {other: found for other, found in site.state.overrides.entries.items() if other != pair}
                made = data.draw(st.none() | st.builds(Override, st.just("ann"), st.just(1.0), st.integers(0, 1)))
                entry = {data.draw(st.sampled_from(What)): made} if made else {}
                site.state.overrides = Overrides({**others, pair: entry} if entry else others)
            case _:
                site.state.expire(int(site.now), data.draw(st.lists(st.sampled_from(pairs))) if pairs else ())
        site.step(dirty)


def many(backends: Mapping[ServiceKey, tuple[Backend, ...]]) -> Config:
    return Config(("eth0",), services=tuple(Service(key, found, ()) for key, found in backends.items()))


def test_one_verdict_looks_at_one_service() -> None:
    keys = [ServiceKey(ip_address("203.0.113.0") + number, 80, Protocol.TCP) for number in range(50)]
    pool = tuple(Backend(ip_address("10.1.10.0") + number) for number in range(1, 21))
    asked: list[ServiceKey] = []

    def verdict(key: ServiceKey, _: Address) -> Health:
        asked.append(key)
        return Health.UP

    state, found, openings = State(many(dict.fromkeys(keys, pool))), host([LAN]), Openings()
    before = plan(state, verdict, found, seed=SEED, now=1.0, openings=openings)
    asked.clear()
    made = plan(state, verdict, found, seed=SEED, now=1.0, openings=openings, before=before, dirty={keys[7]})
    assert set(asked) == {keys[7]}
    assert len(asked) == len(pool)
    assert made == before
    untouched = [(a, b) for a, b in zip(made.desired.services, before.desired.services, strict=True) if a is not b]
    assert [one.key for one, _ in untouched] == [keys[7]]


def test_ways_are_found_once_for_all_services_and_plans() -> None:
    looked: list[Address] = []

    class Counting(ways.Ways):
        def _on_link(self, address: Address) -> ways.Way | None:
            looked.append(address)
            return super()._on_link(address)

    keys = [ServiceKey(ip_address("203.0.113.0") + number, 80, Protocol.TCP) for number in range(50)]
    pool = tuple(Backend(ip_address("10.1.10.0") + number) for number in range(1, 21))
    state, found, openings = State(many(dict.fromkeys(keys, pool))), host([LAN]), Openings()
    planned = partial(plan, state, lambda *_: Health.UP, seed=SEED, now=1.0, openings=openings)
    before = planned(found)
    before = replace(before, ways=Counting(state.config, found))
    before = planned(found, before=before)
    assert sorted(looked) == sorted(backend.address for backend in pool)
    # MAC addresses come and go without a look-up, and reach every member.
    known = replace(found, neighbours={(2, pool[3].address): mac(pool[3].address)})
    made = planned(known, before=before)
    assert len(looked) == len(pool)
    assert [[member.hop is not None for member in one.members].index(True) for one in made.desired.services] == [3] * 50


def test_a_service_that_waits_opens_without_a_verdict() -> None:
    site = Site(many({KEYS[0]: (Backend(BACKENDS[0]), Backend(BACKENDS[1]))}), host([LAN]))
    site.health[KEYS[0], BACKENDS[0]] = Health.UP
    ups = []
    for at in (100.0, 100.5, 101.0):
        site.now = at
        site.step(None if site.before is None else set())
        assert site.before is not None
        ups.append(site.before.services[KEYS[0]].up)
    assert ups == [False, False, True]
