"""What Hypothesis may draw: messages, routes and their attributes; and the bytes of hand-made messages."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.bgp.capability import Capabilities, Family, GracefulRestart
from appliance.routing.bgp.message import Keepalive, Message, Notification, Open, Reader, RouteRefresh
from appliance.routing.route import Attributes

MARKER = "ff" * 16
_KNOWN = {1, 2, 5, 64, 65, 70}

octets = st.integers(0, 0xFF)
as_numbers = st.one_of(st.integers(1, 0xFFFF), st.integers(1, 0xFFFFFFFF), st.sampled_from([23456, 65535, 65536]))
numbers = st.integers(0, 0xFFFFFFFF)
families = st.sampled_from(list(Family))

hosts_4 = st.integers(1, 0xDFFFFFFF).map(IPv4Address)
hosts_6 = st.integers(1, (0xFE << 120) - 1).map(IPv6Address)
vips: st.SearchStrategy[Address] = st.one_of(
    st.integers(0, 0xFFFFFFFF).map(IPv4Address), st.integers(0, (1 << 128) - 1).map(IPv6Address)
)

communities = st.one_of(
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(Community),
    st.tuples(numbers, numbers, numbers).map(Community),
)


def many(count: int) -> tuple[Community, ...]:
    """Return so many different communities."""
    return tuple(Community((65001, number)) for number in range(count))


def attributes(next_hops: st.SearchStrategy[Address]) -> st.SearchStrategy[Attributes]:
    """Return what routes may have."""
    return st.builds(
        Attributes,
        next_hop=next_hops,
        as_path=st.lists(as_numbers, max_size=3).map(tuple) | st.integers(254, 257).map(lambda count: (65001,) * count),
        med=st.none() | numbers,
        local_pref=st.none() | numbers,
        communities=st.lists(communities, max_size=4, unique=True).map(tuple) | st.integers(62, 66).map(many),
    )


routes_4 = st.tuples(st.integers(0, 0xFFFFFFFF).map(IPv4Address), attributes(hosts_4 | hosts_6))
routes_6 = st.tuples(st.integers(0, (1 << 128) - 1).map(IPv6Address), attributes(hosts_6))

capabilities = st.builds(
    Capabilities,
    families=st.frozensets(families),
    as_number=st.none(),
    route_refresh=st.booleans(),
    enhanced_refresh=st.booleans(),
    graceful_restart=st.none()
    | st.builds(
        GracefulRestart,
        restarting=st.booleans(),
        time=st.integers(0, 4095),
        notifications=st.booleans(),
        families=st.lists(st.tuples(families, st.booleans()), max_size=3).map(tuple),
    ),
    extended_next_hop=st.frozensets(st.tuples(families, families)),
    unknown=st.lists(
        st.tuples(octets.filter(lambda number: number not in _KNOWN), st.binary(max_size=255)),
        max_size=4,
        unique=True,
    ).map(tuple),
)


@st.composite
def opens(draw: st.DrawFn) -> Open:
    """Draw an OPEN that nobody has to refuse."""
    found: Capabilities = draw(capabilities)
    as_number = draw(as_numbers)
    if as_number > 0xFFFF or draw(st.booleans()):
        found = Capabilities(**{**found.__dict__, "as_number": as_number})
    return Open(as_number, draw(st.sampled_from([0, 3, 90, 65535])), draw(hosts_4), found)


plain_messages: st.SearchStrategy[Open | Notification | Keepalive | RouteRefresh] = st.one_of(
    opens(),
    st.builds(Notification, st.integers(1, 255), octets, st.binary(max_size=300)),
    st.just(Keepalive()),
    st.builds(RouteRefresh, families, st.integers(0, 2)),
)


def message(kind: int, body: str | bytes) -> bytes:
    """Return a message made by hand: its body in hexadecimal, or as it is."""
    data = bytes.fromhex(body) if isinstance(body, str) else body
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(data), kind) + data


def update(attributes: str, networks: str = "", withdrawn: str = "") -> bytes:
    """Return an UPDATE made by hand, its parts in hexadecimal."""
    parts = [bytes.fromhex(part) for part in (withdrawn, attributes, networks)]
    lengths = [struct.pack(">H", len(part)) for part in parts]
    return message(2, lengths[0] + parts[0] + lengths[1] + parts[1] + parts[2])


def read(data: bytes, *, four_octet: bool = True, internal: bool = False, extended: bool = False) -> list[Message]:
    """Return all messages in `data`; raises Refusal."""
    reader = Reader()
    reader.four_octet, reader.internal, reader.extended_next_hop = four_octet, internal, extended
    reader.feed(data)
    return list(reader.messages())
