"""What the kernel says of routes, put together."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from appliance.model import Route
from appliance.net.routes import NexthopNews, Path, RouteNews, RouteTable, Way

TEN = (ip_address("10.0.0.0").packed, 8, 0)
DOC = (ip_address("2001:db8::").packed, 32, 1024)
WATCHED, TOO, ELSEWHERE = 5, 6, 9


def gate(last: int) -> bytes:
    return bytes((192, 0, 2, last))


def gate6(last: int) -> bytes:
    return ip_address(f"fe80::{last}").packed


A, B, C = (Path((Way(WATCHED, gate(last)),)) for last in (1, 2, 3))
BOTH = Path((Way(WATCHED, gate(1)), Way(TOO, gate(2)), Way(ELSEWHERE, gate(3))))
FAR = Path((Way(ELSEWHERE, gate(1)),))
DEAD = Path((Way(WATCHED, gate(1), usable=False), Way(TOO, gate(2))))
A6, B6, C6 = (Path((Way(WATCHED, gate6(last)),), sibling=True) for last in (1, 2, 3))
FAR6 = Path((Way(ELSEWHERE, gate6(1)),), sibling=True)
LEARNED = Path((Way(WATCHED, gate6(9)),))


def new(*paths: Path, key: tuple[bytes, int, int] = TEN) -> RouteNews:
    return RouteNews(key, paths)


def instead(*paths: Path, key: tuple[bytes, int, int] = TEN) -> RouteNews:
    return RouteNews(key, paths, replaces=True)


def gone(*paths: Path, key: tuple[bytes, int, int] = TEN) -> RouteNews:
    return RouteNews(key, paths, gone=True)


def new6(*paths: Path) -> RouteNews:
    return new(*paths, key=DOC)


def instead6(*paths: Path) -> RouteNews:
    return instead(*paths, key=DOC)


def gone6(*paths: Path) -> RouteNews:
    return gone(*paths, key=DOC)


@pytest.mark.parametrize(
    ("messages", "left", "doubtful"),
    [
        ([new(A)], "5.1", False),
        ([new(A), new(A)], "5.1", False),
        ([new(B), new(A)], "5.1 5.2", False),
        ([new(A), gone(A)], "", False),
        ([new(A), gone(B)], "5.1", False),
        ([gone(A)], "", False),
        ([new(FAR)], "", False),
        ([new(FAR), gone(FAR), new(A)], "5.1", False),
        ([new(BOTH)], "5.1 6.2", False),
        ([new(BOTH), gone(BOTH)], "", False),
        ([new(BOTH), gone(A)], "5.1 6.2", False),
        ([new(DEAD)], "6.2", False),
        ([new(DEAD), new(Path((Way(WATCHED, gate(1)), Way(TOO, gate(2)))))], "5.1 6.2", False),
        ([new(A), new(BOTH)], "5.1 6.2", False),
        ([instead(A)], "5.1", False),
        ([new(A), instead(B)], "5.2", True),
        ([new(A), instead(FAR)], "", True),
        ([new(A), instead()], "", True),
        ([instead()], "", False),
        ([new(A), new(B), instead(C)], "5.1 5.2 5.3", True),
        ([new(A), instead(A)], "5.1", True),
        ([new6(A6), new6(B6)], "5.1 5.2", False),
        ([new6(A6, B6), gone6(A6)], "5.2", False),
        ([new6(A6, B6), gone6(A6, B6)], "", False),
        ([new6(A6, B6), instead6(C6)], "5.3", False),
        ([new6(A6, B6), instead6(B6, C6)], "5.2 5.3", False),
        ([new6(A6, B6, LEARNED), instead6(C6)], "5.3 5.9", False),
        ([new6(A6, B6), instead6(FAR6)], "", False),
        ([new6(A6, LEARNED), instead6(Path((Way(WATCHED),)))], "5. 5.1 5.9", True),
    ],
)
def test_messages_in_a_row(messages: list[RouteNews], left: str, doubtful: bool) -> None:
    table = RouteTable({WATCHED, TOO})
    for message in messages:
        table.take(message)
    ways = [f"{one.interface}.{one.gateway.packed[-1] if one.gateway else ''}" for one in table.routes()]
    assert ways == left.split()
    assert (table.doubtful, table.stale) == (doubtful, False)


def test_routes_are_sorted_and_the_same_object_until_something_changes() -> None:
    table = RouteTable({WATCHED})
    sixteen, metric = (TEN[0], 16, 0), (TEN[0], 8, 7)
    for key in (sixteen, metric, TEN):
        table.take(new(A, key=key))
    table.take(new6(A6))
    before = table.routes()
    gateway = ip_address("192.0.2.1")
    assert before == (
        Route(ip_network("10.0.0.0/8"), gateway, WATCHED),
        Route(ip_network("10.0.0.0/8"), gateway, WATCHED, 7),
        Route(ip_network("10.0.0.0/16"), gateway, WATCHED),
        Route(ip_network("2001:db8::/32"), ip_address("fe80::1"), WATCHED, 1024),
    )
    table.take(new(A))
    table.take(new(FAR))
    table.take(gone(B))
    assert table.routes() is before
    table.take(gone(A))
    assert table.routes() == before[1:]


def test_the_routes_of_an_interface_that_is_not_watched_any_more_go() -> None:
    table = RouteTable({WATCHED, TOO})
    table.take(new(BOTH))
    table.take(new6(A6))
    table.watch({TOO})
    assert [route.interface for route in table.routes()] == [TOO]
    assert table.size == 3
    table.watch(())
    assert (table.routes(), table.size) == ((), 0)


def number(n: int) -> tuple[bytes, int, int]:
    return ((10 << 24 | n << 8).to_bytes(4, "big"), 24, 0)


def test_no_more_than_so_many_are_kept_but_default_routes_always() -> None:
    table = RouteTable({WATCHED}, most=100)
    for n in range(150):
        table.take(new(A, key=number(n)))
        table.take(new(FAR, key=number(1000 + n)))
    assert (len(table.routes()), table.left_out, table.full, table.size) == (100, 50, True, 150)
    table.take(new(A, key=(bytes(4), 0, 0)))
    table.take(new(A6, key=(bytes(16), 0, 0)))
    assert (len(table.routes()), table.left_out) == (102, 50)
    table.take(instead(B, key=number(7)))
    assert (len(table.routes()), table.left_out) == (102, 50)
    table.take(gone(A, key=number(120)))  # one of those left out
    assert (len(table.routes()), table.left_out, table.stale) == (102, 49, False)
    for n in range(13):
        assert not table.stale
        table.take(gone(B if n == 7 else A, key=number(n)))
    assert table.stale  # there is room again


@pytest.mark.parametrize(
    ("before", "touched", "stale"),
    [
        ([], 3, False),
        ([new(Path(A.ways, nexthop=3))], 3, True),
        ([new(Path(A.ways, nexthop=3))], 4, False),
        ([new(Path(FAR.ways, nexthop=3))], 3, False),
        ([new(Path(A.ways, nexthop=3)), gone(A)], 3, False),
        ([new(Path(A.ways, nexthop=3)), new(Path(A.ways, nexthop=3), key=number(1)), gone(A)], 3, True),
        ([new(Path(A.ways, nexthop=3)), instead(Path(A.ways, nexthop=4))], 3, False),
        ([new(Path(A.ways, nexthop=3)), instead(Path(A.ways, nexthop=4))], 4, True),
    ],
)
def test_a_nexthop_object_in_use_makes_the_table_stale(before: list[RouteNews], touched: int, stale: bool) -> None:
    table = RouteTable({WATCHED})
    for message in before:
        table.take(message)
    table.touch(NexthopNews(touched))
    assert table.stale is stale
