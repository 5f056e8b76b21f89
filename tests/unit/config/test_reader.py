"""Nodes to values: positions, paths, and whether everything below a value was accepted."""

from __future__ import annotations

import pytest

from appliance import config
from appliance.config.compose import compose
from appliance.config.findings import Findings
from appliance.config.kinds import Integer, Kind, ListOf, MapOf, Text
from appliance.config.reader import read

NUMBERS = ListOf(Integer(0, 9), "a list of numbers", one=True)
NAMED = MapOf(Text("[a-z]+", "a word"), NUMBERS, "a map of numbers")

SOUND: list[tuple[Kind, str, bool]] = [
    (NUMBERS, "[1, 2]", True),
    (NUMBERS, "[1, x]", False),
    (ListOf(NUMBERS, "lists"), "[[1], [x]]", False),
    (NAMED, "{a: [1], b: 2}", True),
    (NAMED, "{a: [x], b: 2}", False),
    (NAMED, "{A: [1], b: 2}", False),
    (NAMED, "{a: {}, b: 2}", False),
]


@pytest.mark.parametrize(("kind", "text", "sound"), SOUND)
def test_sound(kind: Kind, text: str, sound: bool) -> None:
    findings = Findings("f")
    node = compose(text, findings)
    assert node is not None
    given = read(kind, node, "", findings)
    assert given is not None
    assert given.sound is sound
    assert (findings.errors == 0) is sound


def test_what_is_accepted_beside_a_mistake_is_kept() -> None:
    findings = Findings("f")
    node = compose("{b: [1, x, 3], a: y, c: 4}", findings)
    assert node is not None
    given = read(NAMED, node, "top", findings)
    assert given is not None
    values = {key.value: [item.value for item in value.value] for key, value in given.value}
    assert values == {"b": [1, 3], "a": [], "c": [4]}
    assert [(issue.path, issue.column) for issue in findings.issues()] == [("top.b[1]", 9), ("top.a", 19)]


@pytest.mark.parametrize(
    ("text", "idle", "grace"),
    [("", 900, 30), ("idle: 10", 10, 10), ("idle: 10\nudp_grace: 3", 10, 3), ("idle: 1h", 3600, 30)],
)
def test_the_default_grace_is_at_most_idle(text: str, idle: float, grace: float) -> None:
    loaded = config.load_text(text, "f").config
    assert (loaded.idle, loaded.udp_grace) == (idle, grace)
