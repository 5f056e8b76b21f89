"""The settings of checks, at every level that gives them."""

from __future__ import annotations

from appliance.config.addresses import HostName
from appliance.config.kinds import Choice, Duration, Either, Integer, ListOf, Section
from appliance.config.policy import PORT
from appliance.config.setting import CHECK, MAX_CHECKS, POLICY, SERVICE, TOP, Setting, words
from appliance.config.values import RequestPath, StatusCodes
from appliance.config.values_check import QTYPES, DomainName, Payload, ResponseCodes
from appliance.model import CheckKind, Protocol

_LEVELS = (TOP, SERVICE, POLICY, CHECK)
_HTTP = (CheckKind.HTTP, CheckKind.HTTPS)
_DNS = (CheckKind.DNS,)
_UDP = (CheckKind.UDP,)
_METHODS = {"GET": "GET", "HEAD": "HEAD"}

CHECK_SETTINGS: tuple[Setting, ...] = (
    Setting("interval", _LEVELS, Duration(0.1, 3600), "The time from one check to the next.", "5s", "2s"),
    Setting("timeout", _LEVELS, Duration(0.01, 300), "How long a check may take.", "500ms", "2s"),
    Setting("rise", _LEVELS, Integer(1, 100), "Good results in a row that make a backend up.", "3", "2"),
    Setting("fall", _LEVELS, Integer(1, 100), "Bad results in a row that make a backend down.", "3", "2"),
    Setting(
        "host",
        (SERVICE, POLICY, CHECK),
        HostName(),
        "The Host header, and the TLS name. Absent: the VIP.",
        "www.example.com",
        checks=_HTTP,
    ),
    Setting(
        "path",
        (SERVICE, POLICY, CHECK),
        RequestPath(),
        "The path to ask for; a leading slash may be left out.",
        "/alive",
        "/",
        checks=_HTTP,
    ),
    Setting(
        "expect",
        (SERVICE, POLICY, CHECK),
        Either(
            StatusCodes(),
            ListOf(StatusCodes(), "a list of status codes", at_least=1),
            f"{StatusCodes().words()}, or a list of them",
        ),
        "The status codes that are good.",
        "200 300-399",
        "200",
        checks=_HTTP,
    ),
    Setting(
        "method",
        (SERVICE, POLICY),
        Choice(_METHODS),
        "The request's method.",
        "HEAD",
        "GET",
        checks=_HTTP,
    ),
    Setting(
        "method",
        (CHECK,),
        Choice({**_METHODS, **words(Protocol)}),
        "The request's method, GET or HEAD. How a DNS question travels, tcp or udp; absent: as the service's packets.",
        "HEAD",
        checks=(*_HTTP, CheckKind.DNS),
    ),
    Setting(
        "checks",
        (POLICY,),
        ListOf(Section(CHECK, "a map that describes a check"), "a list of checks ([] for none)", at_most=MAX_CHECKS),
        "The health checks, all of which must pass; `[]` for none. Absent: one check that fits the policy's key.",
        "[{type: http, path: /alive}, {type: tcp, port: 8500}]",
    ),
    Setting(
        "type",
        (CHECK,),
        Choice(words(CheckKind)),
        "http, https: a request; tcp: a full connection; syn: half a connection (SYN, SYN-ACK, RST); dns: a question; "
        "udp: a datagram and its answer.",
        "http",
        required=True,
    ),
    Setting("port", (CHECK,), PORT, "The port to check. Absent: the backend's port.", "8500"),
    Setting(
        "name",
        (CHECK,),
        DomainName(),
        "The name to ask for; `.` is the root. Absent: localhost, which resolvers know without asking anybody.",
        "www.example.com",
        checks=_DNS,
    ),
    Setting(
        "qtype", (CHECK,), Choice({name: name for name in QTYPES}), "The type to ask for.", "SOA", "A", checks=_DNS
    ),
    Setting(
        "rcode",
        (CHECK,),
        ResponseCodes(),
        "The response codes that are good.",
        "NOERROR NXDOMAIN",
        "NOERROR",
        checks=_DNS,
    ),
    Setting(
        "send",
        (CHECK,),
        Payload(),
        "What the datagram holds. Absent: nothing, an empty datagram.",
        '"hex:0102ff"',
        checks=_UDP,
    ),
    Setting(
        "receive",
        (CHECK,),
        Payload(),
        "How the answer must begin. Absent: any answer is good.",
        "PONG",
        checks=_UDP,
    ),
)
