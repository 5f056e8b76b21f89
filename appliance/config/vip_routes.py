"""What services say of their VIPs' routes: `announce` and `bgp`. A VIP has one route, so its services must agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from appliance.config.findings import Findings
from appliance.config.reader import Fields, Given
from appliance.config.resolve import Draft
from appliance.config.settings import default_of
from appliance.model import Address
from appliance.model_bgp import VipRoutes

HINT = "a VIP has one route: write the same in both places, or in one of them only"


def resolve_vips(drafts: Iterable[Draft], findings: Findings) -> dict[Address, VipRoutes]:
    """Return the VIPs of which services say something; two that differ are in `findings`."""
    said: dict[Address, dict[int, Fields]] = {}
    for draft in drafts:
        if draft.entry is not None and ("announce" in draft.entry.given or "bgp" in draft.entry.given):
            said.setdefault(draft.service.key.vip, {})[id(draft.entry)] = draft.entry
    made: dict[tuple[int, ...], VipRoutes] = {}
    for entries in said.values():
        if tuple(entries) not in made:
            made[tuple(entries)] = _agreed(entries.values(), findings)
    return {vip: made[tuple(entries)] for vip, entries in said.items()}


def _agreed(entries: Iterable[Fields], findings: Findings) -> VipRoutes:
    found: dict[str, Given] = {}
    for entry in entries:
        for name, given in _said(entry):
            first = found.setdefault(name, given)
            if not _alike(_value(name, first), _value(name, given)):
                here, there = _text(_value(name, given)), _text(_value(name, first))
                message = f"{name} is {here} here, and {there} for the same VIP at {first.node.where}"
                findings.error(given.node, given.path, "conflict", message, HINT)
    return VipRoutes(**{name: _value(name, given) for name, given in found.items()})


def _said(entry: Fields) -> Iterator[tuple[str, Given]]:
    announce, section = entry.get("announce"), entry.get("bgp")
    if announce:
        yield "announce", announce
    if section:
        yield from section.value.given.items()


def _value(name: str, given: Given) -> Any:
    if name == "communities":
        return communities(given)
    return given.value or default_of(name) if name == "local_pref" else given.value


def _alike(one: Any, other: Any) -> bool:
    return set(one) == set(other) if isinstance(one, tuple) else bool(one == other)


def _text(value: Any) -> str:
    return " ".join(str(item) for item in value) or "none" if isinstance(value, tuple) else str(value)


def communities(given: Given) -> tuple[Any, ...]:
    """Return the communities of a list, each once."""
    return tuple(dict.fromkeys(item.value for item in given.value))
