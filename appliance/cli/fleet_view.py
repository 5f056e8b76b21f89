"""The text of `vc5 fleet`, from the JSON of fleet/status.py. What an older or newer daemon lacks stays empty.

What nodes say of themselves (names, versions) is shown as text, whatever is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.cli.status_head import dict_, dicts, text
from appliance.cli.tables import GAP, Cell, Column, Screen, Style, count, duration, fold, octets, table

NODES = (
    Column("NODE", least=8),
    Column("ADDRESS"),
    Column("STATE"),
    Column("SINCE", right=True, drop=5),
    Column("VERSION", least=6, drop=6),
    Column("CONFIG"),
    Column("TABLES", drop=1),
    Column("TRACKED", right=True, drop=3),
    Column("FLOWS", right=True, drop=2),
    Column("PKT/S", right=True, drop=4),
    Column("HEARD"),
    Column("LOST", right=True, drop=7),
)
STATES = {"ready": Style.GOOD, "learning": Style.WORRY, "draining": Style.WORRY, "leaving": Style.FAINT}
NONE = "this node has no fleet: name the other balancers, and the key that they share, in the configuration (`fleet`)"
DIGITS = 8
"""Of a digest."""
OTHER = "≠"
"""The mark of a digest that is not this node's."""
SENTENCES = 12
"""What differs, at most."""
PAIRS, RUNS = 10, 12
"""Of the slots that differ: pairs of backends, and ranges of each."""

Json = Mapping[str, Any]


def lines(body: Json | None, now: float, to: Screen, service: str | None = None) -> list[str]:
    """Return the lines of `vc5 fleet`, or with `service` those about that one; `now` is wall-clock seconds."""
    if body is None:
        return fold(NONE, to)
    if service is not None:
        made = [*summary(body, to), "", *_differences(body, now, to, service=service), *_ranges(body, to)]
    else:
        made = [*summary(body, to), *_exchange(body, to), "", *_nodes(body, now, to)]
        found = [*_notes(body, now, to), *_differences(body, now, to, service=None)]
        made += ["", *found] if found else []
    return [part for line in made for part in fold(line, to)]


def summary(body: object, to: Screen) -> Iterator[str]:
    """Yield the line of `vc5 status`; none where there is no fleet."""
    if not isinstance(body, dict):
        return
    nodes, missing = dicts(body.get("nodes")), _number(body.get("missing"))
    if body.get("trouble"):
        yield to.paint(f"fleet: nothing is exchanged: {text(body['trouble'])}", Style.BAD)
    there = f"fleet: {len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    parts = [to.paint(there, Style.GOOD if body.get("well") else Style.WORRY)]
    if missing:
        parts.append(to.paint(f"{count(missing)} MISSING", Style.BAD))
    if lasting := _number(body.get("lasting")):
        parts.append(to.paint(f"{count(lasting)} difference{'' if lasting == 1 else 's'} (`vc5 fleet`)", Style.WORRY))
    if waiting := [text(one) for one in _list(body.get("waiting_for"))]:
        left = _number(body.get("learning"))
        until = f", for {duration(left) or '0s'} at most" if left else ""
        parts.append(to.paint(f"learning: waiting for {', '.join(waiting)}{until}", Style.WORRY))
    yield ", ".join(parts)


def _exchange(body: Json, to: Screen) -> Iterator[str]:
    traffic = dict_(body.get("traffic"))
    sent, received = dict_(traffic.get("sent")), dict_(traffic.get("received"))
    parts = [
        f"{octets(one.get('bytes_per_second')) or '0B'}/s {word}" for one, word in ((sent, "sent"), (received, "heard"))
    ]
    parts += [f"{count(one.get('records'))} records {word}" for one, word in ((sent, "told"), (received, "learnt"))]
    for name, words in (("lost", "asked again"), ("shed", "flows not told, for want of `rate`")):
        if number := _number(traffic.get(name)):
            parts.append(f"{count(number)} {words}")
    yield "exchange" + GAP + ", ".join(parts)
    refused = {name: number for name, number in dict_(traffic.get("refused")).items() if _number(number)}
    if refused:
        told = ", ".join(f"{text(name)} {count(number)}" for name, number in refused.items())
        yield "refused" + GAP + told
    if keys := [text(key) for key in _list(body.get("keys"))]:
        yield "keys" + GAP + ", ".join([f"{keys[0]} signs", *(f"{key} is accepted" for key in keys[1:])])


def _nodes(body: Json, now: float, to: Screen) -> list[str]:
    nodes = dicts(body.get("nodes"))
    mine = nodes[0] if nodes else {}
    rows = [_node(one, mine, now) for one in nodes]
    return table(NODES, [*rows, *(_absent(one, now) for one in dicts(body.get("absent")))], to)


def _node(node: Json, mine: Json, now: float) -> list[Cell | str]:
    state, sync = text(node.get("state")), node.get("sync")
    style = STATES.get(state, Style.PLAIN)
    if node.get("isolated"):
        state, style = f"{state}, cut off", Style.BAD
    elif sync not in (None, "done") and state == "ready":
        style = Style.WORRY
    own = bool(node.get("own"))
    return [
        Cell(_called(node), Style.HEAD if own else Style.PLAIN),
        text(node.get("address")),
        Cell(state, style),
        _age(node.get("since"), now),
        text(node.get("version")),
        _digest(node.get("configuration"), other=bool(node.get("configuration_differs"))),
        _digest(node.get("tables"), other=_differ(node.get("tables"), mine.get("tables"))),
        count(node.get("tracked_slots")),
        count(node.get("flows")),
        count(node.get("packets_per_second")),
        "this node" if own else _ago(node.get("heard")),
        "" if own else count(_number(node.get("lost"))),
    ]


def _absent(node: Json, now: float) -> list[Cell | str]:
    missing = bool(node.get("missing"))
    state = Cell("MISSING", Style.BAD) if missing else Cell("left", Style.FAINT)
    since = _age(node.get("since"), now)
    return [_called(node), text(node.get("address")), state, since, "", "", "", "", "", "", f"{since} ago", ""]


def _digest(value: object, *, other: bool) -> Cell:
    shown = text(value)[:DIGITS]
    return Cell(f"{shown} {OTHER}", Style.WORRY) if other and shown else Cell(shown)


def _differ(one: object, other: object) -> bool:
    return bool(one) and bool(other) and one != other


def _notes(body: Json, now: float, to: Screen) -> Iterator[str]:
    """What is to be said of nodes beside what is in the table."""
    for node in dicts(body.get("nodes")):
        behind = _number(node.get("behind"))
        if node.get("sync") not in (None, "done"):
            yield f"{_called(node)}: what it knows is being learnt"
        elif behind > 1:
            yield f"{_called(node)}: {count(behind)} datagrams of it are still to come"
    for one in dicts(body.get("absent")):
        if one.get("missing"):
            words = f"{_called(one)} has been silent for {_age(one.get('since'), now)}"
            yield f"{to.paint(words, Style.BAD)}; is it up, and does UDP from {text(one.get('address'))} get here?"
    for peer in _list(body.get("unheard")):
        yield f"{text(peer)} has never been heard; does a node with our key live there?"
    refused = dict_(dict_(body.get("traffic")).get("refused"))
    if number := _number(refused.get("key")):
        yield f"{count(number)} datagrams were made with a key that is not configured here: compare `fleet.key`"


def _differences(body: Json, now: float, to: Screen, *, service: str | None) -> Iterator[str]:
    """What differs and why; the same said of several services by one node is said once."""
    said: dict[tuple[str, str, str, bool], list[Json]] = {}
    for one in dicts(body.get("differences")):
        message, lasting = text(one.get("message")), bool(one.get("lasting"))
        said.setdefault((text(one.get("node")), text(one.get("address")), message, lasting), []).append(one)
    for (_, _, message, lasting), found in list(said.items())[:SENTENCES]:
        about = text(found[0].get("service"))
        others = len(found) - 1
        more = f" and {others:,} more service{'s' if others > 1 else ''}" if others else ""
        since = min((_number(one.get("since")) for one in found), default=0.0)
        age = f", for {duration(max(0.0, now - since))}" if lasting else ", since a moment ago"
        subject = f"{about}{more}: " if about and service is None else ""
        yield to.paint(f"{subject}{message}{age}", Style.WORRY if lasting else Style.FAINT)
        if lasting and (mend := text(found[0].get("mend"))):
            yield f"  {mend}"
    rest = sum(map(len, list(said.values())[SENTENCES:])) + _number(body.get("more_differences"))
    if rest:
        yield f"and {count(rest)} more differences (--json lists {count(len(dicts(body.get('differences'))))})"


def _ranges(body: Json, to: Screen) -> Iterator[str]:
    """Where the slots of a service differ, node by node."""
    for one in dicts(body.get("ranges")):
        node = text(one.get("node"))
        head = to.paint(f"{node} ({text(one.get('address'))})", Style.HEAD)
        slots = dict_(one.get("slots"))
        here, there, differing = slots.get("here"), slots.get("there"), _number(one.get("differing"))
        if not one.get("answered"):
            yield f"{head}: {to.paint('it has not told its table', Style.WORRY)}"
        elif here is None or there is None:
            yield f"{head}: " + ("no such service" if there is None else "this node has no such service, it has")
        elif here != there:
            yield f"{head}: {to.paint(f'{count(here)} slots here, {count(there)} there', Style.WORRY)}"
        elif not differing:
            yield f"{head}: {to.paint(f'the same in all {_number(here):,.0f} slots', Style.GOOD)}"
        else:
            yield f"{head}: {to.paint(f'{differing:,.0f} of {_number(here):,.0f} slots differ', Style.WORRY)}"
            pairs = dicts(one.get("pairs"))
            yield from (f"  {_pair(pair, _called(one))}" for pair in pairs[:PAIRS])
            if rest := sum(_number(pair.get("slots")) for pair in pairs[PAIRS:]):
                yield f"  and {rest:,.0f} more (--json)"


def _pair(pair: Json, node: str) -> str:
    runs = [one for one in _list(pair.get("ranges")) if isinstance(one, list) and len(one) == 2]
    words = [text(first) if first == last else f"{text(first)}-{text(last)}" for first, last in runs[:RUNS]]
    more = f" and {len(runs) - RUNS:,} more ranges" if len(runs) > RUNS else ""
    plural = "" if runs and len(runs) == 1 and runs[0][0] == runs[0][1] else "s"
    here, there = (text(pair.get(side)) or "no backend" for side in ("here", "there"))
    return f"slot{plural} {', '.join(words)}{more}: {here} here, {there} at {node}"


def _called(node: Json) -> str:
    """What to call a node; an older daemon gives names alone."""
    return text(node.get("label") or node.get("name") or node.get("node"))


def _age(at: object, now: float) -> str:
    return duration(max(0.0, now - _number(at))) if _number(at) else ""


def _ago(seconds: object) -> str:
    return f"{_number(seconds):.1f}s ago" if _number(seconds) < 60 else f"{duration(seconds)} ago"


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
