"""Policies of 2022 and 2023: nearly today's, with other words for DNS and other rules for what is left out."""

from __future__ import annotations

from appliance.config.addresses import HostName
from appliance.config.convert.checks import HTTP, OldCheck, method_of, read_checks, read_expect, read_text
from appliance.config.convert.document import Block, Item, Items
from appliance.config.convert.options import read_options
from appliance.config.convert.source import Job, Old, refusal
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, describe, join
from appliance.config.policy import PORT, Form, FormKind
from appliance.config.values import RequestPath
from appliance.model import Protocol

_WORDS = {"dns": "53/udp", "dns/udp": "53/udp", "dns/tcp": "53/tcp"}
"""The words of 2022 for DNS, which meant a port without a DNS check."""


def read_policy(node: Mapping, path: str, job: Job, tunnel: str = "") -> Block:
    """Return today's policy; `tunnel` is the tunnel type of the service."""
    policy = Block()
    seen: set[str] = set()
    for key, value in node.entries:
        where = join(path, key.text)
        starred = key.text.endswith("*")
        body = key.text.removesuffix("*")
        word = _WORDS.get(body, body) + ("*" if starred else "")
        at = Scalar(key.line, key.column, 1, word, key.plain)
        why, hint = refusal(FormKind(), at, where)
        if why or word in seen:
            reason = why or f"{word} is there already"
            policy.tail.append(job.lost(value if why else key, where, reason, hint))
            continue
        seen.add(word)
        notes = []
        if body in _WORDS:
            reason = "`dns` was UDP without a check" if word.startswith("53/udp") else "`dns/tcp` was a syn check"
            notes.append(job.guessed(key, where, reason, "for a DNS check write `domain`"))
        elif word == "domain*":
            notes.append(job.guessed(key, where, "TCP and UDP; it was TCP alone, against what was written"))
        form: Form = FormKind().parse(word)
        policy.add(word, _settings(form, value, where, job, tunnel, notes), *notes)
    return policy


def _settings(form: Form, node: Node, path: str, job: Job, tunnel: str, notes: list[str]) -> object:
    if isinstance(node, Scalar):
        if node.is_null:
            return None
        block = Block()
        _bind(form, node, path, block, job)
        notes.extend(block.tail)
        return Block(block.entries) if block.entries else None
    if not isinstance(node, Mapping):
        notes.append(job.lost(node, path, f"must be nothing, a port or a map, not {describe(node)}"))
        return None
    old = Old(node, path, job)
    block = read_options(old, Place.POLICY, job, tunnel)
    read_defaults(old, block, job)
    bind = old.take("bind")
    port = _bind(form, bind, old.where("bind"), block, job) if bind is not None else form.port
    checks = old.take("checks")
    if checks is not None:
        _checks(form, checks, old.where("checks"), block, job, port)
    block.tail.extend(old.rest("in a policy"))
    if block.entries:
        return block
    notes.extend(block.tail)
    return None


def read_defaults(old: Old, block: Block, job: Job) -> None:
    """Carry over what checks inherit: host, path, expect and method."""
    values: dict[str, object] = {
        "host": read_text(old, "host", HostName(), job, block.tail),
        "path": read_text(old, "path", RequestPath(), job, block.tail),
        "expect": read_expect(old, job, block.tail),
        "method": method_of(old, HTTP[0], job, block.tail),
    }
    for key, value in values.items():
        if value is not None:
            block.add(key, value)


def _bind(form: Form, node: Node, path: str, block: Block, job: Job) -> int:
    why, hint = refusal(PORT, node, path)
    if why:
        block.tail.append(job.lost(node, path, why, hint))
        return form.port
    assert isinstance(node, Scalar)
    port = int(node.text)
    if port != form.port:
        note = job.guessed(node, path, NAT, NAT_HINT)
        block.add("bind", port)
        block.add("forward", "nat", note)
    return port


NAT = "another port than the service's needs `forward: nat`"
NAT_HINT = "the balancer has to be the backends' default route; else let them listen on the service's port"


def _checks(form: Form, node: Node, path: str, block: Block, job: Job, port: int) -> None:
    if form.starred:
        block.tail.append(job.dropped(node, path, "the * means no checks, and these were never made"))
        return
    if isinstance(node, Sequence) and not node.items:
        block.tail.append(job.guessed(node, path, "an empty list of checks was taken for the default check"))
        return
    udp = None if len(form.protocols) > 1 else form.protocols[0] is Protocol.UDP
    checks, notes = read_checks(node, path, job, port, udp)
    if _leaks(checks):
        reason = "each check has its own parameters; they used to leak into the checks after it"
        notes.append(job.guessed(node, path, reason))
    if checks:
        block.add("checks", Items([Item(check.written()) for check in checks]), *notes)
    else:
        block.tail.extend(notes)


def _leaks(checks: tuple[OldCheck, ...]) -> bool:
    seen: set[str] = set()
    for check in checks:
        own = set(check.settings()) | ({"port"} if check.port else set())
        if seen - own:
            return True
        seen |= own
    return False
