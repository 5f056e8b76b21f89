"""Who is a member, for how long, with which key; and how little is said."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from appliance.fleet.envelope import Drop
from appliance.fleet.members import SILENCE, SyncState
from appliance.fleet.orders import Gone, Why
from appliance.fleet.records import NodeState
from appliance.model_fleet import Fleet
from tests.unit.fleet.network import GROUP, KEY, OTHER_KEY, Network


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


def test_a_sync_beside_more_than_the_rate_allows_ends_at_last() -> None:
    """What has to wait for the rate is not looked at all the time either: else this would never end."""
    network = Network(2, fleet=Fleet(keys=(KEY,), group=GROUP, rate=50_000))
    network.run(0.3)
    network.ready()
    network.tell(0, 5_000)
    network.run(5)
    joined = network.start(2)
    for _ in range(150):
        network.tell(0, 2_000)
        network.run(0.1)
    assert network.nodes[0].exchange.counters.shed
    assert not joined.of(Gone)
    assert joined.exchange.members[network.nodes[0].exchange.life].sync is SyncState.DONE
    assert len(joined.flows) > 5_000


def test_what_a_node_slept_through_is_nobodys_silence() -> None:
    network = Network(3)
    network.run(0.3)
    network.ready()
    node = network.nodes[0]
    node.alive = False
    network.tell(1, 10)
    network.run(10)
    assert node.exchange.life not in network.nodes[1].exchange.members
    node.alive = True
    network.act(0, node.exchange.due(network.now))
    assert len(node.exchange.members) == 2
    network.run(2)
    assert network.disagreements() == []
    assert not node.of(Gone)
    network.kill(1)
    network.run(SILENCE + 1.1)
    assert len(node.of(Gone)) == 1


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
