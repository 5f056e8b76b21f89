"""Positioned nodes: a YAML document as text with line and column, before any of it has a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True, eq=False)
class Node:
    """One place in the document. `line` and `column` count from 1.

    `size` is the number of nodes that a walk below this one visits, this one included; what an alias refers to counts
    at every use.
    """

    line: int
    column: int
    size: int
    file: str = field(default="", kw_only=True)
    """Where several files make one document, the one that this is in."""

    @property
    def where(self) -> str:
        """The position in words: `line 3, column 5`, and of which file where there are several."""
        return f"line {self.line}, column {self.column}" + (f" of {self.file}" if self.file else "")


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """A text. `plain` says that it stands there without quotes."""

    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing is given here: no text at all, or YAML's words for nothing."""
        return self.plain and self.text in _NULLS


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """A list."""

    items: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """A map, in file order; what merge keys bring in comes last. No key occurs twice."""

    entries: tuple[tuple[Scalar, Node], ...]


def describe(node: Node) -> str:
    """Return what stands at a node, for "..., not WHAT"."""
    if isinstance(node, Mapping):
        return "a map"
    if isinstance(node, Sequence):
        return "a list"
    assert isinstance(node, Scalar)
    return "nothing" if node.is_null else quote(node.text)


def quote(text: str) -> str:
    """Return a text of the file in quotes, cut to 40 characters, with everything unprintable escaped."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def join(path: str, key: str) -> str:
    """Return the path of the entry `key` below `path`."""
    name = key if key.isprintable() and len(key) <= 60 else quote(key)
    return f"{path}.{name}" if path else name
