"""What nodes are called of which several may have one host name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet.naming import Named, labels
from appliance.model_address import Endpoint


def at(address: str, port: int = 9876) -> Endpoint:
    return Endpoint(ip_address(address), port)


# Nodes -> what each is called
CALLED: list[tuple[list[Named], list[str]]] = [
    ([], []),
    ([("lb1", None), ("lb2", at("10.1.99.6"))], ["lb1", "lb2"]),
    ([("lb", None), ("lb", at("10.1.99.6")), ("lb2", at("10.1.99.7"))], ["lb (this node)", "lb (10.1.99.6)", "lb2"]),
    ([("lb", at("2001:db8::6")), ("lb", at("10.1.99.6"))], ["lb (2001:db8::6)", "lb (10.1.99.6)"]),
    # One that was there before, and has come back.
    ([("lb1", None), ("lb2", at("10.1.99.6")), ("lb2", at("10.1.99.6"))], ["lb1", "lb2", "lb2"]),
    # Two on one machine.
    (
        [("lb", at("10.1.99.6")), ("lb", at("10.1.99.6", 9877)), ("lb", at("10.1.99.7"))],
        ["lb (10.1.99.6:9876)", "lb (10.1.99.6:9877)", "lb (10.1.99.7)"],
    ),
    ([("lb", at("2001:db8::6")), ("lb", at("2001:db8::6", 1))], ["lb ([2001:db8::6]:9876)", "lb ([2001:db8::6]:1)"]),
]


@pytest.mark.parametrize(("nodes", "called"), CALLED)
def test_only_who_shares_a_name_is_called_by_more_than_it(nodes: list[Named], called: list[str]) -> None:
    found = labels(nodes)
    assert [found[one] for one in nodes] == called


ADDRESSES = st.sampled_from(["10.1.99.6", "10.1.99.7", "2001:db8::6"])
WHERE = st.none() | st.builds(at, ADDRESSES, st.integers(1, 3))


@given(st.lists(st.tuples(st.sampled_from(["lb", "lb1"]), WHERE), max_size=9))
def test_two_nodes_are_never_called_the_same(nodes: list[Named]) -> None:
    found = labels(nodes)
    assert found.keys() == set(nodes)
    assert len(set(found.values())) == len(found)
