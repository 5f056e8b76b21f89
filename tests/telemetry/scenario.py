"""Three hours of a balancer, the same every time: 5 services, 8 backends, some of which fail, are slow, are drained,
and 3 routers, with which sessions end.

`records()` yields them as the product writes them, some 12,000 documents; tests and the pictures in the README look at
them through dashboards.
"""

from __future__ import annotations

import ipaddress
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from appliance.model import CheckKind, Event, EventKind, Outcome, ProbeResult, ServiceKey, Severity
from appliance.routing.status import BfdState, BfdStatus, Direction, LastError, PeerStatus, RoutingStatus, SessionState
from appliance.telemetry.documents import Documents, Observer
from appliance.telemetry.routing import bfd_details, bgp_details, every_minute
from tests.lab.elasticsearch import Elasticsearch

BEGIN = 1_795_327_200
"""2026-11-22T06:00:00Z."""
END = BEGIN + 3 * 3600
EVERY = 20
"""Seconds between two probes."""
MILLISECOND = 1_000_000


def minute(hour: int, past: int) -> int:
    """Return a time of that morning."""
    return BEGIN + (hour - 6) * 3600 + past * 60


@dataclass(frozen=True)
class Served:
    """A service, its backends, and what carries it."""

    name: ServiceKey
    backends: tuple[str, ...]
    kind: CheckKind
    packets: int
    """In a minute, about."""


SERVICES = (
    Served(
        ServiceKey.parse("203.0.113.10:80/tcp"), ("10.1.10.11", "10.1.10.12", "10.1.10.13"), CheckKind.HTTP, 220_000
    ),
    Served(
        ServiceKey.parse("203.0.113.10:443/tcp"), ("10.1.10.11", "10.1.10.12", "10.1.10.13"), CheckKind.HTTPS, 610_000
    ),
    Served(ServiceKey.parse("203.0.113.20:443/tcp"), ("10.1.20.21", "10.1.20.22"), CheckKind.HTTPS, 340_000),
    Served(ServiceKey.parse("203.0.113.53:53/udp"), ("10.1.30.31", "10.1.30.32"), CheckKind.DNS, 150_000),
    Served(ServiceKey.parse("[2001:db8::10]:443/tcp"), ("2001:db8:1::11", "10.1.20.22"), CheckKind.HTTPS, 90_000),
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a backend from one second until another."""

    backend: str
    since: int
    until: int
    outcome: Outcome
    words: str
    status: int = 0


FAULTS = (
    Fault("10.1.10.13", minute(6, 40), minute(7, 12), Outcome.NONE, "connection refused"),
    Fault("10.1.10.12", minute(7, 48), minute(7, 51), Outcome.NONE, "connection reset"),
    Fault("10.1.20.21", minute(8, 0), minute(8, 14), Outcome.WRONG, "HTTP 503, expected 200", 503),
    Fault("10.1.20.22", minute(8, 2), minute(8, 12), Outcome.WRONG, "HTTP 503, expected 200", 503),
    Fault("10.1.30.32", minute(6, 20), minute(6, 22), Outcome.NONE, "timeout after 2 s"),
    Fault("10.1.30.32", minute(7, 30), minute(7, 33), Outcome.NONE, "timeout after 2 s"),
    Fault("10.1.30.32", minute(8, 30), minute(8, 34), Outcome.NONE, "timeout after 2 s"),
)
SLOW = {"10.1.20.21": (minute(7, 20), minute(8, 20))}


def fault_of(backend: str, at: float) -> Fault | None:
    """Return what is wrong with a backend at that moment."""
    return next((one for one in FAULTS if one.backend == backend and one.since <= at < one.until), None)


ROUTERS = (
    PeerStatus(ipaddress.ip_address("10.1.10.252"), SessionState.ESTABLISHED, BEGIN, 65001, 65000, group="core",
               bfd=BfdStatus(BfdState.UP, BEGIN, BfdState.UP, "", 0.3, 0.9)),
    PeerStatus(ipaddress.ip_address("10.1.10.253"), SessionState.ESTABLISHED, BEGIN, 65001, 65000, group="core",
               bfd=BfdStatus(BfdState.UP, BEGIN, BfdState.UP, "", 0.3, 0.9)),
    PeerStatus(ipaddress.ip_address("2001:db8:10::254"), SessionState.ESTABLISHED, BEGIN, 65001, 65009, group="edge"),
)  # fmt: skip
VIPS = len({served.name.vip for served in SERVICES})


@dataclass(frozen=True)
class Cut:
    """A session that ends and comes back: whose, when, by which error; `refused` is why attempts fail meanwhile."""

    router: int
    since: int
    until: int
    error: LastError
    refused: LastError | None = None
    bfd: str = ""
    """What BFD says of it; empty where it finds nothing."""


_BAD_AS = LastError(
    0.0,
    Direction.SENT,
    "OPEN message error, bad peer AS: the peer is of AS 65010, and 65009 is configured",
    2,
    2,
    bytes.fromhex("ff" * 16 + "001d0104fdf2000a0a010afe00"),
)
CUTS = (
    Cut(1, minute(6, 30), minute(6, 38), LastError(
        0.0, Direction.RECEIVED, "cease, administrative shutdown: upgrade of core-2", 6, 2)),
    Cut(0, minute(7, 10), minute(7, 11), LastError(
        0.0, Direction.SENT, "cease, BFD down: control detection time expired", 6, 10),
        bfd="control detection time expired"),
    Cut(0, minute(7, 14), minute(7, 15), LastError(
        0.0, Direction.SENT, "cease, BFD down: control detection time expired", 6, 10),
        bfd="control detection time expired"),
    Cut(2, minute(8, 5), minute(8, 25), LastError(0.0, Direction.LOCAL, "connection reset"), refused=_BAD_AS),
    Cut(2, minute(8, 44), minute(8, 46), LastError(0.0, Direction.SENT, "hold timer expired", 4, 0)),
)  # fmt: skip


def standing_of(number: int, at: float) -> PeerStatus:
    """Return how it stands with a router at that moment."""
    router = ROUTERS[number]
    down = fault_of("10.1.20.21", at - 3 * EVERY) is not None and fault_of("10.1.20.22", at - 3 * EVERY) is not None
    told: dict[str, Any] = {"advertised_ipv4": VIPS - 1 - down, "advertised_ipv6": 1, "withheld": int(down)}
    flaps = sum(cut.router == number and bool(cut.bfd) and cut.since <= at for cut in CUTS)
    cut = next((one for one in CUTS if one.router == number and one.since <= at < one.until), None)
    bfd = router.bfd and replace(router.bfd, flaps=flaps)
    if cut is not None:
        told = {"withheld": VIPS}
        router = replace(router, state=SessionState.IDLE if cut.refused else SessionState.CONNECT, since=cut.since)
        if bfd and cut.bfd:
            bfd = replace(bfd, state=BfdState.DOWN, remote_state=BfdState.DOWN, diagnostic=cut.bfd, since=cut.since)
    return replace(router, bfd=bfd, **told)


def _routers() -> Iterator[Event]:
    """Yield what becomes of sessions, and how it stands with each router, minute by minute."""
    for cut in CUTS:
        peer, back = standing_of(cut.router, cut.since), standing_of(cut.router, cut.until)
        place: dict[str, Any] = {"peer": peer.address}
        if peer.bfd and back.bfd and cut.bfd:
            yield Event(
                cut.since,
                EventKind.BFD,
                f"up -> down: {cut.bfd}",
                outcome="down",
                before="up",
                reason=cut.bfd,
                details=bfd_details(peer.bfd),
                **place,
            )
            yield Event(
                cut.until - 5,
                EventKind.BFD,
                "down -> up",
                outcome="up",
                before="down",
                details=bfd_details(back.bfd),
                **place,
            )
        yield Event(
            cut.since + 0.01,
            EventKind.BGP,
            f"session down: {cut.error.text}",
            outcome="down",
            before="established",
            reason=cut.error.text,
            severity=Severity.ERROR,
            details=bgp_details(peer, cut.error, lasted=cut.since - BEGIN),
            **place,
        )
        if cut.refused:
            yield Event(
                cut.since + 15,
                EventKind.BGP,
                f"no session: {cut.refused.text}",
                outcome="refused",
                before="down",
                reason=cut.refused.text,
                severity=Severity.WARNING,
                details=bgp_details(peer, cut.refused),
                **place,
            )
        yield Event(
            cut.until,
            EventKind.BGP,
            "session established",
            outcome="established",
            before="down",
            details=bgp_details(back),
            **place,
        )
    for at in range(BEGIN, END, 60):
        every = tuple(standing_of(number, at) for number in range(len(ROUTERS)))
        yield from every_minute(RoutingStatus("10.1.10.5", every), float(at))


def probes() -> Iterator[ProbeResult]:
    """Yield every probe."""
    chance = random.Random(7)
    for at in range(BEGIN, END, EVERY):
        for served in SERVICES:
            for number, backend in enumerate(served.backends):
                yield _probe(served, backend, at + 3.7 * number + 0.001 * chance.randrange(1000), chance)


def _probe(served: Served, backend: str, at: float, chance: random.Random) -> ProbeResult:
    values: dict[str, Any] = {}
    slow = 1.0
    if backend in SLOW and SLOW[backend][0] <= at < SLOW[backend][1]:
        begin, end = SLOW[backend]
        slow = 1 + 14 * math.sin(math.pi * (at - begin) / (end - begin))
    fault = fault_of(backend, at)
    connect = int((0.35 + 0.2 * chance.random()) * MILLISECOND)
    first = int((1.6 + 1.5 * chance.random() ** 3) * slow * MILLISECOND)
    tls = int((2.4 + 0.8 * chance.random()) * MILLISECOND) if served.kind is CheckKind.HTTPS else 0
    outcome, words, total = Outcome.OK, "HTTP 200", connect + tls + first
    if served.kind is CheckKind.DNS:
        words = "NOERROR"
    if fault and fault.outcome is Outcome.NONE:
        outcome, words = fault.outcome, fault.words
        total = 2000 * MILLISECOND if "timeout" in words else connect
    else:
        values["first_byte_ns"] = first
        if served.kind is not CheckKind.DNS:
            values["connect_ns"] = connect
        if fault:
            outcome, words = fault.outcome, fault.words
        if served.kind in (CheckKind.HTTP, CheckKind.HTTPS):
            values["http_status"] = fault.status if fault else 200
        if tls:
            expires = END + (9 if "203.0.113.20" in str(served.name) else 61) * 86400
            values |= {"tls_ns": tls, "tls_version": "TLSv1.3", "certificate_expires": expires}
    address = ipaddress.ip_address(backend)
    return ProbeResult(served.name, address, 0, outcome, words, at, total, kind=served.kind, **values)


def _changes() -> Iterator[Event]:
    """Yield what becomes of the faults: a backend is down three probes after, and so may be its service and its VIP."""
    for fault in FAULTS:
        for served in SERVICES:
            if fault.backend not in served.backends:
                continue
            address = ipaddress.ip_address(fault.backend)
            down, up = fault.since + 3 * EVERY, fault.until + 2 * EVERY
            bad = "dead" if fault.outcome is Outcome.NONE else "wrong"
            good = "NOERROR" if served.kind is CheckKind.DNS else "HTTP 200"
            reasons = (fault.words, good)
            messages = (f"up -> {bad}: {fault.words}", f"{bad} -> up: {good}")
            place = {"service": served.name, "backend": address}
            yield from _there_and_back(EventKind.BACKEND, down, up, ("up", bad), reasons, messages, **place)
    shop = SERVICES[2].name
    down, up = minute(8, 3), minute(8, 13)
    words = ("service down", "service up")
    few = ("0 of 2 backends available", "1 of 2 backends available")
    yield from _there_and_back(EventKind.SERVICE, down, up, ("up", "down"), few, words, service=shop)
    why = (f"{shop} is down", "1 of 1 services up")
    words = (f"VIP {shop.vip} down: {why[0]}", f"VIP {shop.vip} up: {why[1]}")
    yield from _there_and_back(EventKind.VIP, down, up, ("up", "down"), why, words, vip=shop.vip)


def _there_and_back(
    kind: EventKind,
    there: int,
    back: int,
    states: tuple[str, str],
    reasons: tuple[str, str],
    messages: tuple[str, str],
    **place: Any,
) -> Iterator[Event]:
    """Yield the two changes of something that fails and comes back."""
    good, bad = states
    yield Event(there, kind, messages[0], outcome=bad, before=good, reason=reasons[0], **place)
    yield Event(back, kind, messages[1], outcome=good, before=bad, reason=reasons[1], **place)


def _operations() -> Iterator[Event]:
    backend = ipaddress.ip_address("10.1.10.12")
    words = "started, version 0.1.0, went on with the running program"
    yield Event(BEGIN + 2, EventKind.DAEMON, words, outcome="started")
    words = "configuration in force after 212 ms, by root"
    yield Event(minute(7, 20), EventKind.RELOAD, words, outcome="ok")
    words = "refused, by root: config.yaml:41:3: services[2].chekcs: unknown setting (did you mean checks?)"
    yield Event(minute(7, 24), EventKind.RELOAD, words, outcome="refused", severity=Severity.ERROR)
    for served in SERVICES[:2]:
        yield Event(minute(8, 40), EventKind.OPERATOR, "drain, by alice", served.name, backend)
        yield Event(minute(8, 52), EventKind.OPERATOR, "undrain, by alice", served.name, backend)
    reasons = ("no link, or switched off", "")
    messages = (f"interface bond0 down: {reasons[0]}", "interface bond0 up")
    down, up = minute(6, 55), minute(6, 56)
    yield from _there_and_back(EventKind.INTERFACE, down, up, ("up", "down"), reasons, messages, interface="bond0")
    words = "shipper: Elasticsearch cannot be reached"
    yield Event(minute(8, 20), EventKind.ALARM, words, outcome="began", details={"reason": "shipper"})
    yield Event(minute(8, 26), EventKind.ALARM, f"over: {words}", outcome="over", details={"reason": "shipper"})


def _traffic() -> Iterator[Event]:
    chance = random.Random(11)
    for at in range(BEGIN, END, 60):
        for number, served in enumerate(SERVICES):
            up = sum(fault_of(backend, at - 3 * EVERY) is None for backend in served.backends)
            state = "up" if up else "down"
            wave = 1 + 0.35 * math.sin((at - BEGIN) / 2600 + number) + 0.06 * chance.random()
            packets = int(served.packets * wave) if up else 0
            traffic = {
                "packets": packets,
                "octets": packets * (90 if served.kind is CheckKind.DNS else 410),
                "flows": packets // (2 if served.kind is CheckKind.DNS else 24),
                "drops": chance.randrange(40) if up else int(served.packets * 0.2),
                "active": packets // 60,
            }
            details = {"traffic": traffic, "backends": {"up": up, "total": len(served.backends)}}
            yield Event(float(at), EventKind.TRAFFIC, f"is {state}", served.name, outcome=state, details=details)


def records(namespace: str = "default") -> Iterator[bytes]:
    """Yield everything as records of the log, in the order of time."""
    everything: list[ProbeResult | Event] = [*probes(), *_changes(), *_operations(), *_traffic(), *_routers()]
    everything.sort(key=lambda one: one.at)
    writer = Documents("4be2f09a1c37", Observer("lb1.example.com", "lb1", "0.1.0"), namespace)
    for sequence, one in enumerate(everything):
        yield writer.probe(one, sequence) if isinstance(one, ProbeResult) else writer.event(one, sequence)


def store(elasticsearch: Elasticsearch, namespace: str = "default") -> int:
    """Send everything to a server that is prepared for it, and return how many documents that are."""
    every = list(records(namespace))
    for begin in range(0, len(every), 4000):
        answer = elasticsearch.asked("POST", "/_bulk", b"".join(every[begin : begin + 4000]))
        assert not answer["errors"], answer
    elasticsearch.refresh()
    return len(every)
