"""Services apart, folded into as few entries as say the same: one for each group of VIPs with the same servers."""

from __future__ import annotations

from appliance.config.convert.daemon import OldService
from appliance.config.convert.document import Block, Item, Items
from appliance.config.convert.lists import DISABLED, settings_value
from appliance.config.convert.source import Job
from appliance.config.nodes import Node
from appliance.model import Address

_FIRST = ("name", "description")


def fold(services: list[OldService], node: Node, job: Job) -> Items:
    """Return the list of entries. Nothing is folded that would not come apart again exactly as it was."""
    marks = _marks(services, node, job)
    families: dict[tuple[Address, tuple[str, ...]], list[OldService]] = {}
    for service in services:
        families.setdefault((service.key.vip, service.servers), []).append(service)
    entries: dict[str, tuple[list[Address], list[list[OldService]]]] = {}
    for (vip, _), members in families.items():
        members = _domains(members)
        signature = repr([(one.servers, one.form, sorted(one.options.items()), one.checks) for one in members])
        vips, columns = entries.setdefault(signature, ([], [[] for _ in members]))
        vips.append(vip)
        for column, member in zip(columns, members, strict=True):
            column.append(member)
    result = Items()
    for vips, columns in entries.values():
        for column in columns:
            column[0].notes = list(dict.fromkeys(note for member in column for note in member.notes))
        result.items.append(Item(_entry(vips, [column[0] for column in columns], marks), _disabled(vips, marks)))
    return result


def _marks(services: list[OldService], node: Node, job: Job) -> dict[Address, str]:
    """Return the comment for each disabled VIP: one of which every service is."""
    states: dict[Address, list[OldService]] = {}
    for service in services:
        states.setdefault(service.key.vip, []).append(service)
    marks = {}
    for vip, members in states.items():
        disabled = [member for member in members if member.disabled]
        if len(disabled) == len(members):
            marks[vip] = job.guessed(node, "services", f"{vip}: {DISABLED}")
            continue
        reason = f"{vip}: only some of its services were marked as disabled, without effect; a VIP is on or off"
        for member in disabled:
            job.findings.warning(node, f"services.{member.key}", "left-out", reason)
            member.notes.append(f"left out: {reason}")
    return marks


def _disabled(vips: list[Address], marks: dict[Address, str]) -> list[str]:
    return [marks[vip] for vip in vips if vip in marks]


def _domains(members: list[OldService]) -> list[OldService]:
    """Join DNS over TCP and over UDP where everything else is the same."""
    halves = {member.form: member for member in members if member.form in ("domain/tcp", "domain/udp")}
    if len(halves) < 2:
        return members
    tcp, udp = halves["domain/tcp"], halves["domain/udp"]
    if (tcp.options, tcp.checks) != (udp.options, udp.checks):
        return members
    notes = [*tcp.notes, *(note for note in udp.notes if note not in tcp.notes)]
    both = OldService(tcp.key, tcp.disabled, tcp.servers, "domain", tcp.options, tcp.checks, notes)
    return [both if member is tcp else member for member in members if member is not udp]


def _entry(vips: list[Address], members: list[OldService], marks: dict[Address, str]) -> Block:
    """Return one entry; what all of its services share stands at the service, the rest at their keys."""
    first = members[0].options
    shared = {
        key: value for key, value in first.items() if all(_same(member.options, key, value) for member in members)
    }
    block = Block()
    for key in _FIRST:
        if key in shared:
            block.add(key, shared[key])
    texts = [f"{vip}{'*' if vip in marks else ''}" for vip in vips]
    block.add("virtual", texts[0] if len(texts) == 1 else texts)
    block.add("servers", list(members[0].servers))
    for key, value in shared.items():
        if key not in _FIRST:
            block.add(key, value)
    policy = Block()
    for member in members:
        own = {key: value for key, value in member.options.items() if key not in shared}
        policy.add(member.form, settings_value({**own, **member.checks}), *member.notes)
    block.add("policy", policy)
    return block


def _same(options: dict[str, object], key: str, value: object) -> bool:
    return key in options and options[key] == value
