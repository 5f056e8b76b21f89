"""A pattern that must be found in a body: a regular expression whose search takes time linear in the body. Pure.

Python's own expressions backtrack: even `.*a` takes a time that grows with the square of a body without line ends, and
they cannot be interrupted. So this is another machine. A pattern becomes a set of positions (Glushkov's construction,
1961), each with the bytes that it takes and the positions that may come next; what has been read is summed up by the
set of positions that may take the next byte. That set, not a place in the pattern, is the state: there is nothing to go
back to. Each set that comes up is kept with a row of what follows it, so that most bytes cost one look into a list; a
body that brings up ever new ones costs more for each byte, and whoever feeds it can stop and go on at any byte (`feed`
returns after NEW_ROWS of them).

Understood are: characters; `.` (anything but a newline); `[a-z]`, `[^a-z]`; `\\d \\w \\s`, `\\D \\W \\S`, `\\n \\r`,
`\\t`, `\\xHH`; `\\` before any sign; groups `( )` and `(?: )`; `|`; `* + ? {2} {2,} {2,5}`, also with a `?` behind; `^`
first and `$` last, for the beginning and the end of the body. Patterns work on bytes: a character outside ASCII is its
UTF-8, `.` is one byte. What would need memory of the way (back references, assertions) is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_PATTERN = 256
"""Characters of a pattern, at most."""
MAX_POSITIONS = 512
"""Positions, repetitions written out; `[ab]{3}` has three."""
MAX_STEPS = 8192
"""Parts that are put together, at most: repetitions of nothing cost time too."""
MAX_DEPTH = 16
"""Groups within groups."""
MAX_ROWS = 512
"""Rows that are kept for one pattern: 2 KiB each."""
NEW_ROWS = 64
"""Rows after which `feed` returns: some milliseconds of work at worst."""

ALL = (1 << 256) - 1
_DIGITS = sum(1 << byte for byte in b"0123456789")
_WORD = sum(1 << byte for byte in range(128) if chr(byte).isalnum() or byte == 0x5F)
_SPACE = sum(1 << byte for byte in b" \t\n\r\f\v")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE, "D": ALL ^ _DIGITS, "W": ALL ^ _WORD, "S": ALL ^ _SPACE}
_SIGNS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_ANY = ALL ^ 1 << 10

_Node = tuple[Any, ...]
"""("bytes", mask), ("all", nodes in a row), ("any", alternatives), ("many", node, least, most or None)."""
_Row = list[Any]
"""For each byte the next row, or None if that is not known yet; then the state that it stands for."""


class PatternError(ValueError):
    """What is wrong with a pattern, in words."""


class _Reader:
    """Reads the text of a pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> _Node:
        node = self._alternatives()
        if self._at < len(self._text):
            raise PatternError("a ) without its (")
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self, where: str) -> str:
        found = self._peek()
        if not found:
            raise PatternError(f"it ends within {where}")
        self._at += 1
        return found

    def _alternatives(self) -> _Node:
        found = [self._row()]
        while self._peek() == "|":
            self._at += 1
            found.append(self._row())
        return found[0] if len(found) == 1 else ("any", tuple(found))

    def _row(self) -> _Node:
        found = []
        while self._peek() not in ("", "|", ")"):
            found.append(self._repeated())
        return ("all", tuple(found))

    def _repeated(self) -> _Node:
        node = self._one()
        sign = self._peek()
        if sign and sign in "*+?":
            self._at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        elif sign == "{":
            self._at += 1
            least, most = self._counts()
        else:
            return node
        if self._peek() == "?":  # how much it takes makes no difference to whether it is found
            self._at += 1
        if self._peek() and self._peek() in "*+?{":
            raise PatternError("a repetition of a repetition; put the inner one in ( )")
        return ("many", node, least, most)

    def _counts(self) -> tuple[int, int | None]:
        inside = ""
        while (sign := self._next("{ }")) != "}":
            inside += sign
        least, comma, most = inside.partition(",")
        if not (least.isascii() and least.isdigit()) or (most and not (most.isascii() and most.isdigit())):
            raise PatternError(
                f"{{{inside}}} is no count; write {{2}}, {{2,}} or {{2,5}}, and \\{{ for the sign itself"
            )
        if len(least) > 3 or len(most) > 3:
            raise PatternError("it is too large: it repeats too often")
        found = int(least), (int(most) if most else None) if comma else int(least)
        if found[1] is not None and found[1] < found[0]:
            raise PatternError(f"{{{inside}}} ends before it begins")
        return found

    def _one(self) -> _Node:
        sign = self._next("")
        if sign == "(":
            return self._group()
        if sign == "[":
            return ("bytes", self._set())
        if sign == ".":
            return ("bytes", _ANY)
        if sign == "\\":
            return ("bytes", self._escaped())
        if sign in "*+?{":
            raise PatternError(f"nothing before {sign} that could be repeated; write \\{sign} for the sign itself")
        if sign in "^$":
            raise PatternError(
                f"{sign} within the pattern: it may only stand at its {'beginning' if sign == '^' else 'end'}"
            )
        return ("all", tuple(("bytes", 1 << byte) for byte in sign.encode("utf-8", "surrogatepass")))

    def _group(self) -> _Node:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise PatternError("(? other than (?: ), such as assertions and flags, is not supported")
            self._at += 2
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise PatternError(f"more than {MAX_DEPTH} groups within each other")
        node = self._alternatives()
        if self._next("( )") != ")":
            raise AssertionError("alternatives end there")
        self._depth -= 1
        return node

    def _escaped(self) -> int:
        sign = self._next("an escape")
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _SIGNS:
            return 1 << _SIGNS[sign]
        if sign == "x":
            digits = self._next("\\xHH") + self._next("\\xHH")
            try:
                return 1 << int(digits, 16)
            except ValueError:
                raise PatternError(f"\\x{digits} is no byte; write two hexadecimal digits") from None
        if sign.isalnum() or not sign.isascii():
            raise PatternError(f"\\{sign} is not supported" + (" (back references)" if sign.isdigit() else ""))
        return 1 << ord(sign)

    def _set(self) -> int:
        inverted = self._peek() == "^"
        self._at += inverted
        mask, first = 0, True
        while (sign := self._next("[ ]")) != "]" or first:
            low, first = self._member(sign), False
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._member(self._next("[ ]"))
                if low.bit_count() != 1 or high.bit_count() != 1 or high < low:
                    raise PatternError("a range in [ ] that ends before it begins, or whose ends are no characters")
                low = (high << 1) - low
            mask |= low
        return ALL ^ mask if inverted else mask

    def _member(self, sign: str) -> int:
        if sign == "\\":
            return self._escaped()
        if not sign.isascii():
            raise PatternError(f"{sign!r} in [ ]: only ASCII can stand there; write (a|b) instead")
        return 1 << ord(sign)


@dataclass
class Pattern:
    """A compiled pattern. It is shared by all searches, and learns from them."""

    masks: list[int] = field(default_factory=list)
    """The bytes that each position takes."""
    follow: list[int] = field(default_factory=list)
    """The positions that may come after each, as bits."""
    first: int = 0
    last: int = 0
    at_begin: bool = False
    at_end: bool = False
    _steps: int = 0
    _takers: list[int] = field(default_factory=list)
    """For each byte the positions that take it."""
    _rows: dict[tuple[int, bool], _Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found: _Row = []
        self.found.extend([self.found] * 256)

    def build(self, node: _Node) -> None:
        """Take over what was read; raises PatternError."""
        nullable, self.first, self.last = self._add(node)
        if nullable:
            raise PatternError("it is found in everything, even in nothing; make some of it obligatory")
        if self.at_end:  # a newline that ends the body does not count
            newline = self._position(1 << 10)
            self._join(self.last, newline)
            self.last |= newline
        self._takers = [
            sum(1 << place for place, mask in enumerate(self.masks) if mask >> byte & 1) for byte in range(256)
        ]

    def _position(self, mask: int) -> int:
        if len(self.masks) >= MAX_POSITIONS:
            raise PatternError(f"it is too large: more than {MAX_POSITIONS} characters, repetitions written out")
        self.masks.append(mask)
        self.follow.append(0)
        return 1 << len(self.masks) - 1

    def _join(self, before: int, after: int) -> None:
        while before:
            lowest = before & -before
            self.follow[lowest.bit_length() - 1] |= after
            before ^= lowest

    def _add(self, node: _Node) -> tuple[bool, int, int]:
        """Return whether a part may be empty, and where it may begin and end."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise PatternError("it is too large: it repeats too often")
        match node:
            case ("bytes", mask):
                position = self._position(mask)
                return False, position, position
            case ("all", parts):
                return self._row(parts)
            case ("any", parts):
                found = [self._add(part) for part in parts]
                first = last = 0
                for _, begins, ends in found:
                    first, last = first | begins, last | ends
                return any(nullable for nullable, _, _ in found), first, last
            case (_, inner, least, most):
                if most is None:
                    whole = self._row([inner] * (least - 1))
                    nullable, begins, ends = self._add(inner)
                    self._join(ends, begins)
                    return self._joined(whole, (nullable or not least, begins, ends))
                whole = self._row([inner] * least)
                for _ in range(most - least):
                    _, begins, ends = self._add(inner)
                    whole = self._joined(whole, (True, begins, ends))
                return whole
        raise AssertionError(node)

    def _row(self, parts: Any) -> tuple[bool, int, int]:
        whole = (True, 0, 0)
        for part in parts:
            whole = self._joined(whole, self._add(part))
        return whole

    def _joined(self, left: tuple[bool, int, int], right: tuple[bool, int, int]) -> tuple[bool, int, int]:
        self._join(left[2], right[1])
        return (
            left[0] and right[0],
            left[1] | (right[1] if left[0] else 0),
            right[2] | (left[2] if right[0] else 0),
        )

    def start(self) -> _Row:
        """Return the row of what has read nothing."""
        return self._row_of(self.first, False)

    def _row_of(self, wanted: int, ended: bool) -> _Row:
        row = self._rows.get((wanted, ended))
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                for old in self._rows.values():
                    old[:256] = [None] * 256  # searches under way may still hold some
                self._rows.clear()
            row = self._rows[(wanted, ended)] = [*[None] * 256, (wanted, ended)]
        return row

    def after(self, row: _Row, byte: int) -> _Row:
        """Find out which row comes after a byte, and keep it."""
        taken = row[256][0] & self._takers[byte]
        ends = bool(taken & self.last)
        if ends and not self.at_end:
            row[byte] = self.found
            return self.found
        wanted = 0 if self.at_begin else self.first
        while taken:
            lowest = taken & -taken
            wanted |= self.follow[lowest.bit_length() - 1]
            taken ^= lowest
        following = self._row_of(wanted, ends)
        row[byte] = following
        return following


class Search:
    """One search through one body."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._row = pattern.start()

    @property
    def found(self) -> bool:
        """Whether the pattern has been found, whatever may come."""
        return self._row is self._pattern.found

    def feed(self, data: bytes, begin: int = 0) -> int:
        """Go on through `data` from `begin`; return up to where. Where that is not the end, call it again."""
        row, built, place = self._row, 0, begin
        for place, byte in enumerate(memoryview(data)[begin:], begin):
            following = row[byte]
            if following is None:
                if built == NEW_ROWS:
                    self._row = row
                    return place
                built += 1
                following = self._pattern.after(row, byte)
            row = following
        self._row = row
        return len(data)

    def ended(self) -> bool:
        """Return whether the pattern is found in a body that is over now."""
        return self.found or bool(self._row[256][1])


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Return the machine for a pattern; raises PatternError that says what is wrong."""
    if not 0 < len(text) <= MAX_PATTERN:
        raise PatternError(f"it must have 1 to {MAX_PATTERN} characters")
    at_begin = text.startswith("^")
    inside = text[1:] if at_begin else text
    slashes = len(inside[:-1]) - len(inside[:-1].rstrip("\\"))
    at_end = inside.endswith("$") and slashes % 2 == 0
    node = _Reader(inside[:-1] if at_end else inside).whole()
    if node[0] == "any" and (at_begin or at_end):
        raise PatternError("^ or $ beside alternatives; put the alternatives in ( )")
    made = Pattern(at_begin=at_begin, at_end=at_end)
    made.build(node)
    return made
