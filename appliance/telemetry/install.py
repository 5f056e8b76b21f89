"""Installs the templates (`templates.py`) in an Elasticsearch: looks at what is there, writes what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.telemetry.elastic import Elastic, refusal
from appliance.telemetry.templates import Kind, Resource, Step, decide, resources


@dataclass(frozen=True)
class Installation:
    """What was done, or, after a dry run, what would be."""

    version: str
    """Of the server."""
    lifecycle: bool
    """Whether the server knows lifecycle policies; where it does not, somebody else has to remove old indices."""
    steps: tuple[tuple[Resource, Step], ...]


async def install(elastic: Elastic, force: bool = False, dry_run: bool = False) -> Installation:
    """Write what is missing or older, in order, each by a PUT; with `dry_run` only look.

    Doing it again changes nothing. Raises ShipError at the first thing that is refused; what was written until then
    stays, and does no harm.
    """
    version = str(_dig(await elastic.demand("GET", "/"), "version", "number") or "unknown")
    lifecycle = await _knows_policies(elastic)
    steps = []
    for resource in resources(lifecycle):
        step = decide(resource, await _installed(elastic, resource), force)
        if step in (Step.CREATE, Step.UPDATE) and not dry_run:
            await elastic.demand("PUT", resource.path, resource.body)
        steps.append((resource, step))
    return Installation(version, lifecycle, tuple(steps))


async def _installed(elastic: Elastic, resource: Resource) -> Any:
    """Return the answer that tells what is installed under a resource's name; None where nothing is."""
    answer = await elastic.perform("GET", resource.path)
    if answer.status == 404:
        return None
    if error := refusal(answer, f"GET {resource.path}"):
        raise error
    return answer.body


async def _knows_policies(elastic: Elastic) -> bool:
    """Return whether the server has lifecycle policies; it may be built without, or offered without (410)."""
    path = next(resource.path for resource in resources() if resource.kind is Kind.POLICY)
    answer = await elastic.perform("GET", path)
    if answer.status == 404:
        return bool(_dig(answer.body, "error", "type") == "resource_not_found_exception")
    if answer.status in (400, 405, 410, 501):
        return False
    if error := refusal(answer, f"GET {path}"):
        raise error
    return True


def _dig(value: Any, *names: str) -> Any:
    """Return what lies below these names, None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
