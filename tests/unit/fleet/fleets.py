"""Fleets of one, three and thirty nodes, for the views of them; one has a name that a terminal would obey."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from appliance.fleet.difference import Cause, Difference, Opinion, Overridden, Pair, Ranges
from appliance.fleet.envelope import Drop
from appliance.fleet.members import SyncState
from appliance.fleet.orders import Why
from appliance.fleet.records import NodeState
from appliance.fleet.status import Absent, FleetStatus, Flow, NodeStatus, Traffic
from appliance.model import ServiceKey
from appliance.model_address import Endpoint

NOW = 1_700_093_784.0
SHOP = ServiceKey.parse("203.0.113.10:80/tcp")
MAIL = ServiceKey.parse("[2001:db8::10]:25/tcp")
HOSTILE = "lb\x1b[31m<b>\u202ex"
"""A name that is markup, and paints, and turns text around."""
SAME = bytes.fromhex("1a2b3c4d5e6f7a8b")
OTHER = bytes.fromhex("1a2b3cffffffff00")
TABLES = bytes.fromhex("0011223344556677")
BACKENDS = tuple(IPv4Address("10.1.1.5") + number for number in range(3))


def where(number: int) -> Endpoint:
    """The address of node 1 to 200."""
    return Endpoint(IPv4Address("10.1.1.0") + number, 9876)


def node(number: int, **values: object) -> NodeStatus:
    """A node that is well; `values` replace fields."""
    usual: dict[str, object] = {
        "name": f"lb{number}",
        "address": where(number),
        "state": NodeState.READY,
        "since": NOW - 86_400.0 - number,
        "version": "0.1.0",
        "life": 0xABCDEF0000 + number,
        "configuration": SAME,
        "tables": TABLES,
        "tracked_slots": 1365,
        "flows": 24_123 + number,
        "packets": 1_482_000 + 1000 * number,
        "heard": 0.3,
    }
    return NodeStatus(**(usual | values))  # type: ignore[arg-type]


OWN = node(1, address=None, heard=0.0, own=True)
TRAFFIC = Traffic(
    sent=Flow(93_784, 12_400_000, 812.5, 5_123),
    received=Flow(187_568, 24_900_000, 1_640.0, 10_240),
    refused={str(reason): {Drop.KEY: 12, Drop.FORGED: 3}.get(reason, 0) for reason in Drop},
    lost=4,
    syncs=1,
    tracked_slots=1365,
    sync_seconds=0.42,
)
QUIET = Traffic(refused={str(reason): 0 for reason in Drop})
KEYS = (bytes.fromhex("5e6f7a8b"), bytes.fromhex("00c0ffee"))

ALONE = FleetStatus(
    OWN,
    unheard=(where(2),),
    keys=KEYS[:1],
    peers=(where(2),),
    waiting_for=("any other node",),
    learning=12.4,
    traffic=QUIET,
)
"""One node, that waits for another."""
WELL = FleetStatus(OWN, (node(2), node(3)), keys=KEYS[:1], peers=(where(2), where(3)), traffic=TRAFFIC)
"""Three that are."""
HERE_NOT_THERE = Opinion(BACKENDS[0], here=True)
WRONG_THERE = Opinion(BACKENDS[1], here=False, dead=False)
DIFFERENCES = (
    Difference(HOSTILE, where(3), NOW - 192.0, True, (Cause.CONFIGURATION,)),
    Difference(
        "lb2", where(2), NOW - 12.0, True, (Cause.HEALTH,), SHOP, 120, 120, health=(HERE_NOT_THERE, WRONG_THERE)
    ),
    Difference(
        "lb2",
        where(2),
        NOW - 61.0,
        True,
        (Cause.CONFIGURATION, Cause.OVERRIDES),
        MAIL,
        120,
        120,
        overrides=(Overridden(ip_address("2001:db8::5"), ("drain", "weight 3"), None),),
    ),
    Difference(HOSTILE, where(3), NOW - 0.4, False, (Cause.ON_ITS_WAY,), SHOP, 120, 120),
)
TROUBLED = FleetStatus(
    OWN,
    (
        node(2, state=NodeState.DRAINING, tables=OTHER, lost=17, isolated=True),
        node(3, name=HOSTILE, configuration=OTHER, differs=True, version="0.1.0", sync=SyncState.ASKING, behind=412),
    ),
    absent=(Absent("lb4", where(4), NOW - 75.0, Why.SILENT), Absent("lb5", where(5), NOW - 4000.0, Why.LEFT)),
    unheard=(where(6),),
    keys=KEYS,
    peers=tuple(where(number) for number in range(2, 7)),
    traffic=TRAFFIC,
    differences=DIFFERENCES,
    lasting=3,
)
"""Three of which nothing is well."""
ALIKE = FleetStatus(
    OWN,
    (node(2, name="lb1"), node(3, name="lb1", tables=OTHER, sync=SyncState.ASKING), node(4)),
    absent=(Absent("lb1", where(5), NOW - 75.0, Why.SILENT), Absent("lb1", where(6), NOW - 4000.0, Why.LEFT)),
    keys=KEYS[:1],
    group=Endpoint(IPv4Address("239.255.76.5"), 9876),
    traffic=QUIET,
    differences=(
        Difference("lb1", where(2), NOW - 192.0, True, (Cause.CONFIGURATION,)),
        Difference("lb1", where(3), NOW - 192.0, True, (Cause.CONFIGURATION,)),
        Difference("lb1", where(3), NOW - 12.0, True, (Cause.HEALTH,), SHOP, 120, 120, health=(HERE_NOT_THERE,)),
        Difference("lb1", where(2), NOW - 8.0, True, (Cause.SLOW_START,), SHOP, 120, 120, slow_start=BACKENDS[:1]),
        Difference("lb1", where(3), NOW - 8.0, True, (Cause.SLOW_START,), MAIL, 120, 120, slow_start=BACKENDS[:1]),
        Difference("lb4", where(4), NOW - 8.0, True, (Cause.SLOTS,), SHOP, 240, 120),
    ),
    lasting=6,
)
"""Four that are, and two that were; all but one of them have one name."""
ALIKE_RANGES = (
    Ranges("lb1", where(2), 120, 120, (Pair(BACKENDS[0], BACKENDS[1], ((0, 17),)),)),
    Ranges("lb1", where(3), 120, 120, (Pair(BACKENDS[0], BACKENDS[2], ((4, 4),)),)),
    Ranges("lb4", where(4), 240, 120),
)
RANGES = (
    Ranges(
        "lb2",
        where(2),
        120,
        120,
        (
            Pair(BACKENDS[0], BACKENDS[1], ((0, 17), (40, 40))),
            Pair(None, BACKENDS[2], tuple((slot, slot) for slot in range(50, 80, 2))),
        ),
    ),
    Ranges(HOSTILE, where(3), 120, 120),
    Ranges("lb4", where(4), 120, 240),
    Ranges("lb5", where(5), 120, None),
    Ranges("lb6", where(6), None, None, answered=False),
)
MANY = FleetStatus(
    OWN,
    tuple(node(number, tables=OTHER if number == 17 else TABLES) for number in range(2, 31)),
    keys=KEYS[:1],
    group=Endpoint(IPv4Address("239.255.76.5"), 9876),
    traffic=TRAFFIC,
    differences=tuple(
        Difference(
            "lb17", where(17), NOW - 30.0, True, (Cause.SLOTS,), ServiceKey.parse(f"203.0.113.{n}:80/tcp"), 240, 120
        )
        for n in range(1, 31)
    ),
    more_differences=170,
    lasting=200,
)
"""Thirty, one of which differs in all it has."""
