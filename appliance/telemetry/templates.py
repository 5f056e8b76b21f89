"""What an Elasticsearch has to know before documents come: mappings, settings, lifecycle policies, templates. Pure.

Mappings follow from `fields.py`. They are `dynamic: false`: a field that they do not know is kept in the document, and
not indexed. With `strict` every document of a newer balancer would be refused until somebody has installed its
templates, and with `true` the first document would decide of which type a field is, for all that follow. For the same
reason a value that does not fit its field costs that field, which `_ignored` then names, and not the document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.telemetry.fields import FIELDS, Field, FieldType
from appliance.telemetry.streams import TEMPLATE_PRIORITY, Stream

VERSION = 1
"""Raised whenever anything below changes, fields included."""

KEYWORD_CHARACTERS = 1024
"""Longer words are kept and not indexed; Lucene refuses a document with a term of more than 32,766 bytes."""
_MALFORMED = (FieldType.IP, FieldType.LONG, FieldType.DOUBLE, FieldType.DATE)
"""The types that can leave out a value which is none of theirs."""


@dataclass(frozen=True)
class Lifecycle:
    """When a stream begins a new index, and when an old one goes; counted from when it was no longer written to."""

    rollover_age: str
    rollover_size: str
    kept: str


LIFECYCLES: Mapping[Stream, Lifecycle] = {
    Stream.PROBE: Lifecycle("1d", "30gb", "30d"),
    Stream.EVENT: Lifecycle("30d", "30gb", "365d"),
}


class Kind(StrEnum):
    """What is installed; the words are those of Elasticsearch's paths."""

    POLICY = "_ilm/policy"
    COMPONENT = "_component_template"
    INDEX = "_index_template"


@dataclass(frozen=True)
class Resource:
    """One thing to install, by a PUT of `body` to `path`."""

    kind: Kind
    name: str
    body: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"/{self.kind}/{self.name}"

    @property
    def about(self) -> str:
        """What it is, for people."""
        words = {
            Kind.POLICY: "lifecycle policy",
            Kind.COMPONENT: "component template",
            Kind.INDEX: "index template",
        }
        return f"{words[self.kind]} {self.name}"


class Step(StrEnum):
    """What installing a resource comes to."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    NEWER = "newer"
    """What is there is of a later version: left alone."""
    KEPT = "kept"
    """A lifecycle policy that is there belongs to the operator, who may have changed how long things are kept."""


def mappings(stream: Stream) -> dict[str, Any]:
    """Return the mapping of a stream's documents."""
    top: dict[str, Any] = {"dynamic": False, "properties": {}}
    for field in FIELDS:
        if stream not in field.streams:
            continue
        *parents, last = field.name.split(".")
        place = top["properties"]
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[last] = _property(field)
    return top


def _property(field: Field) -> dict[str, Any]:
    if field.type in (FieldType.KEYWORD, FieldType.FLATTENED):
        return {"type": str(field.type), "ignore_above": KEYWORD_CHARACTERS}
    # Not for the time: a data stream takes nothing without one.
    if field.type in _MALFORMED and field.name != "@timestamp":
        return {"type": str(field.type), "ignore_malformed": True}
    return {"type": str(field.type)}


def resources(lifecycle: bool = True) -> tuple[Resource, ...]:
    """Return all that is installed, in an order in which nothing refers to what comes after it.

    Without `lifecycle` there are no policies and nothing that names one, for a server that does not know them.
    """
    found: list[tuple[Kind, str, dict[str, Any]]] = []
    settings = {
        "index": {
            "codec": "best_compression",
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
        }
    }
    found.append((Kind.COMPONENT, "vc5@settings", {"template": {"settings": settings}}))
    for stream in Stream:
        name = stream.replace(".", "-")
        parts = [f"{name}@mappings", "vc5@settings"]
        found.append((Kind.COMPONENT, f"{name}@mappings", {"template": {"mappings": mappings(stream)}}))
        if lifecycle:
            parts.append(f"{name}@lifecycle")
            found.append((Kind.POLICY, name, {"policy": {"phases": _phases(LIFECYCLES[stream])}}))
            named = {"index": {"lifecycle": {"name": name}}}
            found.append((Kind.COMPONENT, f"{name}@lifecycle", {"template": {"settings": named}}))
        template = {
            "index_patterns": [f"{stream.data_stream('*')}"],
            "data_stream": {},
            "priority": TEMPLATE_PRIORITY,
            "composed_of": parts,
        }
        found.append((Kind.INDEX, f"logs-{stream}", template))
    return tuple(Resource(kind, name, _stamped(kind, body)) for kind, name, body in found)


def _stamped(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    meta = {"managed_by": "vc5", "version": VERSION, "digest": _digest(body)}
    if kind is Kind.POLICY:
        return {"policy": {**body["policy"], "_meta": meta}}
    return {**body, "version": VERSION, "_meta": meta}


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()[:16]


def digest() -> str:
    """Return a word that follows from all that is installed."""
    return _digest({resource.path: _meta_of(resource)["digest"] for resource in resources()})


def decide(resource: Resource, answer: Any, force: bool = False) -> Step:
    """Return what to do about a resource, given what a GET of its path answers, None where there is no such thing.

    With `force` everything is written, whatever is there.
    """
    if answer is None:
        return Step.CREATE
    there = _meta(resource, answer)
    version = there.get("version", 0)
    if not isinstance(version, int):
        version = 0
    ours = _meta_of(resource)
    if force:
        return Step.UPDATE
    if resource.kind is Kind.POLICY:
        return Step.UNCHANGED if there.get("digest") == ours["digest"] else Step.KEPT
    if version > VERSION:
        return Step.NEWER
    return Step.UNCHANGED if there.get("digest") == ours["digest"] else Step.UPDATE


def _meta_of(resource: Resource) -> Mapping[str, Any]:
    inner = resource.body["policy"] if resource.kind is Kind.POLICY else resource.body
    meta: Mapping[str, Any] = inner["_meta"]
    return meta


def _meta(resource: Resource, answer: Any) -> Mapping[str, Any]:
    """Return the marks of what is installed; of what is not ours, an empty mapping."""
    try:
        if resource.kind is Kind.POLICY:
            found = answer[resource.name]["policy"]["_meta"]
        else:
            [entry] = answer[f"{resource.kind[1:]}s"]
            found = entry[resource.kind[1:]]["_meta"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _phases(lifecycle: Lifecycle) -> dict[str, Any]:
    rollover = {"max_age": lifecycle.rollover_age, "max_primary_shard_size": lifecycle.rollover_size}
    return {
        "hot": {"min_age": "0ms", "actions": {"rollover": rollover}},
        "delete": {"min_age": lifecycle.kept, "actions": {"delete": {}}},
    }
