"""Health checks: which ones a policy asks for, and every value with inheritance resolved.

Precedence: check, policy, service, top level, default.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from appliance.config.findings import Findings
from appliance.config.kinds import Place, duration_text
from appliance.config.nodes import Mapping, join, quote
from appliance.config.policy import NO_DNS, Form
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of, settings_of
from appliance.model import Address, Check, CheckKind

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
            message = f"{quote(form.text)} means no checks, but checks are given"
            findings.error(checks.node, checks.path, "conflict", message, "remove the * or the checks")
        undecided = fields is not None and "checks" in fields.refused
        if checks is None and not form.starred and not undecided and not isinstance(form.default, CheckKind | None):
            hint = f"write {form.port}/udp or {form.port}/tcp"
            findings.error(key.node, key.path, "unsupported", NO_DNS, hint)
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
            known = " and ".join(row.checks)
            message = f"a {kind.value} check has no {key.text}"
            findings.error(key, join(check.path, key.text), "conflict", message, f"{key.text} is for {known} checks")


def resolve_checks(
    form: Form, port: int, levels: tuple[Fields, Fields, Fields], vip: Address, findings: Findings
) -> tuple[Check, ...]:
    """Return the checks of one service, all values in force.

    `port` is the backends', `levels` are policy, service and top level; the policy is empty where the key has no map.
    """
    if form.starred:
        return ()
    explicit = levels[0].get("checks")
    if explicit is None:
        if not isinstance(form.default, CheckKind):
            return ()
        return (_check(form.default, port, vip, levels, findings),)
    found = []
    for item in explicit.value:
        fields: Fields = item.value
        kind = fields.get("type")
        if kind is not None:
            own = fields.get("port")
            found.append(_check(kind.value, own.value if own else port, vip, (fields, *levels), findings))
    return tuple(found)


def _check(kind: CheckKind, port: int, vip: Address, levels: tuple[Fields, ...], findings: Findings) -> Check:
    interval, timeout = effective("interval", *levels), effective("timeout", *levels)
    if timeout > interval:
        at = given_at("timeout", *levels) or given_at("interval", *levels)
        assert at is not None, "the defaults are in order"
        message = f"the timeout {duration_text(timeout)} is longer than the interval {duration_text(interval)}"
        findings.warning(at.node, at.path, "timeout", message, "a check may still run when the next one is due")
    rise, fall, window = _judgement(levels, findings)
    timing: dict[str, Any] = {"interval": interval, "timeout": timeout, "rise": rise, "fall": fall, "window": window}
    if kind not in settings_of(Place.CHECK)["path"].checks:
        return Check(kind, port, **timing)
    return Check(
        kind,
        port,
        host=effective("host", *levels) or str(vip),
        path=effective("path", *levels),
        method=effective("method", *levels),
        expect=_codes(effective("expect", *levels)),
        **timing,
    )


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
