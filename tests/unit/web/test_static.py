"""The console's files, as they are: what its policy would refuse, and what the rules of the house want."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.house import tree
from tests.unit.web import words

STATIC = tree.ROOT / "appliance" / "web" / "static"
INDEX = STATIC.joinpath("index.page").read_text("utf-8")
SCRIPTS = sorted(STATIC.joinpath("js").glob("*.js"))
LONGEST = 300
"""Lines of a script."""
MARKUP = re.compile(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc|DOMParser)")
"""What makes markup or code of a text."""
ELSEWHERE = re.compile(r"""(?:src|href|url|import|fetch)\W{0,3}["'(](?:https?:)?//""")


def test_the_page_has_no_code_and_no_style_of_its_own() -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son\w+=", INDEX) == []


@pytest.mark.parametrize("file", [*SCRIPTS, STATIC / "index.page", STATIC / "console.css"], ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file: Path) -> None:
    assert ELSEWHERE.findall(file.read_text("utf-8")) == []


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_is_short_and_makes_no_markup_of_texts(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) < LONGEST
    assert MARKUP.findall(text) == []
    assert text.startswith("//"), "it says what it is for"


def test_every_element_that_a_script_asks_for_is_there() -> None:
    wanted = {name for file in SCRIPTS for name in re.findall(r'byId\("([\w-]+)"\)', file.read_text("utf-8"))}
    there = re.findall(r'\bid="([\w-]+)"', INDEX)
    assert wanted
    assert wanted - set(there) == set()
    assert len(there) == len(set(there))


def test_every_icon_that_is_shown_is_there() -> None:
    wanted = set(re.findall(r'#icon-([\w-]+)"', INDEX))
    states = re.search(r"TONES = {(.*?)}", STATIC.joinpath("js/state.js").read_text("utf-8"), re.DOTALL)
    assert states
    wanted |= set(re.findall(r"(\w+):", states[1]))
    assert wanted - set(re.findall(r'<symbol id="icon-([\w-]+)"', INDEX)) == set()


def test_the_words_are_those_of_the_program() -> None:
    assert words.FILE.read_text("utf-8") == words.text(), "write them anew: python3 -m tests.unit.web.words"
