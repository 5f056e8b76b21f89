"""The simulator breaks the same connections as whole balancers do, packet by packet."""

from __future__ import annotations

from random import Random

import pytest

from appliance.dataplane.enums import State
from bench.simulate.churn import BalancerEvent, Cause, Churn, Making
from bench.simulate.copies import Channel, Copies
from bench.simulate.ground import Ground, Views
from bench.simulate.history import History
from bench.simulate.lifetimes import Exponential, Kind, LogNormal
from bench.simulate.router import Router
from bench.simulate.site import Site
from bench.simulate.slot import Run
from tests.unit.simulate.plain import Packet, Plain, Trace

KINDS = (Kind("short", 0.7, Exponential(20.0), Exponential(3.0)), Kind("long", 0.3, LogNormal(300, 1), Exponential(15)))


def site(balancers: int, seed: int) -> Site:
    """Small, slow to agree, and with much to agree about."""
    return Site(
        balancers=balancers,
        backends=8,
        arrivals=2.0,
        duration=400.0,
        idle=60,
        detection=6.0,
        rollout=12.0,
        delay=0.3,
        loss=0.2,
        repair=0.3,
        kinds=KINDS,
        seed=seed,
    )


def turmoil(one: Site, *, resilient: bool) -> Churn:
    """Backends and balancers come and go the whole time."""
    making = Making(one, Random(f"{one.seed} turmoil"))
    random, time = making.random, 20.0
    while time < one.duration:
        who = random.randrange(one.backends)
        down, up = time + random.uniform(1, 90), time + random.uniform(100, 200)
        if making.free(who, time, up + 1):
            drained = random.random() < 0.6
            if drained:
                making.backend(time, Cause.DRAIN, [who], State.DRAINING)
            making.backend(down if drained else time, Cause.STOP if drained else Cause.DEATH, [who], State.DEAD)
            making.backend(up, Cause.RETURN, [who], State.AVAILABLE)
        time += random.uniform(5, 60)
    time, balancers = 50.0, list[BalancerEvent]()
    while time < one.duration - 60:
        who, back = random.randrange(one.balancers), time + random.uniform(5, 50)
        balancers.append(BalancerEvent(time, Cause.BALANCER_DEATH, (who,), up=False, routed=time + one.withdrawal))
        balancers.append(BalancerEvent(back, Cause.BALANCER_JOINED, (who,), up=True, routed=back))
        time = back + random.uniform(5, 30)
    making.balancers = balancers
    return making.made(resilient=resilient)


@pytest.mark.parametrize(("balancers", "seed", "resilient"), [(3, 1, False), (5, 3, True)])
def test_connection_by_connection(balancers: int, seed: int, resilient: bool) -> None:
    one = site(balancers, seed)
    churn = turmoil(one, resilient=resilient)
    history = History(one, churn, lambda text: None)
    router = Router(one.balancers, churn.balancers, resilient=resilient, seed=seed)
    channel = Channel(one)
    packets: list[Packet] = []
    broken: dict[str, set[int]] = {}
    moved = 0
    for slot in range(one.table):
        ground = Ground(history, slot)
        views = Views(ground)
        copies = [Copies(ground, channel, 2), Copies(ground, None, 2)]
        outcome = Run(ground, router, [Trace(slot, packets), *copies], views).all()
        moved += outcome.moved
        for scheme in copies:
            assert scheme.refused == 0
            broken.setdefault(scheme.name, set()).update(outcome.names[scheme.name])
    met = 0
    for scheme, plain in zip(copies, (Plain(history, channel, packets), Plain(history, None, packets)), strict=True):
        plain.run()
        met += len(plain.broken)
        assert plain.remembered > 200
        assert broken[scheme.name] == plain.broken
    assert moved > 200
    assert met > 20
