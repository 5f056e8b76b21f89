"""Draws panels as SVG: lines, areas, bars, heat maps, tables, numbers. Pure, and the same for the same answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tests.kibana.answers import Formats, Series, clock, short
from tests.kibana.panels import Range

PALETTE = ("#54B399", "#6092C0", "#D36086", "#9170B8", "#D6BF57", "#DA8B45", "#B9A888", "#AA6556", "#CA8EAE", "#E7664C")
MEANT = {"up": "#54B399", "down": "#E7664C", "200": "#54B399", "503": "#E7664C"}
"""Words that have a colour of their own."""
SCHEMES = {
    "Reds": ("#fee5d9", "#fcbba1", "#fc9272", "#fb6a4a", "#de2d26", "#a50f15"),
    "Blues": ("#eff3ff", "#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c"),
}
INK, PALE, RULE = "#343741", "#69707D", "#E3E6EC"
LETTER = 6.1
"""Pixels that a letter of 11 pixels takes, about."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return it without margins."""
        return Box(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


def number(value: float) -> str:
    """Return a coordinate, short."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def text(
    x: float, y: float, words: str, *, size: int = 11, color: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    """Return words at a place."""
    weight = ' font-weight="600"' if bold else ""
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" fill="{color}"{weight}{end}>{escape(words)}</text>'
    )


def rectangle(box: Box, fill: str, more: str = "") -> str:
    """Return a filled rectangle."""
    place = f'x="{number(box.x)}" y="{number(box.y)}" width="{number(box.width)}" height="{number(box.height)}"'
    return f'<rect {place} fill="{fill}"{more}/>'


def line(x1: float, y1: float, x2: float, y2: float, color: str = RULE) -> str:
    """Return a thin line."""
    ends = " ".join(
        f'{name}="{number(value)}"' for name, value in zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True)
    )
    return f'<line {ends} stroke="{color}"/>'


def clipped(words: str, width: float, letter: float = LETTER) -> str:
    """Return words, cut where they would be wider."""
    most = max(int(width / letter), 1)
    return words if len(words) <= most else words[: most - 1] + "…"


def frame(box: Box, title: str) -> list[str]:
    """Return the frame of a panel and its title."""
    around = f' stroke="{RULE}" rx="5"'
    return [
        rectangle(box, "#FFFFFF", around),
        text(box.x + 12, box.y + 20, clipped(title, box.width - 24, 7), size=13, bold=True),
    ]


def color_of(name: str, position: int) -> str:
    """Return the colour of a series."""
    return MEANT.get(name, PALETTE[position % len(PALETTE)])


def legend(box: Box, names: Sequence[str], colors: Sequence[str]) -> list[str]:
    """Return names with their colours, one below the other."""
    drawn = []
    for position, (name, color) in enumerate(zip(names, colors, strict=True)):
        y = box.y + 12 + 17 * position
        drawn.append(f'<circle cx="{number(box.x + 5)}" cy="{number(y - 4)}" r="4.5" fill="{color}"/>')
        drawn.append(text(box.x + 15, y, clipped(name, box.width - 15)))
    return drawn


def legend_width(names: Sequence[str], most: float) -> float:
    """Return how wide a legend is."""
    return min(max((len(name) for name in names), default=0) * LETTER + 24, most)


def ticks(largest: float, about: int = 4) -> list[float]:
    """Return round numbers from 0 to above the largest."""
    if largest <= 0:
        return [0.0, 1.0]
    raw = largest / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw)
    return [step * count for count in range(math.ceil(largest / step - 1e-9) + 1)]


def time_axis(box: Box, when: Range) -> list[str]:
    """Return marks below a chart: each half hour."""
    drawn = []
    for at in range(when.begin, when.end + 1, 1800):
        x = box.x + box.width * (at - when.begin) / (when.end - when.begin)
        drawn.append(line(x, box.y + box.height, x, box.y + box.height + 4, PALE))
        drawn.append(text(x, box.y + box.height + 17, clock(at), color=PALE, anchor="middle"))
    return drawn


def chart(
    box: Box, kind: str, series: Series, when: Range, unit: str, field: str, formats: Formats, stacked: bool
) -> list[str]:
    """Return a chart over time: `line`, `area` or `histogram`."""
    names = list(series)
    colors = [color_of(name, position) for position, name in enumerate(names)]
    wide = legend_width(names, box.width * 0.34)
    plot = box.inside(78, 34, wide + 22, 30)
    grid = list(range(when.begin, when.end, when.step))
    heights = {name: dict(points) for name, points in series.items()}
    sums = [sum(heights[name].get(at, 0.0) for name in names) for at in grid]
    largest = max(sums) if stacked else max(value for points in series.values() for _, value in points)
    marks = ticks(_in_unit(largest, field, formats))
    scale = plot.height / (marks[-1] * _unit(field, formats))

    def x_of(at: float) -> float:
        return plot.x + plot.width * (at - when.begin) / (when.end - when.begin)

    drawn = []
    for mark in marks:
        value = mark * _unit(field, formats)
        y = plot.y + plot.height - value * scale
        drawn.append(line(plot.x, y, plot.x + plot.width, y))
        drawn.append(text(plot.x - 7, y + 4, _tick(mark, field, formats), color=PALE, anchor="end"))
    middle = plot.y + plot.height / 2
    turned = f' transform="rotate(-90 {number(box.x + 15)} {number(middle)})"'
    drawn.append(text(box.x + 15, middle, unit, color=PALE, anchor="middle").replace("<text", f"<text{turned}", 1))
    drawn += time_axis(plot, when)
    floor = dict.fromkeys(grid, 0.0)
    bar = plot.width * when.step / (when.end - when.begin)
    for name, color in zip(names, colors, strict=True):
        if kind == "line":
            points = " ".join(
                f"{number(x_of(at))},{number(plot.y + plot.height - value * scale)}" for at, value in series[name]
            )
            drawn.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"/>')
            continue
        tops = {at: floor[at] + heights[name].get(at, 0.0) for at in grid}
        if kind == "area":
            there = [at for at in grid if any(at in heights[one] for one in names)]
            forth = [f"{number(x_of(at))},{number(plot.y + plot.height - tops[at] * scale)}" for at in there]
            back = [f"{number(x_of(at))},{number(plot.y + plot.height - floor[at] * scale)}" for at in reversed(there)]
            shape = "M" + "L".join(forth + back) + "Z"
            drawn.append(f'<path d="{shape}" fill="{color}" fill-opacity="0.55" stroke="{color}"/>')
        else:
            boxes = "".join(
                f"M{number(x_of(at) + 0.4)} {number(plot.y + plot.height - tops[at] * scale)}h{number(bar - 0.8)}"
                f"v{number((tops[at] - floor[at]) * scale)}h-{number(bar - 0.8)}z"
                for at in grid
                if tops[at] > floor[at]
            )
            drawn.append(f'<path d="{boxes}" fill="{color}"/>')
        floor = tops
    return drawn + legend(Box(box.x + box.width - wide - 8, plot.y, wide, plot.height), names, colors)


def _unit(field: str, formats: Formats) -> float:
    return 1e6 if formats.of.get(field, {}).get("id") == "duration" else 1.0


def _in_unit(value: float, field: str, formats: Formats) -> float:
    return value / _unit(field, formats)


def _tick(mark: float, field: str, formats: Formats) -> str:
    kind = formats.of.get(field, {}).get("id")
    return f"{mark:g} ms" if kind == "duration" else short(mark, "B" if kind == "bytes" else "")


def heat_map(
    box: Box, rows: dict[str, dict[float, float]], when: Range, scheme: str, field: str, formats: Formats
) -> list[str]:
    """Return a heat map: a row for each name, the time from left to right."""
    colors = SCHEMES[scheme]
    largest = max(value for row in rows.values() for value in row.values())
    limits = [largest * (position + 1) / len(colors) for position in range(len(colors))]
    named = [f"up to {formats.show(field, limit if field else math.ceil(limit))}" for limit in limits]
    wide = legend_width(named, box.width * 0.3)
    plot = box.inside(left_of(rows), 34, wide + 22, 30)
    high = plot.height / len(rows)
    step = plot.width * when.step / (when.end - when.begin)
    shapes: dict[str, list[str]] = {color: [] for color in colors}
    drawn = [rectangle(plot, "#F7F8FC")]
    for position, (name, row) in enumerate(sorted(rows.items(), key=lambda one: one[0])):
        y = plot.y + position * high
        drawn.append(text(plot.x - 7, y + high / 2 + 4, name, anchor="end"))
        for at, value in row.items():
            color = colors[next(index for index, limit in enumerate(limits) if value <= limit * (1 + 1e-9))]
            x = plot.x + plot.width * (at - when.begin) / (when.end - when.begin)
            shapes[color].append(f"M{number(x)} {number(y + 1)}h{number(step)}v{number(high - 2)}h-{number(step)}z")
    drawn += [f'<path d="{"".join(shape)}" fill="{color}"/>' for color, shape in shapes.items() if shape]
    drawn += time_axis(plot, when)
    return drawn + legend(Box(box.x + box.width - wide - 8, plot.y, wide, plot.height), named, colors)


def left_of(rows: dict[str, dict[float, float]] | dict[str, dict[float, str]] | list[str]) -> float:
    """Return the room that the names of rows take."""
    return max(len(name) for name in rows) * LETTER + 24


def table(box: Box, heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table, as many rows as there is room for."""
    room = box.width - 24
    most = [max(len(cell) for cell in column) + 2 for column in zip(heads, *rows, strict=True)]
    widths = [min(width, 46) for width in most]
    share = room / sum(widths)
    places = [box.x + 12 + share * sum(widths[:index]) for index in range(len(widths))]
    drawn = []
    for x, width, head in zip(places, widths, heads, strict=True):
        drawn.append(text(x, box.y + 46, clipped(head, width * share), color=PALE, bold=True))
    shown = rows[: int((box.height - 58) / 20)]
    for position, row in enumerate(shown):
        y = box.y + 66 + 20 * position
        drawn.append(line(box.x + 12, y - 14, box.x + box.width - 12, y - 14))
        for x, width, cell in zip(places, widths, row, strict=True):
            drawn.append(text(x, y, clipped(cell, width * share)))
    return drawn


def totals(box: Box, numbers: list[tuple[str, str]]) -> list[str]:
    """Return large numbers beside each other."""
    drawn = []
    for position, (name, value) in enumerate(numbers):
        x = box.x + box.width * (2 * position + 1) / (2 * len(numbers))
        drawn.append(text(x, box.y + box.height / 2 + 22, value, size=30, anchor="middle", bold=True))
        drawn.append(text(x, box.y + box.height / 2 + 42, name, size=12, color=PALE, anchor="middle"))
    return drawn


def state_rows(box: Box, rows: dict[str, dict[float, str]], when: Range, colors: dict[str, str]) -> list[str]:
    """Return a row for each name, coloured by its state."""
    wide = legend_width(list(colors), 80)
    plot = box.inside(left_of(rows), 34, wide + 22, 30)
    high = plot.height / len(rows)
    step = plot.width * when.step / (when.end - when.begin)
    shapes: dict[str, list[str]] = {state: [] for state in colors}
    drawn = []
    for position, (name, row) in enumerate(rows.items()):
        y = plot.y + position * high
        drawn.append(text(plot.x - 7, y + high / 2 + 4, name, anchor="end"))
        for at, state in row.items():
            x = plot.x + plot.width * (at - when.begin) / (when.end - when.begin)
            shapes[state].append(f"M{number(x)} {number(y + 5)}h{number(step)}v{number(high - 10)}h-{number(step)}z")
    drawn += [f'<path d="{"".join(shape)}" fill="{colors[state]}"/>' for state, shape in shapes.items() if shape]
    drawn += time_axis(plot, when)
    return drawn + legend(Box(box.x + box.width - wide - 8, plot.y, wide, 60), list(colors), list(colors.values()))


def points(box: Box, rows: dict[str, list[tuple[float, bool, str]]], when: Range, colors: dict[str, str]) -> list[str]:
    """Return a row for each kind, with a point for each change; a point's title tells why."""
    wide = legend_width(list(colors), 150)
    plot = box.inside(left_of(list(rows)), 34, wide + 22, 30)
    high = plot.height / len(rows)
    worse, better = colors.values()
    drawn = []
    for position, (name, changes) in enumerate(rows.items()):
        y = plot.y + (position + 0.5) * high
        drawn.append(line(plot.x, y, plot.x + plot.width, y))
        drawn.append(text(plot.x - 7, y + 4, name, anchor="end"))
        for at, bad, why in changes:
            x = plot.x + plot.width * (at - when.begin) / (when.end - when.begin)
            about = f"<title>{escape(f'{clock(at)} {why}')}</title>"
            fill = worse if bad else better
            drawn.append(
                f'<circle cx="{number(x)}" cy="{number(y)}" r="5" fill="{fill}" fill-opacity="0.85">{about}</circle>'
            )
    drawn += time_axis(plot, when)
    return drawn + legend(Box(box.x + box.width - wide - 8, plot.y, wide, 60), list(colors), list(colors.values()))
