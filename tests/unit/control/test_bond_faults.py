"""What is said of members of a bond that do not receive alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.control.bond_faults import Member, findings
from appliance.control.nic import Severity

EVEN = tuple(number % 4 for number in range(128))
FIRST = Member("eth0", "bond0", 1500, 4, EVEN, bytes(range(40)), {"tcp4": "sdfn", "udp4": "sd"})
ALL = {"bond0": ("eth0", "eth1")}

CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "alike": ({}, []),
    "queues": ({"queues": 8}, [("8 queues receive, and 4 at eth0", "ethtool -L eth1 combined 4")]),
    "queues, and so the table": (
        {"queues": 8, "table": tuple(number % 8 for number in range(128))},
        [("8 queues receive", "ethtool -L eth1 combined 4")],
    ),
    "table": (
        {"table": EVEN[::-1]},
        [("its queues have other shares", "ethtool -X eth0 equal 4; ethtool -X eth1 equal 4")],
    ),
    "key": ({"key": bytes(40)}, [("another key", f"ethtool -X eth1 hkey {bytes(range(40)).hex(':')}")]),
    "a longer key": ({"key": bytes(52)}, [("another key", "NICs of one kind")]),
    "fields": (
        {"fields": {"tcp4": "sd", "udp4": "sd"}},
        [("the hash of tcp4 covers other fields (sd)", "ethtool -N eth1 rx-flow-hash tcp4 sdfn")],
    ),
    "MTU": ({"mtu": 9000}, [("its MTU is 9000, and that of eth0 is 1500", "ip link set bond0 mtu 1500")]),
    "a driver that says nothing": ({"table": (), "key": b"", "fields": {}}, []),
    "several": ({"table": EVEN[::-1], "key": bytes(40)}, [("its queues", "equal 4"), ("another key", "hkey")]),
}


@pytest.mark.parametrize(("other", "expected"), CASES.values(), ids=CASES)
def test_a_second_member(other: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = findings([FIRST, replace(FIRST, name="eth1", **other)], ALL)
    assert found.keys() <= {"eth1"}
    each = found.get("eth1", ())
    assert len(each) == len(expected)
    for one, (what, remedy) in zip(each, expected, strict=True):
        assert one.severity is Severity.WARNING
        assert what in one.what
        assert remedy in one.remedy


def test_a_member_that_has_no_program() -> None:
    [one] = findings([FIRST], ALL)["eth0"]
    assert one.severity is Severity.PROBLEM
    assert one.what == "eth1 is a member of bond0 too, and not in `interfaces`"


def test_bonds_are_compared_each_for_itself() -> None:
    other = replace(FIRST, name="eth2", bond="bond1", queues=8)
    assert findings([FIRST, other], {"bond0": ("eth0",), "bond1": ("eth2",)}) == {}
