"""The results as tables: Markdown for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.simulate import sizes
from bench.simulate.churn import SCENARIOS, Cause
from bench.simulate.results import ALONE, FULL, OURS, SCHEMES, SHARED, Result, shared_entries
from bench.simulate.site import Site

BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
FLEETS = (3, 10, 30, 100, 300, 1000)


def tables(results: Sequence[Result]) -> str:
    """All tables of a run."""
    site = results[0].site
    busiest = results[-1]
    sections = [
        f"{_intro(site, results)}\n",
        *(f"- `{one.scenario}`: {SCENARIOS[one.scenario].title}" for one in results),
        "",
        "### Broken connections\n",
        "Of a million connections, those that reached another backend while their own lived.\n",
        _broken(results),
        f"Those of `{busiest.scenario}`, by what broke them:\n",
        _causes(busiest),
        "### What is remembered and told\n",
        "The share of its slots that a balancer tracks; the most flows that it remembers, and their memory.\n",
        _memory(results),
        "What a balancer receives from all others about flows and slots, in a second.\n",
        _exchange(results),
        "### By the number of balancers\n",
        "With the same traffic, in bytes a second that each balancer receives.\n",
        _fleets(results),
    ]
    return "\n".join(sections)


def _intro(site: Site, results: Sequence[Result]) -> str:
    kinds = ", ".join(f"{100 * kind.share:g} % {kind.name} of {kind.mean:,.0f} s on average" for kind in site.kinds)
    packets = sum(result.packets for result in results)
    return (
        f"{site.balancers:,} balancers, {site.backends:,} backends, {site.table:,} slots; {site.arrivals:,.0f} new "
        f"connections a second, {site.open:,.0f} open at a time ({kinds}); {site.duration / 3600:g} hours, `idle` "
        f"{site.idle} s. Seed {site.seed}; {site.sample} of the slots that change are simulated in each scenario, "
        f"{packets:,} packets in all."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _broken(results: Sequence[Result]) -> str:
    rows = [[f"`{one.scenario}`", *(number(one.per_million(scheme)) for scheme in SCHEMES)] for one in results]
    return _table(["", *SCHEMES], rows)


def _causes(result: Result) -> str:
    causes = [cause for cause in Cause if any(result.broken[scheme].get(cause) for scheme in SCHEMES)]
    rows = [[str(cause), *(number(result.per_million(scheme, [cause])) for scheme in SCHEMES)] for cause in causes]
    return _table(["", *SCHEMES], rows) if rows else "None.\n"


def _memory(results: Sequence[Result]) -> str:
    rows = []
    for one in results:
        tracked = one.tracked[OURS]
        rows.append(
            [
                f"`{one.scenario}`",
                f"{100 * sum(tracked) / len(tracked):.1f} %",
                f"{100 * max(tracked):.1f} %",
                *(held(max(one.flows[scheme]), sizes.WAY) for scheme in (OURS, ALONE)),
                *(held(flows, sizes.LRU_ENTRY) for flows in tracked_flows(one.site)),
            ]
        )
    heads = [
        "",
        "tracked, mean",
        "tracked, most",
        f"flows, {OURS}",
        f"flows, {ALONE}",
        f"flows, {FULL}",
        f"flows, {SHARED}",
    ]
    return _table(heads, rows)


def tracked_flows(site: Site) -> tuple[float, float]:
    """The flows that a balancer holds where it tracks all of its own, and where it tracks everybody's; an hour's."""
    hour = site.open + 3600 * site.arrivals
    return min(site.lru, hour / site.balancers), min(site.lru, hour)


def _exchange(results: Sequence[Result]) -> str:
    rows = []
    for one in results:
        ours, every = one.received[OURS], one.received[SHARED][0]
        rows.append(
            [
                f"`{one.scenario}`",
                number(sum(one.entries[OURS]) / len(ours)),
                number(max(one.entries[OURS])),
                octets(sum(ours) / len(ours)),
                octets(max(ours)),
                number(shared_entries(one.site)),
                octets(every),
                f"{100 * sum(ours) / len(ours) / every:.2f} %",
            ]
        )
    heads = ["", "flows/s, mean", "flows/s, most", "bytes/s, mean", "bytes/s, most"]
    return _table([*heads, "all flows shared: flows/s", "bytes/s", "ours of that"], rows)


def fleets(result: Result) -> list[tuple[int, float, float, float, float]]:
    """By balancers: bytes/s of HELLOs, of flows in the busiest minute, of a change told by all, of all flows shared."""
    site = result.site
    busiest, every = max(result.entries[OURS]), shared_entries(site)
    changed = max((count for _, count in result.events), default=0)
    return [
        (
            count,
            sizes.hellos(count),
            sizes.flows(busiest, count, site.backends, twice=True),
            sizes.slots(changed, min(changed, site.backends), count),
            sizes.flows(every, count, site.backends),
        )
        for count in FLEETS
    ]


def _fleets(results: Sequence[Result]) -> str:
    busiest = max(results, key=lambda one: max(one.entries[OURS]))
    rows = [[f"{count:,}", *map(octets, rest)] for count, *rest in fleets(busiest)]
    heads = ["balancers", "being there (HELLO)", "flows, busiest minute", "the largest change, bytes in all"]
    return _table([*heads, "all flows shared"], rows)


def number(value: float) -> str:
    """A count in few characters."""
    return "0" if value == 0 else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def octets(value: float) -> str:
    """Bytes in a unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{number(value)} {unit}"
        value /= 1000
    raise AssertionError


def held(flows: float, size: int) -> str:
    """So many entries, and their memory."""
    return f"{number(flows)} ({octets(flows * size)})"


def as_json(results: Sequence[Result]) -> str:
    """Everything, for scripts; series are by minute."""
    site = results[0].site
    inputs = {name: getattr(site, name) for name in site.__dataclass_fields__ if name != "kinds"}
    document: dict[str, Any] = {"site": inputs, "classes": [kind.name for kind in site.kinds], "scenarios": {}}
    for one in results:
        document["scenarios"][one.scenario] = {
            "title": SCENARIOS[one.scenario].title,
            "connections": round(one.connections),
            "moved": round(one.moved),
            "lost_with_backends": round(one.lost),
            "broken_per_million": {scheme: _short(one.per_million(scheme)) for scheme in SCHEMES},
            "broken_by_cause": {
                scheme: {str(cause): round(count) for cause, count in sorted(one.broken[scheme].items())}
                for scheme in SCHEMES
            },
            "tracked_share": _series(one.tracked),
            "remembered_flows": _series(one.flows),
            "entries_per_s": _series(one.entries),
            "received_octets_per_s": _series(one.received),
        }
    return json.dumps(document, indent=1) + "\n"


def _series(series: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [_short(value) for value in values] for name, values in series.items()}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def replaced(text: str, new: str) -> str:
    """Return a document with `new` between the marks. Raises ValueError unless each stands there once, in order."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in head or END in tail:
        raise ValueError(f"there must be one {BEGIN}, and one {END} after it")
    return f"{head}{BEGIN}\n{new}\n{END}{tail}"


def write(results: Sequence[Result], directory: Path) -> None:
    """Write tables.md and results.json; the directory is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.joinpath("tables.md").write_text(tables(results), encoding="utf-8")
    directory.joinpath("results.json").write_text(as_json(results), encoding="utf-8")
