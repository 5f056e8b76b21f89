"""Whole files: `NAME.yaml` in, `NAME.json` (what is in force) or `NAME.issues` (what is wrong) out.

`VC5_GOLDEN=write pytest ...` writes the answers anew, to be read before they are committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance import config
from appliance.errors import ConfigError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "config"
FILES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))


def answer(name: str) -> tuple[str, str]:
    """Return the suffix and the text of the answer that the package gives for a file."""
    text = (GOLDEN / f"{name}.yaml").read_text()
    try:
        loaded = config.load_text(text, f"{name}.yaml")
    except ConfigError as error:
        return "issues", f"{error}\n"
    return "json", json.dumps(config.expand(loaded), indent=1) + "\n"


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    suffix, text = answer(name)
    expected = GOLDEN / f"{name}.{suffix}"
    if os.environ.get("VC5_GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()


def test_the_text_for_people_is_golden() -> None:
    loaded = config.load_text((GOLDEN / "everything.yaml").read_text(), "everything.yaml")
    text = config.explain_text(loaded)
    expected = GOLDEN / "everything.txt"
    if os.environ.get("VC5_GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_ten_mistakes_get_ten_messages() -> None:
    _, text = answer("ten-mistakes")
    assert len(text.splitlines()) == 10
