"""What the daemon and the prober say to each other: JSON, one message on a line, UTF-8, in both directions.

daemon -> prober   {"schedule": GENERATION, "probes": [[NUMBER, VIP, NAT, INDEX OF CHECK], ...], "checks": [{...}, ...]}
                   the whole of what should be probed; it takes the place of what was said before; where packets do not
                   arrive at the VIP and the check's port, a probe goes on with ADDRESS, PORT
prober -> daemon   [NUMBER, OUTCOME, DIAGNOSTIC, AT, TOTAL, CONNECT, TLS, FIRST BYTE, STATUS, TLS VERSION]
                   one finished probe; AT in wall-clock seconds, durations in nanoseconds
                   {"heartbeat": {...}}
                   at the start, after each new schedule, and each second

A number names one check of one backend, with all its values; a probe that changes in any way gets a new one. Neither
side trusts the other: the prober reads bytes from backends and may have been taken over; every decoder here checks
types and ranges and raises ValueError that says what is wrong.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from appliance.health.answer import Answer
from appliance.health.diagnostic import LIMIT, printable
from appliance.model import Address, Check, CheckKind, Outcome

MAX_SCHEDULE = 32 << 20
"""Bytes in a schedule, at most: some 400,000 probes."""
MAX_REPORT = 1 << 16
"""Bytes in a message of the prober, at most."""

PIECE = 512
"""Probes in a piece of a schedule."""

_NANOSECONDS = 1 << 53
"""A bound on durations (104 days): what JSON's numbers hold exactly everywhere."""
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to probe: connect to `nat`, which the data plane turns into `vip` on one backend.

    `arrival` is set where the service translates addresses: those probes arrive at the backend's own address and port.
    """

    number: int
    vip: Address
    nat: Address
    check: Check
    arrival: tuple[Address, int] | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything to probe."""

    generation: int
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """One finished probe. `at` is wall-clock seconds."""

    number: int
    at: float
    answer: Answer


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the prober says of itself; the counts are since the last heartbeat."""

    generation: int = 0
    """The schedule that is in force; 0 before the first."""
    finished: int = 0
    unsent: int = 0
    """Probes that could not be sent, for a reason on our side; they have no outcome and are tried again."""
    trouble: str = ""
    """The reason of the last unsent one."""
    outstanding: int = 0
    late_ms: int = 0
    """How late the most delayed probe started, in milliseconds."""
    cpu_ns: int = 0
    """Processor time of the prober since its start, in nanoseconds."""


def schedule_pieces(generation: int, probes: Iterable[Probe]) -> Iterator[bytes]:
    """Yield the message of a schedule in pieces that take a few milliseconds each; each distinct check stands once."""
    checks: dict[Check, int] = {}
    yield b'{"schedule":%d,"probes":[' % generation
    left, comma = iter(probes), b""
    while some := [
        [
            *(probe.number, str(probe.vip), str(probe.nat), checks.setdefault(probe.check, len(checks))),
            *((str(probe.arrival[0]), probe.arrival[1]) if probe.arrival else ()),
        ]
        for probe in islice(left, PIECE)
    ]:
        yield comma + _ENCODER.encode(some)[1:-1].encode()
        comma = b","
    yield b'],"checks":' + _line([asdict(check) for check in checks])[:-1] + b"}\n"


def decode_schedule(line: bytes) -> Schedule:
    """Read the message of a schedule; raises ValueError."""
    message = _parse(line, "schedule")
    if not isinstance(message, dict) or message.keys() != {"schedule", "checks", "probes"}:
        raise ValueError("not a schedule: it needs the keys schedule, checks, probes")
    generation = _integer(message["schedule"], "generation", 1, _NANOSECONDS)
    if not isinstance(message["checks"], list) or not isinstance(message["probes"], list):
        raise ValueError("checks and probes must be lists")
    checks = [_check(item, f"checks[{index}]") for index, item in enumerate(message["checks"])]
    probes = tuple(_probe(item, f"probes[{index}]", checks) for index, item in enumerate(message["probes"]))
    if len({probe.number for probe in probes}) != len(probes):
        raise ValueError("two probes have the same number")
    return Schedule(generation, probes)


def encode_report(report: Report) -> bytes:
    """Return the message of a finished probe."""
    answer = report.answer
    return _line(
        [
            report.number,
            answer.outcome.value,
            answer.diagnostic,
            report.at,
            answer.total_ns,
            answer.connect_ns,
            answer.tls_ns,
            answer.first_byte_ns,
            answer.http_status,
            answer.tls_version,
        ]
    )


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the message of a heartbeat."""
    return _line({"heartbeat": asdict(heartbeat)})


def decode_from_prober(line: bytes) -> Report | Heartbeat:
    """Read any message of the prober; raises ValueError."""
    message = _parse(line, "report")
    if isinstance(message, list):
        return _report(message)
    if isinstance(message, dict) and message.keys() == {"heartbeat"} and isinstance(message["heartbeat"], dict):
        return _heartbeat(message["heartbeat"])
    raise ValueError("neither a report nor a heartbeat")


def _line(message: object) -> bytes:
    return _ENCODER.encode(message).encode() + b"\n"


def _parse(line: bytes, what: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: not JSON: {printable(str(error))}") from None


def _integer(value: object, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what}: {printable(repr(value))} is not an integer from {least} to {most}")
    return value


def _seconds(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
        raise ValueError(f"{what}: {printable(repr(value))} is not a number of seconds above 0, up to a day")
    return float(value)


def _text(value: object, what: str, limit: int = 4096) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"{what}: not a text of at most {limit} characters")
    return value


def _address(value: object, what: str) -> Address:
    try:
        return ipaddress.ip_address(_text(value, what, 64))
    except ValueError:
        raise ValueError(f"{what}: {printable(repr(value))} is not an IP address") from None


def _check(item: object, where: str) -> Check:
    if not isinstance(item, dict) or item.keys() != Check.__dataclass_fields__.keys():
        raise ValueError(f"{where}: a check needs exactly the keys {', '.join(Check.__dataclass_fields__)}")
    if item["kind"] not in tuple(CheckKind) or not isinstance(item["expect"], list):
        raise ValueError(f"{where}: unknown kind, or expect is not a list")
    return Check(
        kind=CheckKind(item["kind"]),
        port=_integer(item["port"], f"{where}.port", 1, 65535),
        host=_text(item["host"], f"{where}.host"),
        path=_text(item["path"], f"{where}.path"),
        method=_text(item["method"], f"{where}.method", 16),
        expect=tuple(_integer(code, f"{where}.expect", 0, 999) for code in item["expect"]),
        interval=_seconds(item["interval"], f"{where}.interval"),
        timeout=_seconds(item["timeout"], f"{where}.timeout"),
        rise=_integer(item["rise"], f"{where}.rise", 1, 1000),
        fall=_integer(item["fall"], f"{where}.fall", 1, 1000),
        window=None if item["window"] is None else _integer(item["window"], f"{where}.window", 1, 1000),
    )


def _probe(item: object, where: str, checks: list[Check]) -> Probe:
    if not isinstance(item, list) or len(item) not in (4, 6):
        raise ValueError(f"{where}: a probe is [number, VIP, NAT address, index of its check], then address and port")
    number, vip, nat, check, *rest = item
    arrival = None
    if rest:
        arrival = _address(rest[0], f"{where}: address"), _integer(rest[1], f"{where}: port", 1, 65535)
    return Probe(
        _integer(number, f"{where}: number", 0, _NANOSECONDS),
        _address(vip, f"{where}: VIP"),
        _address(nat, f"{where}: NAT address"),
        checks[_integer(check, f"{where}: check", 0, len(checks) - 1)],
        arrival,
    )


def _report(item: list[object]) -> Report:
    if len(item) != 10:
        raise ValueError(f"a report has 10 items, not {len(item)}")
    number, outcome, diagnostic, at, total, connect, tls, first_byte, status, version = item
    if not isinstance(outcome, str) or outcome not in tuple(Outcome):
        raise ValueError(f"report: {printable(repr(outcome))} is no outcome")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e12:
        raise ValueError("report: the time is not in seconds since the epoch")
    answer = Answer(
        outcome=Outcome(outcome),
        diagnostic=printable(_text(diagnostic, "diagnostic", LIMIT)),
        total_ns=_integer(total, "total", 0, _NANOSECONDS),
        connect_ns=_integer(connect, "connect", 0, _NANOSECONDS),
        tls_ns=_integer(tls, "tls", 0, _NANOSECONDS),
        first_byte_ns=_integer(first_byte, "first byte", 0, _NANOSECONDS),
        http_status=_integer(status, "status", 0, 999),
        tls_version=printable(_text(version, "TLS version", 16)),
    )
    return Report(_integer(number, "number", 0, _NANOSECONDS), float(at), answer)


def _heartbeat(item: dict[str, object]) -> Heartbeat:
    if item.keys() != Heartbeat.__dataclass_fields__.keys():
        raise ValueError(f"a heartbeat needs exactly the keys {', '.join(Heartbeat.__dataclass_fields__)}")
    return Heartbeat(
        generation=_integer(item["generation"], "generation", 0, _NANOSECONDS),
        finished=_integer(item["finished"], "finished", 0, _NANOSECONDS),
        unsent=_integer(item["unsent"], "unsent", 0, _NANOSECONDS),
        trouble=printable(_text(item["trouble"], "trouble", LIMIT)),
        outstanding=_integer(item["outstanding"], "outstanding", 0, _NANOSECONDS),
        late_ms=_integer(item["late_ms"], "late_ms", 0, _NANOSECONDS),
        cpu_ns=_integer(item["cpu_ns"], "cpu_ns", 0, 1 << 63),
    )
