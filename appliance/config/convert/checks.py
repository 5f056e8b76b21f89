"""Health checks of the earlier dialects, and the policy key that says a port and its checks in the fewest words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.config.addresses import HostName
from appliance.config.convert.source import Job, Old, as_list, each, refusal
from appliance.config.kinds import ScalarKind
from appliance.config.nodes import Mapping, Node, Scalar, describe, quote
from appliance.config.policy import NAMES, PORT
from appliance.config.setting import MAX_CHECKS
from appliance.config.values import RequestPath, StatusCodes
from appliance.model import CheckKind

HTTP = (str(CheckKind.HTTP), str(CheckKind.HTTPS))
DNS = "dns"
TYPES = (*HTTP, str(CheckKind.TCP), str(CheckKind.SYN), DNS)
_METHODS = {"GET": False, "HEAD": True, "udp": False, "tcp": True, "UDP": False, "TCP": True}


@dataclass(frozen=True)
class OldCheck:
    """One check; None where nothing but the default is asked for. `method` is GET, HEAD, udp or tcp."""

    kind: str
    port: int | None = None
    host: str | None = None
    path: str | None = None
    expect: str | int | None = None
    method: str | None = None

    def settings(self) -> dict[str, object]:
        """Return what is given, without type and port."""
        values = {"host": self.host, "path": self.path, "expect": self.expect, "method": self.method}
        return {key: value for key, value in values.items() if value is not None}

    def written(self) -> dict[str, object]:
        """Return the whole check as today's dialect writes it."""
        port = {} if self.port is None else {"port": self.port}
        return {"type": self.kind, **port, **self.settings()}


def read_checks(
    node: Node, path: str, job: Job, port: int | None, udp: bool | None
) -> tuple[tuple[OldCheck, ...], list[str]]:
    """Return the checks of a list, and comments for what is not in them.

    `port` is the backends', which is not written; `udp` says whether the service is, None where it may be both.
    """
    notes: list[str] = []
    found: list[OldCheck] = []
    if isinstance(node, Mapping):
        return (), [job.lost(node, path, "checks must be a list, not a map")]
    for item, where in each(node, path):
        if len(found) == MAX_CHECKS:
            notes.append(job.lost(item, where, f"a service has at most {MAX_CHECKS} checks"))
            break
        if not isinstance(item, Mapping):
            notes.append(job.lost(item, where, f"a check is a map with its type, not {describe(item)}"))
            continue
        check, more = _check(Old(item, where, job), job, port, udp)
        notes.extend(more)
        if check:
            found.append(check)
    return tuple(found), notes


def _check(old: Old, job: Job, port: int | None, udp: bool | None) -> tuple[OldCheck | None, list[str]]:
    kind_at = old.take("type")
    kind = kind_at.text if isinstance(kind_at, Scalar) else ""
    transport = None
    if kind == "dnstcp":
        kind, transport = DNS, "tcp"
    if kind not in TYPES:
        what = quote(kind) if kind else describe(kind_at) if kind_at else "nothing"
        return None, [
            job.lost(kind_at or old.node, old.path, f"the check's type is {what}", f"one of {', '.join(TYPES)}")
        ]
    notes: list[str] = []
    given = _number(old, "port", job, notes)
    check = OldCheck(kind, port=None if given == port else given)
    if kind in HTTP:
        check = replace(
            check,
            host=read_text(old, "host", HostName(), job, notes),
            path=read_text(old, "path", RequestPath(), job, notes),
            expect=read_expect(old, job, notes),
        )
    for key in ("host", "path", "expect", "expt"):
        at = old.take(key)
        if at is not None:
            notes.append(job.dropped(at, old.where(key), f"a {kind} check has no {key}"))
    method = method_of(old, kind, job, notes)
    if kind in HTTP:
        check = replace(check, method=method)
    elif kind == DNS:
        method = transport or method or "udp"
        check = replace(check, method=None if udp is (method == "udp") else method)
    notes.extend(old.rest("in a check"))
    return _without_defaults(check), notes


def _without_defaults(check: OldCheck) -> OldCheck:
    return replace(
        check,
        path=None if check.path == "/" else check.path,
        expect=None if check.expect == 200 else check.expect,
        method=None if check.method == "GET" else check.method,
    )


def _number(old: Old, key: str, job: Job, notes: list[str]) -> int | None:
    node = old.take(key)
    if node is None or (isinstance(node, Scalar) and node.text == "0"):
        return None
    why, hint = refusal(PORT, node, old.where(key))
    if why:
        notes.append(job.lost(node, old.where(key), why, hint))
        return None
    assert isinstance(node, Scalar)
    return int(node.text)


def read_text(old: Old, key: str, kind: ScalarKind, job: Job, notes: list[str]) -> str | None:
    """Return the text of a key; None where there is none, or none that today's setting accepts."""
    node = old.take(key)
    if node is None or (isinstance(node, Scalar) and not node.text):
        return None
    why, hint = refusal(kind, node, old.where(key))
    if why:
        notes.append(job.lost(node, old.where(key), why, hint))
        return None
    assert isinstance(node, Scalar)
    text = node.text
    return text if key != "path" or text.startswith("/") else "/" + text


def read_expect(old: Old, job: Job, notes: list[str]) -> str | int | None:
    """Return the status codes of `expect`, or of `expt` as it was called in 2022."""
    key = "expt" if "expt" in old and "expect" not in old else "expect"
    node = old.take(key)
    if node is None:
        return None
    codes: set[int] = set()
    for item in as_list(node):
        if isinstance(item, Scalar) and item.text in ("0", "any"):
            return "any"
        why, hint = refusal(StatusCodes(), item, old.where(key))
        if why:
            notes.append(job.lost(node, old.where(key), why, hint))
            return None
        assert isinstance(item, Scalar)
        found = StatusCodes().parse(item.text)
        codes |= found
    return codes_text(codes) if codes else None


def codes_text(codes: set[int]) -> str | int:
    """Return status codes in the fewest words: `200 300-399`; a single one as a number."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and runs[-1][-1] == code - 1:
            runs[-1][1:] = [code]
        else:
            runs.append([code])
    text = " ".join("-".join(str(code) for code in run) for run in runs)
    return int(text) if text.isdigit() else text


def method_of(old: Old, kind: str, job: Job, notes: list[str]) -> str | None:
    """Return the method of a check: GET or HEAD, tcp or udp. As a boolean, true is HEAD and tcp."""
    node = old.take("method")
    if node is None:
        return None
    text = node.text if isinstance(node, Scalar) else ""
    second = {"true": True, "false": False, **_METHODS}.get(text)
    if second is None:
        notes.append(job.lost(node, old.where("method"), f"the method is {describe(node)}", "GET, HEAD, tcp or udp"))
        return None
    if kind in HTTP:
        return "HEAD" if second else "GET"
    if kind == DNS:
        return "tcp" if second else "udp"
    # The former converter wrote `false` for checks without a method too.
    if second:
        notes.append(job.dropped(node, old.where("method"), f"a {kind} check has no method"))
    return None


def default_kind(name: str) -> str | None:
    """Return the type of check that a name of the policy stands for."""
    kind = NAMES[name][2]
    return None if kind is None else str(kind)


_SYN_NAMES = {row[0]: name for name, row in NAMES.items() if row[2] is CheckKind.SYN}


def policy_of(port: int, udp: bool, checks: tuple[OldCheck, ...]) -> tuple[str, dict[str, object]]:
    """Return the policy's key for a service, and the settings that it needs.

    A check's port is None where it is the backends'.
    """
    plain = f"{port}/udp" if udp else str(port)
    if not checks:
        return (plain if udp else f"{plain}*"), {}
    first = checks[0]
    if len(checks) == 1 and first.port is None:
        if not udp and first.kind in HTTP:
            name = first.kind if NAMES[first.kind][0] == port else f"{port}/{first.kind}"
            return name, first.settings()
        if first.kind == DNS and first.method is None and port == NAMES["domain"][0]:
            return f"domain/{'udp' if udp else 'tcp'}", {}
        if not udp and first.kind == CheckKind.SYN:
            return _SYN_NAMES.get(port, plain), {}
    return plain, {"checks": [check.written() for check in checks]}
