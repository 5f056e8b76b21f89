"""Who was there, how fast the exchange goes, how a member is told."""

from __future__ import annotations

from ipaddress import IPv4Address

from appliance.control.fleet_account import FORGOTTEN, OVER, Account, awaited, others, own
from appliance.fleet.counters import Counters
from appliance.fleet.envelope import Drop, Kind
from appliance.fleet.members import MEMBERS, Member, SyncState
from appliance.fleet.naming import labels
from appliance.fleet.orders import Why
from appliance.fleet.records import DIGEST, Facts, NodeState
from appliance.model_address import Endpoint

AWAITED = (SyncState.ASKING, SyncState.DONE, SyncState.ASKING)
CONFIGURED = bytes(range(1, DIGEST + 1))


def member(number: int, name: str = "", **values: int | SyncState) -> Member:
    """Another node, that was first heard at 10 and last at 99."""
    facts = Facts(name or f"lb{number}", "1", NodeState.READY, CONFIGURED, flows=number)
    where = Endpoint(IPv4Address("10.1.0.0") + number, 9876)
    return Member(number, where, facts, 10.0, 99.0, **values)  # type: ignore[arg-type]


def names(account: Account, wall: float) -> list[tuple[str, bool]]:
    """Return who is absent, and who of them is missing."""
    return [(one.name, one.missing) for one in account.absent(wall)]


def test_who_is_gone_is_remembered_until_it_comes_back() -> None:
    account = Account()
    for number, why in ((1, Why.SILENT), (2, Why.LEFT), (3, Why.RESTARTED)):
        account.joined(member(number))
        account.gone(member(number), why, 1000.0 + number)
    assert names(account, 1010.0) == [("lb2", False), ("lb1", True)]
    account.joined(member(1))
    assert names(account, 1010.0) == [("lb2", False)]
    assert names(account, 1002.0 + FORGOTTEN) == []


def test_two_of_one_name_are_two() -> None:
    account = Account()
    account.gone(member(1, "lb"), Why.SILENT, 1.0)
    account.gone(member(2, "lb"), Why.SILENT, 2.0)
    account.joined(member(2, "lb"))
    assert [str(one.address) for one in account.absent(3.0)] == ["10.1.0.1:9876"]


def test_who_learns_says_of_whom_it_waits_for_what() -> None:
    asked, done, alike = (member(number, "lb", sync=sync) for number, sync in enumerate(AWAITED, 1))
    everybody = (asked, done, alike)
    called = labels((one.name, one.address) for one in everybody)
    assert awaited(everybody, called) == ("what lb (10.1.0.1) knows", "what lb (10.1.0.3) knows")
    assert awaited([done], called) == ("the first verdicts of the checks",)
    assert awaited([], called) == ("a node that has learnt",)


def test_the_absent_are_bounded() -> None:
    account = Account()
    for number in range(1, MEMBERS + 11):
        account.gone(member(number), Why.SILENT, float(number))
    assert [one.since for one in account.absent(100.0)] == [float(n) for n in range(MEMBERS + 10, 10, -1)]


def test_peers_that_were_never_heard() -> None:
    account, peers = Account(), [member(1).address, member(2).address]
    account.joined(member(2))
    account.gone(member(2), Why.SILENT, 1.0)
    assert account.unheard(peers) == (member(1).address,)


def test_how_fast_it_goes() -> None:
    account, counters = Account(), Counters()
    assert account.traffic(counters).sent.octets_per_second == 0.0
    for second in range(31):
        counters.sent_octets, counters.heard_octets = 1000 * second, 0 if second < 20 else 500 * (second - 20)
        account.look(counters, float(second))
    found = account.traffic(counters)
    assert (found.sent.octets_per_second, found.received.octets_per_second) == (1000.0, 500.0)
    account.look(Counters(), 31.0 + OVER)
    assert account.traffic(Counters()).sent.octets_per_second == 0.0, "one that began anew counts from zero"


def test_counters_are_told_by_their_names() -> None:
    account, counters = Account(), Counters(published=5, learnt=6, lost=7, shed=8, sent_octets=9)
    counters.sent[Kind.HELLO], counters.sent[Kind.RECORDS], counters.dropped[Drop.KEY] = 2, 1, 4
    account.slots_told = 3
    account.asked(10.0)
    account.asked(10.5)
    account.synced(11.0)
    account.synced(12.0)
    found = account.traffic(counters)
    assert (found.sent.datagrams, found.sent.octets, found.sent.records, found.received.records) == (3, 9, 5, 6)
    assert (found.lost, found.shed, found.tracked_slots, found.sync_seconds) == (7, 8, 3, 1.0)
    assert found.refused == {str(reason): 4 if reason is Drop.KEY else 0 for reason in Drop}


def test_a_node_is_told_as_it_says_and_as_it_was_heard() -> None:
    mine = Facts("lb1", "1", NodeState.LEARNING, bytes([9]) + CONFIGURED[1:])
    late = member(2, losses=3, told=9, taken=5, sync=SyncState.ASKING)
    found = others({2: late, 1: member(1, "a")}, mine, 100.0, 1e9)
    assert [one.name for one in found] == ["a", "lb2"]
    assert (found[1].since, found[1].heard, found[1].behind, found[1].lost) == (1e9 - 90.0, 1.0, 4, 3)
    assert (found[1].flows, found[1].sync, found[1].differs) == (2, SyncState.ASKING, True)
    this = own(mine, 7, 1e9)
    assert (this.own, this.address, this.state, this.since) == (True, None, NodeState.LEARNING, 1e9)
