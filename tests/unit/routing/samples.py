"""The status of a balancer with four routers: one well, one with last resorts, one refused, one that is waited for."""

from __future__ import annotations

from ipaddress import ip_address

from appliance.model_bgp import Community
from appliance.routing.route import Attributes
from appliance.routing.status import (
    BfdState,
    BfdStatus,
    Direction,
    GracefulRestart,
    LastError,
    Messages,
    PeerStatus,
    RouteStatus,
    RoutingStatus,
    SessionState,
    Traffic,
)

NOW = 1764000000.0
SENT = ("multiprotocol ipv4", "multiprotocol ipv6", "route-refresh", "four-octet-as 4200000001", "graceful-restart 120")
PATH = (4200000001, 4200000001)

WELL = PeerStatus(
    ip_address("10.1.10.252"),
    SessionState.ESTABLISHED,
    NOW - 93784.2,
    4200000001,
    65000,
    group="core",
    remote_router_id="10.1.10.252",
    local_address=ip_address("10.1.10.5"),
    families=("ipv4", "ipv6"),
    hold_time=9,
    keepalive=3.0,
    capabilities_sent=SENT,
    capabilities_received=("multiprotocol ipv4", "multiprotocol ipv6", "route-refresh", "capability 131 (01)"),
    graceful_restart=GracefulRestart(offered=True, peer=True, time=120),
    advertised_ipv4=1,
    advertised_ipv6=1,
    withheld=1,
    end_of_rib=True,
    sent=Traffic(Messages(open=1, update=4, keepalive=31_262), 594_321),
    received=Traffic(Messages(open=1, keepalive=31_250, refresh=1), 593_900),
    sessions=1,
    attempts=1,
    received_routes_ignored=3,
    hold_left=7.4,
    bfd=BfdStatus(
        BfdState.UP, NOW - 93783.0, BfdState.UP, interval=0.3, detection=0.9, sent=355_000, received=354_990, dropped=2
    ),
    routes=(
        RouteStatus(
            ip_address("203.0.113.10"),
            Attributes(ip_address("10.1.10.5"), PATH, 50, None, (Community((65000, 10)), Community((65535, 65281)))),
        ),
        RouteStatus(ip_address("203.0.113.53"), None, "down: 0 of 1 backends are up"),
        RouteStatus(
            ip_address("2001:db8:5::10"),
            Attributes(ip_address("2001:db8:10::5"), PATH, 4000, None, (Community((65000, 1, 2)),)),
            "a last resort: no backend is up",
        ),
    ),
)
INSIDE = PeerStatus(
    ip_address("2001:db8:10::252"),
    SessionState.ESTABLISHED,
    NOW - 184,
    4200000001,
    4200000001,
    remote_router_id="10.1.10.253",
    local_address=ip_address("2001:db8:10::5"),
    families=("ipv6",),
    hold_time=10,
    keepalive=10 / 3,
    capabilities_sent=SENT,
    capabilities_received=("multiprotocol ipv6",),
    graceful_restart=GracefulRestart(offered=True, restarting=True),
    advertised_ipv6=0,
    pending=1,
    withheld=2,
    sent=Traffic(Messages(open=7, update=1, notification=5, keepalive=60), 2_000),
    received=Traffic(Messages(open=7, update=3, notification=1, keepalive=61), 2_100),
    sessions=6,
    attempts=7,
    errors={(Direction.SENT, 4): 5, (Direction.RECEIVED, 6): 1},
    treated_as_withdraw=2,
    last_error=LastError(NOW - 190, Direction.SENT, "Hold Timer Expired: nothing was heard for 10 s", 4, 0),
    last_end=LastError(NOW - 190, Direction.SENT, "Hold Timer Expired: nothing was heard for 10 s", 4, 0),
    hold_left=2.1,
    bfd=BfdStatus(
        BfdState.DOWN,
        NOW - 12.5,
        BfdState.DOWN,
        "control detection time expired",
        interval=1.0,
        detection=0.9,
        sent=2_000,
        received=1_000,
        flaps=4,
    ),
    routes=(
        RouteStatus(ip_address("2001:db8:5::10"), Attributes(ip_address("2001:db8:10::5"), (), None, 100)),
        RouteStatus(ip_address("203.0.113.10"), None, "the session carries no IPv4 routes"),
        RouteStatus(ip_address("203.0.113.53"), None, "down: 0 of 1 backends are up"),
    ),
)
REFUSED = PeerStatus(
    ip_address("10.1.10.253"),
    SessionState.IDLE,
    NOW - 3.0,
    65001,
    65000,
    families=("ipv4",),
    hold_time=10,
    keepalive=10 / 3,
    capabilities_sent=SENT,
    withheld=3,
    sent=Traffic(Messages(open=12, notification=12), 900),
    received=Traffic(Messages(open=12), 600),
    attempts=12,
    errors={(Direction.SENT, 2): 12, (Direction.LOCAL, None): 3},
    last_error=LastError(
        NOW - 3.0,
        Direction.SENT,
        "OPEN Message Error, Bad Peer AS: the peer is of AS 65009, and 65000 is configured\x1b[2J",
        2,
        2,
        bytes.fromhex("ff" * 16 + "002d0104fdf1000a0a010afd1002060104000100010202800002020200"),
    ),
    next_attempt=11.8,
    routes=(),
)
WAITED_FOR = PeerStatus(
    ip_address("10.1.10.254"),
    SessionState.ACTIVE,
    NOW - 93790.0,
    65001,
    None,
    passive=True,
    families=("ipv4",),
    hold_time=10,
    keepalive=10 / 3,
    capabilities_sent=SENT,
    sessions=1,
    errors={(Direction.RECEIVED, 6): 1, (Direction.LOCAL, None): 2},
    last_end=LastError(
        NOW - 93790.0, Direction.RECEIVED, 'cease, administrative shutdown: "upgrade"', 6, 2, b"\x07upgrade"
    ),
    last_error=LastError(NOW - 93700.0, Direction.LOCAL, "connection refused"),
)
ROUTING = RoutingStatus("10.1.10.5", (WELL, REFUSED, WAITED_FOR, INSIDE), learning=0.0, listening=True)
