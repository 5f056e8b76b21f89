"""The outlook on a reload is what the state, the plan and the tables then make of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest

from appliance.control.blocks import Block, Blocks
from appliance.control.differences import Change
from appliance.control.forecast import Cause, Seat, VipChanges
from appliance.control.outlook import Flows, Outlook, Scene, apart, look, overview, told, without_daemon
from appliance.control.plan import Openings, Plan, plan
from appliance.control.shares import Shares
from appliance.control.state import Pair, State
from appliance.dataplane.shape import Shape
from appliance.model import Address, Backend, Config, Health, Host, Scheduler, ServiceKey
from tests.unit.control.sample import DNS, SEED, TLS, WEB, address, config, service
from tests.unit.dataplane.desires import tables_at

NOW, TIME = 100.0, 1_000
SHAPE = Shape(services=8, destinations=512, slots=1 << 14, sets=512, previous=True)


@dataclass
class Running:
    """A daemon's state and tables without the daemon; backends without a health of their own are up once known."""

    config: Config
    health: dict[Pair, Health] = field(default_factory=dict)
    current: Plan | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.state = State(self.config)
        self.tables = tables_at(TIME, SHAPE)
        self.openings, self.shares = Openings(), Shares()
        self.known = {(one.key, backend.address) for one in self.config.services for backend in one.backends}
        self.apply()

    def verdict(self, key: ServiceKey, backend: Address) -> Health:
        """The health of a backend."""
        return self.health.get((key, backend), Health.UP if (key, backend) in self.known else Health.UNKNOWN)

    def apply(self) -> Plan:
        """Bring the tables to what the state asks for."""
        self.current = plan(
            self.state,
            self.verdict,
            Host(),
            seed=SEED,
            now=NOW,
            openings=self.openings,
            shares=self.shares,
            time=TIME,
            before=self.current,
        )
        self.tables.apply(self.current.desired)
        return self.current

    @property
    def plan(self) -> Plan:
        """What was applied last."""
        assert self.current is not None
        return self.current

    def reload(self, new: Config) -> None:
        """What a reload does."""
        self.state.reconfigure(new, TIME)
        self.apply()

    def seats(self) -> dict[ServiceKey, Seat]:
        """The tables as they are."""
        found = {}
        for key in self.tables.tracked():
            slots, entry = self.tables.slots(key), self.tables.entry(key)
            assert slots is not None
            assert entry is not None
            names = {number - entry.destinations: who for who, number in self.tables.numbers(key).items()}
            found[key] = Seat(entry, self.tables.memory.slots[slots.first : slots.first + slots.count], 0x7FFF, names)
        return found

    def owners(self, key: ServiceKey) -> list[Address | None]:
        """The backend of each slot."""
        found = self.seats().get(key)
        return found.owners() if found else []

    def scene(self, wanted: Config) -> Scene:
        """What a forecast goes by."""
        return Scene(
            apart(self.state),
            wanted,
            self.seats(),
            self.verdict,
            Host(),
            SEED,
            openings=self.openings,
            shares=self.shares.apart(),
            now={one.key: one for one in self.plan.desired.services},
            vips=self.plan.desired.vips,
            at=NOW,
            time=TIME,
        )


OLD = config(service(WEB, 1, 2, 3), service(DNS, 4, 5))
QUICK = config(service(WEB, 1, 2, 3, drain_timeout=0.0), service(DNS, 4, 5))
MARKED = config(service(WEB, 1, 2, 3, vip_enabled=False), service(DNS, 4, 5))
SLOW = config(service(WEB, 1, 2, 3, slow_start=60.0))
NONE, CHANGED = VipChanges((), ()), Change.CHANGED
HEAVY = (Backend(address(1), 5), Backend(address(2)), Backend(address(3)))
OFF = (Backend(address(1), enabled=False), Backend(address(2)), Backend(address(3)))

TABLE: dict[str, tuple[Config, Config, VipChanges]] = {
    "nothing": (OLD, config(service(WEB, 1, 2, 3), service(DNS, 4, 5)), NONE),
    "another check": (OLD, config(service(WEB, 1, 2, 3, checks=()), service(DNS, 4, 5)), NONE),
    "a weight": (OLD, config(service(WEB, backends=HEAVY), service(DNS, 4, 5)), NONE),
    "one disabled": (OLD, config(service(WEB, backends=OFF), service(DNS, 4, 5)), NONE),
    "a backend less": (OLD, config(service(WEB, 1, 2), service(DNS, 4, 5)), NONE),
    "a backend less, at once": (QUICK, config(service(WEB, 1, 2), service(DNS, 4, 5)), NONE),
    "a backend more": (OLD, config(service(WEB, 1, 2, 3, 4), service(DNS, 4, 5)), NONE),
    "an unchecked backend more": (
        config(service(WEB, 1, 2, checks=())),
        config(service(WEB, 1, 2, 3, checks=())),
        NONE,
    ),
    "a backend more, slowly": (SLOW, config(service(WEB, 1, 2, 3, 4, slow_start=60.0)), NONE),
    "others in their place": (OLD, config(service(WEB, 11, 12), service(DNS, 4, 5)), NONE),
    "others in their place, too few": (
        OLD,
        config(service(WEB, 11, 12, need=3), service(DNS, 4, 5)),
        VipChanges((), (WEB.vip,)),
    ),
    "a port more": (OLD, config(service(WEB, 1, 2, 3), service(TLS, 6, 7), service(DNS, 4, 5)), NONE),
    "a port more, too few": (
        OLD,
        config(service(WEB, 1, 2, 3), service(TLS, 6, 7, need=3), service(DNS, 4, 5)),
        VipChanges((), (WEB.vip,)),
    ),
    "a service less": (OLD, config(service(WEB, 1, 2, 3)), VipChanges((), (DNS.vip,))),
    "a service less, at once": (QUICK, config(service(DNS, 4, 5)), VipChanges((), (WEB.vip,))),
    "a service more": (config(service(WEB, 1, 2, 3)), OLD, VipChanges((DNS.vip,), ())),
    "more needed": (OLD, config(service(WEB, 1, 2, 3, need=4), service(DNS, 4, 5)), VipChanges((), (WEB.vip,))),
    "a VIP disabled": (OLD, MARKED, VipChanges((), (WEB.vip,))),
    "a VIP enabled": (MARKED, OLD, VipChanges((WEB.vip,), ())),
    "sticky": (OLD, config(service(WEB, 1, 2, 3, sticky=True), service(DNS, 4, 5)), NONE),
}


def moved(before: list[Address | None], after: list[Address | None]) -> int:
    """How many slots have left their backend."""
    if len(before) != len(after):
        return len(after) or sum(was is not None for was in before)
    return sum(was is not None and was != to for was, to in zip(before, after, strict=True))


@pytest.mark.parametrize(("old", "new", "changes"), TABLE.values(), ids=TABLE)
@pytest.mark.parametrize(
    "sick", [{}, {(WEB, address(2)): Health.DEAD}, {(WEB, address(1)): Health.WRONG}], ids=["well", "dead", "wrong"]
)
def test_the_outlook_comes_true(old: Config, new: Config, changes: VipChanges, sick: dict[Pair, Health]) -> None:
    running = Running(old, dict(sick))
    held = {key: running.owners(key) for key in running.tables.tracked()}
    state, openings = repr(running.state), repr(running.openings)
    outlook = look(running.scene(new))
    assert (repr(running.state), repr(running.openings)) == (state, openings), "nothing was touched"
    assert {key: running.owners(key) for key in held} == held
    if not sick:
        assert outlook.vips == changes
    up = announced(running)
    running.known -= {pair for pair in running.known if pair[0] not in {one.key for one in old.services}}
    unchecked = {one.key for one in new.services if not one.checks}
    pairs = {(one.key, backend.address) for one in new.services for backend in one.backends}
    running.known |= {pair for pair in pairs if pair[0] in unchecked}
    for key in unchecked:
        running.health = {pair: health for pair, health in running.health.items() if pair[0] != key}
    running.reload(new)
    check(running, outlook, held, at_once=True)
    down = up - announced(running)
    running.known |= pairs
    running.apply()
    assert set(outlook.vips.withdrawn) == down | (up - announced(running))
    assert set(outlook.vips.announced) == announced(running) - up
    running.shares.ramps.since.clear()  # as when slow start is over
    running.apply()
    check(running, outlook, held, at_once=False)


def announced(running: Running) -> set[Address]:
    """The VIPs that routers are told of."""
    out = {one.key.vip for one in running.state.config.services if not one.vip_enabled}
    return {vip for vip, up in running.plan.desired.vips.items() if up} - out


def check(running: Running, outlook: Outlook, held: dict[ServiceKey, list[Address | None]], *, at_once: bool) -> None:
    """Assert that so many slots have moved as was foretold."""
    for key, before in held.items():
        move = outlook.moves[key]
        entry = running.tables.entry(key)
        if entry is not None and entry.previous_count:
            assert (move.moved, move.at_once, move.share) == (entry.slot_count, entry.slot_count, 1.0)
        else:
            assert (move.at_once if at_once else move.moved) == moved(before, running.owners(key)), key


@pytest.mark.parametrize(("old", "new", "changes"), TABLE.values(), ids=TABLE)
def test_without_a_daemon_it_is_the_same_but_for_checks(old: Config, new: Config, changes: VipChanges) -> None:
    live, alone = look(replace(Running(old).scene(new), new_are=Health.UP)), without_daemon(old, new)
    assert alone.differences == live.differences
    assert alone.vips == live.vips
    assert {key: (move.moved, move.slots, move.cause) for key, move in alone.moves.items()} == {
        key: (move.moved, move.slots, move.cause) for key, move in live.moves.items()
    }


@pytest.mark.parametrize(("before", "after"), [(None, SEED), (SEED, None), (SEED, SEED[::-1])])
def test_another_seed_moves_all(before: bytes | None, after: bytes | None) -> None:
    outlook = without_daemon(replace(OLD, hash_seed=before), replace(OLD, hash_seed=after))
    assert {move.share for move in outlook.moves.values()} == {1.0}
    assert outlook.differences.settings == ("hash_seed",)
    assert {move.share for move in look(replace(Running(OLD).scene(OLD), reseeded=True)).moves.values()} == {1.0}


def test_in_json() -> None:
    outlook = without_daemon(OLD, config(service(WEB, backends=HEAVY[:2]), service(TLS, 1)))
    web = outlook.moves[WEB]
    assert web.cause is Cause.BACKENDS
    rows = {row["service"]: row for row in told(outlook, {WEB: Flows(7, counted=True)})}
    assert list(rows) == [str(WEB), str(TLS), str(DNS)]
    assert rows[str(WEB)] == {
        "service": str(WEB),
        "change": "changed",
        "fields": [],
        "backends": {"added": [], "removed": [str(address(3))], "changed": {str(address(1)): ["weight"]}},
        "slots": web.slots,
        "moved_slots": web.moved,
        "share": round(web.share, 6),
        "moved_at_once": web.moved,
        "cause": "backends",
        "disruption": round(web.share, 6),
        "disrupted_by": "slots move",
        "flows": 7,
        "flows_counted": True,
    }
    assert (rows[str(TLS)]["change"], rows[str(TLS)]["moved_slots"], rows[str(TLS)]["flows"]) == ("added", 0, 0)
    assert (rows[str(DNS)]["change"], rows[str(DNS)]["share"], rows[str(DNS)]["flows"]) == ("removed", 1.0, None)
    whole = overview(outlook)
    assert {name: whole[name] for name in whole if name.startswith(("services", "backends"))} == {
        "services_added": 1,
        "services_removed": 1,
        "services_changed": 1,
        "backends_added": 1,
        "backends_removed": 3,
        "backends_changed": 1,
    }
    assert whole["vips"] == {"announce": [], "withdraw": [str(DNS.vip)]}
    assert whole["largest_share"] == 1.0
    assert whole["largest_disruption"] == 1.0


def test_flows_of_a_vip_that_is_withdrawn() -> None:
    outlook = without_daemon(OLD, MARKED)
    rows = {row["service"]: row for row in told(outlook, {WEB: Flows(7), DNS: Flows(9)})}
    assert [rows[str(WEB)][name] for name in ("moved_slots", "disruption", "disrupted_by", "flows")] == [
        0,
        1.0,
        "VIP withdrawn",
        7,
    ]
    assert [rows[str(DNS)][name] for name in ("disruption", "disrupted_by", "flows")] == [0.0, "", 0]
    assert overview(outlook)["largest_disruption"] == 1.0
    assert overview(outlook)["largest_share"] == 0.0


def test_copies_go_their_own_way() -> None:
    running = Running(
        config(service(WEB, 1, 2, slow_start=60.0), service(DNS, 4, scheduler=Scheduler.LEAST_CONNECTIONS))
    )
    running.openings.since[DNS] = 1.0
    running.shares.balance.observe(DNS, {address(4): (1, 5), address(5): (1, 500)}, eject=False)
    blocked = Block(ip_network("198.51.100.0/24"), 1.0, None, "ann")
    running.state.blocks.add(blocked, ())
    for one in (running.openings, running.shares, running.state.blocks):
        before = copy.deepcopy(one)
        other = apart(running.state).blocks if one is running.state.blocks else one.apart()  # type: ignore[union-attr]
        assert other == one == before
        if isinstance(other, Blocks):
            other.remove(blocked.prefix, ())
        elif isinstance(other, Shares):
            other.ramps.present.clear()
            other.balance.observe(DNS, {address(4): (1, 900), address(5): (1, 5)}, eject=False)
        else:
            other.opened.clear()
            other.since.clear()
        assert one == before
        assert other != one
