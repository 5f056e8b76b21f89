"""`/status.json` has all that the earlier vc5 told, by its names and in its types: scripts made for that go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.control.state import State
from appliance.dataplane.enums import Reason
from appliance.dataplane.sync import DataPlane
from appliance.model import Outcome
from appliance.web.document import document, prefixes
from tests.lab.described import problems
from tests.unit.control.sample import TLS, WEB, config, service
from tests.unit.control.test_report import judged, told
from tests.unit.routing.samples import ROUTING

RATED = ("ingress_octets", "ingress_packets", "egress_octets", "egress_packets", "flows")
STATS: dict[str, type] = dict.fromkeys((*RATED, *(f"{counted}_per_second" for counted in RATED), "current"), int)
LOST = ("dropped", "blocked", "notqueued", "toobig")
SUMMARY: dict[str, type] = {
    **STATS,
    **dict.fromkeys((*LOST, *(f"{lost}_per_second" for lost in LOST), "uptime", "latency_ns"), int),
    **dict.fromkeys(("dsr", "vc5"), bool),
}
SERVICE = {
    "name": str,
    "description": str,
    "address": str,
    "port": int,
    "protocol": str,
    "required": int,
    "available": int,
    "stats": dict,
    "destinations": list,
    "up": bool,
    "for": int,
    "last": int,
    "sticky": bool,
    "scheduler": str,
}
DESTINATION = {
    "address": str,
    "port": int,
    "stats": dict,
    "weight": int,
    "disabled": bool,
    "up": bool,
    "for": int,
    "took": int,
    "when": int,
    "last": int,
    "diagnostic": str,
    "mac": str,
}
PEER = {
    "state": str,
    "when": str,
    "duration_s": int,
    "update_calculation_ms": int,
    "advertised_routes": int,
    "withdrawn_routes": int,
    "current_routes": int,
    "connection_attempts": int,
    "successful_connections": int,
    "established_sessions": int,
    "last_error": str,
    "hold_time": int,
    "local_asn": int,
    "remote_asn": int,
    "adj_rib_out": list,
    "local_ip": str,
}
VIP = {"vip": str, "up": bool, "stats": dict, "for": int}
LOGGING = {"elasticsearch_errors": int, "webhook_errors": int}
"""Field and type, as the earlier one made them: Go's integers are no floats, and its times are texts."""


def shape(found: dict[str, Any], wanted: Mapping[str, type]) -> dict[str, type]:
    return {name: type(found[name]) for name in wanted if name in found}


def sample(tmp_path: Path) -> dict[str, Any]:
    """The body of a daemon with two services, traffic, and routers."""
    one = config(service(WEB, 1, 2), service(TLS, 1))
    body = told(State(one), judged(one, b1=Outcome.OK), DataPlane(tmp_path, None, 1, pinned=False))
    for row in body["services"]:
        row |= {"octets": 900, "octets_per_second": 12.7, "packets_per_second": 3.6, "drops_per_second": 0.9}
        row["backends"][0] |= {"active_flows": 7, "octets_per_second": 12.7, "took_ms": 2.9, "since_s": 5.9}
    body["bgp"] = json.loads(json.dumps(ROUTING.as_json()))
    body["reasons"] = {str(Reason.TOO_BIG): 4, str(Reason.BLOCKED): 5}
    return body


def test_what_the_earlier_one_told_is_there_in_its_types(tmp_path: Path) -> None:
    found = json.loads(json.dumps(document(sample(tmp_path))))
    assert {"summary", "services", "bgp", "vip", "rib", "logging"} <= found.keys()
    assert shape(found["summary"], SUMMARY) == SUMMARY
    assert shape(found["logging"], LOGGING) == LOGGING
    services = [one for listed in found["services"].values() for one in listed]
    assert len(services) == 2
    for one in services:
        assert shape(one, SERVICE) == SERVICE
        assert shape(one["stats"], STATS) == STATS
        for destination in one["destinations"]:
            assert shape(destination, DESTINATION) == DESTINATION
            assert shape(destination["stats"], STATS) == STATS
    for vip in found["vip"]:
        assert shape(vip, VIP) == VIP
        assert shape(vip["stats"], STATS) == STATS
    assert found["bgp"]
    for peer in found["bgp"].values():
        assert shape(peer, PEER) == PEER
        assert problems("BgpPeer", peer) == []


def test_what_it_says(tmp_path: Path) -> None:
    body = sample(tmp_path)
    found = document(body)
    [listed] = found["services"].values()
    assert [one["port"] for one in listed] == sorted(one["port"] for one in listed)
    assert listed[0]["stats"]["ingress_octets_per_second"] == 12
    assert (listed[0]["stats"]["current"], listed[0]["destinations"][0]["stats"]["current"]) == (7, 7)
    assert (listed[0]["destinations"][0]["took"], listed[0]["destinations"][0]["for"]) == (2, 5)
    summary = found["summary"]
    assert (summary["toobig"], summary["blocked"]) == (4, 5)
    assert (summary["ingress_octets"], summary["ingress_octets_per_second"], summary["current"]) == (1800, 25, 14)
    [vip] = found["vip"]
    assert (vip["stats"]["ingress_octets"], vip["stats"]["current"]) == (1800, 14)
    well = ROUTING.peers[0]
    peer = found["bgp"][str(well.address)]
    assert peer["state"] == "ESTABLISHED"
    assert datetime.fromisoformat(peer["when"]).timestamp() == datetime.fromtimestamp(well.since, UTC).timestamp()
    assert {one["state"] for one in found["bgp"].values()} <= {"IDLE", "CONNECT", "ACTIVE", "OPEN_SENT", "ESTABLISHED"}
    assert found["routing"] == body["bgp"]


def test_a_daemon_that_has_nothing_yet() -> None:
    found = document({"services": [], "vips": []})
    assert (found["services"], found["bgp"], found["vip"], found["rib"]) == ({}, {}, [], None)
    assert found["summary"]["ingress_octets"] == 0


def test_sources_are_packets() -> None:
    assert prefixes({"sample": 64, "counts": [0, 3, 0]}) == b"[0,192,0]\n"
