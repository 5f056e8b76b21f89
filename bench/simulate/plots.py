"""The results as pictures: SVG, the same to the bit for the same figures, for light and dark pages alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bench.simulate import sizes
from bench.simulate.report import fleets, tracked_flows
from bench.simulate.results import ALONE, FULL, OURS, SCHEMES, SHARED, Result

INK = "#7f8790"
"""Readable on white and on near black."""
COLOURS = ("#2f8f5b", "#8a6fd1", "#3b82c4", "#c77d1e", "#b65c8f", "#c94f4f", "#6c8a1f")
"""Likewise, in the order of schemes, or of scenarios."""
WIDTH = 8.0
MEAN = 10
"""Minutes over which traffic that comes in bursts is averaged."""
_STYLE = {
    "svg.hashsalt": "vc5",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def write(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write all pictures into a directory, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE):
        for draw in (broken, tracked, exchange, memory, balancers):
            path = directory / f"{draw.__name__}.svg"
            path.write_text(svg(draw(results)), encoding="utf-8")
            written.append(path)
    return written


def svg(figure: Figure) -> str:
    """The text of a picture, without what says when and by what it was made."""
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.1)
    return re.sub(r" *<metadata>.*?</metadata>\n", "", text.getvalue(), flags=re.DOTALL)


def _axes(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_subplot()


def _legend(axes: Any, columns: int = 2) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=columns)


def broken(results: Sequence[Result]) -> Figure:
    """Broken connections by scenario and scheme; on a logarithmic scale that has a place for none."""
    figure, axes = _axes(0.9 + 0.75 * len(results))
    step = 0.8 / len(SCHEMES)
    for at, (scheme, colour) in enumerate(zip(SCHEMES, COLOURS, strict=False)):
        places = [row + (at - (len(SCHEMES) - 1) / 2) * step for row in range(len(results))]
        values = [one.per_million(scheme) for one in results]
        axes.barh(places, values, height=step * 0.85, color=colour, label=scheme)
        for place, value in zip(places, values, strict=True):
            if not value:
                axes.text(0.02, place, "0", color=colour, fontsize=6, va="center")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(results)), [one.scenario for one in results])
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.set_xlabel("broken connections of a million")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.9 + 0.75 * len(results))), ncol=3)
    return figure


def _minutes(series: Sequence[float]) -> range:
    return range(len(series))


def _telling(results: Sequence[Result]) -> list[Result]:
    """Those in which anything is tracked; of those that track the same (whatever the router does), the first."""
    found: list[Result] = []
    for one in results:
        if max(one.tracked[OURS]) > 0 and all(one.tracked[OURS] != other.tracked[OURS] for other in found):
            found.append(one)
    return found


def _means(values: Sequence[float]) -> list[float]:
    return [sum(part) / len(part) for at in range(0, len(values), MEAN) if len(part := values[at : at + MEAN]) == MEAN]


def tracked(results: Sequence[Result]) -> Figure:
    """The share of slots that a balancer tracks, over time."""
    figure, axes = _axes(3.2)
    for one, colour in zip(_telling(results), COLOURS, strict=False):
        values = [100 * share for share in one.tracked[OURS]]
        axes.plot(_minutes(values), values, color=colour, label=one.scenario)
    axes.set_xlabel("minutes")
    axes.set_ylabel("tracked slots, percent")
    axes.set_ylim(-2, 102)
    _legend(axes, 5)
    return figure


def exchange(results: Sequence[Result]) -> Figure:
    """What a balancer receives about flows and slots, over time, beside what sharing all flows takes."""
    figure, axes = _axes(3.2)
    for one, colour in zip(_telling(results), COLOURS, strict=False):
        means = _means(one.received[OURS])
        axes.stairs(means, [at * MEAN for at in range(len(means) + 1)], color=colour, label=one.scenario)
    every = results[0].received[SHARED]
    axes.plot(_minutes(every), every, color=INK, linestyle="--", label="all flows shared")
    axes.set_yscale("symlog", linthresh=100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("bytes/s received")
    _legend(axes, 5)
    return figure


def memory(results: Sequence[Result]) -> Figure:
    """The flows that a balancer remembers over time, in the scenario in which they are most."""
    figure, axes = _axes(3.2)
    one = max(results, key=lambda result: max(result.flows[OURS]))
    for scheme, colour in ((OURS, COLOURS[0]), (ALONE, COLOURS[1])):
        axes.plot(_minutes(one.flows[scheme]), one.flows[scheme], color=colour, label=scheme)
    for scheme, colour, flows in zip((FULL, SHARED), COLOURS[2:4], tracked_flows(one.site), strict=True):
        axes.axhline(flows, color=colour, linestyle="--", label=f"{scheme}, after an hour")
    axes.set_yscale("symlog", linthresh=100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"minutes of `{one.scenario}`")
    axes.set_ylabel("flows a balancer remembers")
    _legend(axes)
    return figure


def balancers(results: Sequence[Result]) -> Figure:
    """What a balancer receives in a second, by how many there are."""
    figure, axes = _axes(3.2)
    rows = fleets(max(results, key=lambda one: max(one.entries[OURS])))
    names = ("being there (HELLO)", "flows, busiest minute", "the largest change, once", "all flows shared")
    counts = [row[0] for row in rows]
    for at, (name, colour) in enumerate(zip(names, (*COLOURS[:3], INK), strict=True), 1):
        style = "--" if colour == INK else "-"
        axes.plot(counts, [row[at] for row in rows], style, marker="o", markersize=3, color=colour, label=name)
    axes.axvline(sizes.HELLO_ROOM + 1, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("balancers")
    axes.set_ylabel("bytes/s received (of a change: bytes)")
    _legend(axes)
    return figure
