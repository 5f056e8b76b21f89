"""A YAML document that is written, with comments: plain data here, text by `render`.

Every text is quoted unless YAML 1.1, YAML 1.2 and JSON Schema agree on what it means without quotes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

WIDTH = 110
MAX_TEXT = 16 << 20
"""Characters of a document; aliases can make a small file a very large one."""


@dataclass
class Entry:
    """A key and its value, with the comment lines that stand above it."""

    key: str
    value: object
    notes: list[str] = field(default_factory=list)


@dataclass
class Block:
    """A map, one key a line. `tail` are comments that belong to no key."""

    entries: list[Entry] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def add(self, key: str, value: object, *notes: str) -> None:
        """Append an entry."""
        self.entries.append(Entry(key, value, list(notes)))

    def entry(self, key: str) -> Entry | None:
        """Return the entry of a key."""
        return next((entry for entry in self.entries if entry.key == key), None)


@dataclass
class Item:
    """An item of a list, with the comment lines that stand above it."""

    value: object
    notes: list[str] = field(default_factory=list)


@dataclass
class Items:
    """A list, one item a line. `tail` are comments that belong to no item."""

    items: list[Item] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def plain(self) -> bool:
        """Whether nothing needs a line of its own."""
        return not self.tail and not any(item.notes or isinstance(item.value, Block | Items) for item in self.items)


class TooLong(ValueError):
    """The document would have more than MAX_TEXT characters."""


def render(block: Block, head: list[str]) -> str:
    """Return the text, which begins with the comments of `head`; raises TooLong."""
    lines = []
    length = 0
    for line in _whole(block, head):
        length += len(line) + 1
        if length > MAX_TEXT:
            raise TooLong
        lines.append(line)
    return "\n".join(lines) + "\n"


def _whole(block: Block, head: list[str]) -> Iterator[str]:
    for note in head:
        yield from comment(note, 0)
    for entry in block.entries:
        yield ""
        yield from _entry(entry, 0)
    if block.tail:
        yield ""
    for note in block.tail:
        yield from comment(note, 0)


def comment(note: str, indent: int) -> Iterator[str]:
    """Yield the lines of a comment; what is not printable is escaped, so that no text leaves it."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in note)
    begin = " " * indent + "# "
    yield from textwrap.wrap(
        text, WIDTH - indent, initial_indent=begin, subsequent_indent=begin + "  ", break_on_hyphens=False
    ) or [begin.rstrip()]


def _entry(entry: Entry, indent: int) -> Iterator[str]:
    for note in entry.notes:
        yield from comment(note, indent)
    yield from _keyed(" " * indent + key_text(entry.key) + ":", entry.value, indent)


def _keyed(begin: str, value: object, indent: int) -> Iterator[str]:
    if isinstance(value, Block):
        if not value.entries:
            for note in value.tail:
                yield from comment(note, indent)
            yield f"{begin} {{}}"
            return
        yield begin
        yield from _block(value, indent + 2)
        return
    if isinstance(value, Items) and value.plain():
        value = [item.value for item in value.items]
    if isinstance(value, list):
        flow = f"{begin} {flow_text(value)}"
        if len(flow) <= WIDTH or not value:
            yield flow
            return
        value = Items([Item(item) for item in value])
    if isinstance(value, Items):
        if not value.items:
            for note in value.tail:
                yield from comment(note, indent)
            yield f"{begin} []"
            return
        yield begin
        yield from _items(value, indent + 2)
        return
    yield f"{begin} {flow_text(value)}".rstrip()


def _block(block: Block, indent: int) -> Iterator[str]:
    for entry in block.entries:
        yield from _entry(entry, indent)
    for note in block.tail:
        yield from comment(note, indent)


def _items(items: Items, indent: int) -> Iterator[str]:
    for item in items.items:
        for note in item.notes:
            yield from comment(note, indent)
        if not isinstance(item.value, Block):
            yield f"{' ' * indent}- {flow_text(item.value)}"
            continue
        if not item.value.entries:
            for note in item.value.tail:
                yield from comment(note, indent)
            yield f"{' ' * indent}- {{}}"
            continue
        # The first key stands behind the dash, so its comments have to come before it.
        first = item.value.entries[0]
        for note in first.notes:
            yield from comment(note, indent)
        lines = list(
            _block(Block([Entry(first.key, first.value), *item.value.entries[1:]], item.value.tail), indent + 2)
        )
        yield f"{' ' * indent}- {lines[0].lstrip()}"
        yield from lines[1:]
    for note in items.tail:
        yield from comment(note, indent)


def flow_text(value: object) -> str:
    """Return a value on one line; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(flow_text(item) for item in value)}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key_text(str(key))}: {flow_text(item)}".rstrip() for key, item in value.items())
        return f"{{{inner}}}"
    assert isinstance(value, str)
    return scalar_text(value)


_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_FOUR = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2}|\*?( weight=[0-9]{1,3})?)")
# Words that some reader of YAML takes for something else than text (YAML 1.1: bool, null, float, merge; 1.2: null).
_SPECIAL = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "~"])
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def scalar_text(text: str) -> str:
    """Return a text as a scalar, quoted where it could be taken for something else."""
    if (_WORD.fullmatch(text) and text.lower() not in _SPECIAL) or _FOUR.fullmatch(text):
        return text
    return f'"{"".join(_escaped(letter) for letter in text)}"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*\*?")


def key_text(key: str) -> str:
    """Return a key; those of digits stay plain, as every reader here takes keys for texts."""
    return key if _KEY.fullmatch(key) and key.lower() not in _SPECIAL else scalar_text(key)
