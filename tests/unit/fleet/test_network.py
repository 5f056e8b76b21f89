"""Nodes that tell each other what they know, over networks of every kind."""

from __future__ import annotations

import pytest

from appliance.fleet.envelope import Kind
from appliance.fleet.orders import Gone, Joined
from tests.unit.fleet.network import Network

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
