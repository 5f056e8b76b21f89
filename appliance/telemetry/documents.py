"""Events and probes as documents of the Elastic Common Schema, ready to be sent, and read back for people. Pure.

A record is two lines, which is what the bulk interface of Elasticsearch takes:

    {"create":{"_index":"logs-vc5.probe-default","_id":"4be2f09a1c37-1205"}}
    {"@timestamp":"2026-11-22T08:11:10.123456Z","event":{"id":"4be2f09a1c37-1205","sequence":1205, ...}, ...}

`create` with an id that is the record's own makes sending it again harmless. Fields are those of `fields.py`. All of it
is ASCII and, but for the newlines, free of control characters, whatever a backend answered.

Probes are thousands in a second: what is the same in all probes of a check is made once.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from appliance.model import Address, CheckKind, Event, EventKind, Outcome, ProbeResult, ServiceKey
from appliance.telemetry.failures import failure
from appliance.telemetry.fields import ECS_VERSION, FIELDS
from appliance.telemetry.streams import Stream

MESSAGE_CHARACTERS = 4096
DOCUMENT_BYTES = 64 * 1024
"""No document is longer. Details that do not fit are left out, then the message is cut; `shortened` says so."""
DAY = 86400.0
_text = json.encoder.encode_basestring_ascii

# How an event's kind is told in ECS: event.kind, event.category, event.type.
_ECS_KINDS: Mapping[EventKind, tuple[str, str, str]] = {
    EventKind.BACKEND: ("state", "network", "change"),
    EventKind.SERVICE: ("state", "network", "change"),
    EventKind.VIP: ("state", "network", "change"),
    EventKind.INTERFACE: ("state", "network", "change"),
    EventKind.BGP: ("state", "network", "change"),
    EventKind.BFD: ("state", "network", "change"),
    EventKind.FLEET: ("state", "network", "change"),
    EventKind.DAEMON: ("event", "process", "info"),
    EventKind.RELOAD: ("event", "configuration", "change"),
    EventKind.OPERATOR: ("event", "configuration", "change"),
    EventKind.ALARM: ("alert", "network", "error"),
    EventKind.TRAFFIC: ("metric", "network", "info"),
    EventKind.PROBE: ("event", "network", "info"),
}
_ECS_OUTCOMES = {Outcome.OK: "success", Outcome.WRONG: "failure", Outcome.NONE: "failure"}
_BAD, _GOOD = frozenset({"refused", "failed", "malformed"}), frozenset({"ok"})
PARTS = ("traffic", "backends", "bgp", "bfd", "fleet")
"""Parts of a document that are an event's details, and have fields of their own: to be found, or added up."""
_NAMES: Mapping[str, tuple[str, ...]] = {
    kind: tuple(field.name.split(".")[2] for field in FIELDS if field.name.startswith(f"vc5.{kind}."))
    for kind in (EventKind.BGP, EventKind.BFD, EventKind.FLEET)
}
"""Which details of such events have fields of their own."""


@dataclass(frozen=True)
class Observer:
    """The balancer that writes, as its documents tell it."""

    hostname: str
    name: str
    version: str


class Documents:
    """Makes the records of one run of a spool: `run` is a word that no other run has, so no two ids are the same."""

    def __init__(self, run: str, observer: Observer | None = None, namespace: str = "default") -> None:
        self.run = run
        seen = observer or Observer("", "", "")
        self._heads = {
            stream: f'{{"create":{{"_index":"{stream.data_stream(namespace)}","_id":"{run}-' for stream in Stream
        }
        observed = {key: value for key, value in seen.__dict__.items() if value}
        observed |= {"type": "load-balancer", "product": "vc5"}
        self._ends = {
            stream: _inner(
                {
                    "observer": observed,
                    "ecs": {"version": ECS_VERSION},
                    "data_stream": {"type": "logs", "dataset": str(stream), "namespace": namespace},
                }
            )
            for stream in Stream
        }
        self._probe = _inner(
            {
                "kind": "event",
                "category": ["network"],
                "type": ["info"],
                "dataset": str(Stream.PROBE),
                "module": "vc5",
                "action": "probe",
            }
        )
        self._backends: dict[tuple[ServiceKey, Address], str] = {}
        self._checks: dict[tuple[int, CheckKind | None], str] = {}

    def probe(self, result: ProbeResult, sequence: int) -> bytes:
        """Return the record of a probe. Numbers are nanoseconds, `sequence` counts the records of all runs."""
        key = (result.service, result.backend)
        of = self._backends.get(key)
        if of is None:
            if len(self._backends) >= 1 << 16:
                self._backends.clear()
            of = self._backends[key] = _inner(_of_service(result.service) | {"server": {"ip": str(result.backend)}})
        end = self._checks.get((result.check, result.kind)) or self._end(result)
        timing = ",".join(
            f'"{name}":{value}'
            for name, value in (
                ("connect_ns", result.connect_ns),
                ("tls_ns", result.tls_ns),
                ("first_byte_ns", result.first_byte_ns),
            )
            if value
        )
        more = ""
        if result.diagnostic:
            words = _text(result.diagnostic[:MESSAGE_CHARACTERS])
            more = f'"message":{words},'
            if result.outcome is not Outcome.OK:
                more += f'"error":{{"type":"{failure(result.outcome, result.diagnostic)}","message":{words}}},'
        if result.http_status:
            more += f'"http":{{"response":{{"status_code":{result.http_status}}}}},'
        days = ""
        if result.tls_version or result.certificate_expires:
            more += _tls(result.tls_version, result.certificate_expires)
            if result.certificate_expires:
                days = f',"certificate":{{"days_left":{(result.certificate_expires - result.at) / DAY:.2f}}}'
        number = f"{self.run}-{sequence}"
        taken = f'"outcome":"{_ECS_OUTCOMES[result.outcome]}","duration":{result.total_ns}'
        return (
            f'{self._heads[Stream.PROBE]}{sequence}"}}}}\n{{"@timestamp":"{_moment(result.at)}","event":{{"id":"{number}",'
            f'"sequence":{sequence},{taken},{self._probe}}},{of},{more}'
            f'"vc5":{{"outcome":"{result.outcome}","timing":{{{timing}}}{days},{end}\n'
        ).encode("ascii")

    def _end(self, result: ProbeResult) -> str:
        check: dict[str, Any] = {"index": result.check}
        if result.kind:
            check["kind"] = str(result.kind)
        end = f'"kind":"probe","check":{_dump(check)}}},{self._ends[Stream.PROBE]}}}'
        self._checks[result.check, result.kind] = end
        return end

    def event(self, event: Event, sequence: int) -> bytes:
        """Return the record of an event. Never fails: details that are not JSON are told as text."""
        document = _event(event, f"{self.run}-{sequence}", sequence)
        try:
            line = _dump(document)
        except (TypeError, ValueError, RecursionError):
            document["vc5"]["details"] = {"unreadable": reprlib.repr(event.details)}
            line = _dump(document)
        if len(line) > DOCUMENT_BYTES:
            document["vc5"]["details"] = {"shortened": True}
            document["message"] = event.message[:MESSAGE_CHARACTERS]
            document["event"].pop("reason", None)
            document["vc5"] = {name: value for name, value in document["vc5"].items() if name not in PARTS}
            line = _dump(document)
        head = f'{self._heads[Stream.EVENT]}{sequence}"}}}}\n'
        return f"{head}{line[:-1]},{self._ends[Stream.EVENT]}}}\n".encode("ascii")


def read(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as `vc5 log` tells it: `sequence`, `at`, `kind`, `message`, and where it has them more.

    Raises ValueError for what is no document of ours.
    """
    try:
        event, own = document["event"], document["vc5"]
        found: dict[str, Any] = {
            "sequence": int(event["sequence"]),
            "at": round(datetime.fromisoformat(str(document["@timestamp"])).timestamp(), 6),
            "kind": str(own["kind"]),
            "message": str(document.get("message", "")),
        }
        if service := document.get("service"):
            found["service"] = str(service["name"])
        if server := document.get("server"):
            found["backend"] = str(server["ip"])
        elif "service" not in found and "destination" in document:
            found["vip"] = str(document["destination"]["ip"])
        for name in ("outcome", "interface", "peer", "before"):
            if value := own.get(name):
                found[name] = str(value)
        if reason := event.get("reason"):
            found["reason"] = str(reason)
        details = _details(document, event, own)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no document of the log: {error!r}") from None
    if details:
        found["details"] = details
    return found


def _details(document: Mapping[str, Any], event: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    if "check" not in own:
        found = dict(own.get("details") or {})
        for part in PARTS:
            if part in own:
                found |= own[part] if part == own["kind"] and part in _NAMES else {part: own[part]}
        return found
    found = {"check": own["check"]["index"], "total_ns": event["duration"], **own["timing"]}
    if "http" in document:
        found["http_status"] = document["http"]["response"]["status_code"]
    tls = document.get("tls") or {}
    if "version" in tls:
        found["tls_version"] = tls["version"]
    if "server" in tls:
        found["certificate_expires"] = int(datetime.fromisoformat(tls["server"]["not_after"]).timestamp())
    if "error" in document:
        found["failure"] = document["error"]["type"]
    return found


def _event(event: Event, number: str, sequence: int) -> dict[str, Any]:
    kind, category, type_ = _ECS_KINDS[event.kind]
    told: dict[str, Any] = {
        "id": number,
        "sequence": sequence,
        "kind": kind,
        "category": [category],
        "type": [type_],
        "dataset": str(Stream.EVENT),
        "module": "vc5",
        "action": f"{event.kind}-{event.outcome}" if event.outcome else str(event.kind),
        "outcome": "failure" if event.outcome in _BAD else "success" if event.outcome in _GOOD else "unknown",
        "severity": int(event.grave),
    }
    own: dict[str, Any] = {"kind": str(event.kind)}
    document: dict[str, Any] = {"@timestamp": _moment(event.at), "event": told, "message": event.message, "vc5": own}
    if reason := event.reason or str((event.details or {}).get("reason", "")):
        told["reason"] = reason
    if event.service is not None:
        document |= _of_service(event.service)
    elif event.vip is not None:
        document |= _of_vip(event.vip)
    if event.backend is not None:
        document["server"] = {"ip": str(event.backend)}
    for name in ("outcome", "before", "interface"):
        if value := getattr(event, name):
            own[name] = value
    if event.peer is not None:
        own["peer"] = str(event.peer)
    details = dict(event.details or {})
    if event.kind is EventKind.TRAFFIC:
        if event.service is not None:
            document["service"] = document["service"] | {"state": event.outcome}
        own |= {part: details.pop(part) for part in PARTS if part in details}
    elif names := [name for name in _NAMES.get(event.kind, ()) if name in details]:
        own[str(event.kind)] = {name: details.pop(name) for name in names}
    if details:
        own["details"] = details
    return document


@lru_cache(maxsize=1 << 14)
def _service_fields(service: ServiceKey) -> dict[str, Any]:
    network = {"transport": str(service.protocol), "type": f"ipv{service.vip.version}"}
    return {
        "service": {"name": str(service)},
        "destination": {"ip": str(service.vip), "port": service.port},
        "network": network,
    }


def _of_service(service: ServiceKey) -> dict[str, Any]:
    return dict(_service_fields(service))


def _of_vip(vip: Address) -> dict[str, Any]:
    return {"destination": {"ip": str(vip)}, "network": {"type": f"ipv{vip.version}"}}


@lru_cache(maxsize=1 << 12)
def _tls(version: str, expires: int) -> str:
    """Return the field `tls` with its comma; many probes see the same certificate."""
    told: dict[str, Any] = {}
    if version:
        name, _, number = version.partition("v")
        told |= {"version": number or version, "version_protocol": name.lower()}
    if expires:
        told["server"] = {"not_after": _moment(float(expires))}
    return f'"tls":{_dump(told)},'


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _moment(at: float) -> str:
    """Return wall-clock seconds as ISO 8601 in UTC, to the microsecond."""
    if not math.isfinite(at) or not 0 <= at < 1e11:
        at = 0.0
    whole = int(at)
    micro = round((at - whole) * 1e6)
    if micro == 1_000_000:
        whole, micro = whole + 1, 0
    return f"{_second(whole)}.{micro:06}Z"


def _dump(fields: Mapping[str, Any]) -> str:
    # ASCII output escapes C0, DEL, C1, line separators, bidirectional marks and lone surrogates.
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def _inner(fields: Mapping[str, Any]) -> str:
    """Return the members of an object without its braces."""
    return _dump(fields)[1:-1]
