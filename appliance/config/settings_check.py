"""The settings of checks, at every level that gives them."""

from __future__ import annotations

from appliance.config.addresses import HostName
from appliance.config.kinds import Boolean, Choice, Duration, Either, Integer, ListOf, Section, Text
from appliance.config.policy import PORT
from appliance.config.setting import CHECK, MAX_CHECKS, POLICY, SERVICE, TOP, Setting, words
from appliance.config.values import RequestPath, StatusCodes
from appliance.config.values_check import QTYPES, BodyPattern, DomainName, Payload, ResponseCodes
from appliance.model import CheckKind, Protocol

_LEVELS = (TOP, SERVICE, POLICY, CHECK)
_BELOW_TOP = (SERVICE, POLICY, CHECK)
_HTTP = (CheckKind.HTTP, CheckKind.HTTPS)
_GRPC = (CheckKind.GRPC,)
_TLS = (CheckKind.HTTPS, CheckKind.GRPC)
_DNS = (CheckKind.DNS,)
_UDP = (CheckKind.UDP,)
_METHODS = {"GET": "GET", "HEAD": "HEAD"}

CHECK_SETTINGS: tuple[Setting, ...] = (
    Setting("interval", _LEVELS, Duration(0.1, 3600), "The time from one check to the next.", "5s", "2s"),
    Setting("timeout", _LEVELS, Duration(0.01, 300), "How long a check may take.", "500ms", "2s"),
    Setting(
        "rise",
        _LEVELS,
        Integer(1, 100),
        "Good results that make a backend up: in a row, or of the latest `window` ones. Absent: the whole window, or 2 "
        "in a row.",
        "3",
    ),
    Setting(
        "fall",
        _LEVELS,
        Integer(1, 100),
        "Bad results that make a backend down: in a row, or of the latest `window` ones. Absent: 2.",
        "3",
    ),
    Setting(
        "window",
        _LEVELS,
        Integer(0, 100),
        "How many of the latest results count, for `rise` and `fall` to be found among them; 0: they must be in a row. "
        "Absent: 5, but 0 beside a `rise` or `fall`.",
        "10",
    ),
    Setting(
        "host",
        _BELOW_TOP,
        HostName(),
        "The Host header, and the TLS name. Absent: the VIP.",
        "www.example.com",
        checks=(*_HTTP, CheckKind.GRPC),
    ),
    Setting(
        "path",
        _BELOW_TOP,
        RequestPath(),
        "The path to ask for; a leading slash may be left out.",
        "/alive",
        "/",
        checks=_HTTP,
    ),
    Setting(
        "expect",
        _BELOW_TOP,
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
        "udp: a datagram and its answer; grpc: a call of the health service; icmp: an echo request.",
        "http",
        required=True,
    ),
    Setting(
        "body",
        (CHECK,),
        Text(".+", "a text", most=1024),
        "A text that the body of the response must contain, in its first MiB. Absent: anything will do.",
        "status=ready",
        checks=_HTTP,
    ),
    Setting(
        "body_pattern",
        (CHECK,),
        BodyPattern(),
        "Instead of `body`, a regular expression that must be found in the body, with ^ first and $ last for its "
        "beginning and end. It has sets, classes such as \\d, groups, alternatives and repetitions; what cannot be "
        "found in a time linear in the body, such as back references and assertions, is refused.",
        '\'"status": *"(up|ready)"\'',
        checks=_HTTP,
    ),
    Setting(
        "mtu",
        (CHECK,),
        Boolean(),
        "Whether the request is made so large that it proves that packets of full size arrive; results say which MSS "
        "would pass where they do not.",
        "true",
        "false",
        checks=_HTTP,
    ),
    Setting(
        "verify",
        _BELOW_TOP,
        Boolean(),
        "Whether the certificate must be valid for the host, and signed by somebody who is trusted.",
        "true",
        "false",
        checks=_TLS,
    ),
    Setting(
        "ca",
        _BELOW_TOP,
        Text("/[!-~]+", "the path of a file, from the root on", most=1024),
        "A file with the certificates (PEM) by which `verify` goes. Absent: those that the system trusts.",
        "/etc/vc5/ca.pem",
        checks=_TLS,
    ),
    Setting(
        "expiry_warning",
        _BELOW_TOP,
        Integer(0, 3650),
        "Days before a certificate's end from which on results say how many are left; 0 for never.",
        "30",
        "14",
        checks=_TLS,
    ),
    Setting("tls", (CHECK,), Boolean(), "Whether the call goes over TLS.", "true", "false", checks=_GRPC),
    Setting(
        "service",
        (CHECK,),
        Text("[!-~]+", "a name of printable ASCII without blanks", most=255),
        "The name of the service to ask for. Absent: the server as a whole.",
        "shop.v1.Orders",
        checks=_GRPC,
    ),
    Setting(
        "port",
        (CHECK,),
        PORT,
        "The port to check. Absent: the backend's port.",
        "8500",
        checks=tuple(kind for kind in CheckKind if kind is not CheckKind.ICMP),
    ),
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
