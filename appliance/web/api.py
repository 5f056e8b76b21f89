"""What can be asked for over HTTP: the one table from which the server's routes and the OpenAPI description are made.

A route that is not described here cannot be asked for. All of it is GET and HEAD. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from appliance import __version__
from appliance.web import schema_config, schema_events, schema_fleet, schema_routing, schema_status
from appliance.web.history import FIRST, MOST
from appliance.web.schema import Schema, ref, text, whole

METHODS = ("GET", "HEAD")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""With every answer; also what keeps pages of other sites from using it."""


class By(Enum):
    """Who answers."""

    PAGES = auto()
    ANSWERS = auto()
    LOG = auto()
    EVENTS = auto()
    DESCRIPTION = auto()


@dataclass(frozen=True)
class Parameter:
    """What may be said in a path (`where` is `path`), behind it (`query`), or in a header (`header`)."""

    name: str
    where: str
    meaning: str
    schema: Schema


@dataclass(frozen=True)
class Endpoint:
    """One path. `kind` is the media type of its answer; `schema` names what a JSON answer is, and an event's data."""

    path: str
    by: By
    meaning: str
    kind: str = "application/json"
    schema: str = ""
    parameters: tuple[Parameter, ...] = ()
    failures: Mapping[int, str] = field(default_factory=dict)
    """What else may be answered, by status, besides what every path may answer."""
    open: bool = False
    """Whether it is told to everybody, because it tells nothing that has to be guarded."""


UNAVAILABLE = (
    "There is no answer now, and the body says why: the daemon does not answer or is still starting, what is asked for "
    "is not counted, packets are not forwarded yet, or too many streams are open."
)
NUMBER = whole("A number of a line.", 0, 10**18 - 1)
AFTER = Parameter(
    "after", "query", "The number of a line: those behind it, oldest first. Absent: the last ones.", NUMBER
)
LIMIT = Parameter("limit", "query", f"How many lines at most ({FIRST} unless said).", whole("Lines.", 1, MOST))
KIND = Parameter("kind", "query", "Only lines of a kind.", text("The kind.", values=("", *schema_events.KINDS)))
TEXT = Parameter("text", "query", "Only lines that contain a text, in whatever case.", text("The text."))
FILE = Parameter("file", "path", "The name of a file.", text("The name.", pattern=r"^[a-z0-9_-]+\.(css|svg|ico|js)$"))
STARTING = {503: UNAVAILABLE}
REFUSED = {400: "The request is none that can be answered; the body says why."}
FILES_FAIL = {304: "What `If-None-Match` names is still what is there.", 404: "There is no such file."}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("/", By.PAGES, "The console.", "text/html", failures=FILES_FAIL),
    Endpoint("/{file}", By.PAGES, "A file of the console.", "", parameters=(FILE,), failures=FILES_FAIL),
    Endpoint("/js/{file}", By.PAGES, "A script of the console.", "", parameters=(FILE,), failures=FILES_FAIL),
    Endpoint("/status.json", By.ANSWERS, "How everything stands.", schema="Status", failures=STARTING),
    Endpoint("/status.json.gz", By.ANSWERS, "The same, always compressed.", schema="Status", failures=STARTING),
    Endpoint("/config.json", By.ANSWERS, "The configuration, without secrets.", schema="Config", failures=STARTING),
    Endpoint(
        "/prefixes.json",
        By.ANSWERS,
        "Packets by their sources.",
        schema="Sources",
        failures=STARTING,
    ),
    Endpoint("/drops.json", By.ANSWERS, "Packets that were dropped.", schema="Drops", failures=STARTING),
    Endpoint(
        "/metrics",
        By.ANSWERS,
        "Metrics for Prometheus, as text or, where `Accept` wants it, as OpenMetrics.",
        "text/plain",
        failures=STARTING,
    ),
    Endpoint(
        "/healthz",
        By.ANSWERS,
        "Whether the daemon works.",
        schema="Healthy",
        failures=STARTING,
        open=True,
    ),
    Endpoint(
        "/readyz",
        By.ANSWERS,
        "Whether packets are forwarded.",
        schema="Ready",
        failures=STARTING,
        open=True,
    ),
    Endpoint(
        "/log",
        By.LOG,
        "What happened of late.",
        schema="Log",
        parameters=(AFTER, LIMIT, KIND, TEXT),
        failures=REFUSED,
    ),
    Endpoint(
        "/log/{after}",
        By.LOG,
        "What happened behind a line.",
        schema="Log",
        parameters=(Parameter("after", "path", "The number of the line.", NUMBER), LIMIT, KIND, TEXT),
        failures=REFUSED,
    ),
    Endpoint(
        "/events",
        By.EVENTS,
        "A stream of server-sent events: everything, and then what changes. Each event's data is one line of JSON; a "
        "schema `Event...` has that of each kind.",
        "text/event-stream",
        parameters=(
            Parameter("Last-Event-ID", "header", "The number of a line of the log: go on behind it.", NUMBER),
            Parameter("log", "query", "The same, where no header can be given.", NUMBER),
        ),
        failures=REFUSED | STARTING,
    ),
    Endpoint("/openapi.json", By.DESCRIPTION, "This description.", schema="Description"),
)

COMMON = {
    401: "Say who you are; `WWW-Authenticate` tells how. Only where the configuration wants that.",
    421: "`Host` is no name of this server.",
}
"""What every path may answer besides, by status."""
FAILURES = {"/healthz": "Healthy", "/readyz": "Ready"}
"""What a 503 of these paths is, by path; of all others it is an Error."""
FILES = ("text/css", "text/javascript", "image/svg+xml", "text/html")
TAGGED = (By.PAGES,)


def description() -> dict[str, Any]:
    """Return the OpenAPI description (version 3.1.0)."""
    parts = (schema_status, schema_routing, schema_fleet, schema_events, schema_config)
    schemas: dict[str, Schema] = {name: schema for part in parts for name, schema in part.SCHEMAS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vc5",
            "version": __version__,
            "description": "What a load balancer tells of itself. It only tells: changes are made by the command "
            "`vc5`, on the machine itself. Fields are only ever added.",
            "license": {"name": "GPL-2.0-or-later", "identifier": "GPL-2.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": {one.path: _path(one) for one in ENDPOINTS},
        "components": {
            "schemas": {**schemas, "Description": {"type": "object", "description": "An OpenAPI description."}},
            "responses": _failures(),
            "headers": {name: _header(value) for name, value in HEADERS.items()},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "`console: {user, password}`"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "`console: {token}`"},
            },
        },
    }


def _header(value: str) -> dict[str, Any]:
    return {
        "description": "The same with every answer.",
        "required": True,
        "schema": {"type": "string", "enum": [value]},
    }


def _path(one: Endpoint) -> dict[str, Any]:
    return {method.lower(): _operation(one, method) for method in METHODS}


def _operation(one: Endpoint, method: str) -> dict[str, Any]:
    tagged = one.by in TAGGED
    answers = {200: _response("The answer.", _content(one) if method == "GET" else {}, tagged=tagged)}
    if 304 in one.failures:
        answers[304] = _response(one.failures[304], {}, tagged=True)
    for status in (*one.failures, *COMMON):
        if status != 304 and not (status == 401 and one.open):
            schema = FAILURES.get(one.path, "Error") if status == 503 else "Error"
            answers[status] = {"$ref": f"#/components/responses/{schema}{status}"}
    found: dict[str, Any] = {
        "summary": one.meaning,
        "operationId": f"{method.lower()}{_name(one.path)}",
        "responses": {str(status): answer for status, answer in sorted(answers.items())},
    }
    if one.parameters:
        found["parameters"] = [_parameter(parameter) for parameter in one.parameters]
    return found | ({"security": []} if one.open else {})


def _failures() -> dict[str, Any]:
    """Return what else may be answered, by the name of its schema and its status."""
    found = {}
    for one in ENDPOINTS:
        for status, why in {**one.failures, **COMMON}.items():
            schema = FAILURES.get(one.path, "Error") if status == 503 else "Error"
            if status != 304:
                content = {"application/json": {"schema": ref(schema)}}
                found[f"{schema}{status}"] = _response(why, content, tagged=False)
    return found


def _content(one: Endpoint) -> dict[str, Any]:
    if one.schema:
        return {one.kind: {"schema": ref(one.schema)}}
    kinds: tuple[str, ...] = (one.kind,) if one.kind else FILES
    kinds += ("application/openmetrics-text",) if one.path == "/metrics" else ()
    return {kind: {"schema": {"type": "string"}} for kind in kinds}


def _response(why: str, content: dict[str, Any], *, tagged: bool) -> dict[str, Any]:
    headers: dict[str, Any] = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
    if tagged:
        headers["ETag"] = {"description": "Which version it is.", "required": True, "schema": {"type": "string"}}
    return {"description": why, "headers": headers} | ({"content": content} if content else {})


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "description": one.meaning,
        "required": one.where == "path",
        "schema": one.schema,
    }


def _name(path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace(".", "/").split("/")
    return "".join(word.capitalize() for word in words if word) or "Console"
