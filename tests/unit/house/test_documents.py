"""The documents that a reader expects exist and say what they must."""

from __future__ import annotations

import re
import tomllib

import pytest

from appliance import __version__
from appliance.dataplane.enums import REASON_TEXT, Reason
from tests.unit.house import tree

MUST_SAY = {
    "README.md": ("make demo", "make test", "GPL-2.0-or-later"),
    "ARCHITECTURE.md": ("## A packet", "## A change"),
    "LICENSE": ("GNU GENERAL PUBLIC LICENSE", "Version 2, June 1991"),
    "CHANGELOG.md": ("## [Unreleased]", "### Added"),
    "HACKING.md": ("make test", "make check", "make fuzz", "GPL-2.0-or-later"),
}


@pytest.mark.parametrize("name", MUST_SAY)
def test_document(name: str) -> None:
    text = tree.ROOT.joinpath(name).read_text(encoding="utf-8")
    assert [words for words in MUST_SAY[name] if words not in text] == []


def test_the_changelog_knows_the_version() -> None:
    project = tomllib.loads(tree.ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] in tree.ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_and_the_command_say_the_same_version() -> None:
    project = tomllib.loads(tree.ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    latest = tree.ROOT.joinpath("packaging/debian/changelog").read_text(encoding="utf-8").partition(";")[0]
    assert latest == f"{project['name']} ({project['version']}) unstable"
    assert project["version"] == __version__


def test_continuous_integration_runs_make_test() -> None:
    text = tree.ROOT.joinpath(".ci/run").read_text(encoding="ascii")
    assert re.search(r"^exec make test$", text, re.MULTILINE)
    assert tree.ROOT.joinpath(".ci/run").stat().st_mode & 0o111 == 0o111


def test_the_readme_lists_every_reason() -> None:
    text = tree.ROOT.joinpath("README.md").read_text(encoding="utf-8")
    block = text.split("<!-- reasons: begin -->\n")[1].split("<!-- reasons: end -->")[0]
    rows = [f"| `{reason}` | {meaning} |" for reason, meaning in sorted(REASON_TEXT.items())]
    assert block.splitlines()[2:] == rows
    assert set(REASON_TEXT) == set(Reason)
