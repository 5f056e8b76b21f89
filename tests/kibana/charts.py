"""Charts of Kibana's aggregation-based editor: buckets, metrics, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.kibana.objects import Json


def bucket(id_: str, type_: str, schema: str, field: str = "", **params: Any) -> Json:
    """Return one aggregation of a chart; `schema` says what it is for (metric, segment, group, bucket)."""
    named = {"field": field} if field else {}
    return {"id": id_, "enabled": True, "type": type_, "params": {**named, **params}, "schema": schema}


def metric(id_: str, type_: str, label: str, field: str = "", **params: Any) -> Json:
    """Return a number that is shown."""
    return bucket(id_, type_, "metric", field, customLabel=label, **params)


def over_time(id_: str = "2", schema: str = "segment") -> Json:
    """Return the time as the horizontal axis; Kibana chooses how wide a step is."""
    return bucket(
        id_,
        "date_histogram",
        schema,
        "@timestamp",
        customLabel="Time",
        useNormalizedEsInterval=True,
        scaleMetricValues=False,
        interval="auto",
        drop_partials=False,
        min_doc_count=1,
        extended_bounds={},
    )


def by(id_: str, field: str, label: str, schema: str = "group", size: int = 10, order: str = "1", **more: Any) -> Json:
    """Return the values of a field, those first that have most of metric `order` (or `_key` for their names)."""
    params = {
        "orderBy": order,
        "order": more.pop("direction", "asc" if order == "_key" else "desc"),
        "size": size,
        "otherBucket": False,
        "otherBucketLabel": "Other",
        "missingBucket": False,
        "missingBucketLabel": "none",
        "customLabel": label,
    }
    return bucket(id_, "terms", schema, field, **{**params, **more})


def axes(kind: str, unit: str, metrics: Sequence[Json], stacked: bool = True, markers: bool = False) -> Json:
    """Return how lines, areas or bars (`line`, `area`, `histogram`) are drawn."""
    label = {"show": True, "filter": True, "truncate": 100}
    return {
        "type": kind,
        "addLegend": True,
        "addTimeMarker": False,
        "addTooltip": True,
        "legendPosition": "right",
        "grid": {"categoryLines": False, "valueAxis": "ValueAxis-1"},
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
        "times": [],
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom",
                "show": True,
                "scale": {"type": "linear"},
                "labels": label,
                "style": {},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "position": "left",
                "show": True,
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {**label, "rotate": 0, "filter": False},
                "style": {},
                "title": {"text": unit},
            }
        ],
        "seriesParams": [
            {
                "data": {"id": one["id"], "label": one["params"]["customLabel"]},
                "type": kind,
                "mode": "stacked" if stacked else "normal",
                "interpolate": "linear",
                "drawLinesBetweenPoints": True,
                "lineWidth": 2,
                "show": True,
                "showCircles": markers,
                "circlesRadius": 1,
                "valueAxis": "ValueAxis-1",
            }
            for one in metrics
        ],
        "fittingFunction": "linear" if kind == "line" else "none",
        "palette": {"type": "palette", "name": "default"},
        "maxLegendLines": 1,
        "truncateLegend": True,
        "detailedTooltip": True,
    }


def heatmap(colors: str) -> Json:
    """Return how a heat map is drawn; `colors` is a scheme of Kibana's (Reds, Blues, Green to Red)."""
    return {
        "type": "heatmap",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "enableHover": False,
        "colorsNumber": 6,
        "colorSchema": colors,
        "setColorRange": False,
        "colorsRange": [],
        "invertColors": False,
        "percentageMode": False,
        "times": [],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "type": "value",
                "show": False,
                "scale": {"type": "linear", "defaultYExtents": False},
                "labels": {"show": False, "rotate": 0, "overwriteColor": False, "color": "black"},
            }
        ],
    }


def table(rows: int = 10) -> Json:
    """Return how a table is drawn."""
    return {
        "perPage": rows,
        "showMetricsAtAllLevels": False,
        "showPartialRows": False,
        "showToolbar": True,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
        "autoFitRowToContent": False,
        "sort": {"columnIndex": None, "direction": None},
    }


def numbers() -> Json:
    """Return how large single numbers are drawn."""
    return {
        "addTooltip": True,
        "addLegend": False,
        "type": "metric",
        "metric": {
            "percentageMode": False,
            "useRanges": False,
            "colorSchema": "Green to Red",
            "metricColorMode": "None",
            "colorsRange": [{"from": 0, "to": 10000}],
            "labels": {"show": True},
            "invertColors": False,
            "style": {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 40},
        },
    }
