"""YAML text to positioned nodes, within bounds of size and depth.

libyaml's event stream is composed here instead of by `yaml.compose`, because that recurses, resolves aliases without
a bound, and lets the last of several equal keys win. Scalars stay text: YAML 1.1 reads `010` as 8, `on` as true and
`65000:10` as 3900010; a declared setting knows better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from appliance.config.findings import Findings
from appliance.config.hints import of_yaml
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, join, quote

MAX_CHARACTERS = 8 << 20
MAX_NODES = 500_000
"""Nodes of a document, with everything that aliases refer to counted at each use."""
MAX_DEPTH = 32

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2, 5.1: the printable characters; a lone surrogate is none of them.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# YAML 1.1, 5.4, which libyaml follows.
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def compose(text: str, findings: Findings, file: str = "") -> Node | None:
    """Return the document's root; None where the document is empty, or not usable (then `findings` says why).

    `file` is noted in every node, for documents of several files.
    """
    if len(text) > MAX_CHARACTERS:
        findings.refuse(0, 0, "limit", f"more than {MAX_CHARACTERS >> 20} MiB; this is no configuration file")
        return None
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        findings.refuse(line, column, "syntax", f"unprintable character {bad.group()!r}", "write plain UTF-8 text")
        return None
    try:
        return _Composer(findings, file).compose(yaml.parse(text, Loader=_LOADER))
    except _Refused as refused:
        findings.refuse(refused.line, refused.column, refused.code, refused.message, refused.hint)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        lines = _BREAK.split(text)
        line, column = (mark.line, mark.column) if mark else (0, 0)
        if line >= len(lines):
            # libyaml counts one line more than there is where the text ends inside a line.
            line, column = len(lines) - 1, len(lines[-1])
        hint = of_yaml(problem, lines, line, column)
        findings.refuse(line + 1, column + 1, "syntax", f"not valid YAML: {problem}", hint)
    except yaml.YAMLError as error:
        findings.refuse(0, 0, "syntax", f"not valid YAML: {quote(str(error))}")
    return None


class _Refused(Exception):
    def __init__(self, mark: Any, code: str, message: str, hint: str = "") -> None:
        self.line: int = mark.line + 1
        self.column: int = mark.column + 1
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(slots=True)
class _Frame:
    """A collection that is not finished: a list, or a map with the key whose value comes next."""

    is_map: bool
    mark: Any
    anchor: str | None
    path: str
    items: list[Node] = field(default_factory=list)
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    key: Scalar | None = None

    def next_path(self) -> str:
        if not self.is_map:
            return f"{self.path}[{len(self.items)}]"
        return join(self.path, self.key.text) if self.key else self.path


class _Composer:
    def __init__(self, findings: Findings, file: str) -> None:
        self._findings = findings
        self._file = file
        self._anchors: dict[str, Node | None] = {}
        """None while the anchor's own collection is not finished."""
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._nodes = 0

    def compose(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                self._open(event)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(event.start_mark, "syntax", "a second document begins here", "write one document")
        root = self._root
        return None if isinstance(root, Scalar) and root.is_null else root

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        mark: Any = event.start_mark
        self._refuse_tag(event)
        node = Scalar(mark.line + 1, mark.column + 1, 1, event.value, not event.style, file=self._file)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._attach(node, mark)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._refuse_tag(event)
        mark: Any = event.start_mark
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(mark, "limit", f"nested more than {MAX_DEPTH} deep")
        self._refuse_key(mark)
        path = self._stack[-1].next_path() if self._stack else ""
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(isinstance(event, yaml.MappingStartEvent), mark, event.anchor, path))

    def _close(self) -> None:
        frame = self._stack.pop()
        line, column = frame.mark.line + 1, frame.mark.column + 1
        node: Node
        if frame.is_map:
            self._merge(frame)
            pairs = tuple(frame.entries.values())
            node = Mapping(line, column, 1 + sum(1 + value.size for _, value in pairs), pairs, file=self._file)
        else:
            size = 1 + sum(item.size for item in frame.items)
            node = Sequence(line, column, size, tuple(frame.items), file=self._file)
        if frame.anchor:
            self._anchors[frame.anchor] = node
        self._attach(node, frame.mark)

    def _alias(self, event: yaml.AliasEvent) -> None:
        mark: Any = event.start_mark
        assert event.anchor is not None
        name = quote("*" + event.anchor)
        if event.anchor not in self._anchors:
            hint = "a text that begins with * needs quotes"
            raise _Refused(mark, "syntax", f"the alias {name} refers to an anchor that does not exist", hint)
        node = self._anchors[event.anchor]
        if node is None:
            raise _Refused(mark, "syntax", f"the alias {name} refers to the collection that it stands in")
        self._attach(node, mark)

    def _attach(self, node: Node, mark: Any) -> None:
        self._count(1, mark)
        if node.size > MAX_NODES:
            raise _Refused(mark, "limit", f"aliases make this larger than {MAX_NODES:,} values")
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._refuse_key(mark)
            assert isinstance(node, Scalar)
            frame.key = node
        else:
            self._add(frame, frame.key, node)
            frame.key = None

    def _add(self, frame: _Frame, key: Scalar, value: Node) -> None:
        first = frame.entries.get(key.text)
        if first:
            where = first[0].where
            message = f"{quote(key.text)} is given twice; the first is at {where}"
            self._findings.error(key, join(frame.path, key.text), "duplicate-key", message, "keep one of them")
            return
        frame.entries[key.text] = (key, value)

    def _merge(self, frame: _Frame) -> None:
        """Bring in what `<<` refers to; the map's own keys, and earlier maps of a list, win (YAML's merge type)."""
        merge = frame.entries.get("<<")
        if not merge or not merge[0].plain:
            return
        del frame.entries["<<"]
        sources = merge[1].items if isinstance(merge[1], Sequence) else (merge[1],)
        for source in sources:
            if not isinstance(source, Mapping):
                hint = "write `<<: *anchor`, where the anchor is at a map"
                self._findings.error(merge[0], join(frame.path, "<<"), "type", "a merge takes a map", hint)
                continue
            self._count(len(source.entries), frame.mark)
            for key, value in source.entries:
                frame.entries.setdefault(key.text, (key, value))

    def _count(self, nodes: int, mark: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Refused(mark, "limit", f"more than {MAX_NODES:,} values; this is no configuration file")

    def _refuse_key(self, mark: Any) -> None:
        if self._stack and self._stack[-1].is_map and self._stack[-1].key is None:
            hint = "quote the text if it begins with { or [; if it is a template, check the file that is made of it"
            raise _Refused(mark, "syntax", "a key must be a text, not a list or a map", hint)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag:
            message = f"the tag {quote(event.tag)} has no meaning here"
            raise _Refused(event.start_mark, "syntax", message, "remove it; every setting knows its own type")
