"""In what nodes differ, since when, and why: digests, the causes in their order, ranges of slots."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import config as files
from appliance.control.fleet_differences import LASTING, LISTED, Differences, Side, ranges
from appliance.control.fleet_digests import OWN_SETTINGS, SEED, common, configuration_digest, differing, service_digest
from appliance.fleet.difference import Cause, Difference
from appliance.fleet.records import DIGEST, Down, Facts, NodeState, ServiceDown, TableDigest, TableOf, View
from appliance.model import Address, Backend, Config, Scheduler, Service, ServiceKey, Tracking
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet
from appliance.model_logging import Priority
from tests.lab.backend import REPOSITORY
from tests.profile import EXAMPLES
from tests.unit.control.sample import DNS, TLS, WEB, address, config, service

SEEDS = bytes(range(16)), bytes(range(1, 17))
PLAIN = service(WEB, 1, 2)


def changed(one: Service, **values: Any) -> Service:
    """The service with another first backend."""
    return replace(one, backends=(replace(one.backends[0], **values), *one.backends[1:]))


MATTERS: dict[str, Service] = {
    "a backend more": service(WEB, 1, 2, 3),
    "another backend": service(WEB, 1, 3),
    "a weight": changed(PLAIN, weight=2),
    "disabled": changed(PLAIN, enabled=False),
    "a fallback": changed(PLAIN, fallback=True),
    "need": replace(PLAIN, need=2),
    "sticky": replace(PLAIN, sticky=True),
    "the scheduler": replace(PLAIN, scheduler=Scheduler.LEAST_CONNECTIONS),
    "ejection": replace(PLAIN, eject_most_loaded=True),
    "tracking": replace(PLAIN, tracking=Tracking.ALL),
    "slow start": replace(PLAIN, slow_start=10.0),
    "removal": replace(PLAIN, max_removal=0.5),
    "its window": replace(PLAIN, removal_window=10.0),
}
MATTERS_NOT: dict[str, Service] = {
    "the order of backends": replace(PLAIN, backends=PLAIN.backends[::-1]),
    "a name": replace(PLAIN, name="shop", description="the shop"),
    "a priority": replace(PLAIN, priority=Priority.LOW),
    "a port of a backend": changed(PLAIN, port=8080),
}


def test_the_digest_of_a_service_is_of_what_its_table_depends_on() -> None:
    digests = {name: service_digest(one) for name, one in {"plain": PLAIN, **MATTERS}.items()}
    assert len(set(digests.values())) == len(digests)
    assert {len(digest) for digest in digests.values()} == {DIGEST}
    assert {name for name, one in MATTERS_NOT.items() if service_digest(one) != service_digest(PLAIN)} == set()


def load(**top: Any) -> Config:
    """A configuration of a file with these settings."""
    base = {
        "interfaces": "eth0",
        "services": [{"virtual": "203.0.113.10", "servers": ["10.1.10.1"], "policy": {"80/tcp": {"need": 1}}}],
        "fleet": {"key": "a secret of the fleet", "peers": ["10.1.1.2"]},
        "hash_seed": "8d969eef6ecad3c29a3a629280e686cf",
    }
    return files.load_text(json.dumps(base | top), "test").config


OWN: dict[str, dict[str, Any]] = {
    "interfaces": {"interfaces": ["eth1", "eth2"]},
    "names": {"address": "10.1.1.1", "router_id": "10.1.1.1", "host_id": "lb1"},
    "the console": {"webserver": "127.0.0.1:9091"},
    "routers": {"bgp": {"as_number": 65001, "peers": ["10.1.1.254"]}},
    "the key, the peers, the source": {
        "fleet": {"key": ["another secret of it", "a secret of the fleet"], "peers": ["10.1.1.1"], "source": "10.1.1.3"}
    },
}
SHARED: dict[str, dict[str, Any]] = {
    "idle": {"idle": "20m"},
    "quorum": {"fleet": {"key": "a secret of the fleet", "peers": ["10.1.1.2"], "quorum": True}},
    "blocks": {"block": ["198.51.100.0/24"]},
    "alerts": {"logging": {"alert": 3}},
    "services": {"services": []},
}


@pytest.mark.parametrize("top", OWN.values(), ids=OWN)
def test_what_is_each_nodes_own_is_not_in_the_digest(top: dict[str, Any]) -> None:
    assert configuration_digest(load(**top), SEEDS[0]) == configuration_digest(load(), SEEDS[0])


@pytest.mark.parametrize("top", SHARED.values(), ids=SHARED)
def test_what_all_have_in_common_is_in_it(top: dict[str, Any]) -> None:
    one, other = configuration_digest(load(), SEEDS[0]), configuration_digest(load(**top), SEEDS[0])
    assert one[:SEED] == other[:SEED]
    assert one != other


def test_every_setting_is_either_a_nodes_own_or_common_to_all() -> None:
    """A new setting has to be placed: into OWN_SETTINGS, or into this list."""
    assert set(common(Config())["settings"]) == {
        *("backend_metrics", "block", "compat_metrics", "count_prefixes", "fleet", "hold_down", "idle", "learn"),
        *("leave", "listen", "logging", "max_flows", "max_probes", "multicast", "on_isolation", "on_orphan"),
        *("udp_grace", "unknown_port"),
    }
    assert set(files.expand(files.Loaded(Config()))["settings"]) >= OWN_SETTINGS  # type: ignore[call-overload]


def test_no_secret_is_in_it() -> None:
    golden = REPOSITORY / "tests/golden/config/everything.yaml"
    told = json.dumps(common(files.load(golden).config)) + json.dumps(common(load()))
    assert "***" not in told, "not even whether there is one"
    assert "8d969eef" not in told


SAME = configuration_digest(Config(), SEEDS[0])
OTHER_SEED = configuration_digest(Config(), SEEDS[1])
OTHER_FILE = configuration_digest(Config(idle=1.0), SEEDS[0])
COMPARED: dict[str, tuple[bytes, str, tuple[bool, bool]]] = {
    "alike": (SAME, "1", (False, False)),
    "another seed": (OTHER_SEED, "1", (True, False)),
    "another file": (OTHER_FILE, "1", (False, True)),
    "another file, of another version": (OTHER_FILE, "2", (False, False)),
    "another seed, of another version": (OTHER_SEED, "2", (True, False)),
    "not known": (bytes(DIGEST), "1", (False, False)),
}


@pytest.mark.parametrize(("digest", "version", "found"), COMPARED.values(), ids=COMPARED)
def test_configurations_are_compared(digest: bytes, version: str, found: tuple[bool, bool]) -> None:
    mine, other = Facts("lb1", "1", NodeState.READY, SAME), Facts("lb2", version, NodeState.READY, digest)
    assert differing(mine, other) == found


# ---- why


def table(key: ServiceKey = WEB, count: int = 120, slots: int = 1, made_of: int = 1) -> dict[ServiceKey, TableDigest]:
    """The table of one service."""
    return {key: TableDigest(key, count, bytes([slots] * DIGEST), bytes([made_of] * DIGEST))}


def side(number: int = 1, state: NodeState = NodeState.READY, digest: bytes = SAME, **values: Any) -> Side:
    """Node 1 is this one."""
    values.setdefault("tables", table())
    where = None if number == 1 else Endpoint(IPv4Address("10.1.1.0") + number, 9876)
    return Side(number, Facts(f"lb{number}", "1", state, digest), address=where, **values)


def view(*down: Address, dead: bool = True) -> View:
    """What a node takes for down of WEB."""
    return View(bytes(DIGEST), (ServiceDown(WEB, tuple(Down(one, dead, 5) for one in down)),))


def look(mine: Side, other: Side, after: float = LASTING + 1.0) -> tuple[Difference, ...]:
    """Return how they differ, and have differed for so long."""
    found = Differences()
    found.look(mine, [other], 100.0)
    found.look(mine, [other], 100.0 + after)
    told, more = found.told(100.0 + after, 1e9 + 100.0 + after)
    assert more == 0
    assert all(one.since == 1e9 + 100.0 for one in told)
    return told


DRAINED = {WEB: {address(1): ("drain",)}}
OTHER = table(slots=2)
WHY: dict[str, tuple[Side, Side, tuple[Cause, ...], str]] = {
    "the seed, and what follows from it": (
        side(view=view(address(1))),
        side(2, digest=OTHER_SEED, tables=OTHER),
        (Cause.HASH_SEED, Cause.HEALTH),
        "lb2 has another hash_seed, so it sends flows elsewhere; 10.1.10.1 is dead here and up at lb2",
    ),
    "the number of slots": (
        side(),
        side(2, tables=table(count=240)),
        (Cause.SLOTS,),
        "120 slots here, 240 at lb2; the smaller table grows by itself",
    ),
    "its configuration": (
        side(),
        side(2, tables=table(slots=2, made_of=2)),
        (Cause.CONFIGURATION,),
        "lb2 has another configuration of it",
    ),
    "its configuration, though the slots are the same": (
        side(),
        side(2, tables=table(made_of=2)),
        (Cause.CONFIGURATION,),
        "lb2 has another configuration of it",
    ),
    "it is not there": (side(), side(2, tables={}), (Cause.CONFIGURATION,), "lb2 has no such service"),
    "it is only there": (
        side(tables={}),
        side(2),
        (Cause.CONFIGURATION,),
        "lb2 has this service, and this node has not",
    ),
    "another view": (
        side(view=view(address(1), address(3))),
        side(2, tables=OTHER, view=view(address(2), address(3), dead=False)),
        (Cause.HEALTH,),
        "10.1.10.1 is dead here and up at lb2, 10.1.10.2 is up here and wrong at lb2",
    ),
    "an operator here, and there nobody knows": (
        side(overrides=DRAINED),
        side(2, tables=OTHER),
        (Cause.OVERRIDES,),
        "operators said of 10.1.10.1: drain here, not known at lb2",
    ),
    "operators of both": (
        side(overrides=DRAINED),
        side(2, tables=OTHER, overrides={WEB: {address(1): ("drain",), address(2): ("weight 3",)}}),
        (Cause.OVERRIDES,),
        "operators said of 10.1.10.2: nothing here, weight 3 at lb2",
    ),
    "a slow start": (
        side(slow_start={WEB: [address(2)]}),
        side(2, tables=OTHER),
        (Cause.SLOW_START,),
        "10.1.10.2 gains its share here (slow_start) from another moment on than at lb2",
    ),
    "nothing that is known": (side(), side(2, tables=OTHER), (Cause.UNKNOWN,), "nothing that lb2 tells explains it"),
    "all but the seed": (
        side(view=view(address(1)), overrides=DRAINED, slow_start={WEB: [address(2)]}),
        side(2, tables=table(count=240, slots=2, made_of=2)),
        (Cause.SLOTS, Cause.CONFIGURATION, Cause.HEALTH, Cause.OVERRIDES, Cause.SLOW_START),
        (
            "120 slots here, 240 at lb2; the smaller table grows by itself; lb2 has another configuration of it; "
            "10.1.10.1 is dead here and up at lb2; operators said of 10.1.10.1: drain here, not known at lb2; "
            "10.1.10.2 gains its share here (slow_start) from another moment on than at lb2"
        ),
    ),
}


@pytest.mark.parametrize(("mine", "other", "causes", "words"), WHY.values(), ids=WHY)
def test_why_tables_differ(mine: Side, other: Side, causes: tuple[Cause, ...], words: str) -> None:
    [found] = [one for one in look(mine, other) if one.service is not None]
    assert (found.node, found.service, found.causes, found.lasting) == ("lb2", WEB, causes, True)
    assert found.as_json()["message"] == words
    mendable = not set(causes) <= {Cause.SLOTS, Cause.SLOW_START}
    assert bool(found.as_json()["mend"]) is mendable


def test_what_is_young_is_on_its_way() -> None:
    for after, lasting, cause in ((LASTING, False, Cause.ON_ITS_WAY), (LASTING + 0.1, True, Cause.UNKNOWN)):
        [found] = look(side(), side(2, tables=OTHER), after)
        assert (found.lasting, found.causes) == (lasting, (cause,))
    [found] = look(side(view=view(address(1))), side(2, tables=OTHER), 0.5)
    assert (found.lasting, found.causes) == (False, (Cause.HEALTH,)), "what explains it is said at once"


def test_a_configuration_as_a_whole() -> None:
    [found] = look(side(), side(2, digest=OTHER_FILE))
    assert (found.service, found.causes) == (None, (Cause.CONFIGURATION,))
    [found] = look(side(), side(2, digest=OTHER_SEED))
    assert (found.service, found.causes) == (None, (Cause.HASH_SEED,))


NOT_COMPARED: dict[str, tuple[Side, Side]] = {
    "who learns": (side(), side(2, NodeState.LEARNING, tables=OTHER)),
    "who leaves": (side(), side(2, NodeState.LEAVING, tables=OTHER)),
    "this node, while it learns": (side(1, NodeState.LEARNING), side(2, tables=OTHER)),
    "who has not told all": (side(), side(2, tables=OTHER, synced=False)),
    "who says the same": (side(), side(2)),
}


@pytest.mark.parametrize(("mine", "other"), NOT_COMPARED.values(), ids=NOT_COMPARED)
def test_who_is_not_compared(mine: Side, other: Side) -> None:
    assert look(mine, other) == ()


def test_a_difference_that_goes_away_begins_anew() -> None:
    found, other = Differences(), side(2, tables=OTHER)
    for now, it in ((0.0, other), (10.0, other), (20.0, side(2)), (30.0, other)):
        found.look(side(), [it], now)
        assert found.lasting(now) == (now == 10.0)
    assert found.told(31.0, 31.0)[0][0].since == 30.0
    found.look(side(), [], 40.0)
    assert found.told(40.0, 40.0) == ((), 0)
    assert found.lasting(40.0) == 0


def test_those_that_last_come_first_and_no_more_than_wanted() -> None:
    many = {key: one for n in range(1, 250) for key, one in table(ServiceKey(WEB.vip + n, 80, WEB.protocol)).items()}
    found = Differences()
    others = [side(2, tables=table(DNS)), side(3, tables={})]
    found.look(side(tables=table(DNS)), others, 0.0)
    found.look(side(tables=table(DNS) | many), others, 9.0)
    told, more = found.told(10.0, 10.0)
    assert len(told) == LISTED
    assert len(told) + more == 2 * len(many) + 1
    assert (told[0].node, told[0].service, told[0].lasting) == ("lb3", DNS, True)
    assert found.lasting(10.0) == 1
    only, more = found.told(10.0, 10.0, DNS)
    assert ([one.node for one in only], more) == (["lb3"], 0)


# ---- which slots

BACKENDS = tuple(address(number) for number in range(1, 5))


def whole(owners: str, order: Callable[[tuple[Address, ...]], tuple[Address, ...]] = tuple) -> TableOf:
    """A table by the numbers of its backends, - for none; `order` is that of the backends at that node."""
    backends = order(BACKENDS)
    at = {str(number): backends.index(one) + 1 for number, one in enumerate(BACKENDS, 1)} | {"-": 0}
    return TableOf(WEB, backends, tuple(at[one] for one in owners))


def backwards(backends: tuple[Address, ...]) -> tuple[Address, ...]:
    """The order of another node, which means nothing."""
    return backends[::-1]


THERE = Endpoint(IPv4Address("10.1.1.2"), 9876)
RANGES: dict[str, tuple[str, str, list[tuple[str, str, list[list[int]]]]]] = {
    "the same": ("1234", "1234", []),
    "one": ("1111", "1211", [("1", "2", [[1, 1]])]),
    "runs, joined where both stay the same": ("11112222", "33312111", [("1", "3", [[0, 2]]), ("2", "1", [[5, 7]])]),
    "apart": ("1212", "1313", [("2", "3", [[1, 1], [3, 3]])]),
    "neighbours of different pairs": ("12", "34", [("1", "3", [[0, 0]]), ("2", "4", [[1, 1]])]),
    "nobody": ("--11", "11--", [("-", "1", [[0, 1]]), ("1", "-", [[2, 3]])]),
    "most first": ("1222", "4333", [("2", "3", [[1, 3]]), ("1", "4", [[0, 0]])]),
}


@pytest.mark.parametrize(("here", "there", "pairs"), RANGES.values(), ids=RANGES)
def test_where_slots_differ(here: str, there: str, pairs: list[tuple[str, str, list[list[int]]]]) -> None:
    found = ranges("lb2", THERE, whole(here), whole(there, backwards), answered=True)
    names: dict[Address | None, str] = {one: str(number) for number, one in enumerate(BACKENDS, 1)} | {None: "-"}
    assert [(names[one.here], names[one.there], [list(run) for run in one.ranges]) for one in found.pairs] == pairs
    assert (found.slots_here, found.slots_there) == (len(here), len(there))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from("-1234"), st.sampled_from("-1234")), max_size=60))
def test_ranges_name_each_slot_that_differs_once(slots: list[tuple[str, str]]) -> None:
    mine, theirs = (whole("".join(one[node] for one in slots)) for node in (0, 1))
    found = ranges("lb2", THERE, mine, theirs, answered=True)
    named = [(slot, pair) for pair in found.pairs for first, last in pair.ranges for slot in range(first, last + 1)]
    assert sorted(slot for slot, _ in named) == [slot for slot, (one, two) in enumerate(slots) if one != two]
    owners = (None, *BACKENDS)
    for slot, pair in named:
        assert (pair.here, pair.there) == (owners[mine.owners[slot]], owners[theirs.owners[slot]])


def test_tables_of_other_sizes_and_none_have_no_ranges() -> None:
    for mine, theirs, counts in (
        (whole("12"), whole("1212"), (2, 4)),
        (whole("12"), None, (2, None)),
        (None, whole("12"), (None, 2)),
        (None, None, (None, None)),
    ):
        found = ranges("lb2", THERE, mine, theirs, answered=True)
        assert (found.slots_here, found.slots_there, found.pairs) == (*counts, ())


def test_services_and_backends_of_the_sample_are_as_meant() -> None:
    assert service_digest(config(service(TLS, 1)).services[0]) == service_digest(service(WEB, 1))
    assert service_digest(service(WEB, backends=(Backend(address(1)),))) == service_digest(service(WEB, 1))


def test_the_fleet_of_a_configuration_is_compared_without_its_keys() -> None:
    one = Config(fleet=Fleet((b"x" * 16,)))
    two = Config(fleet=Fleet((b"y" * 16, b"x" * 16), port=9000))
    assert configuration_digest(one, SEEDS[0]) == configuration_digest(two, SEEDS[0])
