"""JSON Schema of the configuration, from the table of settings; for editors, not for validation.

It knows what a single value may be. What concerns several values, and ranges of times with a unit, only the parser
knows.
"""

from __future__ import annotations

from typing import Any

from appliance.config.kinds import Either, Kind, ListOf, MapOf, Place, ScalarKind, Section
from appliance.config.setting import Setting
from appliance.config.settings import settings_of


def schema_json() -> dict[str, Any]:
    """Return the schema of a whole configuration file (draft 2020-12)."""
    top = _section(Place.TOP)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vc5 configuration",
        **top,
        "type": ["object", "null"],
        "$defs": {place.name.lower(): _section(place) for place in Place if place is not Place.TOP},
    }


def _section(place: Place) -> dict[str, Any]:
    rows = settings_of(place)
    section: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _setting(row) for name, row in rows.items()},
    }
    required = [name for name, row in rows.items() if row.required]
    if required:
        section["required"] = required
    foreign = _foreign_keys(place)
    if foreign:
        section["allOf"] = foreign
    return section


def _setting(row: Setting) -> dict[str, Any]:
    described = {"description": row.help, **_kind(row.kind)}
    if row.default is not None:
        described["default"] = row.default
    if row.successor:
        described["deprecated"] = True
    return described


def _foreign_keys(place: Place) -> list[dict[str, Any]]:
    """Return the conditions that keep settings out of checks whose type does not know them."""
    if place is not Place.CHECK:
        return []
    return [
        {
            "if": {"required": [name]},
            "then": {"properties": {"type": {"enum": [str(kind) for kind in row.checks]}}},
        }
        for name, row in settings_of(place).items()
        if row.checks
    ]


def _kind(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, ScalarKind):
        return kind.schema()
    if isinstance(kind, Either):
        return {"anyOf": [kind.scalar.schema(), _kind(kind.other)]}
    if isinstance(kind, Section):
        reference = {"$ref": f"#/$defs/{kind.place.name.lower()}"}
        return {"anyOf": [reference, {"type": "null"}]} if kind.null_is_empty else reference
    if isinstance(kind, ListOf):
        return _list(kind)
    return _map(kind)


def _list(kind: ListOf) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": _kind(kind.item)}
    if kind.at_least:
        schema["minItems"] = kind.at_least
    if kind.at_most is not None:
        schema["maxItems"] = kind.at_most
    forms = [schema]
    if kind.one:
        forms.append(_kind(kind.item))
    if kind.null_is_empty:
        forms.append({"type": "null"})
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _map(kind: MapOf) -> dict[str, Any]:
    value = _kind(kind.value)
    schema: dict[str, Any] = {
        "type": ["object", "null"] if kind.null_is_empty else "object",
        "patternProperties": {kind.key.schema()["pattern"]: value},
        "additionalProperties": False,
    }
    if kind.at_least:
        schema["minProperties"] = kind.at_least
    return schema
