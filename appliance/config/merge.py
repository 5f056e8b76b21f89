"""Several documents to one: maps are merged, lists joined, and a single value that two files give must be the same."""

from __future__ import annotations

from appliance.config.compose import MAX_NODES
from appliance.config.findings import Findings
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, join


def merge(first: Node, second: Node, findings: Findings, path: str = "") -> Node:
    """Return both in one, positions and files kept; where they contradict, `findings` tells and the first stays.

    Goes as deep as the documents do, which `compose` bounds.
    """
    if _absent(second):
        return first
    if _absent(first):
        return second
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return _maps(first, second, findings, path)
    if isinstance(first, Scalar) and isinstance(second, Scalar):
        if first.text != second.text:
            message = f"another value than at {first.where}"
            findings.error(second, path, "conflict", message, "keep one of them; only lists and maps add up")
        return first
    if not isinstance(first, Mapping) and not isinstance(second, Mapping):
        # A list of one item may be written as that item.
        return _sequence(first, (*_items(first), *_items(second)), findings)
    message = f"cannot be joined with what is at {first.where}: only one of them is a map"
    findings.error(second, path, "conflict", message, "write both in the same way")
    return first


def _absent(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Sequence) else (node,)


def _sequence(first: Node, items: tuple[Node, ...], findings: Findings) -> Node:
    size = 1 + sum(item.size for item in items)
    return _bounded(Sequence(first.line, first.column, size, items, file=first.file), first, findings)


def _maps(first: Mapping, second: Mapping, findings: Findings, path: str) -> Node:
    entries = {key.text: (key, value) for key, value in first.entries}
    for key, value in second.entries:
        known = entries.get(key.text)
        if known is None:
            entries[key.text] = (key, value)
        else:
            entries[key.text] = (known[0], merge(known[1], value, findings, join(path, key.text)))
    pairs = tuple(entries.values())
    size = 1 + sum(1 + value.size for _, value in pairs)
    return _bounded(Mapping(first.line, first.column, size, pairs, file=first.file), first, findings)


def _bounded(merged: Node, first: Node, findings: Findings) -> Node:
    if merged.size <= MAX_NODES:
        return merged
    findings.error(first, "", "limit", f"all files together have more than {MAX_NODES:,} values", "remove some")
    return first
