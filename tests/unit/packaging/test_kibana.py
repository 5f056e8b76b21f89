"""The saved objects that are shipped are what Kibana 7.17 exports, as far as that can be told without a Kibana.

Only an import into a real one proves it; HACKING.md says when to do that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.telemetry.fields import FIELDS
from appliance.telemetry.streams import Stream
from tests.kibana import panels
from tests.kibana.__main__ import SHIPPED, main
from tests.kibana.objects import WIDTH

FILE = panels.read(SHIPPED)
PANELS = list(FILE.panels())
KEYS = {"attributes", "coreMigrationVersion", "id", "migrationVersion", "references", "type"}
PACKED = ("visState", "uiStateJSON", "panelsJSON", "optionsJSON", "fieldFormatMap", "fieldAttrs", "fields", "typeMeta")
NAMES = {stream: {field.name for field in FIELDS if stream in field.streams} for stream in Stream}


def test_it_is_made_from_the_source(tmp_path: Path) -> None:
    main(tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == SHIPPED.read_bytes(), "run: python3 -m tests.kibana"


def test_the_summary_counts_the_objects() -> None:
    assert FILE.summary == {
        "excludedObjects": [],
        "excludedObjectsCount": 0,
        "exportedCount": len(FILE.objects),
        "missingRefCount": 0,
        "missingReferences": [],
    }


@pytest.mark.parametrize("found", FILE.objects, ids=lambda found: f"{found['type']}-{found['id']}")
def test_an_object(found: dict[str, Any]) -> None:
    assert set(found) == KEYS
    assert set(found["migrationVersion"]) == {found["type"]}
    assert found["id"].startswith("vc5-")
    assert found["attributes"]["title"]
    for name in PACKED:
        if name in found["attributes"]:
            json.loads(found["attributes"][name])
    for reference in found["references"]:
        assert FILE.find(reference["type"], reference["id"])
        assert set(reference) == {"id", "name", "type"}
    named = [reference["name"] for reference in found["references"]]
    used = []
    if meta := found["attributes"].get("kibanaSavedObjectMeta"):
        source = json.loads(meta["searchSourceJSON"])
        used += [source["indexRefName"]] if "indexRefName" in source else []
    if "panelsJSON" in found["attributes"]:
        for panel in json.loads(found["attributes"]["panelsJSON"]):
            used.append(f"{panel['panelIndex']}:{panel['panelRefName']}")
            assert panel["gridData"]["i"] == panel["panelIndex"]
    assert sorted(named) == sorted(used)


def test_ids_are_unique_and_everything_is_on_a_dashboard() -> None:
    ids = [(found["type"], found["id"]) for found in FILE.objects]
    assert len(set(ids)) == len(ids)
    shown = {panel.id for panel in PANELS}
    assert shown == {found["id"] for found in FILE.objects if found["type"] in ("visualization", "search")}
    titles = [panel.title for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_nothing_comes_before_what_it_refers_to() -> None:
    seen: set[str] = set()
    for found in FILE.objects:
        assert {reference["id"] for reference in found["references"]} <= seen
        seen.add(found["id"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_uses_fields_that_there_are(panel: panels.Panel) -> None:
    pattern, _ = panels.request(panel, panels.Range(0, 3600))
    [stream] = [stream for stream in Stream if pattern == f"logs-{stream}-*"]
    used = panels.fields(panel)
    assert used
    assert used - NAMES[stream] == set()
    if panel.kind not in ("vega", "search"):
        state = panel.state
        assert state["title"] == panel.title
        numbers = [one["id"] for one in state["aggs"]]
        assert len(set(numbers)) == len(numbers)
        drawn = {one["data"]["id"] for one in state["params"].get("seriesParams", ())}
        assert not drawn or drawn == {one["id"] for one in state["aggs"] if one["schema"] == "metric"}


def test_the_formats_are_of_fields_that_there_are() -> None:
    for stream in Stream:
        found = FILE.find("index-pattern", stream.replace(".", "-"))
        assert found["attributes"]["title"] == f"logs-{stream}-*"
        assert set(json.loads(found["attributes"]["fieldFormatMap"])) <= NAMES[stream]


@pytest.mark.parametrize("board", sorted({panel.dashboard for panel in PANELS}))
def test_no_panel_lies_on_another(board: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        if panel.dashboard == board:
            x, y, width, height = (panel.place[name] for name in "xywh")
            cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert not cells & taken, panel.id
            assert x + width <= WIDTH
            taken |= cells
