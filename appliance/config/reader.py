"""Nodes and declared kinds to values: every value parsed, every mistake noted, nothing inherited yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.config.findings import Findings, Invalid, suggestion
from appliance.config.hints import invisible
from appliance.config.kinds import Either, Kind, ListOf, MapOf, Place, ScalarKind, Section, words_of
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, describe, join, quote
from appliance.config.settings import LATER, settings_of


@dataclass(slots=True, eq=False)
class Given:
    """A value that the file gives, and where.

    A list's value is a tuple of Given, a map's a tuple of pairs of Given, a section's is Fields. `sound` is False where
    something below was refused (and left out of the value).
    """

    value: Any
    node: Node
    path: str
    key: Node | None = None
    """The key of which this is the value."""
    sound: bool = True


@dataclass(slots=True, eq=False)
class Fields:
    """A section: the settings that it gives, by name."""

    node: Node
    path: str
    given: dict[str, Given] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Settings that are there, but not usable."""

    def get(self, name: str) -> Given | None:
        """Return what is given for a setting; None where nothing usable is."""
        return self.given.get(name)


def read(kind: Kind, node: Node, path: str, findings: Findings) -> Given | None:
    """Return the value at a node; None where it is refused as a whole, which `findings` then tells."""
    return _read(kind, node, path, findings, kind)


def _read(kind: Kind, node: Node, path: str, findings: Findings, outer: Kind) -> Given | None:
    if isinstance(kind, Either):
        return _read(kind.scalar if isinstance(node, Scalar) else kind.other, node, path, findings, outer)
    if isinstance(kind, ScalarKind):
        return _read_scalar(kind, node, path, findings, outer)
    if isinstance(kind, ListOf):
        return _read_list(kind, node, path, findings, outer)
    if isinstance(kind, MapOf):
        return _read_map(kind, node, path, findings, outer)
    return _read_section(kind, node, path, findings, outer)


def _refuse(node: Node, path: str, findings: Findings, kind: Kind, invalid: Invalid | None = None) -> None:
    code = invalid.code if invalid else "type"
    message = (invalid and invalid.message) or f"must be {words_of(kind)}, not {describe(node)}"
    findings.error(node, path, code, message, _unseen(node) or (invalid.hint if invalid else ""))


def _unseen(node: Node) -> str:
    """Advice where a text has a character that its writer did not see."""
    found = invisible(node.text) if isinstance(node, Scalar) else ""
    return f"it has {found}" if found else ""


def _read_scalar(kind: ScalarKind, node: Node, path: str, findings: Findings, outer: Kind) -> Given | None:
    if not isinstance(node, Scalar) or (node.is_null and not kind.accepts_null):
        _refuse(node, path, findings, outer)
        return None
    try:
        return Given(kind.parse("" if node.is_null else node.text), node, path)
    except Invalid as invalid:
        _refuse(node, path, findings, outer, invalid)
        return None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


def _read_list(kind: ListOf, node: Node, path: str, findings: Findings, outer: Kind) -> Given | None:
    if _is_null(node) and kind.null_is_empty:
        return Given((), node, path)
    if isinstance(node, Sequence):
        places = [(item, f"{path}[{index}]") for index, item in enumerate(node.items)]
    elif kind.one and not _is_null(node) and isinstance(node, Scalar):
        places = [(node, path)]
    else:
        maps = isinstance(node, Mapping) and isinstance(kind.item, Section)
        hint = "each item of a list begins with `- `" if maps else ""
        _refuse(node, path, findings, outer, Invalid(hint=hint, code="type"))
        return None
    if len(places) < kind.at_least:
        findings.error(node, path, "missing", "the list is empty", f"must be {kind.accepted}")
        return None
    if kind.at_most is not None and len(places) > kind.at_most:
        findings.error(node, path, "limit", f"{len(places):,} items; there may be at most {kind.at_most:,}")
        return None
    items = [read(kind.item, item, where, findings) for item, where in places]
    good = tuple(item for item in items if item is not None)
    return Given(good, node, path, sound=len(good) == len(items) and all(item.sound for item in good))


def _read_map(kind: MapOf, node: Node, path: str, findings: Findings, outer: Kind) -> Given | None:
    if _is_null(node) and kind.null_is_empty:
        return Given((), node, path)
    if not isinstance(node, Mapping):
        _refuse(node, path, findings, outer)
        return None
    if len(node.entries) < kind.at_least:
        findings.error(node, path, "missing", "the map is empty", f"must be {kind.accepted}")
        return None
    pairs = []
    sound = True
    for key_node, value_node in node.entries:
        where = join(path, key_node.text)
        key = read(kind.key, key_node, where, findings)
        value = read(kind.value, _place(key_node, value_node), where, findings)
        sound = sound and key is not None and value is not None and value.sound
        if key is not None and value is not None:
            value.key = key_node
            pairs.append((key, value))
    return Given(tuple(pairs), node, path, sound=sound)


def _read_section(kind: Section, node: Node, path: str, findings: Findings, outer: Kind) -> Given | None:
    if _is_null(node) and kind.null_is_empty:
        return Given(Fields(node, path), node, path)
    if not isinstance(node, Mapping):
        _refuse(node, path, findings, outer)
        return None
    rows = settings_of(kind.place)
    fields = Fields(node, path)
    for key, value_node in node.entries:
        where = join(path, key.text)
        row = rows.get(key.text)
        if row is None:
            _unknown(kind, key, where, findings)
            fields.refused.add(key.text)
            continue
        if row.successor:
            message = f"{quote(key.text)} is accepted, but has no effect any more"
            findings.warning(key, where, "obsolete", message, row.successor)
        value = read(row.kind, _place(key, value_node), where, findings)
        if value is None:
            fields.refused.add(key.text)
        else:
            value.key = key
            fields.given[key.text] = value
    for row in rows.values():
        if row.required and row.name not in fields.given and row.name not in fields.refused:
            findings.error(
                node, path, "missing", f"{quote(row.name)} is missing", f"for example {row.name}: {row.example}"
            )
            fields.refused.add(row.name)
    sound = not fields.refused and all(value.sound for value in fields.given.values())
    return Given(fields, node, path, sound=sound)


def _place(key: Scalar, value: Node) -> Node:
    """Return the value; an absent one moved to its key, because the parser puts it where the next text begins."""
    if isinstance(value, Scalar) and value.is_null:
        return Scalar(key.line, key.column, 1, value.text, value.plain, file=key.file)
    return value


def _unknown(kind: Section, key: Scalar, path: str, findings: Findings) -> None:
    if findings.full:
        return
    later = LATER[kind.place].get(key.text)
    if later is not None:
        findings.error(key, path, "unsupported", f"{quote(key.text)} is not supported by this version", later)
        return
    hint = _unseen(key) or suggestion(key.text, settings_of(kind.place))
    where = "at the top level" if kind.place is Place.TOP else f"in a {kind.place.value}"
    findings.error(key, path, "unknown-key", f"there is no setting {quote(key.text)} {where}", hint)
