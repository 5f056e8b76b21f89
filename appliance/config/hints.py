"""Advice for what libyaml refuses, of whose messages an operator cannot make much: what was most likely done. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_HINTS = (
    ("mapping values are not allowed", "check the indentation; a text that contains ': ' needs quotes"),
    ("did not find expected key", "check the indentation of this line and of those above it"),
    ("could not find expected ':'", "a key ends with a colon and a blank; check the lines above"),
    ("expected alphabetic", "a text that begins with * or & needs quotes"),
    ("did not find expected '-' indicator", "all items of a list begin with '- ' in the same column"),
    ("found unexpected end of stream", "a quote or a bracket is not closed"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing"),
    ("did not find expected node content", "a bracket is not closed, or a value is missing"),
    ("cannot start any token", "a text that begins with %, @ or ` needs quotes"),
    ("expected <document start>", "the line `...` ends the document; remove it, or what follows it"),
    ("incompatible YAML document", "remove the line that begins with %YAML"),
)

# Where an address of IPv6 ends the line so far: at a colon in front or behind, or in brackets with more after them.
_COLONS = re.compile(r"(?:^|[\[{,\s])(?::|[0-9A-Fa-f:]*::)$")
_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]\S$")

_CONFLICT = re.compile(r"(<<<<<<<|>>>>>>>)( |$)|=======$")
_TEMPLATE = re.compile(r"\{%|\{\{|\$\{")
_GLUED_KEY = re.compile(r"\s*(- +)*[A-Za-z_][A-Za-z0-9_.-]*:[^\s:]\S*\s*$")
_GLUED_DASH = re.compile(r"\s*-[A-Za-z_][A-Za-z0-9_.-]*:(\s|$)")


def of_yaml(problem: str, lines: Sequence[str], line: int, column: int) -> str:
    """Return advice for a message of libyaml about this place (both from 0) of the text; empty where there is none."""
    before = lines[line][: column + 1]
    if "\t" in before:
        return "YAML does not allow tabs here; indent with blanks"
    for number, text in enumerate(lines[: line + 1], 1):
        if _CONFLICT.match(text):
            return f"line {number} is left over where two versions of the file were merged; keep one version"
    if _TEMPLATE.search(before):
        return "this looks like a template; check the file that is made of it"
    # A mistake is noticed in the line after it where that does not fit, so the line above counts as well.
    above = next((number for number in range(line - 1, -1, -1) if lines[number].strip()), line)
    for number in (above, line):
        if found := invisible(lines[number]):
            return f"line {number + 1} has {found}"
    if _COLONS.search(before):
        return "an IPv6 address that begins or ends with a colon needs quotes"
    if _BRACKETS.search(before):
        return "an IPv6 address in brackets needs quotes"
    if "mapping values are not allowed" in problem:
        for number in (above, line):
            what = "colon" if _GLUED_KEY.match(lines[number]) else "dash" if _GLUED_DASH.match(lines[number]) else ""
            if what:
                return f"a blank is missing after the {what} in line {number + 1}"
    return next((hint for part, hint in _HINTS if part in problem), "")


def invisible(text: str) -> str:
    """Return which character of a text people cannot see, in words; empty where they see all, or it only ends lines."""
    found = next((character for character in text if not character.isprintable() and character not in "\t\r\n"), None)
    if found is None:
        return ""
    name = unicodedata.name(found, "").lower()
    return f"an invisible character, U+{ord(found):04X}{f' ({name})' if name else ''}; type it anew"
