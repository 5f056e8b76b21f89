"""Nodes that tell each other what they know, over networks of every kind."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf

import pytest

from appliance.fleet.envelope import Drop, Kind
from appliance.fleet.members import SILENCE, SyncState
from appliance.fleet.orders import Gone, Joined, Learn, Synced, Why
from appliance.fleet.records import NodeState, View
from appliance.fleet.stream import KEPT
from appliance.model_address import ServiceKey
from appliance.model_fleet import Fleet
from tests.profile import EXAMPLES
from tests.unit.fleet.network import CLEAR, GROUP, KEY, OTHER_KEY, SERVICE, STORM, Network, Weather

BOTH = pytest.mark.parametrize("multicast", [True, False], ids=["multicast", "peers"])


@BOTH
def test_nodes_find_each_other_with_three_hellos(multicast: bool) -> None:
    network = Network(3, multicast=multicast)
    network.run(0.3)
    assert network.disagreements() == []
    for node in network.living():
        assert len(node.of(Joined)) == 2
        assert not node.of(Gone)


def test_what_one_tells_the_others_learn_in_order_and_once() -> None:
    network = Network(3)
    network.run(0.3)
    for _ in range(50):
        network.tell(0, 7)
        network.run(0.001)
    network.run(0.1)
    for number in (1, 2):
        assert network.nodes[number].stream_of(network.nodes[0].exchange.life)[-1] == list(range(350))


def test_records_of_a_few_milliseconds_share_a_datagram() -> None:
    network = Network(2)
    network.run(0.3)
    before = network.nodes[0].exchange.counters.sent[Kind.RECORDS]
    for _ in range(100):
        network.tell(0, 1)
        network.run(0.0001)
    network.run(0.1)
    assert network.nodes[0].exchange.counters.sent[Kind.RECORDS] - before <= 5
    assert network.disagreements() == []


@BOTH
def test_a_storm_loses_nothing(multicast: bool) -> None:
    network = Network(4, seed=7, multicast=multicast)
    network.run(0.3)
    network.weather = STORM
    for turn in range(300):
        network.tell(turn % 4, turn % 5)
        network.run(0.002)
    network.run(3)
    assert network.disagreements() == []
    lost = 0
    for node in network.living():
        for life, member in node.exchange.members.items():
            told = next(one.told for one in network.living() if one.exchange.life == life)
            assert node.stream_of(life)[-1] == list(range(told))
            assert member.sync is SyncState.DONE
            assert not member.resyncs
            lost += member.losses
    assert lost > 50


def test_the_lost_end_of_a_burst_is_missed_within_milliseconds() -> None:
    network = Network(2)
    network.run(0.5)
    network.part({0}, {1})
    network.tell(0, 5)
    network.run(0.004)
    network.cut.clear()
    network.run(0.06)
    assert network.disagreements() == []
    assert network.nodes[1].exchange.counters.lost == 1


def test_a_joining_node_learns_everything_from_one_and_own_facts_from_the_others() -> None:
    network = Network(4)
    network.run(0.3)
    network.ready()
    for number in range(4):
        network.tell(number, 2000)
        network.act(number, network.nodes[number].new_view([number], network.now))
    network.run(1.5)
    assert network.disagreements() == []
    joined = network.start(4)
    network.run(2)
    assert network.disagreements() == []
    assert joined.exchange.learnt
    assert len(joined.of(Synced)) == 4
    served = [network.nodes[number].exchange.counters.sent[Kind.PART] for number in range(4)]
    assert sum(parts > 10 for parts in served) == 1, "one has told all flows"
    assert len(joined.announces) == 4
    network.tell(2, 10)
    network.run(0.1)
    assert network.disagreements() == []


def test_what_a_member_says_of_itself_never_goes_back() -> None:
    """One of its views is in the part of its stream that is still needed, and the next one in what it was asked for."""
    network = Network(3)
    network.run(0.3)
    network.ready()
    network.act(1, network.nodes[1].new_view([1], network.now))
    network.run(2)
    network.cut = {frozenset((0, 1))}
    network.nodes[0].flows[1] = network.nodes[0].flows[2] = 5  # so that it is the one that is asked for everything
    network.kill(2)
    for down in ([2], [3]):
        network.tell(1, 1)
        network.act(1, network.nodes[1].new_view(down, network.now))
        network.run(0.1)
    joined = network.start(3)
    network.run(0.5)
    life = network.nodes[1].exchange.life
    learnt = [order for order in joined.heard if isinstance(order, Learn) and order.member.life == life]
    views = [one.digest[-1] for order in learnt for one in order.records if isinstance(one, View)]
    assert views == [3]
    assert joined.stream_of(life)[-1] == [0, 1], "but what it said of the fleet is learnt"
    assert len(joined.of(Synced)) == 2


def test_a_sync_survives_a_storm_while_more_is_told() -> None:
    network = Network(3, seed=3)
    network.run(0.3)
    network.ready()
    network.tell(0, 20000)
    network.run(2)
    network.weather = STORM
    joined = network.start(3)
    for _ in range(200):
        network.tell(1, 3)
        network.run(0.005)
    network.weather = CLEAR
    network.run(4)
    assert network.disagreements() == []
    assert joined.exchange.learnt


def test_a_sync_goes_on_with_another_member_when_its_source_is_gone() -> None:
    network = Network(3)
    network.run(0.3)
    network.ready()
    network.tell(0, 50000)
    network.run(2)
    joined = network.start(3)
    network.run(0.06)
    asked = [member for member in joined.exchange.members.values() if member.sync is SyncState.ASKING]
    assert len(asked) == 1
    network.kill(int(asked[0].name.removeprefix("node")))
    before = joined.exchange.learnt
    network.run(SILENCE + 3)
    assert network.disagreements() == []
    assert (before, joined.exchange.learnt) == (False, True)
    assert len(joined.flows) == 50000


def test_two_that_know_much_and_meet_for_the_first_time_tell_each_other_all() -> None:
    network = Network(2)
    network.ready()
    network.part({0}, {1})
    network.tell(0, 1000)
    network.tell(1, 1000)
    network.run(10)
    network.cut.clear()
    network.run(2)
    assert network.disagreements() == []


def test_a_node_that_begins_with_kept_flows_is_asked_for_them() -> None:
    network = Network(2)
    network.run(0.3)
    network.ready()
    network.start(2, flows={17: 5})
    network.run(2)
    assert network.disagreements() == []
    assert 17 in network.nodes[0].flows


def test_silence_ends_a_membership_and_a_word_with_a_new_nonce_begins_it_again() -> None:
    network = Network(3)
    network.run(0.3)
    network.ready()
    network.part({0, 1}, {2})
    network.tell(0, 100)
    network.tell(2, 100)
    network.run(SILENCE - 0.6)
    assert len(network.nodes[0].exchange.members) == 2
    network.run(1.7)
    assert len(network.nodes[0].exchange.members) == 1
    gone = [order for order in network.nodes[0].heard if isinstance(order, Gone)]
    assert [order.why for order in gone] == [Why.SILENT]
    assert gone[0].member.life not in network.nodes[0].announces
    network.cut.clear()
    network.run(2)
    assert network.disagreements() == []
    # What was told meanwhile was still kept: each stream has gone on where it stood.
    runs = network.nodes[0].stream_of(network.nodes[2].exchange.life)
    assert [run for run in runs if run] == [list(range(100))]
    assert network.nodes[0].announces == {network.nodes[2].exchange.life: 1}


def test_what_is_not_kept_any_more_is_asked_for_as_a_whole() -> None:
    network = Network(2)
    network.run(0.3)
    network.ready()
    network.part({0}, {1})
    network.burst(0, KEPT + 100)
    network.run(10)
    network.cut.clear()
    network.run(4)
    assert network.disagreements() == []
    assert network.nodes[1].exchange.counters.sent[Kind.REQUEST]


def test_a_member_behind_by_more_than_is_kept_asks_for_everything() -> None:
    """It is heard all the time, but its NAKs do not come through."""
    network = Network(2)
    network.run(0.3)
    network.ready()
    network.weather = Weather(lost=0.99)
    for _ in range(30):
        network.burst(0, KEPT // 20)
        for kept in network.nodes.values():
            for member in kept.exchange.members.values():
                member.heard_at = network.now
        network.run(0.2)
    network.weather = CLEAR
    network.run(5)
    assert network.disagreements() == []
    assert network.nodes[1].exchange.counters.resyncs


def test_a_way_that_is_open_in_one_direction_only_is_seen() -> None:
    network = Network(2)
    network.run(0.3)
    network.ready()
    network.run(1)
    member = network.nodes[1].exchange.members[network.nodes[0].exchange.life]
    assert member.hears_us
    node = network.nodes[0]
    node.exchange.received = lambda *_: []  # type: ignore[method-assign]
    network.run(SILENCE + 2)
    assert not node.exchange.members
    assert list(network.nodes[1].exchange.members.values()) == [member]
    assert (member.hears_us,) == (False,)


def test_nodes_that_all_learn_have_learnt_nothing() -> None:
    network = Network(3)
    network.run(2)
    assert not any(node.exchange.learnt for node in network.living())
    network.nodes[0].state_ = NodeState.READY
    network.run(2)
    assert [node.exchange.learnt for node in network.living()] == [False, True, True]


def test_goodbye_is_believed_at_once_and_for_ever() -> None:
    network = Network(3)
    network.run(0.3)
    network.tell(2, 5)
    network.run(0.1)
    network.tell(2, 5)
    life = network.nodes[2].exchange.life
    network.stop(2)
    network.run(0.05)
    network.wire.clear()
    for number in (0, 1):
        gone = [order for order in network.nodes[number].heard if isinstance(order, Gone)]
        assert [order.why for order in gone] == [Why.LEFT]
        assert network.nodes[number].stream_of(life)[1] == list(range(10)), "what it had said before counts"
    assert network.disagreements() == []
    assert network.nodes[2].exchange.deadline() == inf
    assert network.nodes[2].exchange.due(network.now) == []


def test_a_successor_takes_the_place_of_the_one_before() -> None:
    network = Network(3)
    network.run(0.3)
    network.ready()
    network.tell(0, 100)
    network.run(0.2)
    network.kill(1)
    network.start(1)
    network.run(0.5)
    assert network.disagreements() == []
    gone = [order for order in network.nodes[0].heard if isinstance(order, Gone)]
    assert [order.why for order in gone] == [Why.RESTARTED]
    assert len(network.nodes[1].flows) == 100


def test_a_view_of_many_datagrams_comes_whole() -> None:
    network = Network(2)
    network.run(0.3)
    network.act(0, network.nodes[0].new_view(range(5000), network.now))
    network.run(0.5)
    assert network.disagreements() == []
    views = [one for order in network.nodes[1].heard if isinstance(order, Learn) for one in order.records]
    assert views == [network.nodes[0].view()]


def test_a_table_is_told_to_one_who_asks() -> None:
    network = Network(2)
    network.run(0.3)
    node, life = network.nodes[0], network.nodes[1].exchange.life
    other = ServiceKey(SERVICE.vip, 80, SERVICE.protocol)
    for service in (SERVICE, other):
        network.act(0, node.exchange.ask_table(life, service, network.now))
    network.run(0.2)
    assert {one.service: one.table for one in node.tables()} == {
        SERVICE: network.nodes[1].table(SERVICE),
        other: None,
    }
    assert node.exchange.ask_table(4711, SERVICE, network.now) == []
    network.kill(1)
    many = [ServiceKey(SERVICE.vip, port, SERVICE.protocol) for port in range(1, 31)]
    for service in many:
        network.act(0, node.exchange.ask_table(life, service, network.now))
    network.run(5)
    assert {one.service: one.table for one in node.tables()[2:]} == dict.fromkeys(many)
    assert isinstance(node.heard[-1], Gone)


def test_many_tables_are_told_one_after_the_other() -> None:
    network = Network(3, seed=9)
    network.run(0.3)
    network.weather = STORM
    for number in (1, 2):
        life = network.nodes[number].exchange.life
        for _ in range(50):
            network.act(0, network.nodes[0].exchange.ask_table(life, SERVICE, network.now))
    network.run(30)
    assert [one.table for one in network.nodes[0].tables()] == [network.nodes[1].table(SERVICE)] * 100


def test_keys_are_rotated_without_a_loss() -> None:
    network = Network(3)
    network.run(0.3)
    for keys in ((KEY, OTHER_KEY), (OTHER_KEY, KEY), (OTHER_KEY,)):
        for number, node in network.nodes.items():
            network.tell(number, 3)
            network.act(number, node.exchange.configure(replace(network.fleet, keys=keys), network.now))
            network.run(0.5)
    network.run(1)
    assert network.disagreements() == []
    for node in network.living():
        assert not node.of(Gone)
        assert not node.exchange.counters.dropped[Drop.KEY]


def test_another_key_is_another_fleet() -> None:
    network = Network(2)
    network.nodes[1].exchange.configure(replace(network.fleet, keys=(OTHER_KEY,)), network.now)
    network.run(5)
    assert not network.nodes[0].exchange.members
    assert network.nodes[0].exchange.counters.dropped[Drop.KEY] >= 3


def test_nonces_are_renewed_and_members_stay() -> None:
    network = Network(3)
    network.run(2000)
    assert network.disagreements() == []
    assert not network.nodes[0].of(Gone)
    network.start(3)
    network.run(1)
    assert network.disagreements() == []


def test_a_quiet_fleet_says_little() -> None:
    network = Network(3, multicast=False)
    network.run(5)
    node = network.nodes[0]
    before, sends = node.octets, node.sends
    network.run(100)
    assert node.sends - sends == 200
    assert (node.octets - before) / 100 < 1000


def test_the_rate_bounds_what_is_sent_and_hellos_come_first() -> None:
    rate = 100_000
    network = Network(2, fleet=Fleet(keys=(KEY,), group=GROUP, rate=rate))
    network.run(0.3)
    node = network.nodes[0]
    before = node.octets
    for _ in range(100):
        network.tell(0, 5000)
        network.run(0.1)
    assert node.octets - before <= 10.1 * rate + 20_000
    assert node.exchange.counters.shed > 10_000
    assert not network.nodes[1].of(Gone)
    assert network.nodes[1].exchange.members[node.exchange.life].told > 100


@pytest.mark.parametrize("seed", range(EXAMPLES // 10))
def test_after_all_that_may_happen_everybody_knows_the_same(seed: int) -> None:
    """Drops, doubles, disorder, parted networks, nodes that are killed, stopped and started; and then peace."""
    chance = random.Random(seed)
    size = chance.randint(3, 5)
    network = Network(size, seed=seed, multicast=chance.random() < 0.5)
    network.run(0.5)
    for _ in range(60):
        number = chance.randrange(size)
        node = network.nodes[number]
        match chance.randrange(12):
            case 0:
                network.weather = chance.choice((CLEAR, STORM, Weather(late=0.9, lateness=0.2)))
            case 1:
                some = {one for one in range(size) if chance.random() < 0.5}
                network.part(some, set(range(size)) - some)
            case 2 | 3:
                network.cut.clear()
            case 4 if len(network.living()) > 2:
                settle(network)
                (network.kill if chance.random() < 0.5 else network.stop)(number)
            case 5 if not node.alive:
                network.start(number)
            case 6:
                node.state_ = NodeState.READY
            case 7 if node.alive:
                network.act(number, node.new_view(range(chance.randrange(500)), network.now))
            case _ if node.alive:
                network.tell(number, chance.choice((1, 10, 1000)))
            case _:
                pass
        network.run(chance.choice((0.001, 0.01, 0.5, 2, 6)))
    settle(network)
    network.ready()
    network.run(3)
    assert network.disagreements() == []
    lives = {node.exchange.life: node for node in network.nodes.values()}
    for node in network.living():
        assert all(member.sync is SyncState.DONE for member in node.exchange.members.values())
        for life in lives:
            for run in node.stream_of(life):
                assert run == sorted(set(run)), "once, and in order"


def settle(network: Network) -> None:
    """Let what is on its way arrive: what a node alone knew would die with it."""
    network.cut.clear()
    network.weather = CLEAR
    network.run(9)
