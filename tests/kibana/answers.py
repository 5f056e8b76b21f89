"""What an answer says, as lines, cells and rows: read by the visualization that asked, ready to be drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.kibana.objects import Json
from tests.kibana.panels import Panel, Shipped

Series = dict[str, list[tuple[float, float]]]
"""A line's points by its name: seconds since the epoch, and a number."""


@dataclass(frozen=True)
class Formats:
    """How the numbers of an index pattern's fields are shown."""

    of: Json

    @staticmethod
    def of_panel(shipped: Shipped, panel: Panel) -> Formats:
        """Return the formats that a panel's index pattern has."""
        for found in shipped.objects:
            if found["type"] == "index-pattern" and found["attributes"]["title"] == panel.pattern:
                return Formats(json.loads(found["attributes"]["fieldFormatMap"]))
        return Formats({})

    def show(self, field: str, value: float | None) -> str:
        """Return a number as people read it."""
        if value is None:
            return "-"
        if field == "@timestamp":
            return clock(value / 1000, "%H:%M:%S")
        kind = self.of.get(field, {}).get("id")
        if kind == "duration":
            return f"{value / 1e6:.2f} ms" if value < 1e7 else f"{value / 1e6:,.0f} ms"
        return short(value, "B" if kind == "bytes" else "")


def short(value: float, unit: str = "") -> str:
    """Return a number with at most three digits and a prefix."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            number = f"{value / size:.3g}" if value / size < 999 else f"{value / size:.0f}"
            return f"{number} {prefix}{unit}"
    return (
        f"{value:g}{' ' + unit if unit else ''}" if value == int(value) else f"{value:.3g}{' ' + unit if unit else ''}"
    )


def clock(at: float, form: str = "%H:%M") -> str:
    """Return the time of day, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime(form)


def parts(panel: Panel) -> tuple[list[Json], list[Json]]:
    """Return the metrics and the buckets of a visualization."""
    aggs = panel.state["aggs"]
    return [one for one in aggs if one["schema"] == "metric"], [one for one in aggs if one["schema"] != "metric"]


def values(metric: Json, bucket: Json) -> list[tuple[str, float | None]]:
    """Return what a metric is called and says of a bucket; percentiles say several."""
    label = metric["params"]["customLabel"]
    if metric["type"] == "count":
        return [(label, bucket["doc_count"])]
    found = bucket[metric["id"]]
    if "values" in found:
        return [(f"{label}, {one['key']:g} %", one["value"]) for one in found["values"]]
    return [(label, found["value"])]


def lines(panel: Panel, answer: Json) -> Series:
    """Return the lines of a chart over time."""
    metrics, buckets = parts(panel)
    found: Series = {}
    for step in answer["aggregations"][buckets[0]["id"]]["buckets"]:
        at = step["key"] / 1000
        if len(buckets) == 1:
            named = [one for metric in metrics for one in values(metric, step)]
        else:
            groups = step[buckets[1]["id"]]["buckets"]
            named = [(str(group["key"]), values(metrics[0], group)[0][1]) for group in groups]
        for name, value in named:
            if value is not None:
                found.setdefault(name, []).append((at, float(value)))
    return dict(sorted(found.items())) if len(buckets) > 1 else found


def cells(panel: Panel, answer: Json) -> dict[str, dict[float, float]]:
    """Return the rows of a heat map, by name, each with its numbers by time."""
    rows: dict[str, dict[float, float]] = {}
    for name, points in lines(panel, answer).items():
        rows[name] = dict(points)
    return rows


def rows(panel: Panel, answer: Json, formats: Formats) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of a table."""
    metrics, buckets = parts(panel)
    heads = [one["params"]["customLabel"] for one in buckets]
    found: list[list[str]] = []

    def walk(at: Json, depth: int, before: list[str]) -> None:
        if depth < len(buckets):
            for bucket in at[buckets[depth]["id"]]["buckets"]:
                key = "none" if bucket["key"] == "__missing__" else str(bucket["key"])
                walk(bucket, depth + 1, [*before, key])
            return
        numbers = [
            formats.show(metric["params"].get("field", ""), value)
            for metric in metrics
            for _, value in values(metric, at)
        ]
        found.append([*before, *numbers])

    walk(answer["aggregations"], 0, [])
    first = next(_leaves(answer["aggregations"], [one["id"] for one in buckets]))
    heads += [name for metric in metrics for name, _ in values(metric, first)]
    return heads, found


def _leaves(at: Json, names: list[str]) -> Iterator[Json]:
    if not names:
        yield at
        return
    for bucket in at[names[0]]["buckets"]:
        yield from _leaves(bucket, names[1:])


def totals(panel: Panel, answer: Json, formats: Formats) -> list[tuple[str, str]]:
    """Return single numbers, and what they are of."""
    metrics, _ = parts(panel)
    return [
        (metric["params"]["customLabel"], formats.show(metric["params"].get("field", ""), value))
        for metric in metrics
        for _, value in values(metric, answer["aggregations"])
    ]


def documents(panel: Panel, answer: Json, formats: Formats) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of a table of documents."""
    columns = panel.object["attributes"]["columns"]
    found = []
    for hit in answer["hits"]["hits"]:
        shown: list[Any] = [clock(hit["sort"][0] / 1000, "%H:%M:%S")]
        for name in columns:
            value = hit["fields"].get(name, [""])[0]
            shown.append(formats.show(name, value) if isinstance(value, int | float) else str(value))
        found.append(shown)
    return ["time", *columns], found


def states(answer: Json) -> dict[str, dict[float, str]]:
    """Return what a panel of states computes: for each VIP or router its state by time."""
    [(_, each)] = answer["aggregations"].items()
    return {
        row["key"]: {
            step["key"] / 1000: "down" if step["down"]["doc_count"] else "up" for step in row["time"]["buckets"]
        }
        for row in each["buckets"]
    }


def changes(panel: Panel, answer: Json) -> dict[str, list[tuple[float, bool, str]]]:
    """Return what the timeline computes: for each kind when something changed, whether for the worse, and why."""
    [words] = re.findall(r"indexof\(\[(.*?)\]", panel.state["params"]["spec"])
    bad = {word.strip(" '") for word in words.split(",")}
    found: dict[str, list[tuple[float, bool, str]]] = {}
    for hit in reversed(answer["hits"]["hits"]):
        document = hit["_source"]
        worse = document["vc5"].get("outcome") in bad
        why = document["event"].get("reason") or document["message"]
        found.setdefault(document["vc5"]["kind"], []).append((hit["sort"][0] / 1000, worse, why))
    return dict(sorted(found.items()))
