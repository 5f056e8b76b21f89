"""Whether the members of a bond receive alike, since a flow may come in by any of them. Pure; `doctor` gathers facts.

Where queues, table, key or fields differ, a flow that changes members changes CPUs as well, and one CPU may get the
load of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.control.nic import Finding, Severity

WHY = "a flow that moves from one member of the bond to another changes CPUs, and some CPUs get more than their share"


@dataclass(frozen=True)
class Member:
    """A configured interface that is a member of a bond. `table`, `key`, `fields` as in net/rss.py."""

    name: str
    bond: str
    mtu: int = 1500
    queues: int = 1
    table: tuple[int, ...] = ()
    key: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)


def findings(members: Sequence[Member], others: Mapping[str, Iterable[str]]) -> dict[str, tuple[Finding, ...]]:
    """What to say of each member, by its name; `others` are all members of each bond, as the bond says."""
    found: dict[str, list[Finding]] = {}
    firsts: dict[str, Member] = {}
    configured = {member.name for member in members}
    for member in members:
        first = firsts.setdefault(member.bond, member)
        said = found.setdefault(member.name, [])
        if first is member:
            said += (_missing(name, member.bond) for name in others.get(member.bond, ()) if name not in configured)
        else:
            said += _differences(first, member)
    return {name: tuple(said) for name, said in found.items() if said}


def _missing(name: str, bond: str) -> Finding:
    return Finding(
        Severity.PROBLEM,
        f"{name} is a member of {bond} too, and not in `interfaces`",
        "what comes in there passes the program by: clients and the answers to probes among it",
        f"add {name} to `interfaces`; vc5 reload",
    )


def _differences(first: Member, member: Member) -> Iterator[Finding]:
    name, model = member.name, first.name
    if member.mtu != first.mtu:
        what = f"its MTU is {member.mtu}, and that of {model} is {first.mtu}"
        yield _finding(
            what, f"ip link set {member.bond} mtu {first.mtu}", "longer packets get through by one and not the other"
        )
    if member.queues != first.queues:
        what = f"{member.queues} queues receive, and {first.queues} at {model}"
        yield _finding(what, f"ethtool -L {name} combined {first.queues}")
        return  # tables of different queues differ
    if member.table and first.table and member.table != first.table:
        what = f"its queues have other shares than those of {model} (ethtool -x)"
        each = "; ".join(f"ethtool -X {one} equal {first.queues}" for one in (model, name))
        yield _finding(what, each)
    if member.key and first.key and member.key != first.key:
        if len(member.key) == len(first.key):
            remedy = f"ethtool -X {name} hkey {first.key.hex(':')}"
        else:
            remedy = "use NICs of one kind in a bond"
        yield _finding(f"its hash has another key than that of {model}", remedy)
    for kind, letters in first.fields.items():
        mine = member.fields.get(kind)
        if mine is not None and mine != letters:
            what = f"the hash of {kind} covers other fields ({mine or 'none'}) than at {model} ({letters or 'none'})"
            yield _finding(what, f"ethtool -N {name} rx-flow-hash {kind} {letters or 'sd'}")


def _finding(what: str, remedy: str, why: str = WHY) -> Finding:
    return Finding(Severity.WARNING, what, why, remedy)
