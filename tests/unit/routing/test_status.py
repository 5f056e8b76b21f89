"""The status of routing as JSON: the names are contracts."""

from __future__ import annotations

import json
from dataclasses import replace

from appliance.routing.status import RoutingStatus
from tests.unit.routing.samples import INSIDE, REFUSED, ROUTING, WAITED_FOR, WELL

PEER = {
    *("address", "group", "state", "since", "local_as", "remote_as", "remote_router_id", "local_address", "ibgp"),
    *("passive", "families", "hold_time", "keepalive", "capabilities", "graceful_restart", "advertised", "pending"),
    *("withheld", "end_of_rib", "messages", "bytes", "sessions", "attempts", "treated_as_withdraw", "last_error"),
    *("received_routes_ignored", "next_attempt", "hold_left", "bfd", "advertised_by_family", "errors", "last_end"),
    "adj_rib_out",
}
BFD = {"state", "remote_state", "diagnostic", "since", "interval", "detection", "multihop", "packets", "flaps"}
ROUTE = {"vip", "told", "next_hop", "as_path", "med", "local_pref", "communities", "why"}
TYPES = {"open", "update", "notification", "keepalive", "refresh"}


def test_the_names() -> None:
    body = json.loads(json.dumps(ROUTING.as_json()))
    assert set(body) == {"router_id", "learning", "listening", "drained", "peers"}
    assert all(set(peer) == PEER for peer in body["peers"])
    well = body["peers"][0]
    assert set(well["bfd"]) == BFD
    assert set(well["bfd"]["packets"]) == {"sent", "received", "dropped"}
    assert set(well["messages"]["sent"]) == set(well["messages"]["received"]) == TYPES
    assert well["graceful_restart"] == {"offered": True, "peer": True, "time": 120, "restarting": False}
    assert set(body["peers"][1]["last_error"]) == {"at", "direction", "code", "subcode", "text", "hex"}
    with_routes = json.loads(json.dumps(ROUTING.as_json(routes=True)))
    assert all(set(peer) == PEER | {"routes"} for peer in with_routes["peers"])
    assert all(set(route) == ROUTE for peer in with_routes["peers"] for route in peer["routes"])


def test_what_is_told_and_what_is_not() -> None:
    told, down, resort = WELL.as_json(routes=True)["routes"]
    assert told == {
        "vip": "203.0.113.10",
        "told": True,
        "next_hop": "10.1.10.5",
        "as_path": [4200000001, 4200000001],
        "med": 50,
        "local_pref": None,
        "communities": ["65000:10", "65535:65281"],
        "why": "",
    }
    assert (down["told"], down["next_hop"], down["why"]) == (False, None, "down: 0 of 1 backends are up")
    assert (resort["told"], resort["communities"], bool(resort["why"])) == (True, ["65000:1:2"], True)


def test_what_follows_from_the_rest() -> None:
    assert (WELL.advertised, WELL.ibgp, WELL.established) == (2, False, True)
    assert (INSIDE.ibgp, REFUSED.established, WAITED_FOR.ibgp) == (True, False, False)
    assert REFUSED.as_json()["errors"] == [
        {"direction": "sent", "code": 2, "count": 12},
        {"direction": "local", "code": None, "count": 3},
    ]
    assert REFUSED.as_json()["last_error"]["hex"].startswith("ff" * 16)
    assert WAITED_FOR.as_json()["bfd"] is None


def test_nothing_is_configured() -> None:
    nothing = RoutingStatus("")
    assert nothing.as_json(routes=True) == {
        "router_id": "",
        "learning": 0.0,
        "listening": False,
        "drained": None,
        "peers": [],
    }
    assert replace(nothing, learning=3.5).as_json()["learning"] == 3.5
