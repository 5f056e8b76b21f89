"""Random histories of backends, clients and daemons through changes of the hash: no established flow moves."""

from __future__ import annotations

from random import Random

import pytest

from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import State
from appliance.dataplane.tables import Tables
from appliance.errors import PlanError
from appliance.model import Protocol
from tests.profile import FUZZ
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    GRACE,
    IDLE,
    LOG,
    WEB,
    desired,
    later,
    member,
    memory_at,
    pool,
    service,
    web,
)
from tests.unit.dataplane.hashes import BOTH, pass_time, seeded, started
from tests.unit.dataplane.recorded import image

HISTORIES = 300 if FUZZ else 12


def test_a_flow_keeps_its_backend_when_what_was_remembered_before_expires() -> None:
    """It is never silent, so each of its packets must reach the same backend, wherever today's hash sends it."""
    tables, clients = started(web(1, 2, 3, 4), 0)
    wanted = desired(service(WEB, [member(1), member(2), member(3, 1, DRAINING), member(4, 1, DRAINING)]))
    tables.apply(web(1, 2))
    tables.apply(web(1, 2, 3, 4))
    tables.apply(wanted)
    clients.open_many(WEB, range(300))
    pass_time(tables, wanted, 3)
    assert clients.lost() == []
    tables.apply(changed := seeded(web(1, 2, 3, 4), 9))
    for _ in range(IDLE + 5):
        pass_time(tables, changed, 1)
        assert clients.lost() == []


class Life:
    """Random backends, clients and daemons through changes of the hash."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.members = dict.fromkeys(pool(self.random.choice((3, 4, 5))), (1, AVAILABLE))
        self.seed, self.changes, self.refused = 1, 0, 0
        self.tables = Tables(memory_at(self.random.choice((1_000, 2**15 - 100)), BOTH))
        self.clients = Clients(self.tables.memory)
        self.spoke: dict[object, int] = {}
        self.next = 0
        self.apply()

    def wanted(self) -> Desired:
        members = [member(number, weight, state) for number, (weight, state) in self.members.items()]
        return seeded(desired(service(WEB, members), service(LOG, members)), self.seed)

    def apply(self) -> None:
        self.tables.apply(self.wanted())

    def available(self) -> list[int]:
        return [number for number, (_, state) in self.members.items() if state is AVAILABLE]

    def event(self) -> None:
        """A death, a return, a drain, a weight, a backend more or less, a restart, another seed."""
        random, number = self.random, self.random.choice(list(self.members))
        weight, state = self.members[number]
        match random.randrange(8):
            case 0 | 1 | 2:
                new: State = random.choice([s for s in (AVAILABLE, DRAINING, DEAD) if s is not state])
                if self.available() != [number]:
                    self.members[number] = weight, new
            case 3:
                self.members[number] = random.choice((1, 2, 5)), state
            case 4 if len(self.members) < 14:
                more = random.choice((1, 1, 4))
                self.members |= {max(self.members) + n: (1, AVAILABLE) for n in range(1, more + 1)}
            case 5 if len(self.members) > 3 and self.available() != [number]:
                del self.members[number]
            case 6:
                self.tables = Tables(self.tables.memory)
            case _:
                self.change_seed()
        self.apply()

    def change_seed(self) -> None:
        self.seed += 1
        held = image(self.tables.memory)
        try:
            self.apply()
            self.changes += 1
        except PlanError:
            assert image(self.tables.memory) == held
            self.seed -= 1
            self.refused += 1

    def second(self) -> None:
        """Let a second pass, with some packets."""
        later(self.tables, 1)
        time = self.tables.memory.time
        self.tables.sweep(self.wanted().services)
        if self.random.random() < 0.06:
            self.event()
        for one in list(self.clients.owners):
            silence = time - self.spoke[one]
            most = IDLE if one.protocol is Protocol.TCP else GRACE
            if silence >= most or self.random.random() < (0.05 if silence < most - 1 else 0.9):
                if silence >= most:
                    del self.clients.owners[one]
                else:
                    assert self.clients.lost([one]) == [], (time, silence)
                    self.spoke[one] = time
        for key in (WEB, LOG):
            # Some of the clients use the same addresses and ports again.
            number = self.random.randrange(300)
            one = flow(key, number)
            if one not in self.clients.owners or self.random.random() < 0.3:
                owner = self.clients.open(one)
                assert owner is not None
                assert key is LOG or one in self.clients.owners
                self.spoke[one] = time


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_established_flow_moves_whatever_happens(seed: int) -> None:
    life = Life(seed)
    for _ in range(450):
        life.second()
    assert life.changes + life.refused > 0
