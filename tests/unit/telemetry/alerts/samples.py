"""Documents of the event stream, as the log has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from appliance.telemetry.alerts.notice import Notice, notice

SERVICE = "203.0.113.10:443/tcp"
AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC).timestamp()


def document(sequence: int, kind: str, outcome: str = "", message: str = "", **more: Any) -> dict[str, Any]:
    """Return the document of an event; it happened `sequence` seconds after eight."""
    stamp = datetime.fromtimestamp(AT + more.pop("after", sequence), UTC).isoformat().replace("+00:00", "Z")
    event = {"sequence": sequence, "kind": "state", "action": f"{kind}-{outcome}", "severity": more.pop("severity", 5)}
    own: dict[str, Any] = {"kind": kind}
    made: dict[str, Any] = {"@timestamp": stamp, "event": event, "message": message, "vc5": own}
    if outcome:
        own["outcome"] = outcome
    if reason := more.pop("reason", ""):
        event["reason"] = reason
    if service := more.pop("service", ""):
        made["service"] = {"name": service}
        made["destination"] = {"ip": service.rpartition(":")[0], "port": 443}
    if backend := more.pop("backend", ""):
        made["server"] = {"ip": backend}
    if vip := more.pop("vip", ""):
        made["destination"] = {"ip": vip}
    own |= more
    return made


def backend(sequence: int, number: int, outcome: str = "dead", service: str = SERVICE, **more: Any) -> dict[str, Any]:
    """Return the document of a backend's change."""
    before = "dead" if outcome == "up" else "up"
    more = {"reason": "connection refused", "before": before, **more}
    return document(sequence, "backend", outcome, "changed", backend=f"10.1.10.{number}", service=service, **more)


def vip(sequence: int, outcome: str = "down", **more: Any) -> dict[str, Any]:
    """Return the document of a critical VIP's change."""
    before = "down" if outcome == "up" else "up"
    more = {"severity": 3, "before": before, "reason": f"{SERVICE} is down", **more}
    return document(sequence, "vip", outcome, f"VIP {outcome}", vip="203.0.113.10", **more)


def read(found: dict[str, Any]) -> Notice:
    """Return what a document says."""
    heard = notice(found)
    assert heard is not None
    return heard
