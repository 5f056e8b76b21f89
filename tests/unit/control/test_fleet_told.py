"""What a node tells the fleet of itself, and what another one makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.fleet_others import Other, Others
from appliance.control.fleet_told import PIECE, Told, view
from appliance.control.state import Pair
from appliance.fleet.codec import decode, pieces
from appliance.fleet.members import Member
from appliance.fleet.records import Announces, Facts, How, NodeState, Record, TableDigest, Tables
from appliance.model import Address, Health, Protocol, ServiceKey
from appliance.model_address import Endpoint

VIP = ip_address("203.0.113.10")
KEYS = tuple(ServiceKey(ip_address(f"203.0.113.{n}"), 80, Protocol.TCP) for n in range(1, 7))
BACKENDS = tuple(ip_address(f"10.1.1.{n}") for n in range(1, 9))
EVERYBODY = ServiceKey(VIP, 443, Protocol.TCP)


def member(life: int = 1, state: NodeState = NodeState.READY) -> Member:
    where = Endpoint(IPv4Address("10.9.9.9"), 9876)
    return Member(life, where, Facts("lb2", "1.0", state), joined_at=0.0, heard_at=0.0)


def heard(others: Others, who: Member, records: Iterable[Record]) -> Other:
    other = others.joined(who)
    for record in records:
        others.learn(who, record)
    return other


Moment = tuple[dict[Pair, tuple[Health, float]], dict[Address, How], dict[ServiceKey, dict[Address, int]]]

pairs = st.tuples(st.sampled_from(KEYS), st.sampled_from(BACKENDS))
downs = st.dictionaries(pairs, st.tuples(st.sampled_from([Health.DEAD, Health.WRONG]), st.floats(0, 1e6)))
ways = st.dictionaries(st.sampled_from(BACKENDS), st.sampled_from(How))
loads = st.dictionaries(
    st.sampled_from(KEYS), st.dictionaries(st.sampled_from(BACKENDS), st.integers(0, 9), min_size=1)
)


@given(st.lists(st.tuples(downs, ways, loads), min_size=1, max_size=6))
def test_who_hears_every_change_knows_what_is_true(history: list[Moment]) -> None:
    told, others, who = Told(), Others(), member()
    for down, announced, load in history:
        records = [*told.changed_view(down, 1e6), *told.changed_announces(announced), *told.changed_load(load)]
        other = heard(others, who, records)
        late = heard(Others(), who, told.everything(down, 1e6))
        for one in (other, late):
            assert one.down == {pair: health is Health.DEAD for pair, (health, _) in down.items()}
            assert {vip: how for vip, how in one.announces.items() if how is not How.NO} == {
                vip: how for vip, how in announced.items() if how is not How.NO
            }
            counts = {(key, address): count for key, flows in one.load.items() for address, count in flows.items()}
            wanted = {(key, address): count for key, flows in load.items() for address, count in flows.items()}
            assert {place: count for place, count in counts.items() if count} == {
                place: count for place, count in wanted.items() if count
            }
        again = [*told.changed_view(down, 2e6), *told.changed_announces(announced), *told.changed_load(load)]
        assert again == []


def test_a_view_says_who_is_down_and_since_when() -> None:
    down = {(EVERYBODY, BACKENDS[0]): (Health.DEAD, 990.0), (EVERYBODY, BACKENDS[1]): (Health.WRONG, 2000.0)}
    found = view(down, 1000.0)
    assert [(one.backend, one.dead, one.age) for one in found.services[0].down] == [
        (BACKENDS[0], True, 10),
        (BACKENDS[1], False, 0),
    ]
    assert found.digest == view(down, 5000.0).digest
    assert found.digest != view({}, 1000.0).digest == bytes(8)


def test_a_load_that_takes_several_datagrams_is_heard_whole() -> None:
    flows: dict[Address, int] = {ip_address(f"10.0.{n // 250}.{n % 250}"): n + 1 for n in range(1000)}
    told = [piece for record in Told().changed_load({KEYS[0]: flows}) for piece in pieces(record, 1300)]
    assert len(told) > 3
    hearer = Others()
    heard(hearer, member(), [record for piece in told for record in decode(piece)[0]])
    assert hearer.flows(KEYS[0]) == flows


def test_what_operators_say_is_told_and_taken_back() -> None:
    told, hearer, who = Told(), Others(), member()
    pair, other = (KEYS[0], BACKENDS[0]), (KEYS[1], BACKENDS[1])
    found = heard(hearer, who, told.changed_overrides({pair: "drain, weight 3", other: "disable"}))
    assert found.overrides == {KEYS[0]: {BACKENDS[0]: ("drain", "weight 3")}, KEYS[1]: {BACKENDS[1]: ("disable",)}}
    assert heard(Others(), who, told.everything({}, 0.0)).overrides == found.overrides
    assert list(told.changed_overrides({pair: "drain, weight 3", other: "disable"})) == []
    heard(hearer, who, told.changed_overrides({other: "enable"}))
    assert found.overrides == {KEYS[0]: {BACKENDS[0]: ()}, KEYS[1]: {BACKENDS[1]: ("enable",)}}


def test_tables_that_are_as_they_were_are_not_told_again() -> None:
    told = Told()
    first = [TableDigest(key, 509, bytes(8), bytes(8)) for key in KEYS]
    assert len(list(told.changed_tables(first))) == 1
    assert list(told.changed_tables(first)) == []
    before = told.digest()
    other = first[2]._replace(slots=b"8 octets")
    assert list(told.changed_tables([first[0], other])) == [Tables((other,))]
    assert told.digest() != before
    hearer, who = Others(), member()
    assert heard(hearer, who, told.everything({}, 0.0)).tables.keys() == set(KEYS)
    assert heard(hearer, who, told.changed_services(KEYS[:2])).tables.keys() == told.tables.keys() == set(KEYS[:2])


def test_many_are_told_in_pieces() -> None:
    vips: dict[Address, How] = {ip_address(f"10.0.{n // 250}.{n % 250}"): How.YES for n in range(2 * PIECE + 1)}
    records = list(Told().changed_announces(vips))
    assert [len(one.entries) for one in records if isinstance(one, Announces)] == [PIECE, PIECE, 1]


def test_the_largest_number_of_slots_of_those_that_have_learnt_counts() -> None:
    others, key = Others(), KEYS[0]
    for life, state, count in ((1, NodeState.READY, 509), (2, NodeState.DRAINING, 641), (3, NodeState.LEARNING, 1021)):
        told = Told()
        heard(others, member(life, state), told.changed_tables([TableDigest(key, count, bytes(8), bytes(8))]))
    assert others.slot_counts() == {key: 641}
    others.gone(member(2))
    assert others.slot_counts() == {key: 509}


def test_flows_of_all_others_are_added_up() -> None:
    others = Others()
    for life in (1, 2):
        heard(others, member(life), Told().changed_load({KEYS[0]: {BACKENDS[0]: 3, BACKENDS[1]: life}}))
    assert others.flows(KEYS[0]) == {BACKENDS[0]: 6, BACKENDS[1]: 3}
    assert others.announced(VIP) == {}
    heard(others, member(2), Told().changed_announces({VIP: How.LAST}))
    assert others.announced(VIP) == {2: How.LAST}
