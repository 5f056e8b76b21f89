"""docs/routing.md shows the state machines as they are."""

from __future__ import annotations

import re

import pytest

from tests.unit.routing.page import BFD_EDGES, BGP_EDGES, PAGE, Edge, filled

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_made_of_the_tables() -> None:
    assert filled(TEXT) == TEXT, "run `python3 -m tests.unit.routing.page`"


@pytest.mark.parametrize(("machine", "edges"), [("bgp", BGP_EDGES), ("bfd", BFD_EDGES)])
def test_diagram_and_table_say_the_same_as_the_code(machine: str, edges: tuple[Edge, ...]) -> None:
    drawn, listed = (
        TEXT.split(f"<!-- {machine} {kind}: begin -->")[1].split("<!--")[0] for kind in ("diagram", "table")
    )
    names = {short: long for long, short in re.findall(r'state "([^"]+)" as (\w+)', drawn)}
    arrows = re.findall(r"^ +(\w+) --> (\w+) : (.+)$", drawn, flags=re.MULTILINE)
    assert {(names[start], names[end], by) for start, end, all_ in arrows for by in all_.split(", ")} == set(edges)
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w ]+) \| `([\w-]+)` \|", listed, flags=re.MULTILINE)
    assert {(start, end, by) for start, by, end in rows} == set(edges)
    assert len(rows) == len(edges)


def test_a_page_without_marks_is_none() -> None:
    with pytest.raises(KeyError, match="no marks for bfd table"):
        filled(TEXT.replace("<!-- bfd table: begin -->", ""))
