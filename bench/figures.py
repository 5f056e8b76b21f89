"""The figures in README.md: chosen rows of build/bench.json as a Markdown table, between two marks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.console import VIEWS

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEADER = ("figure", "value", "floor", "ratio", "limit")
VERDICTS = {None: "", True: "holds", False: "**exceeded**"}


@dataclass(frozen=True)
class Figure:
    """One line of the table: the row of that name whose labels include these."""

    title: str
    name: str
    labels: Mapping[str, str | int]


def _figures() -> tuple[Figure, ...]:
    flows = {1: "1 flow", 100_000: "100,000 flows", 10_000_000: "10 M flows"}
    lines: list[tuple[str, str, dict[str, str | int]]] = []
    lines += [(f"packet, settled, {text}", "steady", {"flows": count}) for count, text in flows.items()]
    lines += [
        ("the same, 10 M flows against 1", "steady-growth", {}),
        ("datagram, settled, 10 M flows", "udp-steady", {"flows": 10_000_000}),
        ("SYN, settled, 10 M flows", "syn", {"flows": 10_000_000}),
        ("packet for the host", "not-vip", {"flows": 1}),
        ("packet of a remembered flow, one of 10,000", "tracked-hit", {"flows": 10_000}),
        ("first packet of an older flow, tracked slot", "tracked-miss", {"flows": 10_000_000}),
        ("SYN, tracked slot", "tracked-syn", {"flows": 10_000_000}),
        ("packet, every flow remembered, one of 10,000", "all-hit", {"flows": 10_000}),
        ("SYN, every flow remembered", "all-syn", {"flows": 10_000_000}),
        ("start, compiling, to the last backend up", "start-to-all-up", {}),
        ("control process, resident, after the start", "control-rss", {"after": "start"}),
        ("control process, resident, after reloads", "control-rss", {"after": "reloads"}),
        ("prober, resident", "prober-rss", {"after": "start"}),
        ("compile child, resident at most", "compile-child-rss", {}),
        ("compile", "compile", {}),
    ]
    for what in ("nothing", "one service more or less", "a weight in every service"):
        lines.append((f"reload: {what}", "reload", {"changes": what}))
    lines += [
        ("the command `vc5 reload`: nothing", "reload-command", {"changes": "nothing"}),
        ("reload: another program, compiled", "reload-shape", {"compiles": "yes"}),
        ("reload: another program, in the cache", "reload-shape", {"compiles": "no, in the cache"}),
    ]
    for count, text in ((1, "one service"), (99, "99 services at once")):
        for which in ("median", "worst"):
            title = f"last failed probe to table, {text}, {which}"
            lines.append((title, f"verdict-to-table-{which}", {"services_hit": count}))
    for check in ("syn", "tcp", "http"):
        for process in ("prober", "control"):
            lines.append((f"1,000 `{check}` probes/s, {process}", f"{process}-cpu", {"check": check}))
    for to, text in (("receivers", "routers that only read"), ("BIRD", "BIRDs, in their tables")):
        lines.append(
            (f"10,000 VIPs, from established, 4 {text}, worst", "routing-announced", {"vips": 10_000, "to": to})
        )
    for start, text in (("verdict", "verdict"), ("probe", "last failed probe")):
        for count in (10, 10_000):
            for which in ("median", "worst"):
                title = f"{text} to withdrawal on the wire, {count:,} VIPs, {which}"
                lines.append((title, f"routing-withdrawn-{which}", {"vips": count, "from": start}))
    lines += [
        ("sessions that a reload touches, 10,000 VIPs, 4 peers", "routing-reload-touched", {"vips": 10_000}),
        ("flaps of 50 peers with BFD at 300 ms x 3, 1,000 services reloaded", "routing-bfd-flaps", {}),
        ("longest silence of BFD in that time", "routing-bfd-gap", {}),
        ("process of BFD, 50 peers", "routing-bfd-cpu", {}),
        ("console of 2,000 backends, first paint", "console-first-paint", {}),
    ]
    for view in VIEWS:
        for of, text in (("processor", "processor time"), ("clock", "by the clock")):
            title = f"the same, main thread while all rates change: {view}, {text}"
            lines.append((title, "console-main-thread", {"view": view, "of": of}))
    lines += [
        ("ten consoles of 2,000 backends, daemon and web process", "console-cpu", {}),
        ("packet, settled, in a fleet, against one that is in none", "fleet-settled", {}),
        ("packet of a remembered flow, likewise", "fleet-hit", {}),
        ("100,000 remembered flows to a joining balancer: sent and heard, worst", "fleet-sync", {}),
        ("the same: read out of the flow table", "fleet-sweep", {}),
        ("the same: stored", "fleet-store", {}),
    ]
    for name, what in (("records", "exchange"), ("daemon", "tables")):
        for side in ("tells", "hears"):
            lines.append((f"5,000 new flows/s in a fleet, who {side}, {what}", f"fleet-{name}-cpu", {"side": side}))
    lines.append(("exchange of three balancers, nothing tracked, each", "fleet-quiet", {}))
    return tuple(Figure(*line) for line in lines)


FIGURES = _figures()


def block(document: Mapping[str, Any]) -> str:
    """Return the text between the marks for a bench.json. Raises ValueError where it lacks a figure."""
    machine = document["machine"]
    compiled = "BPF compiled" if machine["jit"] else "BPF interpreted"
    where = f"{machine['cpu']}, {machine['cores']} cores, kernel {machine['kernel']}, {compiled}"
    what = "Packets meet 64 services of 10 backends; the daemon has 100 of 10."
    busy = f"before the run the machine had a load of {document['load']:.1f}"
    lines = [f"{where}; {busy}.", what, "", _line(HEADER), _line(["---", *["---:"] * 3, "---"])]
    for figure in FIGURES:
        lines.append(_line([figure.title, *_cells(_found(document, figure))]))
    return "\n".join(lines)


def replaced(text: str, new: str) -> str:
    """Return a document with `new` between the marks. Raises ValueError unless each stands there once, in order."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in head or END in tail:
        raise ValueError(f"there must be one {BEGIN}, and one {END} after it")
    return f"{head}{BEGIN}\n{new}\n{END}{tail}"


def publish(measured: Path, document: Path) -> None:
    """Put the figures of a run into a document. Raises OSError, and ValueError where either file is not as expected."""
    figures = json.loads(measured.read_text(encoding="utf-8"))
    document.write_text(replaced(document.read_text(encoding="utf-8"), block(figures)), encoding="utf-8")


def _found(document: Mapping[str, Any], figure: Figure) -> Mapping[str, Any]:
    for row in document["measurements"]:
        if row["name"] == figure.name and figure.labels.items() <= row["labels"].items():
            found: Mapping[str, Any] = row
            return found
    raise ValueError(f"there is no figure {figure.name} {dict(figure.labels)}; run `make bench` with all groups")


def _cells(row: Mapping[str, Any]) -> list[str]:
    unit = row["unit"]
    floor = f"{_number(row['floor'])} {unit}" if "floor" in row else ""
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    limit = ""
    if "limit" in row:
        of = "" if row["limit_on"] == "ratio" else f" {unit}"
        limit = f"{row['limit']:g}{of} {VERDICTS[row['ok']]}"
    return [f"{_number(row['value'])} {unit}", floor, ratio, limit]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
