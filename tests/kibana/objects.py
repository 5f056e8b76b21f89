"""Kibana's saved objects in the form that 7.17 exports, made from few words.

Marks of migrations are those of 7.14: every 7.17 takes them, and so does each later one, which brings them up to date.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CORE = "7.14.0"
MIGRATIONS = {"index-pattern": "7.11.0", "visualization": "7.14.0", "search": "7.9.3", "dashboard": "7.14.0"}
INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
WIDTH = 48
"""Columns of a dashboard."""


def packed(value: Any) -> str:
    """Return JSON as attributes hold it."""
    return json.dumps(value, separators=(",", ":"))


def saved(type_: str, id_: str, attributes: Json, references: Sequence[Json] = ()) -> Json:
    """Return a saved object."""
    return {
        "attributes": attributes,
        "coreMigrationVersion": CORE,
        "id": id_,
        "migrationVersion": {type_: MIGRATIONS[type_]},
        "references": list(references),
        "type": type_,
    }


def index_pattern(id_: str, title: str, formats: Json) -> Json:
    """Return an index pattern; `formats` says how fields are shown."""
    attributes = {
        "fieldAttrs": "{}",
        "fieldFormatMap": packed(formats),
        "fields": "[]",
        "runtimeFieldMap": "{}",
        "timeFieldName": "@timestamp",
        "title": title,
        "typeMeta": "{}",
    }
    return saved("index-pattern", id_, attributes)


@dataclass(frozen=True)
class Panel:
    """What a panel shows: an object, and how many of the dashboard's columns and rows it takes."""

    object: Json
    width: int
    height: int


def search_source(query: str, pattern: str, index: bool = True) -> tuple[Json, list[Json]]:
    """Return where an object's documents come from, and the references of that; queries are Lucene's."""
    source: Json = {"query": {"query": query, "language": "lucene"}, "filter": []}
    if not index:
        return {"searchSourceJSON": packed(source)}, []
    source["indexRefName"] = INDEX
    return {"searchSourceJSON": packed(source)}, [{"id": pattern, "name": INDEX, "type": "index-pattern"}]


def visualization(
    id_: str, title: str, kind: str, params: Json, aggs: Sequence[Json], pattern: str, query: str = "", about: str = ""
) -> Json:
    """Return a visualization based on aggregations."""
    meta, references = search_source(query, pattern)
    state = {"title": title, "type": kind, "aggs": list(aggs), "params": params}
    return _visualization(id_, title, state, meta, references, about)


def vega(id_: str, title: str, spec: Json, about: str = "") -> Json:
    """Return a visualization in Vega-Lite, which holds its own request."""
    meta, _ = search_source("", "", index=False)
    state = {"title": title, "type": "vega", "aggs": [], "params": {"spec": json.dumps(spec, indent=2)}}
    return _visualization(id_, title, state, meta, [], about)


def _visualization(id_: str, title: str, state: Json, meta: Json, references: list[Json], about: str) -> Json:
    attributes = {
        "description": about,
        "kibanaSavedObjectMeta": meta,
        "title": title,
        "uiStateJSON": "{}",
        "version": 1,
        "visState": packed(state),
    }
    return saved("visualization", id_, attributes, references)


def search(id_: str, title: str, columns: Sequence[str], pattern: str, query: str, about: str = "") -> Json:
    """Return a table of documents, the newest first."""
    meta, references = search_source(query, pattern)
    attributes = {
        "columns": list(columns),
        "description": about,
        "grid": {},
        "hideChart": True,
        "hits": 0,
        "kibanaSavedObjectMeta": meta,
        "sort": [["@timestamp", "desc"]],
        "title": title,
        "version": 1,
    }
    return saved("search", id_, attributes, references)


def dashboard(id_: str, title: str, about: str, panels: Sequence[Panel]) -> Json:
    """Return a dashboard; its panels go from left to right, and on to the next row where one is full."""
    placed, references = [], []
    x = y = row = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        index = str(number)
        type_ = panel.object["type"]
        placed.append(
            {
                "version": "7.17.0",
                "type": type_,
                "gridData": {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": index},
                "panelIndex": index,
                "embeddableConfig": {"enhancements": {}},
                "panelRefName": f"panel_{index}",
            }
        )
        references.append({"id": panel.object["id"], "name": f"{index}:panel_{index}", "type": type_})
        x, row = x + panel.width, max(row, panel.height)
    meta, _ = search_source("", "", index=False)
    attributes = {
        "description": about,
        "hits": 0,
        "kibanaSavedObjectMeta": meta,
        "optionsJSON": packed({"useMargins": True, "syncColors": True, "hidePanelTitles": False}),
        "panelsJSON": packed(placed),
        "refreshInterval": {"pause": False, "value": 60000},
        "timeFrom": "now-3h",
        "timeRestore": True,
        "timeTo": "now",
        "title": title,
        "version": 1,
    }
    return saved("dashboard", id_, attributes, references)


def exported(objects: Sequence[Json]) -> str:
    """Return the file that Kibana's export would be: one object a line, and a summary."""
    summary = {
        "excludedObjects": [],
        "excludedObjectsCount": 0,
        "exportedCount": len(objects),
        "missingRefCount": 0,
        "missingReferences": [],
    }
    lines = [json.dumps(line, separators=(",", ":"), sort_keys=True) for line in (*objects, summary)]
    return "\n".join(lines) + "\n"
