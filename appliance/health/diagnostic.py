"""What a probe has to say in words: short, printable, one line, whatever the backend sent."""

from __future__ import annotations

LIMIT = 160
"""Characters in a diagnostic; the rest is cut off and marked with three dots."""


def printable(text: str, limit: int = LIMIT) -> str:
    r"""Return `text` on one line of at most `limit` characters, control characters escaped.

    Newlines, terminal escapes, bidirectional marks and lone surrogates become `\n`, `\x1b`, `\u202e`, so that a
    hostile backend can neither forge a line of the log nor speak to the terminal of whoever reads it.
    """
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
            for character in text
        )
    return text if len(text) <= limit else text[: limit - 3] + "..."
