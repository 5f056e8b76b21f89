"""The pictures are the same to the bit, and say nothing of when, where and by what they were drawn."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.simulate.test_facts import result

pytestmark = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="there is no matplotlib; `tests/setup.sh plots` installs it"
)


def test_the_same_figures_give_the_same_pictures(tmp_path: Path) -> None:
    from bench.simulate import plots

    results = [result("steady"), result("deploy")]
    first, second = (plots.write(results, tmp_path / name) for name in ("first", "second"))
    assert len(first) == 5
    for one, other in zip(first, second, strict=True):
        text = one.read_text(encoding="utf-8")
        assert text == other.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.search(r"matplotlib\.org|<dc:date>|purl|creativecommons", text)
