"""Holds bodies against the OpenAPI description, which is closed for it: what is not described is a problem."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from appliance.web.api import description
from appliance.web.schema import closed


def strict() -> dict[str, Any]:
    """Return the description, with no other fields allowed than those that it names."""
    found: dict[str, Any] = closed(description())
    return found


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**strict(), "$ref": f"#/components/schemas/{name}"})


def problems(name: str, body: object) -> list[str]:
    """Return where a body is not as the schema of that name says; nothing where it is."""
    found = []
    for error in _validator(name).iter_errors(body):
        found.append(f"{error.json_path}: {error.message[:300]}")
    return found
