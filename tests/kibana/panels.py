"""Reads what is shipped, and makes of each panel the request that Kibana makes of it.

Nothing in here knows what the dashboards were made from. Aggregations become those of Elasticsearch as Kibana's
`AggConfigs.toDsl` makes them, for the types that are used; a type that is not known here is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kibana.objects import Json

AT_MOST = 100
"""Steps of a chart over time; Kibana aims at 50 to 100 (histogram:barTarget, histogram:maxBars)."""
STEPS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400)


@dataclass(frozen=True)
class Range:
    """What the time of a dashboard is set to, in seconds since the epoch."""

    begin: int
    end: int

    @property
    def step(self) -> int:
        """How many seconds a step of `auto` is."""
        return next((step for step in STEPS if (self.end - self.begin) / step <= AT_MOST), STEPS[-1])

    def filter(self) -> Json:
        """Return the condition that a document is of that time."""
        moments = (datetime.fromtimestamp(at, UTC).isoformat() for at in (self.begin, self.end))
        begin, end = moments
        return {"range": {"@timestamp": {"gte": begin, "lt": end, "format": "strict_date_optional_time"}}}


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard: its object and its place."""

    dashboard: str
    object: Json
    pattern: str
    """The title of its index pattern; empty where it holds its own request."""
    place: Json

    @property
    def id(self) -> str:
        return str(self.object["id"])

    @property
    def title(self) -> str:
        return str(self.object["attributes"]["title"])

    @property
    def state(self) -> Json:
        """What a visualization is."""
        state: Json = json.loads(self.object["attributes"]["visState"])
        return state

    @property
    def kind(self) -> str:
        """How it is drawn: line, area, histogram, heatmap, table, metric, vega, search."""
        return str(self.state["type"]) if self.object["type"] == "visualization" else "search"


@dataclass(frozen=True)
class Shipped:
    """The shipped file."""

    objects: tuple[Json, ...]
    summary: Json

    def find(self, type_: str, id_: str) -> Json:
        """Return an object. Raises LookupError."""
        for found in self.objects:
            if (found["type"], found["id"]) == (type_, id_):
                return found
        raise LookupError(f"there is no {type_} {id_}")

    def panels(self) -> Iterator[Panel]:
        """Yield the panels of all dashboards, in order."""
        for board in self.objects:
            if board["type"] != "dashboard":
                continue
            references = {one["name"]: one for one in board["references"]}
            for place in json.loads(board["attributes"]["panelsJSON"]):
                reference = references[f"{place['panelIndex']}:{place['panelRefName']}"]
                found = self.find(reference["type"], reference["id"])
                source = json.loads(found["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
                pattern = ""
                if name := source.get("indexRefName"):
                    [index] = [one for one in found["references"] if one["name"] == name]
                    pattern = self.find(index["type"], index["id"])["attributes"]["title"]
                yield Panel(board["id"], found, pattern, place["gridData"])


def read(file: Path) -> Shipped:
    """Return what a file holds. Raises ValueError for what is no JSON."""
    *objects, summary = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return Shipped(tuple(objects), summary)


def request(panel: Panel, when: Range) -> tuple[str, Json]:
    """Return the index and the body of the search that a panel makes."""
    if panel.kind == "vega":
        return _of_vega(panel, when)
    source = json.loads(panel.object["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    conditions: list[Json] = [when.filter()]
    if text := _lucene(source["query"]):
        conditions.append(text)
    body: Json = {"size": 0, "query": {"bool": {"filter": conditions}}}
    if panel.kind == "search":
        sort = [
            {field: {"order": order, "unmapped_type": "boolean"}} for field, order in panel.object["attributes"]["sort"]
        ]
        fields = [{"field": name} for name in panel.object["attributes"]["columns"]]
        return panel.pattern, body | {"size": 500, "sort": sort, "fields": fields, "_source": False}
    return panel.pattern, body | {"aggs": aggregations(panel.state["aggs"], when)}


def _lucene(query: Json) -> Json | None:
    if query["language"] != "lucene":
        raise ValueError(f"a query in {query['language']}, which is not read here")
    if not query["query"]:
        return None
    return {"query_string": {"query": query["query"], "analyze_wildcard": True, "time_zone": "UTC"}}


def aggregations(configured: list[Json], when: Range) -> Json:
    """Return the aggregations of a visualization: buckets one in the other, metrics in the innermost.

    A bucket that is in the order of a metric has that metric, too.
    """
    enabled = [one for one in configured if one["enabled"]]
    metrics = [one for one in enabled if one["schema"] == "metric"]
    inner: Json = {one["id"]: _metric(one) for one in metrics if one["type"] != "count"}
    for one in reversed([one for one in enabled if one["schema"] != "metric"]):
        body = _bucket(one, metrics, when)
        order = str(one["params"].get("orderBy", "")).partition(".")[0]
        ordering = {each["id"]: _metric(each) for each in metrics if each["id"] == order and each["type"] != "count"}
        if below := {**ordering, **inner}:
            body["aggs"] = below
        inner = {one["id"]: body}
    return inner


def _bucket(one: Json, metrics: list[Json], when: Range) -> Json:
    params = one["params"]
    if one["type"] == "date_histogram":
        interval = f"{when.step}s" if params["interval"] == "auto" else params["interval"]
        how = {"field": params["field"], "fixed_interval": interval, "time_zone": "UTC"}
        return {"date_histogram": how | {"min_doc_count": params["min_doc_count"]}}
    if one["type"] == "terms":
        by = params["orderBy"]
        if by != "_key":
            [metric] = [each for each in metrics if each["id"] == by.partition(".")[0]]
            by = "_count" if metric["type"] == "count" else by
        terms: Json = {"field": params["field"], "size": params["size"], "order": {by: params["order"]}}
        if params["missingBucket"]:
            terms["missing"] = "__missing__"
        return {"terms": terms}
    raise ValueError(f"buckets of type {one['type']} are not read here")


def _metric(one: Json) -> Json:
    params = one["params"]
    if one["type"] in ("sum", "avg", "min", "max", "cardinality"):
        return {one["type"]: {"field": params["field"]}}
    if one["type"] == "percentiles":
        return {"percentiles": {"field": params["field"], "percents": params["percents"], "keyed": False}}
    raise ValueError(f"metrics of type {one['type']} are not read here")


def _of_vega(panel: Panel, when: Range) -> tuple[str, Json]:
    """Return what Kibana makes of the request of a Vega panel, its own words replaced."""
    url = json.loads(panel.state["params"]["spec"])["data"]["url"]
    return url["index"], _replaced(url["body"], when)


def _replaced(value: Any, when: Range) -> Any:
    if isinstance(value, dict):
        if value == {"%autointerval%": True}:
            return f"{when.step}s"
        if value == {"%timefilter%": True}:
            return when.filter()["range"]["@timestamp"]
        return {key: _replaced(inner, when) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, when) for inner in value if not str(inner).startswith("%dashboard_context-")]
    return value


def found(panel: Panel, answer: Json) -> int:
    """Return how much an answer has to show of that of which it has least.

    Of aggregations, in how many of the innermost buckets each metric has a number that is not 0; of documents, how many
    have each of the fields that are shown.
    """
    if "aggregations" not in answer:
        hits = answer["hits"]["hits"]
        if panel.kind == "search":
            names = panel.object["attributes"]["columns"]
            return min(sum(name in hit.get("fields", {}) for hit in hits) for name in names)
        names = _drawn(json.loads(panel.state["params"]["spec"]))
        return min(sum(_dug(hit["_source"], name) for hit in hits) for name in names)
    if panel.kind == "metric":
        return int(all(_number(value) for value in answer["aggregations"].values()))
    every = list(leaves(answer["aggregations"]))
    metrics = {key for leaf in every for key, value in leaf.items() if isinstance(value, dict)}
    return min((sum(_number(leaf[key]) for leaf in every if key in leaf) for key in metrics), default=len(every))


def leaves(aggregations: Json) -> Iterator[Json]:
    """Yield the innermost buckets, but not those of documents that lack a field."""
    for value in aggregations.values():
        if not isinstance(value, dict) or "buckets" not in value:
            continue
        for bucket in value["buckets"]:
            if bucket["key"] == "__missing__":
                continue
            inner = {key: one for key, one in bucket.items() if isinstance(one, dict)}
            if any("buckets" in one for one in inner.values()):
                yield from leaves(inner)
            else:
                yield bucket


def _number(metric: Json) -> bool:
    if "values" in metric:
        return any(one["value"] for one in metric["values"])
    return bool(metric.get("value", metric.get("doc_count")))


def _dug(document: Any, name: str) -> bool:
    """Return whether a document has a field."""
    for part in name.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document is not None


def fields(panel: Panel) -> set[str]:
    """Return the names of all fields that a panel uses."""
    names: set[str] = set()
    attributes = panel.object["attributes"]
    if panel.kind == "search":
        names |= {*attributes["columns"], *(field for field, _ in attributes["sort"])}
    elif panel.kind == "vega":
        spec = json.loads(panel.state["params"]["spec"])
        names |= _asked_for(spec["data"]["url"]["body"]) | _drawn(spec)
    else:
        names |= {one["params"]["field"] for one in panel.state["aggs"] if "field" in one["params"]}
    source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    words = source["query"]["query"].replace("(", " ").replace(")", " ").split()
    return names | {word.partition(":")[0] for word in words if ":" in word}


def _drawn(spec: Json) -> set[str]:
    """Return the fields of documents that a Vega-Lite specification shows."""
    shown = [spec["encoding"][name] for name in ("x", "y", "color")] + spec["encoding"]["tooltip"]
    return {one["field"].removeprefix("_source.") for one in shown if one["field"].startswith("_source.")}


def _asked_for(value: Any, under: str = "") -> set[str]:
    """Return the fields in a request."""
    if isinstance(value, list):
        return {name for inner in value for name in _asked_for(inner, under)}
    if not isinstance(value, dict):
        return set()
    names: set[str] = set()
    for key, inner in value.items():
        if under in ("terms", "date_histogram") and key == "field":
            names.add(inner)
        elif under in ("term", "range", "sort"):
            names.add(key)
        else:
            names |= _asked_for(inner, key)
    return names
