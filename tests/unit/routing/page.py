"""docs/routing.md: the state machines as diagrams and tables, made of those in the code.

`python3 -m tests.unit.routing.page` puts them between the marks of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path

from appliance.routing.bfd.packet import diagnostic_words
from appliance.routing.bfd.session import TRANSITIONS
from appliance.routing.bgp.machine import TABLE
from appliance.routing.status import SessionState
from tests.unit.house.tree import ROOT

PAGE: Path = ROOT / "docs" / "routing.md"

Edge = tuple[str, str, str]
"""From, to, and by what."""


def words(member: Enum) -> str:
    """A name of the code as people read it."""
    return member.name.lower().replace("_", " ")


BGP_EDGES: tuple[Edge, ...] = tuple(
    (str(state), str(step.state), words(given)) for (state, given), step in TABLE.items()
)
BFD_EDGES: tuple[Edge, ...] = tuple(
    (state.words, after.words, words(event)) for (state, event), (after, _) in TRANSITIONS.items()
)


def diagram(first: str, edges: Iterable[Edge]) -> str:
    """Return the diagram in the language of Mermaid; an arrow has all that leads one way."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for start, end, by in edges:
        arrows.setdefault((start, end), []).append(by)
    states = dict.fromkeys(state for arrow in arrows for state in arrow)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state}" as {name(state)}' for state in states]
    lines.append(f"    [*] --> {name(first)}")
    lines += [f"    {name(start)} --> {name(end)} : {', '.join(by)}" for (start, end), by in arrows.items()]
    return "\n".join([*lines, "```"])


def name(state: str) -> str:
    """Return what Mermaid takes for a name."""
    return state.replace("-", "_")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def blocks() -> dict[str, str]:
    """Return what is to stand between the marks, by their names."""
    bgp = [
        (f"`{state}`", words(given), f"`{step.state}`", ", ".join(map(words, step.actions)) or "nothing")
        for (state, given), step in TABLE.items()
    ]
    bfd = [
        (f"`{state.words}`", words(event), f"`{after.words}`", diagnostic_words(diagnostic))
        for (state, event), (after, diagnostic) in TRANSITIONS.items()
    ]
    return {
        "bgp diagram": diagram(str(SessionState.IDLE), BGP_EDGES),
        "bgp table": table(("in state", "when", "then", "and"), bgp),
        "bfd diagram": diagram("down", BFD_EDGES),
        "bfd table": table(("in state", "when", "then", "diagnostic"), bfd),
    }


def filled(text: str) -> str:
    """Return the page with all blocks as they are to be. Raises KeyError for a mark of no block."""
    made = blocks()

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]}: begin -->\n{made.pop(found[1])}\n<!-- {found[1]}: end -->"

    whole = re.sub(r"<!-- ([\w ]+): begin -->\n.*?<!-- \1: end -->", block, text, flags=re.DOTALL)
    if made:
        raise KeyError(f"{PAGE.name} has no marks for {', '.join(made)}")
    return whole


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
