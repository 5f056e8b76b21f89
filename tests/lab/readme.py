"""The commands that a document shows: the lines of its code blocks that begin with `vc5`."""

from __future__ import annotations

import re
from collections.abc import Iterator

FENCE = re.compile(r"^\s*```")
BLOCK = re.compile(r"^ {4}(\S.*)$")
EXPLAINED = re.compile(r"\s{2,}.*$|\s+#\s.*$")
"""What stands behind a command, after two blanks or a number sign."""
OPTIONAL = re.compile(r"\[([a-z.]+)\]")
"""What may be there, as in `vc5 plan [new.yaml]`."""


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a Markdown text, in their order; one with an optional word without it, and with it."""
    fenced = False
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
            continue
        block = BLOCK.match(line)
        shown = line.strip() if fenced else block[1] if block else ""
        if not shown.startswith("vc5 "):
            continue
        command = EXPLAINED.sub("", shown).strip()
        if OPTIONAL.search(command):
            yield " ".join(OPTIONAL.sub("", command).split())
            yield OPTIONAL.sub(r"\1", command)
        else:
            yield command
