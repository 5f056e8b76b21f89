"""Words to describe JSON with: JSON Schema, draft 2020-12, as OpenAPI 3.1 has it. Pure.

What is described is what is there now. Names are only ever added, so whoever reads a body should not mind others;
`closed` makes of a schema the one that minds, which is what tests hold the server against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]


def text(meaning: str, *, values: Iterable[str] = (), pattern: str = "", form: str = "") -> Schema:
    """Return the schema of a text: one of `values`, or of a form (`ipv4`, `date-time`), or any."""
    found: Schema = {"type": "string", "description": meaning}
    if listed_values := [str(value) for value in values]:
        found["enum"] = listed_values
    if pattern:
        found["pattern"] = pattern
    if form:
        found["format"] = form
    return found


def whole(meaning: str, least: int | None = 0, most: int | None = None) -> Schema:
    """Return the schema of a whole number; the meaning says its unit."""
    return _bounded({"type": "integer", "description": meaning}, least, most)


def number(meaning: str, least: float | None = 0, most: float | None = None) -> Schema:
    """Return the schema of a number; the meaning says its unit."""
    return _bounded({"type": "number", "description": meaning}, least, most)


def _bounded(found: Schema, least: float | None, most: float | None) -> Schema:
    if least is not None:
        found["minimum"] = least
    if most is not None:
        found["maximum"] = most
    return found


def flag(meaning: str) -> Schema:
    """Return the schema of a truth value."""
    return {"type": "boolean", "description": meaning}


def const(value: object, meaning: str) -> Schema:
    """Return the schema of what is always the same."""
    return {"const": value, "description": meaning}


def array(of: Schema, meaning: str, *, least: int = 0, most: int | None = None) -> Schema:
    """Return the schema of a list."""
    found: Schema = {"type": "array", "description": meaning, "items": of}
    if least:
        found["minItems"] = least
    if most is not None:
        found["maxItems"] = most
    return found


def by(of: Schema, meaning: str) -> Schema:
    """Return the schema of an object whose names are not known beforehand; `meaning` says what they are."""
    return {"type": "object", "description": meaning, "additionalProperties": of}


def record(meaning: str, fields: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Return the schema of an object; all of its fields are there but those that are `optional`."""
    left_out = frozenset(optional)
    assert left_out <= fields.keys(), left_out - fields.keys()
    required = [name for name in fields if name not in left_out]
    found: Schema = {"type": "object", "description": meaning, "properties": dict(fields)}
    return {**found, "required": required} if required else found


def nullable(of: Schema) -> Schema:
    """Return the schema of that, or null."""
    if isinstance(kind := of.get("type"), str) and "enum" not in of:
        return {**of, "type": [kind, "null"]}
    rest = {name: value for name, value in of.items() if name != "description"}
    found: Schema = {"anyOf": [rest, {"type": "null"}]}
    return {"description": of["description"], **found} if "description" in of else found


def ref(name: str) -> Schema:
    """Return a reference to a schema of the description's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(schema: Any) -> Any:
    """Return it, with every object whose fields are known having no others."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if isinstance(found.get("properties"), dict) and "object" in _types(found):
        found.setdefault("additionalProperties", False)
    return found


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)
