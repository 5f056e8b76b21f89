"""Nodes that tell each other what they know, over networks of every kind."""

from __future__ import annotations

import pytest

from appliance.fleet.envelope import Kind
from appliance.fleet.members import SILENCE, SyncState
from appliance.fleet.orders import Failed, Gone, Joined, Learn, Synced
from appliance.fleet.records import Flow, Flows, View
from appliance.fleet.stream import KEPT
from appliance.model_address import ServiceKey
from tests.unit.fleet.network import BACKEND, CLEAR, SERVICE, STORM, Network

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
    assert network.nodes[0].exchange.counters.sent[Kind.RECORDS] - before <= 2 * 5, "each of them twice"
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
    assert lost > 20, "of some both copies"


def test_the_lost_end_of_a_burst_is_missed_within_milliseconds() -> None:
    network = Network(2)
    network.run(0.5)
    network.part({0}, {1})
    network.tell(0, 5)
    network.run(0.01)
    network.cut.clear()
    network.run(0.06)
    assert network.disagreements() == []
    assert network.nodes[1].exchange.counters.lost == 1


def test_what_was_lost_is_told_again_before_anybody_misses_it() -> None:
    network = Network(2)
    network.run(0.5)
    network.part({0}, {1})
    network.tell(0, 5)
    network.run(0.002)
    network.cut.clear()
    network.run(0.005)
    network.kill(0)
    assert len(network.nodes[1].flows) == 5
    assert network.nodes[1].exchange.counters.lost == 0


def test_what_is_told_after_a_pause_leaves_at_once() -> None:
    network = Network(2)
    network.run(0.5)
    network.tell(0, 5)
    network.run(0.001)
    network.kill(0)
    network.run(0.01)
    assert len(network.nodes[1].flows) == 5


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


def test_a_member_behind_by_more_than_is_kept_asks_for_everything_at_once() -> None:
    network = Network(2)
    network.run(0.3)
    network.ready()
    network.run(1)
    network.part({0}, {1})
    network.burst(0, KEPT + 100)
    network.run(1)
    network.cut.clear()
    network.run(1.5)  # sooner than it would find out by asking in vain
    assert network.disagreements() == []
    assert network.nodes[1].exchange.counters.resyncs == 1
    assert not network.nodes[1].of(Gone)


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


def test_what_cannot_be_told_is_said_and_all_else_is_told() -> None:
    network = Network(2)
    network.run(0.3)
    network.ready()
    exchange = network.nodes[0].exchange
    wrong, right = Flows(SERVICE, BACKEND, (Flow(2**64, 1),)), Flows(SERVICE, BACKEND, (Flow(7, 1),))
    (failed,) = exchange.publish([wrong, right], network.now)
    assert isinstance(failed, Failed)
    assert failed.what.startswith("Flows: ")
    network.run(0.1)
    assert list(network.nodes[1].flows) == [7]
