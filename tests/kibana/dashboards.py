"""What the dashboards show. After a change: `python3 -m tests.kibana`, and `python3 -m tests.kibana.pictures`.

Fields are those of `appliance/telemetry/fields.py`; a test holds what is shipped against that table.
"""

from __future__ import annotations

from typing import Any

from appliance.telemetry.streams import Stream
from tests.kibana.charts import axes, by, heatmap, metric, numbers, over_time, table
from tests.kibana.objects import Json, Panel, dashboard, index_pattern, search, vega, visualization

PROBES, EVENTS = "vc5-probe", "vc5-event"
MILLISECONDS = {
    "id": "duration",
    "params": {
        "inputFormat": "nanoseconds",
        "outputFormat": "asMilliseconds",
        "outputPrecision": 2,
        "showSuffix": True,
    },
}
BYTES, NUMBER = {"id": "bytes"}, {"id": "number", "params": {"pattern": "0,0.[0]"}}
PHASES = {
    "vc5.timing.connect_ns": "connect",
    "vc5.timing.tls_ns": "TLS",
    "vc5.timing.first_byte_ns": "first byte",
    "event.duration": "in all",
}
TRAFFIC, GOOD_ONES, FAILED = "vc5.kind:traffic", "event.outcome:success", "event.outcome:failure"
CHANGED = "vc5.kind:* AND NOT vc5.kind:traffic"
GOOD, BAD = "#54B399", "#E7664C"
WORSE = ("down", "dead", "wrong", "refused", "malformed", "began", "lost")
"""Outcomes that nobody wanted."""

PATTERNS = (
    index_pattern(PROBES, f"logs-{Stream.PROBE}-*", dict.fromkeys(PHASES, MILLISECONDS)),
    index_pattern(
        EVENTS,
        f"logs-{Stream.EVENT}-*",
        {"vc5.traffic.octets": BYTES, "vc5.traffic.packets": NUMBER, "vc5.bfd.detection_ns": MILLISECONDS},
    ),
)


def _in_range(*conditions: Json) -> Json:
    """Return a query of a Vega panel: what the dashboard is set to, and these conditions."""
    in_time = {"range": {"@timestamp": {"%timefilter%": True}}}
    return {
        "bool": {
            "must": ["%dashboard_context-must_clause%", in_time, *conditions],
            "filter": ["%dashboard_context-filter_clause%"],
            "must_not": ["%dashboard_context-must_not_clause%"],
        }
    }


def _states(field: str, state: str, name: str) -> Json:
    """Return a row for each value of a field, green where it was up all the time, red where `state` was down.

    Of a VIP, where one of its services was.
    """
    steps = {"field": "@timestamp", "fixed_interval": {"%autointerval%": True}, "min_doc_count": 1}
    down = {"filter": {"term": {state: "down"}}}
    time = {"date_histogram": steps, "aggs": {"down": down}}
    each = {"terms": {"field": field, "size": 50, "order": {"_key": "asc"}}, "aggs": {"time": time}}
    body = {"size": 0, "query": _in_range({"term": {"vc5.kind": "traffic"}}), "aggs": {"each": each}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v4.json",
        "data": {
            "url": {"index": f"logs-{Stream.EVENT}-*", "body": body},
            "format": {"property": "aggregations.each.buckets"},
        },
        "transform": [
            {"flatten": ["time.buckets"], "as": ["step"]},
            {"calculate": "datum.step.down.doc_count > 0 ? 'down' : 'up'", "as": "state"},
            {"calculate": "toDate(datum.step.key)", "as": "from"},
        ],
        "mark": {"type": "square", "size": 90, "opacity": 1},
        "encoding": {
            "x": {"field": "from", "type": "temporal", "title": None},
            "y": {"field": "key", "type": "nominal", "title": None},
            "color": {
                "field": "state",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["up", "down"], "range": [GOOD, BAD]},
            },
            "tooltip": [
                {"field": "key", "type": "nominal", "title": name},
                {"field": "from", "type": "temporal", "title": "from", "format": "%H:%M"},
                {"field": "state", "type": "nominal", "title": "state"},
            ],
        },
    }


def _timeline() -> Json:
    """Return a point for each change, in the row of its kind; the tooltip tells why."""
    body = {
        "size": 1000,
        "query": _in_range({"bool": {"must_not": {"term": {"vc5.kind": "traffic"}}}}),
        "sort": [{"@timestamp": {"order": "desc"}}],
        "_source": ["@timestamp", "vc5", "event", "service", "server", "destination", "message"],
    }
    shown = {
        "_source.message": "what",
        "_source.event.reason": "why",
        "_source.service.name": "service",
        "_source.server.ip": "backend",
        "_source.destination.ip": "VIP",
        "_source.vc5.peer": "router",
    }
    bad = f"indexof({list(WORSE)}, datum._source.vc5.outcome) >= 0"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v4.json",
        "data": {"url": {"index": f"logs-{Stream.EVENT}-*", "body": body}, "format": {"property": "hits.hits"}},
        "transform": [
            {"calculate": "toDate(datum._source['@timestamp'])", "as": "time"},
            {"calculate": f"{bad} ? 'worse' : 'better, or said'", "as": "turn"},
        ],
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.8},
        "encoding": {
            "x": {"field": "time", "type": "temporal", "title": None},
            "y": {"field": "_source.vc5.kind", "type": "nominal", "title": None},
            "color": {
                "field": "turn",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["worse", "better, or said"], "range": [BAD, GOOD]},
            },
            "tooltip": [
                {"field": "time", "type": "temporal", "title": "when", "format": "%H:%M:%S"},
                *({"field": field, "type": "nominal", "title": title} for field, title in shown.items()),
            ],
        },
    }


def _chart(id_: str, title: str, kind: str, unit: str, metrics: list[Json], *rest: Json, **more: Any) -> Json:
    stacked = more.pop("stacked", True)
    return visualization(id_, title, kind, axes(kind, unit, metrics, stacked), [*metrics, *rest], **more)


def _overview() -> list[Panel]:
    services = [metric("1", "cardinality", "services", "service.name")]
    totals = [
        metric("1", "cardinality", "VIPs", "destination.ip"),
        metric("2", "cardinality", "services", "service.name"),
        metric("3", "sum", "bytes", "vc5.traffic.octets"),
        metric("4", "sum", "flows", "vc5.traffic.flows"),
        metric("5", "sum", "dropped packets", "vc5.traffic.drops"),
    ]
    octets, flows = metric("1", "sum", "bytes", "vc5.traffic.octets"), metric("1", "sum", "flows", "vc5.traffic.flows")
    drops = metric("1", "sum", "dropped packets", "vc5.traffic.drops")
    up = metric("1", "min", "backends up", "vc5.backends.up")
    failing = [metric("1", "count", "failed probes"), metric("5", "max", "the last", "@timestamp")]
    rows = [
        by("2", "server.ip", "Backend", "bucket", 10),
        by("3", "service.name", "Service", "bucket", 5),
        by("4", "error.type", "Failure", "bucket", 3),
    ]
    return [
        Panel(visualization("vc5-totals", "Totals", "metric", numbers(), totals, EVENTS, TRAFFIC), 48, 6),
        Panel(vega("vc5-vip-states", "VIPs, up and down over time",
                   _states("destination.ip", "service.state", "VIP")), 24, 12),
        Panel(
            _chart(
                "vc5-service-states",
                "Services, up and down over time",
                "line",
                "services",
                services,
                over_time(),
                by("3", "service.state", "State", size=3, order="_key"),
                pattern=EVENTS,
                query=TRAFFIC,
                stacked=False,
            ),
            24,
            12,
        ),
        Panel(
            _chart("vc5-octets", "Traffic by service", "area", "bytes", [octets], over_time(),
                   by("3", "service.name", "Service"), pattern=EVENTS, query=TRAFFIC),
            24, 12,
        ),
        Panel(
            _chart("vc5-flows", "New flows by service", "area", "flows", [flows], over_time(),
                   by("3", "service.name", "Service"), pattern=EVENTS, query=TRAFFIC),
            24, 12,
        ),
        Panel(
            _chart("vc5-backends-up", "Backends in service, the fewest at any time", "line", "backends", [up],
                   over_time(), by("3", "service.name", "Service"), pattern=EVENTS, query=TRAFFIC, stacked=False),
            24, 12,
        ),
        Panel(
            _chart("vc5-drops", "Dropped packets by service", "histogram", "packets", [drops], over_time(),
                   by("3", "service.name", "Service"), pattern=EVENTS, query=TRAFFIC),
            24, 12,
        ),
        Panel(
            visualization("vc5-top-failing", "Backends that fail most", "table", table(), [*failing, *rows],
                          PROBES, FAILED),
            48, 14,
        ),
    ]  # fmt: skip


def _probe_explorer() -> list[Panel]:
    percentiles = [metric("1", "percentiles", "probe", "event.duration", percents=[50, 95, 99])]
    phases = [
        metric(str(number), "percentiles", label, field, percents=[95])
        for number, (field, label) in zip((1, 4, 5, 6), PHASES.items(), strict=True)
    ]
    count, average = metric("1", "count", "failed probes"), metric("1", "avg", "probe", "event.duration")
    backends = by("3", "server.ip", "Backend", size=50, order="_key")
    slowest = [
        metric("1", "percentiles", "in all", "event.duration", percents=[50, 99]),
        *(
            metric(str(number), "percentiles", label, field, percents=[95])
            for number, (field, label) in zip((3, 4, 5), list(PHASES.items())[:3], strict=True)
        ),
    ]
    expiring = [metric("1", "min", "days left", "vc5.certificate.days_left")]
    columns = ["service.name", "server.ip", "vc5.check.kind", "error.type", "error.message", "event.duration"]
    return [
        Panel(
            _chart("vc5-latency", "Duration of good probes: 50, 95, 99 of 100 are faster", "line", "duration",
                   percentiles, over_time(), pattern=PROBES, query=GOOD_ONES, stacked=False),
            24, 13,
        ),
        Panel(
            _chart("vc5-phases", "Phases of good probes: 95 of 100 are faster", "line", "duration", phases, over_time(),
                   pattern=PROBES, query=GOOD_ONES, stacked=False),
            24, 13,
        ),
        Panel(
            visualization("vc5-failure-map", "Failed probes by backend", "heatmap", heatmap("Reds"),
                          [count, over_time(), backends], PROBES, FAILED),
            24, 13,
        ),
        Panel(
            visualization("vc5-latency-map", "Duration of good probes by backend, on average", "heatmap",
                          heatmap("Blues"), [average, over_time(), backends],
                          PROBES, GOOD_ONES),
            24, 13,
        ),
        Panel(
            _chart("vc5-failures", "Failures by class", "histogram", "failed probes", [count], over_time(),
                   by("3", "error.type", "Failure"), pattern=PROBES, query=FAILED),
            24, 13,
        ),
        Panel(
            _chart("vc5-statuses", "Answers by HTTP status", "histogram", "probes", [metric("1", "count", "probes")],
                   over_time(), by("3", "http.response.status_code", "Status"), pattern=PROBES),
            24, 13,
        ),
        Panel(
            visualization("vc5-slowest", "Backends, the slowest first (good probes)", "table", table(),
                          [*slowest, by("2", "server.ip", "Backend", "bucket", 20, order="1.99")], PROBES, GOOD_ONES),
            30, 13,
        ),
        Panel(
            visualization("vc5-certificates", "Certificates, days left", "table", table(),
                          [*expiring, by("2", "service.name", "Service", "bucket", 20, order="1", direction="asc"),
                           by("3", "server.ip", "Backend", "bucket", 5)], PROBES, "tls.version_protocol:tls"),
            18, 13,
        ),
        Panel(search("vc5-recent-failures", "Failed probes, the newest first", columns, PROBES, FAILED), 48, 16),
    ]  # fmt: skip


def _changes() -> list[Panel]:
    count = metric("1", "count", "changes")
    last = metric("5", "max", "the last", "@timestamp")
    reasons = [
        by("2", "event.action", "Change", "bucket", 20),
        by("3", "event.reason", "Reason", "bucket", 5, missingBucket=True),
    ]
    flapping = [by("2", "server.ip", "Backend", "bucket", 10), by("3", "service.name", "Service", "bucket", 5)]
    columns = ["vc5.kind", "vc5.outcome", "service.name", "server.ip", "vc5.peer", "event.reason", "message"]
    grave = ["vc5.kind", "vc5.outcome", "destination.ip", "vc5.peer", "event.reason", "message"]
    graver = "event.severity:[0 TO 4]"
    return [
        Panel(vega("vc5-timeline", "Changes, and why (point at one)", _timeline()), 48, 14),
        Panel(
            _chart("vc5-changes", "Changes by kind", "histogram", "changes", [count], over_time(),
                   by("3", "vc5.kind", "Kind", size=12), pattern=EVENTS, query=CHANGED),
            24, 13,
        ),
        Panel(
            visualization("vc5-flapping", "Backends that change most", "table", table(), [count, last, *flapping],
                          EVENTS, "vc5.kind:backend"),
            24, 13,
        ),
        Panel(
            visualization("vc5-reasons", "Reasons", "table", table(), [count, last, *reasons], EVENTS, CHANGED),
            48, 14,
        ),
        Panel(search("vc5-grave", "Warnings and worse, the newest first", grave, EVENTS, graver), 48, 9),
        Panel(search("vc5-log", "Everything that changed, the newest first", columns, EVENTS, CHANGED), 48, 18),
    ]  # fmt: skip


def _routers() -> list[Panel]:
    routers, routes = metric("1", "cardinality", "routers", "vc5.peer"), "vc5.bgp.routes.advertised"
    count, last = metric("1", "count", "times"), metric("5", "max", "the last", "@timestamp")
    ends = [
        by("2", "vc5.peer", "Router", "bucket", 20),
        by("3", "vc5.outcome", "What", "bucket", 3),
        by("4", "vc5.bgp.direction", "Who", "bucket", 3, missingBucket=True),
        by("6", "event.reason", "Why", "bucket", 5),
    ]
    watched = [
        metric("1", "max", "found down", "vc5.bfd.flaps"),
        metric("3", "max", "after silence of", "vc5.bfd.detection_ns"),
        by("2", "vc5.peer", "Router", "bucket", 20, order="1"),
    ]
    columns = ["vc5.kind", "vc5.peer", "vc5.outcome", "vc5.bgp.code", "vc5.bgp.subcode", "event.reason", "message"]
    sessions = "vc5.kind:(bgp OR bfd)"
    return [
        Panel(vega("vc5-router-states", "BGP sessions, established or not over time",
                   _states("vc5.peer", "vc5.outcome", "router")), 24, 12),
        Panel(
            _chart("vc5-bfd-states", "BFD sessions by state", "line", "sessions", [routers], over_time(),
                   by("3", "vc5.bfd.state", "State", size=4, order="_key"), pattern=EVENTS, query=TRAFFIC,
                   stacked=False),
            24, 12,
        ),
        Panel(
            _chart("vc5-routes", "Routes that routers have been told, the fewest at any time", "line", "routes",
                   [metric("1", "min", "routes", routes)], over_time(), by("3", "vc5.peer", "Router"), pattern=EVENTS,
                   query=TRAFFIC, stacked=False),
            24, 12,
        ),
        Panel(
            _chart("vc5-session-changes", "Changes by router", "histogram", "changes", [count], over_time(),
                   by("3", "vc5.peer", "Router"), pattern=EVENTS, query=sessions),
            24, 12,
        ),
        Panel(
            visualization("vc5-session-ends", "Why sessions ended, or did not come about", "table", table(),
                          [count, last, *ends], EVENTS, "vc5.kind:bgp AND vc5.outcome:(down OR refused OR malformed)"),
            32, 13,
        ),
        Panel(
            visualization("vc5-bfd-flaps", "BFD, the most unsteady first", "table", table(), watched, EVENTS,
                          "vc5.bfd.state:*"),
            16, 13,
        ),
        Panel(search("vc5-sessions", "What became of sessions, the newest first", columns, EVENTS, sessions), 48, 14),
    ]  # fmt: skip


DASHBOARDS = (
    (
        "vc5-overview",
        "vc5: overview",
        "What is up, what it carries, and which backends fail. Services report once a minute.",
        _overview(),
    ),
    (
        "vc5-probes",
        "vc5: probe explorer",
        "Every probe: how long each phase took, which failed, and how.",
        _probe_explorer(),
    ),
    ("vc5-changes", "vc5: changes", "What changed, when, and why.", _changes()),
    (
        "vc5-routers",
        "vc5: routers",
        "Sessions of BGP and BFD, what routers have been told, and why sessions ended.",
        _routers(),
    ),
)


def objects() -> list[Json]:
    """Return everything, what is referred to first."""
    boards = [dashboard(*row) for row in DASHBOARDS]
    panels = {panel.object["id"]: panel.object for row in DASHBOARDS for panel in row[3]}
    return [*PATTERNS, *panels.values(), *boards]
