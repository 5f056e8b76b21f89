"""The old file as it is read: maps whose keys are used up one by one, so that nothing is dropped unseen.

What cannot be carried over becomes a comment in the place where it stood, and an issue: an error if something that was
in force is missing from the result, else a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Lookup

from appliance.config.findings import Findings, Invalid
from appliance.config.kinds import Either, Place, ScalarKind
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, describe, join, quote
from appliance.config.settings import settings_of

MAX_SHOWN = 600
"""Characters of a value that is kept as a comment; the rest stays in the old file."""

MAX_TEXT = 4096
"""Characters of a text that is carried over."""

# Below these keys values are secrets, or hold some: they go to the result, never into a message.
_SECRET = re.compile(r"(^|[.\[])(logging|password|teams|slack|elasticsearch|secret|token)\b", re.IGNORECASE)


def is_secret(path: str) -> bool:
    """Whether what stands at a path may be a secret."""
    return _SECRET.search(path) is not None


class Job:
    """One conversion: what was found, which names need an address, and what is known of them."""

    def __init__(self, findings: Findings, interfaces: tuple[str, ...], known: Lookup[str, tuple[str, ...]]) -> None:
        self.findings = findings
        self.interfaces = interfaces
        self.known = known
        self.names: dict[str, None] = {}
        """Host names whose addresses are asked for, in file order."""

    def quiet(self) -> Job:
        """Return a job whose findings nobody reads, for what was looked at before."""
        return Job(Findings(self.findings.file), self.interfaces, self.known)

    def lost(self, at: Node, path: str, reason: str, hint: str = "") -> str:
        """Report that something in force is missing from the result; returns the comment."""
        self.findings.error(at, path, "not-converted", reason, hint)
        return self._note(at, path, f"NOT CONVERTED: {reason}", hint)

    def dropped(self, at: Node, path: str, reason: str, hint: str = "") -> str:
        """Report that something without a counterpart is left out; returns the comment."""
        self.findings.warning(at, path, "left-out", reason, hint)
        return self._note(at, path, f"left out: {reason}", hint)

    def guessed(self, at: Node, path: str, reason: str, hint: str = "") -> str:
        """Report a guess; returns the comment."""
        self.findings.warning(at, path, "guessed", reason, hint)
        return self._note(None, path, f"guessed: {reason}", hint)

    def _note(self, at: Node | None, path: str, text: str, hint: str) -> str:
        hint = f" ({hint})" if hint else ""
        if at is None:
            return f"{text}{hint}"
        return f"{text}{hint}; line {at.line}: {shown(path, at)}"


def shown(path: str, node: Node) -> str:
    """Return a value with its key as one line, cut if it is long."""
    key = path.rpartition(".")[2] if not path.endswith("]") else ""
    pieces = []
    length = 0
    for piece in _pieces(node):
        pieces.append(piece[:MAX_SHOWN])
        length += len(piece)
        if length > MAX_SHOWN:
            break
    text = "".join(pieces)
    text = f"{text[:MAX_SHOWN]}... (see the old file)" if length > MAX_SHOWN else text
    return f"{key}: {text}" if key else text


def _pieces(node: Node) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield node.text
    elif isinstance(node, Sequence):
        yield "["
        for index, item in enumerate(node.items):
            yield ", " if index else ""
            yield from _pieces(item)
        yield "]"
    elif isinstance(node, Mapping):
        yield "{"
        for index, (key, value) in enumerate(node.entries):
            yield f"{', ' if index else ''}{key.text[:MAX_SHOWN]}: "
            yield from _pieces(value)
        yield "}"


class Old:
    """A map of the old file. What was not taken at the end is reported by `rest`."""

    def __init__(self, node: Mapping, path: str, job: Job) -> None:
        self.node = node
        self.path = path
        self.job = job
        self._values = {key.text: (key, value) for key, value in node.entries}
        self._left = dict(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def where(self, key: str) -> str:
        """Return the path of a key."""
        return join(self.path, key)

    def take(self, key: str) -> Node | None:
        """Return the value of a key and count it as dealt with; None where there is none, or nothing in it."""
        pair = self._left.pop(key, None)
        if pair is None or is_null(pair[1]):
            return None
        return pair[1]

    def peek(self, key: str) -> Node | None:
        """Return the value of a key without dealing with it."""
        pair = self._values.get(key)
        return None if pair is None or is_null(pair[1]) else pair[1]

    def rest(self, where: str) -> list[str]:
        """Return a comment for every key that was not taken."""
        notes = []
        for key, (at, value) in self._left.items():
            path = self.where(key)
            reason = f"there is no setting {quote(key)} {where}"
            self.job.findings.warning(at, path, "left-out", reason)
            notes.append(f"left out: {reason}; line {at.line}: {shown(path, value)}")
        self._left = {}
        return notes


def is_null(node: Node) -> bool:
    """Whether nothing is given."""
    return isinstance(node, Scalar) and node.is_null


def as_list(node: Node) -> tuple[Node, ...]:
    """Return the items of a list, or a single value as the only item."""
    if isinstance(node, Sequence):
        return node.items
    return () if is_null(node) else (node,)


def each(node: Node, path: str) -> Iterator[tuple[Node, str]]:
    """Yield the items of a list or a single value, with their paths."""
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield item, f"{path}[{index}]"
    elif not is_null(node):
        yield node, path


def refusal(kind: ScalarKind, node: Node, path: str) -> tuple[str, str]:
    """Return why a kind does not accept a value, and what to do about it; empty where it does."""
    secret = is_secret(path)
    if not isinstance(node, Scalar):
        return f"must be {kind.words()}, not {describe(node)}", ""
    if len(node.text) > MAX_TEXT:
        return f"must be {kind.words()}; this has {len(node.text):,} characters", ""
    try:
        kind.parse(node.text)
    except Invalid as invalid:
        if secret:
            return f"must be {kind.words()}", ""
        return invalid.message or f"must be {kind.words()}, not {describe(node)}", invalid.hint
    return "", ""


def scalar_kind(place: Place, key: str) -> ScalarKind | None:
    """Return what today's setting accepts as one text; None where it is unknown or takes no text."""
    row = settings_of(place).get(key)
    kind = row.kind if row else None
    if isinstance(kind, Either):
        kind = kind.scalar
    return kind if isinstance(kind, ScalarKind) else None


def natural(node: Scalar) -> object:
    """Return a scalar as the value to write: a number or a boolean where the text is plainly one."""
    if node.plain and re.fullmatch(r"0|-?[1-9][0-9]{0,17}", node.text):
        return int(node.text)
    if node.plain and node.text in ("true", "false"):
        return node.text == "true"
    return node.text
