"""From what is desired to what the tables say: cases one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.dataplane import lookup
from appliance.dataplane.abi import NO_DESTINATION
from appliance.dataplane.desired import Desired, ProbeLink
from appliance.dataplane.enums import DeadPolicy, Refusal, State
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import slot_count
from appliance.dataplane.tables import Tables
from appliance.model import Address, ServiceKey
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    IDLE,
    LOG,
    OTHER,
    SHAPE,
    TLS,
    WEB,
    assert_tables,
    backend,
    desired,
    hop,
    later,
    member,
    memory_at,
    pool,
    service,
    tables_at,
    web,
)
from tests.unit.dataplane.packets import Flow, Packets
from tests.unit.dataplane.recorded import Store, image, put, recorded, restored

SHARES = {1: 0.1, 2: 0.3, 3: 0.6}


def test_a_new_service() -> None:
    tables = tables_at()
    wanted = desired(service(WEB, [member(1, 10), member(2, 30), member(3, 60)]), service(LOG, [member(9)]))
    assert tables.apply(wanted).changed == {WEB: slot_count(3), LOG: slot_count(1)}
    assert_tables(tables.memory, wanted)
    assert tables.tracked() == {WEB: 0, LOG: 0}
    slots, entry = tables.slots(WEB), tables.entry(WEB)
    assert slots is not None
    assert entry is not None
    shares = Counter(slots.owners())
    by_weight = {number: shares[tables.numbers(WEB)[backend(number)] - entry.destinations] for number in (1, 2, 3)}
    assert by_weight == pytest.approx({number: slot_count(3) * share for number, share in SHARES.items()}, abs=2)


def test_settings() -> None:
    tables = tables_at()
    link = ProbeLink(7, bytes(range(12)), IPv4Address("10.255.0.2"))
    tables.apply(replace(web(1), seed=b"0123456789abcdef", idle=77, pass_unknown_port=True, probe=link))
    get = tables.memory.settings.get
    assert tables.memory.coefficients() == coefficients(b"0123456789abcdef")
    assert (get(0, "idle"), get(0, "pass_unknown_port"), get(0, "probe_interface")) == (77, 1, 7)
    assert tables.memory.settings.bytes_of(0, "probe_mac", 12) == bytes(range(12))
    assert tables.memory.settings.bytes_of(0, "probe_address", 4) == link.address.packed
    assert tables.memory.time == 1_000


# What a backend is -> whether it gets new flows, and why not otherwise
STATES = [
    (member(1, 1, AVAILABLE), True, Refusal.NOTHING),
    (member(1, 0, AVAILABLE), False, Refusal.NOTHING),
    (member(1, 1, DRAINING), False, Refusal.NOTHING),
    (member(1, 1, DEAD), False, Refusal.DEAD),
    (member(1, 1, State.NONE), False, Refusal.NO_BACKEND),
    (member(1, 1, AVAILABLE, version=None), True, Refusal.UNRESOLVED),
    (member(1, 1, DRAINING, version=None), False, Refusal.UNRESOLVED),
    (member(1, 1, DEAD, version=None), False, Refusal.DEAD),
]


@pytest.mark.parametrize(("one", "chosen", "refusal"), STATES)
def test_states(one: object, chosen: bool, refusal: Refusal) -> None:
    tables = tables_at()
    assert isinstance(one, type(member(1)))
    wanted = desired(service(WEB, [one]))
    tables.apply(wanted)
    assert_tables(tables.memory, wanted)
    number = tables.numbers(WEB)[backend(1)]
    assert tables.memory.destinations.get(number, "refusal") == refusal
    slots = tables.slots(WEB)
    assert slots is not None
    assert set(slots.owners()) == ({1} if chosen else {NO_DESTINATION})


def test_no_backend_is_a_counted_drop() -> None:
    tables = tables_at()
    tables.apply(web())
    sent = Packets(tables.memory).send(Flow(WEB, IPv4Address("203.0.113.1"), 5000), syn=True)
    assert sent is not None
    assert sent.refusal is Refusal.NO_BACKEND


def test_a_hop_that_is_lost_is_kept_until_a_new_one_is_known() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1)])))
    number = tables.numbers(WEB)[backend(1)]
    for version, seen in ((None, 0), (5, 5), (None, 5)):
        tables.apply(desired(service(WEB, [member(1, version=version)])))
        assert tables.memory.destinations.bytes_of(number, "mac_head", 12) == hop(1, seen).macs
        assert tables.memory.destinations.get(number, "refusal") == Refusal.NOTHING


def test_applying_again_stores_nothing() -> None:
    memory, log = recorded(memory_at(1_000))
    tables = Tables(memory)
    wanted = replace(web(1, 2, 3), probe=ProbeLink(7, bytes(range(12)), IPv4Address("10.255.0.2")))
    tables.apply(wanted)
    tables.apply(replace(wanted, services=(service(WEB, [member(1), member(2, state=DEAD), member(3)]),)))
    for again in (tables, Tables(memory)):
        log.clear()
        last = replace(wanted, services=(service(WEB, [member(1), member(2, state=DEAD), member(3)]),))
        assert again.apply(last).changed == {}
        assert [event for event in log if isinstance(event, Store)] == []


@pytest.mark.parametrize("change", ["dies", "drains", "leaves", "joins"])
def test_one_of_ten_tracks_about_a_tenth(change: str) -> None:
    tables = tables_at()
    members = [member(number) for number in range(1, 11)]
    tables.apply(desired(service(WEB, members)))
    after = {
        "dies": [*members[1:], member(1, state=DEAD)],
        "drains": [*members[1:], member(1, state=DRAINING)],
        "leaves": members[1:],
        "joins": [*members, member(11)],
    }[change]
    count = slot_count(10)
    changed = tables.apply(desired(service(WEB, after))).changed[WEB]
    assert tables.tracked() == {WEB: changed}
    assert count / 12 < changed < count / 6


def test_slots_settle_and_the_flow_table_is_left_alone() -> None:
    tables = tables_at()
    tables.apply(web(1, 2, 3))
    wanted = web(1, 2, 3, 4)
    tracked = tables.apply(wanted).changed[WEB]
    later(tables, 2 * IDLE)
    assert tables.sweep(wanted.services) == 0
    assert tables.tracked() == {WEB: tracked}
    later(tables, 1)
    assert tables.sweep(wanted.services) == tracked
    assert tables.tracked() == {WEB: 0}
    assert_tables(tables.memory, wanted)


def test_without_tracking_nothing_is_tracked() -> None:
    tables = tables_at()
    tables.apply(desired(service(LOG, [member(1), member(2)], tracking=False)))
    tables.apply(desired(service(LOG, [member(1), member(3)], tracking=False)))
    assert tables.tracked() == {LOG: 0}


def test_another_service_with_the_same_pool_has_the_same_owners() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1), member(2)]), service(TLS, [member(1), member(2)])))

    def addresses(key: ServiceKey) -> list[Address]:
        slots, entry = tables.slots(key), tables.entry(key)
        assert slots is not None
        assert entry is not None
        by_number = {number: address for address, number in tables.numbers(key).items()}
        return [by_number[entry.destinations + index] for index in slots.owners()]

    assert addresses(WEB) == addresses(TLS)


def test_vips_without_services_stay_known_through_every_change() -> None:
    """So that packets for them are never taken for somebody else's."""
    lonely = IPv4Address("192.0.2.77")
    vips: dict[Address, bool] = {WEB.vip: True, lonely: True}
    memory, log = recorded(memory_at(1_000))
    tables = Tables(memory)
    tables.apply(desired(service(WEB, [member(1)]), service(TLS, [member(1)]), vips=vips))
    seen = restored(memory, image(memory))
    log.clear()
    tables.apply(desired(service(WEB, [member(number) for number in pool(40)]), vips=vips))
    tables.apply(desired(vips=vips))
    switches = 0
    for event in log:
        if isinstance(event, Store):
            put(seen, event)
            if event.map == "vc5_lookup":
                switches += 1
                assert lookup.vips(seen) == vips
    assert switches == 3


def test_policy_of_the_dead() -> None:
    tables = tables_at()
    one = service(WEB, [member(1)])
    for policy in DeadPolicy:
        tables.apply(desired(replace(one, on_dead=policy)))
        assert lookup.entries(tables.memory)[WEB].on_dead == policy


def test_a_restarted_daemon_goes_on() -> None:
    tables = tables_at()
    tables.apply(web(1, 2, 3))
    tables.apply(web(1, 2))
    adopted = Tables(tables.memory)
    assert adopted.tracked() == tables.tracked()
    assert adopted.numbers(WEB) == tables.numbers(WEB)
    assert adopted.entry(WEB) == tables.entry(WEB)
    assert adopted.entry(OTHER) is None
    assert adopted.slots(OTHER) is None
    assert adopted.numbers(OTHER) == {}


def test_memory_of_nobody() -> None:
    tables = Tables(Memory.plain(SHAPE))
    assert tables.tracked() == {}
    assert tables.sweep(web(1).services) == 0
    assert tables.apply(Desired()).changed == {}
