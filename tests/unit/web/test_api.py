"""The description of what can be asked for: that it is one, that it is complete, and that bodies are as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from appliance.telemetry.exposition import exposition
from appliance.web.answers import Answers
from appliance.web.api import ENDPOINTS, METHODS, By, description
from appliance.web.description import text
from appliance.web.pages import KINDS, pages
from tests.lab.backend import REPOSITORY
from tests.lab.described import problems

DESCRIPTION = description()
SCHEMAS: dict[str, Any] = DESCRIPTION["components"]["schemas"]
CONFIGS = sorted((REPOSITORY / "tests/golden/config").glob("*.json"))


def test_the_file_in_docs_is_what_the_tables_say() -> None:
    kept = REPOSITORY / "docs/openapi.json"
    assert kept.read_text("utf-8") == text(), "python3 -m appliance.web.description >docs/openapi.json"


def test_every_path_has_somebody_who_answers() -> None:
    described = {one.path for one in ENDPOINTS if one.by is By.ANSWERS}
    assert described == set(Answers({}, exposition).paths)
    assert len({one.path for one in ENDPOINTS}) == len(ENDPOINTS)
    assert set(DESCRIPTION["paths"]) == {one.path for one in ENDPOINTS}
    assert all(set(path) == {method.lower() for method in METHODS} for path in DESCRIPTION["paths"].values())


def test_every_file_of_the_console_can_be_asked_for() -> None:
    [(_, name)] = {
        (one.name, one.schema["pattern"]) for path in ENDPOINTS for one in path.parameters if one.name == "file"
    }
    matching = Draft202012Validator({"pattern": name})
    for path in pages():
        assert path == "/" or matching.is_valid(path.rpartition("/")[2]), path
    assert all(matching.is_valid(f"a{ending}") for ending in KINDS if ending != ".page")


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema below a node, itself included."""
    if isinstance(node, list):
        for one in node:
            yield from schemas(one)
    elif isinstance(node, dict):
        yield node
        for name, value in node.items():
            if name in ("properties", "schemas"):
                for one in value.values():
                    yield from schemas(one)
            elif name not in ("enum", "required", "const"):
                yield from schemas(value)


def test_schemas_are_schemas_and_lead_somewhere() -> None:
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        for one in schemas(schema):
            if "$ref" in one:
                assert one["$ref"].removeprefix("#/components/schemas/") in SCHEMAS, name
    used = {one["$ref"].rpartition("/")[2] for one in schemas(DESCRIPTION) if "/schemas/" in str(one.get("$ref"))}
    assert {name for name in SCHEMAS if not name.startswith("Event")} <= used


def test_every_field_says_what_it_is() -> None:
    for name, schema in SCHEMAS.items():
        for one in schemas(schema):
            for field, told in one.get("properties", {}).items():
                assert "$ref" in told or told.get("description"), f"{name}: {field}"


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_configurations_are_as_described(file: Path) -> None:
    body = json.loads(file.read_text("utf-8"))
    if "issues" not in body:
        assert problems("Config", body) == []


def test_what_is_not_described_is_found() -> None:
    assert problems("Error", {"error": "x"}) == []
    assert problems("Error", {"error": "x", "more": 1}) == [
        "$: Additional properties are not allowed ('more' was unexpected)"
    ]
    assert problems("Error", {}) == ["$: 'error' is a required property"]
