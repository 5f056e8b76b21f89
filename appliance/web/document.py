"""The bodies of `/status.json` and `/prefixes.json`. Pure; names are contracts.

`/status.json` has all that the earlier vc5 told, under its names and in its form, so that what reads that goes on, and
all that we tell besides: in each service and destination, beside theirs; at the top, where the earlier one had no such
name; and `routing`, since `bgp` was an object by peer. What the earlier one filled with constants (`egress_*`) is 0
here as well: with direct server return, answers do not come this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from appliance.dataplane.enums import Reason
from appliance.routing.status import SessionState

COUNTED = {"ingress_octets": "octets", "ingress_packets": "packets", "flows": "flows"}
NEVER = ("egress_octets", "egress_packets")
REASONS = {"blocked": Reason.BLOCKED, "toobig": Reason.TOO_BIG}


def document(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document, from the body of the daemon's status."""
    own = {name: value for name, value in body.items() if name not in ("services", "bgp")}
    services: dict[str, list[dict[str, Any]]] = {}
    for told in body.get("services", ()):
        services.setdefault(told["vip"], []).append(_service(told))
    for listed in services.values():
        listed.sort(key=lambda one: (one["port"], one["protocol"]))
    routing = body.get("bgp") or {}
    return {
        **own,
        "summary": _summary(body),
        "services": services,
        "bgp": {peer["address"]: _peer(peer, float(body.get("time") or 0.0)) for peer in routing.get("peers", ())},
        "routing": routing,
        "fleet": body.get("fleet"),
        "vip": [_vip(vip, services.get(vip["vip"], ())) for vip in body.get("vips", ())],
        "rib": [vip["vip"] for vip in body.get("vips", ()) if vip.get("announce") != "no"] or None,
        "logging": {"elasticsearch_errors": 0, "webhook_errors": 0, **(body.get("logging") or {})},
    }


def _stats(told: Mapping[str, Any], active: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs, ours in COUNTED.items():
        found[theirs] = told.get(ours, 0)
        found[f"{theirs}_per_second"] = _whole(told.get(f"{ours}_per_second"))
    for name in NEVER:
        found[name] = found[f"{name}_per_second"] = 0
    return found | {"current": active if isinstance(active, int) else 0}


def _service(told: Mapping[str, Any]) -> dict[str, Any]:
    backends = told.get("backends", ())
    known = [one["active_flows"] for one in backends if one.get("active_flows") is not None]
    own = {name: value for name, value in told.items() if name not in ("backends", "proto")}
    return {
        **own,
        "address": told["vip"],
        "protocol": told["proto"],
        "required": told["need"],
        "available": told["available"],
        "stats": _stats(told, sum(known)),
        "destinations": [_destination(one, told["port"]) for one in backends],
        "for": _whole(told.get("since_s")),
        "last": 0,
        "scheduler": told.get("scheduler", ""),
    }


def _destination(told: Mapping[str, Any], port: int) -> dict[str, Any]:
    return {
        **told,
        "port": told.get("port") or port,
        "stats": _stats(told, told.get("active_flows")),
        "disabled": told.get("enabled") is False,
        "up": told.get("health") == "up",
        "for": _whole(told.get("since_s")),
        "took": _whole(told.get("took_ms")),
        "when": 0,
        "last": 0,
    }


def _vip(told: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    stats: dict[str, Any] = {}
    for service in services:
        for name, value in service["stats"].items():
            stats[name] = stats.get(name, 0) + value
    return {**told, "stats": stats or _stats({}, 0), "for": _whole(told.get("since_s"))}


def _summary(body: Mapping[str, Any]) -> dict[str, Any]:
    services = body.get("services", ())
    reasons: Mapping[str, int] = body.get("reasons") or {}
    total = {
        name: sum(service.get(name, 0) for service in services)
        for counter in ("packets", "octets", "flows", "drops")
        for name in (counter, f"{counter}_per_second")
    }
    backends = (one for service in services for one in service.get("backends", ()))
    flows = [one.get("active_flows") or 0 for one in backends]
    found = {"uptime": _whole(body.get("uptime_s")), "latency_ns": _whole(body.get("latency_ns"))}
    found |= _stats(total, sum(flows))
    found |= {"dropped": total["drops"], "dropped_per_second": _whole(total["drops_per_second"])}
    for name, reason in REASONS.items():
        found |= {name: reasons.get(str(reason), 0), f"{name}_per_second": 0}
    return found | {"notqueued": 0, "notqueued_per_second": 0, "dsr": True, "vc5": True}


def _peer(told: Mapping[str, Any], wall: float) -> dict[str, Any]:
    since = told.get("since") or wall
    error = told.get("last_error") or {}
    state = SessionState(told["state"])
    if state is SessionState.STOPPED:
        state = SessionState.IDLE
    return {
        "state": state.upper().replace("-", "_"),
        "when": datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z"),
        "duration_s": max(0, _whole(wall - since)),
        "update_calculation_ms": 0,
        "advertised_routes": told.get("advertised", 0),
        "withdrawn_routes": 0,
        "current_routes": told.get("advertised", 0),
        "connection_attempts": told.get("attempts", 0),
        "successful_connections": told.get("sessions", 0),
        "established_sessions": told.get("sessions", 0),
        "last_error": error.get("text", ""),
        "hold_time": told.get("hold_time", 0),
        "local_asn": told.get("local_as", 0),
        "remote_asn": told.get("remote_as") or 0,
        "adj_rib_out": told.get("adj_rib_out", []),
        "local_ip": told.get("local_address") or "",
    }


def _whole(number: object) -> int:
    """Return it without its fraction: what reads the earlier vc5's numbers takes no other."""
    return int(number) if isinstance(number, (int, float)) else 0


def prefixes(answer: Mapping[str, Any]) -> bytes:
    """Return the array of packets by /20 as JSON; zeros, which are most of it, cost nothing."""
    sample = int(answer.get("sample", 1))
    return ("[" + ",".join("0" if not count else str(count * sample) for count in answer["counts"]) + "]\n").encode()
