"""What the daemon and the prober say to each other: JSON, one message on a line, UTF-8, in both directions.

daemon -> prober   {"schedule": GENERATION, "limit": LIMIT,
                    "probes": [[NUMBER, VIP, NAT, INDEX OF CHECK, BACKEND, LEADER], ...], "checks": [{...}, ...],
                    "authorities": {FILE: CERTIFICATES, ...}}
                   the whole of what should be probed; it takes the place of what was said before; where packets do not
                   arrive at the VIP and the check's port, a probe goes on with ADDRESS, PORT. Of the probes that name
                   one BACKEND (a number that means nothing else; 0: none) at most LIMIT are under way at once (0: any
                   number); LEADER is the number of the probe that this one may lean on (0: none)
                   {"prompt": [NUMBER, ...]}
                   these probes are to run at once, since another balancer has found something else (schedule.py)
prober -> daemon   [NUMBER, OUTCOME, DIAGNOSTIC, AT, TOTAL, CONNECT, TLS, FIRST BYTE, STATUS, TLS VERSION,
                    CERTIFICATE EXPIRES]
                   one finished probe; AT in wall-clock seconds, durations in nanoseconds
                   {"heartbeat": {...}}
                   at the start, after each new schedule, and each second

Both also speak of a drill's flows (drill.py).

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
from appliance.health.checks import decode_check, encode_check, integer, text
from appliance.health.diagnostic import LIMIT, printable
from appliance.health.drill import FlowNews, decode_news, is_news
from appliance.health.lateness import COUNTS
from appliance.model import Address, Check, Outcome

MAX_SCHEDULE = 32 << 20
"""Bytes in a schedule, at most: some 400,000 probes."""
MAX_REPORT = 1 << 16
"""Bytes in a message of the prober, at most."""

MAX_AUTHORITY = 1 << 20
"""Characters of a file of certificates, at most."""

PIECE = 512
"""Probes in a piece of a schedule."""

_NANOSECONDS = 1 << 53
"""A bound on durations (104 days): what JSON's numbers hold exactly everywhere."""
_KEYS = {"schedule", "limit", "checks", "probes", "authorities"}
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_text = json.encoder.encode_basestring_ascii
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


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
    authority: str = ""
    """What is in the check's file of certificates."""
    backend: int = 0
    """Probes with the same number here go to the same backend; 0: it does not matter."""
    leader: int = 0
    """The number of a probe that asks the same of the same backend for another VIP (sharing.py); 0: none."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything to probe. `limit` is the most probes of one backend at once, 0 for any number."""

    generation: int
    probes: tuple[Probe, ...]
    limit: int = 0


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
    starts: tuple[int, ...] = (0,) * COUNTS
    """Probes that were started, by how late (`lateness.STEPS`)."""
    cpu_ns: int = 0
    """Processor time of the prober since its start, in nanoseconds."""
    broken: str = ""
    """What the checks of the checker itself found (selfcheck.py); empty: it works."""


def schedule_pieces(generation: int, probes: Iterable[Probe], limit: int = 0) -> Iterator[bytes]:
    """Yield the message of a schedule in pieces that take a few milliseconds each; each distinct check stands once."""
    checks: dict[Check, int] = {}
    authorities: dict[str, str] = {}
    yield b'{"schedule":%d,"limit":%d,"probes":[' % (generation, limit)
    left, comma = iter(probes), b""
    while piece := list(islice(left, PIECE)):
        some = [
            [
                *(probe.number, str(probe.vip), str(probe.nat), checks.setdefault(probe.check, len(checks))),
                *(probe.backend, probe.leader),
                *((str(probe.arrival[0]), probe.arrival[1]) if probe.arrival else ()),
            ]
            for probe in piece
        ]
        authorities.update((probe.check.ca, probe.authority) for probe in piece if probe.authority)
        yield comma + _ENCODER.encode(some)[1:-1].encode()
        comma = b","
    yield b'],"checks":' + _line([encode_check(check) for check in checks])[:-1]
    yield b',"authorities":' + _line(authorities)[:-1] + b"}\n"


def decode_schedule(line: bytes) -> Schedule:
    """Read the message of a schedule; raises ValueError."""
    message = _parse(line, "schedule")
    if not isinstance(message, dict) or message.keys() != _KEYS:
        raise ValueError("not a schedule: it needs the keys schedule, limit, checks, probes, authorities")
    generation = integer(message["schedule"], "generation", 1, _NANOSECONDS)
    limit = integer(message["limit"], "limit", 0, _NANOSECONDS)
    if not isinstance(message["checks"], list) or not isinstance(message["probes"], list):
        raise ValueError("checks and probes must be lists")
    if not isinstance(message["authorities"], dict):
        raise ValueError("authorities must be a map")
    authorities = {path: text(pem, "authorities", MAX_AUTHORITY) for path, pem in message["authorities"].items()}
    checks = [decode_check(item, f"checks[{index}]") for index, item in enumerate(message["checks"])]
    probes = tuple(
        _probe(item, f"probes[{index}]", checks, authorities) for index, item in enumerate(message["probes"])
    )
    leaders = {probe.number: probe.leader for probe in probes}
    if len(leaders) != len(probes):
        raise ValueError("two probes have the same number")
    for number, leader in leaders.items():
        if leader and leaders.get(leader) != 0:
            raise ValueError(f"probe {number}: its leader {leader} is none")
    return Schedule(generation, probes, limit)


PROMPT = b'{"prompt":'


def is_prompt(line: bytes) -> bool:
    """Whether a message of the daemon wants probes to run at once."""
    return line.startswith(PROMPT)


def encode_prompt(numbers: Iterable[int]) -> bytes:
    """Return the message that has probes run at once."""
    return _line({"prompt": sorted(numbers)})


def decode_prompt(line: bytes) -> tuple[int, ...]:
    """Read the message that has probes run at once; raises ValueError."""
    message = _parse(line, "prompt")
    if not isinstance(message, dict) or message.keys() != {"prompt"} or not isinstance(message["prompt"], list):
        raise ValueError("prompt: not a list of numbers")
    return tuple(integer(number, "prompt", 0, _NANOSECONDS) for number in message["prompt"])


def encode_report(report: Report) -> bytes:
    """Return the message of a finished probe."""
    answer = report.answer
    # Written by hand: there are thousands in a second, and an encoder takes twice as long.
    return (
        f'[{report.number},"{answer.outcome}",{_text(answer.diagnostic)},{report.at!r},{answer.total_ns},'
        f"{answer.connect_ns},{answer.tls_ns},{answer.first_byte_ns},{answer.http_status},"
        f"{_text(answer.tls_version)},{answer.certificate_expires}]\n"
    ).encode()


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the message of a heartbeat."""
    return _line({"heartbeat": asdict(heartbeat)})


def decode_from_prober(line: bytes) -> Report | Heartbeat | tuple[FlowNews, ...]:
    """Read any message of the prober; raises ValueError."""
    message = _parse(line, "report")
    if isinstance(message, list):
        return _report(message)
    if isinstance(message, dict) and message.keys() == {"heartbeat"} and isinstance(message["heartbeat"], dict):
        return _heartbeat(message["heartbeat"])
    if is_news(message):
        return decode_news(message)
    raise ValueError("neither a report nor a heartbeat")


def _line(message: object) -> bytes:
    return _ENCODER.encode(message).encode() + b"\n"


def _parse(line: bytes, what: str) -> Any:
    try:
        return json.loads(line.decode())  # of bytes it would find out first in which encoding they are
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: not JSON: {printable(str(error))}") from None


def _address(value: object, what: str) -> Address:
    try:
        return ipaddress.ip_address(text(value, what, 64))
    except ValueError:
        raise ValueError(f"{what}: {printable(repr(value))} is not an IP address") from None


def _probe(item: object, where: str, checks: list[Check], authorities: dict[str, str]) -> Probe:
    if not isinstance(item, list) or len(item) not in (6, 8):
        raise ValueError(
            f"{where}: a probe is [number, VIP, NAT address, index of check, backend, leader], then address and port"
        )
    number, vip, nat, check, backend, leader, *rest = item
    arrival = None
    if rest:
        arrival = _address(rest[0], f"{where}: address"), integer(rest[1], f"{where}: port", 1, 65535)
    asked = checks[integer(check, f"{where}: check", 0, len(checks) - 1)]
    return Probe(
        integer(number, f"{where}: number", 0, _NANOSECONDS),
        _address(vip, f"{where}: VIP"),
        _address(nat, f"{where}: NAT address"),
        asked,
        arrival,
        authorities.get(asked.ca, ""),
        integer(backend, f"{where}: backend", 0, _NANOSECONDS),
        integer(leader, f"{where}: leader", 0, _NANOSECONDS),
    )


def _report(item: list[object]) -> Report:
    if len(item) != 11:
        raise ValueError(f"a report has 11 items, not {len(item)}")
    number, outcome, diagnostic, at, total, connect, tls, first_byte, status, version, expires = item
    if not isinstance(outcome, str) or outcome not in _OUTCOMES:
        raise ValueError(f"report: {printable(repr(outcome))} is no outcome")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e12:
        raise ValueError("report: the time is not in seconds since the epoch")
    answer = Answer(
        outcome=_OUTCOMES[outcome],
        diagnostic=printable(text(diagnostic, "diagnostic", LIMIT)),
        total_ns=integer(total, "total", 0, _NANOSECONDS),
        connect_ns=integer(connect, "connect", 0, _NANOSECONDS),
        tls_ns=integer(tls, "tls", 0, _NANOSECONDS),
        first_byte_ns=integer(first_byte, "first byte", 0, _NANOSECONDS),
        http_status=integer(status, "status", 0, 999),
        tls_version=printable(text(version, "TLS version", 16)),
        certificate_expires=integer(expires, "certificate expires", 0, 1 << 40),
    )
    return Report(integer(number, "number", 0, _NANOSECONDS), float(at), answer)


def _heartbeat(item: dict[str, object]) -> Heartbeat:
    if item.keys() != Heartbeat.__dataclass_fields__.keys():
        raise ValueError(f"a heartbeat needs exactly the keys {', '.join(Heartbeat.__dataclass_fields__)}")
    return Heartbeat(
        generation=integer(item["generation"], "generation", 0, _NANOSECONDS),
        finished=integer(item["finished"], "finished", 0, _NANOSECONDS),
        unsent=integer(item["unsent"], "unsent", 0, _NANOSECONDS),
        trouble=printable(text(item["trouble"], "trouble", LIMIT)),
        outstanding=integer(item["outstanding"], "outstanding", 0, _NANOSECONDS),
        late_ms=integer(item["late_ms"], "late_ms", 0, _NANOSECONDS),
        starts=_starts(item["starts"]),
        cpu_ns=integer(item["cpu_ns"], "cpu_ns", 0, 1 << 63),
        broken=printable(text(item["broken"], "broken", LIMIT)),
    )


def _starts(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != COUNTS:
        raise ValueError(f"heartbeat: starts are {COUNTS} counts")
    return tuple(integer(count, "starts", 0, _NANOSECONDS) for count in value)
