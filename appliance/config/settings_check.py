"""The settings of checks, at every level that gives them."""

from __future__ import annotations

from appliance.config.addresses import HostName
from appliance.config.kinds import Choice, Duration, Either, Integer, ListOf, Section
from appliance.config.policy import PORT
from appliance.config.setting import CHECK, MAX_CHECKS, POLICY, SERVICE, TOP, Setting, words
from appliance.config.values import RequestPath, StatusCodes
from appliance.model import CheckKind

_LEVELS = (TOP, SERVICE, POLICY, CHECK)
_HTTP = (CheckKind.HTTP, CheckKind.HTTPS)

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
        (SERVICE, POLICY, CHECK),
        Choice({"GET": "GET", "HEAD": "HEAD"}),
        "The request's method.",
        "HEAD",
        "GET",
        checks=_HTTP,
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
        Choice(words(CheckKind), {"dns": "write syn or tcp"}),
        "http, https: a request; tcp: a full connection; syn: half a connection (SYN, SYN-ACK, RST).",
        "http",
        required=True,
    ),
    Setting("port", (CHECK,), PORT, "The port to check. Absent: the backend's port.", "8500"),
)
