"""Health checks: which ones a policy asks for, and every value with inheritance resolved.

Precedence: check, policy, service, top level, default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from appliance.config.findings import Findings
from appliance.config.kinds import Place, duration_text
from appliance.config.nodes import Mapping, Node, join, quote
from appliance.config.policy import Form
from appliance.config.reader import Fields, Given
from appliance.config.setting import list_text
from appliance.config.settings import default_of, settings_of
from appliance.model import Address, Check, CheckKind, Protocol

_NOTHING = Fields(Node(0, 0, 1), "")
"""The settings of a check that is made without being written."""

RISE, FALL, WINDOW = 5, 2, 5
"""Up with 5 good ones of the latest 5, down with fewer than 4. FALL also stands for what is left out beside others."""


def effective(name: str, *levels: Fields) -> Any:
    """Return the value in force: the first level that gives one, else the default."""
    found = given_at(name, *levels)
    return default_of(name) if found is None else found.value


def given_at(name: str, *levels: Fields) -> Given | None:
    """Return what the first level that gives a setting gives for it."""
    for level in levels:
        found = level.given.get(name)
        if found is not None:
            return found
    return None


def validate_policy(pairs: tuple[tuple[Given, Given], ...], findings: Findings) -> None:
    """Report what is wrong in a policy whatever service uses it."""
    for key, value in pairs:
        form: Form = key.value
        fields = value.value if isinstance(value.value, Fields) else None
        checks = fields.get("checks") if fields else None
        if checks is not None and checks.value and form.starred:
            message = f"{quote(form.text)} means no checks, so these are not made"
            findings.warning(checks.node, checks.path, "conflict", message, "remove the * or the checks")
        for check in checks.value if checks else ():
            _validate_check(check.value, findings)


def _validate_check(check: Fields, findings: Findings) -> None:
    kind = check.get("type")
    if kind is None:
        return
    rows = settings_of(Place.CHECK)
    assert isinstance(check.node, Mapping)
    for key, _ in check.node.entries:
        row = rows.get(key.text)
        if row is not None and row.checks and kind.value not in row.checks:
            known = list_text(row.checks)
            message = f"{_a(kind.value)} check has no {key.text}"
            findings.error(key, join(check.path, key.text), "conflict", message, f"{key.text} is for {known} checks")
    method = check.get("method")
    if method is not None and kind.value in rows["method"].checks:
        good = Protocol if kind.value is CheckKind.DNS else str
        if not isinstance(method.value, good):
            accepted = "tcp or udp" if good is Protocol else "GET or HEAD"
            findings.error(method.node, method.path, "conflict", f"{_a(kind.value)} check goes by {accepted}")


def _a(kind: CheckKind) -> str:
    return f"an {kind}" if kind[0] in "hi" else f"a {kind}"


def resolve_checks(
    form: Form, port: int, levels: tuple[Fields, Fields, Fields], vip: Address, findings: Findings
) -> dict[Protocol, tuple[Check, ...]]:
    """Return the checks of each service that a policy's key makes, all values in force.

    `port` is the backends', `levels` are policy, service and top level; the policy is empty where the key has no map.
    """
    explicit = levels[0].get("checks")
    found: list[tuple[Check, bool]] = []
    if form.starred or (explicit is None and form.default is None):
        pass
    elif explicit is None:
        assert form.default is not None
        found.append((_check(form.default, port, vip, (_NOTHING, *levels), findings), False))
    else:
        for item in explicit.value:
            fields: Fields = item.value
            kind = fields.get("type")
            if kind is not None:
                own = fields.get("port")
                check = _check(kind.value, own.value if own else port, vip, (fields, *levels), findings)
                found.append((check, "method" in fields.given))
    return {protocol: tuple(_over(protocol, *each) for each in found) for protocol in form.protocols}


def _over(protocol: Protocol, check: Check, settled: bool) -> Check:
    """Return a check as that of a service: a DNS question travels as its packets unless the check says how."""
    if check.kind is not CheckKind.DNS or settled:
        return check
    return replace(check, transport=protocol)


def _check(kind: CheckKind, port: int, vip: Address, levels: tuple[Fields, ...], findings: Findings) -> Check:
    interval, timeout = effective("interval", *levels), effective("timeout", *levels)
    if timeout > interval:
        at = given_at("timeout", *levels) or given_at("interval", *levels)
        assert at is not None, "the defaults are in order"
        message = f"the timeout {duration_text(timeout)} is longer than the interval {duration_text(interval)}"
        findings.warning(at.node, at.path, "timeout", message, "a check may still run when the next one is due")
    rise, fall, window = _judgement(levels, findings)
    timing: dict[str, Any] = {"interval": interval, "timeout": timeout, "rise": rise, "fall": fall, "window": window}
    own = levels[0]
    _agree(kind, levels, findings)
    values = _VALUES[kind](own, levels, vip) if kind in _VALUES else {}
    return Check(kind, port, **timing, **values)


def _agree(kind: CheckKind, levels: tuple[Fields, ...], findings: Findings) -> None:
    """Report settings of one check that do not go together."""
    own = levels[0]
    body = own.get("body_pattern") or own.get("body")
    if body is not None and effective("method", *levels) == "HEAD":
        findings.error(body.node, body.path, "conflict", "the answer to HEAD has no body", "write `method: GET`")
    elif body is not None and "body" in own.given and "body_pattern" in own.given:
        findings.error(
            body.key or body.node, body.path, "conflict", "both `body` and `body_pattern`", "keep one of them"
        )
    if kind is CheckKind.GRPC and not effective("tls", own):
        for given in (own.get("verify"), own.get("ca"), own.get("expiry_warning")):
            if given is not None:
                message = "there is no certificate without TLS"
                findings.error(given.key or given.node, given.path, "conflict", message, "write `tls: true`")
    elif kind in settings_of(Place.CHECK)["ca"].checks and not effective("verify", *levels):
        ca = given_at("ca", *levels)
        if ca is not None:
            message = "certificates to verify by, but `verify` is not true"
            findings.error(ca.node, ca.path, "conflict", message, "write `verify: true`, or remove `ca`")


def _of_http(own: Fields, levels: tuple[Fields, ...], vip: Address) -> dict[str, Any]:
    return {
        "host": effective("host", *levels) or str(vip),
        "path": effective("path", *levels),
        "method": effective("method", *levels),
        "expect": _codes(effective("expect", *levels)),
        "body": effective("body", own) or "",
        "body_pattern": effective("body_pattern", own) or "",
        "mtu": effective("mtu", own),
    }


def _of_tls(levels: tuple[Fields, ...]) -> dict[str, Any]:
    return {
        "verify": effective("verify", *levels),
        "ca": effective("ca", *levels) or "",
        "expiry_warning": effective("expiry_warning", *levels),
    }


def _of_https(own: Fields, levels: tuple[Fields, ...], vip: Address) -> dict[str, Any]:
    return _of_http(own, levels, vip) | _of_tls(levels)


def _of_grpc(own: Fields, levels: tuple[Fields, ...], vip: Address) -> dict[str, Any]:
    tls = effective("tls", own)
    return {
        "host": effective("host", *levels) or str(vip),
        "service": effective("service", own) or "",
        "tls": tls,
        **(_of_tls(levels) if tls else {}),
    }


def _of_dns(own: Fields, levels: tuple[Fields, ...], vip: Address) -> dict[str, Any]:
    given = {"query": own.get("name"), "transport": own.get("method")}
    return {
        **{name: value.value for name, value in given.items() if value is not None},
        "qtype": effective("qtype", own),
        "rcode": effective("rcode", own),
    }


def _of_udp(own: Fields, levels: tuple[Fields, ...], vip: Address) -> dict[str, Any]:
    given = {name: own.get(name) for name in ("send", "receive")}
    return {name: value.value for name, value in given.items() if value is not None}


_VALUES: dict[CheckKind, Callable[[Fields, tuple[Fields, ...], Address], dict[str, Any]]] = {
    CheckKind.HTTP: _of_http,
    CheckKind.HTTPS: _of_https,
    CheckKind.GRPC: _of_grpc,
    CheckKind.DNS: _of_dns,
    CheckKind.UDP: _of_udp,
}
"""What a kind of check has besides its timing, from the check's own settings and from all levels."""


def _judgement(levels: tuple[Fields, ...], findings: Findings) -> tuple[int, int, int | None]:
    """Return rise, fall and window: what is given, made whole; with nothing given, 5, 2 and 5."""
    found = {name: given_at(name, *levels) for name in ("rise", "fall", "window")}
    rise, fall, window = (given.value if given else None for given in found.values())
    if rise is None and fall is None and window is None:
        return RISE, FALL, WINDOW
    if not window:
        return rise or FALL, fall or FALL, None
    rise, fall = rise or window, fall or min(FALL, window)
    problems = [
        ("rise", rise > window, f"{rise} good results of {window} cannot be"),
        ("fall", fall > window, f"{fall} bad results of {window} cannot be"),
        ("window", rise + fall <= window, f"{rise} good and {fall} bad of {window} may come together"),
    ]
    for name, wrong, message in problems:
        at = found[name] or found["window"]
        if wrong and at is not None:
            hint = "rise and fall are at most the window, and together more than it"
            findings.error(at.node, at.path, "range", message, hint)
            break
    return rise, fall, window


def _codes(value: Any) -> tuple[int, ...]:
    """Return the codes in ascending order, from one text or a list of them; nothing where any status is good."""
    sets = [item.value for item in value] if isinstance(value, tuple) else [value]
    return _ascending(frozenset().union(*sets)) if all(sets) else ()


@lru_cache(maxsize=64)
def _ascending(codes: frozenset[int]) -> tuple[int, ...]:
    return tuple(sorted(codes))
