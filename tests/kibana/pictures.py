"""`python3 -m tests.kibana.pictures`: draws each dashboard from what a real Elasticsearch answers to its panels.

The documents are those of tests/telemetry/scenario.py; the pictures, in docs/, are those of the README.
"""

from __future__ import annotations

import json
import sys

from appliance.cli.main import main as command
from tests.kibana import answers, drawing
from tests.kibana.__main__ import SHIPPED
from tests.kibana.drawing import Box
from tests.kibana.objects import WIDTH, Json
from tests.kibana.panels import Panel, Range, Shipped, read, request
from tests.lab.backend import REPOSITORY
from tests.lab.elasticsearch import Elasticsearch
from tests.telemetry import scenario

PLACE = REPOSITORY / "docs"
COLUMN, ROW, GAP, HEAD = 25, 20, 8, 46
"""Pixels of a dashboard's column and row, between panels, and above them."""
MORNING = Range(scenario.BEGIN, scenario.END)


def picture(shipped: Shipped, board: Json, asked: list[tuple[Panel, Json]], when: Range) -> str:
    """Return a dashboard as SVG, given its panels with their answers."""
    height = HEAD + ROW * max(panel.place["y"] + panel.place["h"] for panel, _ in asked) + GAP
    width = COLUMN * WIDTH
    title = board["attributes"]["title"]
    day = answers.clock(when.begin, "%Y-%m-%d %H:%M") + " to " + answers.clock(when.end) + " UTC"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
        f'font-family="Inter, Helvetica, Arial, sans-serif" role="img" aria-label="{title}">',
        drawing.rectangle(Box(0, 0, width, height), "#F1F4FA"),
        drawing.text(16, 30, title, size=18, bold=True),
        drawing.text(width - 16, 30, day, size=12, color=drawing.PALE, anchor="end"),
    ]
    for panel, answer in asked:
        place = panel.place
        box = Box(
            place["x"] * COLUMN + GAP / 2,
            HEAD + place["y"] * ROW + GAP / 2,
            place["w"] * COLUMN - GAP,
            place["h"] * ROW - GAP,
        )
        drawn += drawing.frame(box, panel.title)
        drawn += _inside(shipped, panel, answer, box, when)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _inside(shipped: Shipped, panel: Panel, answer: Json, box: Box, when: Range) -> list[str]:
    formats = answers.Formats.of_panel(shipped, panel)
    if panel.kind == "metric":
        return drawing.totals(box, answers.totals(panel, answer, formats))
    if panel.kind == "table":
        return drawing.table(box, *answers.rows(panel, answer, formats))
    if panel.kind == "search":
        return drawing.table(box, *answers.documents(panel, answer, formats))
    if panel.kind == "vega":
        scale = json.loads(panel.state["params"]["spec"])["encoding"]["color"]["scale"]
        colors = dict(zip(scale["domain"], scale["range"], strict=True))
        if "aggregations" in answer:
            return drawing.state_rows(box, answers.states(answer), when, colors)
        return drawing.points(box, answers.changes(panel, answer), when, colors)
    metrics, _ = answers.parts(panel)
    field = metrics[0]["params"].get("field", "") if metrics[0]["type"] not in ("cardinality", "count") else ""
    params = panel.state["params"]
    if panel.kind == "heatmap":
        cells = answers.cells(panel, answer)
        return drawing.heat_map(box, cells, when, params["colorSchema"], field, formats)
    unit = params["valueAxes"][0]["title"]["text"]
    stacked = params["seriesParams"][0]["mode"] == "stacked"
    series = answers.lines(panel, answer)
    return drawing.chart(box, panel.kind, series, when, unit, field, formats, stacked)


def pictures(elasticsearch: Elasticsearch, when: Range = MORNING) -> dict[str, str]:
    """Return the pictures of all dashboards by their ids, from a server that holds the documents."""
    shipped = read(SHIPPED)
    asked: dict[str, list[tuple[Panel, Json]]] = {}
    for panel in shipped.panels():
        answer = elasticsearch.search(*request(panel, when))
        asked.setdefault(panel.dashboard, []).append((panel, answer))
    return {id_: picture(shipped, shipped.find("dashboard", id_), panels, when) for id_, panels in asked.items()}


def main() -> int:
    """Start a server, fill it, draw."""
    with Elasticsearch() as elasticsearch:
        if command(["elasticsearch", "install", "--url", elasticsearch.url]):
            return 1
        scenario.store(elasticsearch)
        PLACE.mkdir(exist_ok=True)
        for id_, drawn in pictures(elasticsearch).items():
            (PLACE / f"{id_}.svg").write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
