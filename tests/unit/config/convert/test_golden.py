"""Whole files: `NAME.old` in, `NAME.yaml` (today's) and `NAME.issues` (what to look at) out.

`VC5_GOLDEN=write pytest ...` writes the answers anew, to be read before they are committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from appliance import config
from appliance.config.compose import compose
from appliance.config.convert import Converted, Dialect, convert_text
from appliance.config.findings import Findings
from appliance.config.nodes import Mapping, Node, Scalar, Sequence
from appliance.errors import ConfigError, Issue, Severity

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "convert"
FILES = {
    "yaml-2021": Dialect.OLDEST,
    "yaml-2022": Dialect.MIDDLE,
    "yaml-2023": Dialect.MIDDLE,
    "daemon": Dialect.DAEMON,
}


def converted(name: str) -> Converted:
    return convert_text((GOLDEN / f"{name}.old").read_text(), f"{name}.old")


def refused(text: str) -> list[Issue]:
    """Return the errors that `vc5 check` has, without names of the dialect that its version does not know."""
    try:
        config.load_text(text, "result")
    except ConfigError as error:
        later = {issue.line for issue in error.issues if issue.code == "unsupported"}
        return [
            issue for issue in error.issues if issue.severity is Severity.ERROR and not _concerns(issue, later, text)
        ]
    return []


def _concerns(issue: Issue, later: set[int], text: str) -> bool:
    # A dns check that is not known yet is followed by complaints about its own keys on the same line.
    return issue.code == "unsupported" or issue.line in later


def test_every_file_is_tested() -> None:
    assert sorted(FILES) == sorted(path.stem for path in GOLDEN.glob("*.old"))


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    result = converted(name)
    assert result.dialect is FILES[name]
    answers = {"yaml": result.text, "issues": "".join(f"{issue}\n" for issue in result.issues)}
    for suffix, text in answers.items():
        expected = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("VC5_GOLDEN") == "write":
            expected.write_text(text)
        assert text == expected.read_text()
    assert converted(name) == result


@pytest.mark.parametrize("name", FILES)
def test_the_result_passes_the_check(name: str) -> None:
    assert refused(converted(name).text) == []


@pytest.mark.parametrize("name", FILES)
def test_readers_of_yaml_1_1_see_the_same_texts(name: str) -> None:
    text = converted(name).text
    same(compose(text, Findings("result")), yaml.safe_load(text))


def same(node: Node | None, value: object) -> None:
    """Hold a document of ours against what YAML 1.1 makes of it."""
    if isinstance(node, Mapping):
        assert isinstance(value, dict)
        assert [key.text for key, _ in node.entries] == [str(key) for key in value]
        for (_, below), item in zip(node.entries, value.values(), strict=True):
            same(below, item)
    elif isinstance(node, Sequence):
        assert isinstance(value, list)
        for below, item in zip(node.items, value, strict=True):
            same(below, item)
    else:
        assert isinstance(node, Scalar)
        expected = {"true": True, "false": False, "": None} if node.plain else {}
        if node.text in expected:
            assert value is expected[node.text]
        else:
            assert str(value) == node.text


def test_no_text_of_the_old_file_is_lost() -> None:
    """Every key and every value of a file full of unknown ones is somewhere in the result."""
    unknown = {f"zz{number}": f"value{number}" for number in range(6)}
    text = yaml.safe_dump(
        {
            "zz0": unknown["zz0"],
            "rhi": {"as_number": 65000, "zz1": unknown["zz1"]},
            "logging": {"zz2": unknown["zz2"], "elasticsearch": {"zz3": unknown["zz3"]}},
            "services": [
                {
                    "virtual": "203.0.113.1",
                    "servers": ["10.1.1.1"],
                    "zz4": unknown["zz4"],
                    "policy": {"http": {"checks": [{"type": "http", "zz5": unknown["zz5"]}]}},
                }
            ],
        }
    )
    result = convert_text(text, "f")
    for key, value in unknown.items():
        assert f"{key}: {value}" in result.text
    assert len([issue for issue in result.issues if issue.code == "left-out"]) == len(unknown)
    assert result.complete
