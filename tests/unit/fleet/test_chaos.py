"""Everything that may happen to some nodes, at once; and then peace."""

from __future__ import annotations

import random

import pytest

from appliance.fleet.members import SyncState
from appliance.fleet.records import NodeState
from tests.profile import EXAMPLES
from tests.unit.fleet.network import CLEAR, STORM, Network, Weather


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
