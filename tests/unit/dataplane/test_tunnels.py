"""Which tunnels a program must know, what they look like, and the order in which they are written."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.dataplane import carry
from appliance.dataplane.aside import TUNNEL
from appliance.dataplane.encapsulation import ALL, encapsulations, outer
from appliance.dataplane.enums import Encapsulation, Refusal
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import shape_for
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import dump, parse
from appliance.model import Backend, Config, Service, Tunnel, TunnelKind
from tests.unit.dataplane.desires import SHAPE, WEB, desired, member, memory_at, service

TUNNELS = replace(SHAPE, tunnels=ALL)
FOU = Tunnel(TunnelKind.FOU, 5555)
IPIP = Tunnel(TunnelKind.IPIP)


def test_the_shape_names_what_is_in_use() -> None:
    four, six = Backend(IPv4Address("10.1.1.1")), Backend(IPv6Address("2001:db8::1"))
    plain = Service(WEB, (four,), ())
    both = replace(plain, backends=(four, six), tunnel=IPIP)
    assert encapsulations((plain,)) == ()
    assert encapsulations((plain, both, replace(plain, tunnel=FOU))) == ("ipip4", "ipip6", "fou4")
    assert encapsulations((replace(plain, tunnel=Tunnel(TunnelKind.DSCP, code=1)),)) == ("dscp",)
    shape = shape_for(Config(services=(both,)), 2)
    assert parse(dump(shape)) == shape
    another_port = replace(plain, tunnel=replace(FOU, port=1, checksum=False))
    assert shape_for(Config(services=(another_port,)), 2) == shape_for(
        Config(services=(replace(plain, tunnel=FOU),)), 2
    )


@pytest.mark.parametrize("kind", list(Encapsulation)[1:-1], ids=str)
def test_headers_are_as_long_as_their_kind(kind: Encapsulation) -> None:
    tunnel = Tunnel(TunnelKind[kind.name[:-1]], 5555)
    own, backend = IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2")
    made = outer(tunnel, 4, own, backend)
    if kind.name.endswith("6"):
        made = outer(tunnel, 4, IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))
    assert made.kind is kind
    assert made.length == len(made.header) <= 52
    assert made.length % 4 == 0


def test_a_tunnel_is_written_before_anything_leads_to_it() -> None:
    memory = memory_at(1000, TUNNELS)
    tables, web = Tables(memory), service(WEB, [member(1)])
    seen = []
    for tunnel in (IPIP, FOU, IPIP, None):
        tables.apply(desired(replace(web, tunnel=tunnel)))
        number = next(iter(tables.numbers(WEB).values()))
        seen.append(memory.destinations.get(number, "refusal"))
        if tunnel is not None:
            assert memory.destinations.get(number, "path") == memory.identities.get(number, "tunnel") - 1
    assert seen == [Refusal.TUNNEL, Refusal.TUNNEL, Refusal.TUNNEL, Refusal.NOTHING]
    assert memory.identities.get(number, "tunnel") == 0
    assert memory.legs.get(memory.destinations.get(number, "path"), "interface"), "the way out is a leg again"


def test_services_share_the_tunnels_of_their_backends() -> None:
    memory = memory_at(1000, TUNNELS)
    tables = Tables(memory)
    services = [replace(service(replace(WEB, port=port), [member(1), member(2)]), tunnel=IPIP) for port in (80, 81, 82)]
    tables.apply(desired(*services))
    named = [word for word in memory.identities.column("tunnel") if word]
    assert (len(named), len(set(named))) == (6, 2)
    assert len({memory.tunnels.bytes_of(word - 1, "header", TUNNEL.size) for word in named}) == 2


def test_a_tunnel_in_use_is_not_given_away() -> None:
    """Each change of the way is another tunnel; what is behind a number that is named does not change."""
    shape = replace(TUNNELS, destinations=32)
    memory = memory_at(1000, shape)
    tables = Tables(memory)
    web = service(WEB, [member(number) for number in range(1, 8)])
    seen: set[bytes] = set()
    before: dict[int, bytes] = {}
    for turn in range(12):
        tables.apply(desired(replace(web, tunnel=Tunnel(TunnelKind.FOU, 5000 + turn))))
        for word, content in before.items():
            assert word not in named(memory), "the tunnel of before is named still"
            if turn < 4:
                assert memory.tunnels.bytes_of(word - 1, "header", TUNNEL.size) == content, "used again too soon"
        before = {word: memory.tunnels.bytes_of(word - 1, "header", TUNNEL.size) for word in named(memory)}
        assert len(before) == 7
        seen |= set(before.values())
    assert len(seen) == 12 * 7 > shape.tunnel_count, "no number has been used again"


def named(memory: Memory) -> set[int]:
    """What destinations say of their tunnels."""
    return {word for word in memory.identities.column("tunnel") if word}


def test_nothing_is_sent_without_a_tunnel_that_should_have_one() -> None:
    for memory, version in ((memory_at(1000, TUNNELS), None), (memory_at(1000, SHAPE), 0)):
        tables = Tables(memory)
        tables.apply(desired(replace(service(WEB, [member(1, version=version)]), tunnel=IPIP)))
        number = next(iter(tables.numbers(WEB).values()))
        assert memory.destinations.get(number, "refusal") == Refusal.UNRESOLVED


def test_the_last_known_way_is_kept() -> None:
    memory = memory_at(1000, TUNNELS)
    tables = Tables(memory)
    for version in (0, None):
        tables.apply(desired(replace(service(WEB, [member(1, version=version)]), tunnel=IPIP)))
        number = next(iter(tables.numbers(WEB).values()))
        assert memory.destinations.get(number, "refusal") == Refusal.TUNNEL
    tables.apply(desired(replace(service(WEB, [member(1, version=None)]), tunnel=FOU)))
    assert memory.destinations.get(number, "refusal") == Refusal.UNRESOLVED, "the way of another kind is none"


def test_tunnels_go_along_to_larger_tables() -> None:
    old = memory_at(1000, TUNNELS)
    Tables(old).apply(desired(replace(service(WEB, [member(1)]), tunnel=IPIP)))
    for shape in (replace(TUNNELS, destinations=2 * TUNNELS.destinations), replace(TUNNELS, tunnels=())):
        new = Memory.plain(shape)
        carry.copy(old, new, set(new.raw))
        size = min(len(old.raw["vc5_tunnels"]), len(new.raw["vc5_tunnels"]))
        assert new.raw["vc5_tunnels"][:size] == old.raw["vc5_tunnels"][:size]
