"""What the simulator is given: numbers of a site, classes of connections, the page that explains both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulate.__main__ import main, parser
from bench.simulate.churn import SCENARIOS
from bench.simulate.lifetimes import (
    QUANTILES,
    Exponential,
    Law,
    LogNormal,
    Measured,
    Pareto,
    SimulationError,
    parse,
    read,
)
from bench.simulate.report import BEGIN, END
from bench.simulate.results import SCHEMES
from bench.simulate.schemes import patience
from bench.simulate.site import Site
from tests.profile import PARSER_INPUTS
from tests.unit.house import tree

PAGE = tree.ROOT / "docs" / "planning.md"
LAW = {"kind": "exponential", "mean": 3}
WEB = {"name": "web", "share": 1, "lifetime": LAW, "pause": LAW}


@pytest.mark.parametrize(
    ("law", "mean", "median"),
    [
        (Exponential(10.0), 10.0, 6.93),
        (LogNormal(10.0, 0.5), 11.33, 10.0),
        (Pareto(10.0, 3.0), 15.0, 12.6),
        (Measured(((0.0, 1.0), (0.5, 10.0), (1.0, 1000.0))), None, 10.0),
    ],
)
def test_laws(law: Law, mean: float | None, median: float) -> None:
    values = [law.quantile((at + 0.5) / QUANTILES) for at in range(QUANTILES)]
    assert values == sorted(values)
    assert law.quantile(0.5) == pytest.approx(median, rel=0.01)
    if mean is not None:
        assert sum(values) / QUANTILES == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "classes"),
        ({"classes": []}, "1 to 100 classes"),
        ({"classes": [WEB | {"share": 0.5}]}, "make 0.5, not 1"),
        ({"classes": [WEB | {"more": 1}]}, r"classes\[0\]: a class has"),
        ({"classes": [WEB | {"share": True}]}, r"classes\[0\].share"),
        ({"classes": [WEB | {"share": float("nan")}]}, r"classes\[0\].share"),
        ({"classes": [WEB | {"name": "a\nb"}]}, r"classes\[0\].name"),
        ({"classes": [WEB | {"pause": {"kind": "fast"}}]}, r"classes\[0\].pause: kinds"),
        ({"classes": [WEB | {"pause": {"kind": "exponential", "mean": 0}}]}, r"pause.mean"),
        ({"classes": [WEB | {"pause": {"kind": "pareto", "least": 1, "alpha": 1}}]}, "leaves no mean"),
        ({"classes": [WEB | {"pause": {"kind": "lognormal", "median": 1, "sigma": 9}}]}, "more than 5"),
        ({"classes": [WEB | {"pause": {"kind": "measured", "points": [[0, 1]]}}]}, "2 to 10,000"),
        ({"classes": [WEB | {"pause": {"kind": "measured", "points": [[0.5, 1], [0.4, 2]]}}]}, "must rise"),
        ({"classes": [WEB | {"pause": {"kind": "measured", "points": [[0, 1], 7]}}]}, r"points\[1\]: wanted: a pair"),
    ],
)
def test_documents_that_make_no_sense(document: object, text: str) -> None:
    with pytest.raises(SimulationError, match=text):
        parse(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("classes", "name", "share", "lifetime", "pause", "kind", "mean", "points")),
            inner,
            max_size=5,
        )
    ),
)


@settings(max_examples=PARSER_INPUTS)
@given(JSON)
def test_any_document_is_taken_or_refused(document: object) -> None:
    try:
        kinds = parse(document)
    except SimulationError:
        return
    assert all(0 < value < float("inf") for kind in kinds for value in (*kind.lifetimes, *kind.pauses))


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "No such file"), (b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[" * 100_000, "JSON")],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "site.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SimulationError, match=text):
        read(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--backends", "2048"],
        ["--balancers", "1"],
        ["--slots", "10"],
        ["--detection", "1000"],
        ["--loss", "nan"],
        ["--scenarios", "none"],
        ["--scenarios", ""],
        ["--classes", "/nonexistent"],
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("simulate: ")


def test_a_table_of_bounded_size_remembers_for_as_long_as_it_has_room() -> None:
    site = Site()
    assert patience(site, site.open + 3600 * site.arrivals) == pytest.approx(3600, rel=0.01)
    assert patience(site, site.open / 2) < 60


def test_the_example_of_the_page_is_taken() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert [kind.name for kind in parse(json.loads(found[1]))] == ["web", "websockets"]


def test_the_page_has_every_picture_scheme_and_scenario() -> None:
    text = PAGE.read_text(encoding="utf-8")
    block = text.partition(BEGIN)[2].partition(END)[0]
    assert all(f"| {scheme} " in text for scheme in SCHEMES)
    assert all(f"- `{name}`: {scenario.title}" in block for name, scenario in SCENARIOS.items())
    pictures = re.findall(r"\]\((planning/\w+\.svg)\)", text)
    assert len(pictures) == 5
    assert all(PAGE.parent.joinpath(picture).is_file() for picture in pictures)
    assert len(list(PAGE.parent.joinpath("planning").iterdir())) == 5


def test_the_examples_of_the_page_are_arguments() -> None:
    found = re.findall(r'make simulate ARGS="(.*)"', PAGE.read_text(encoding="utf-8"))
    assert found
    for arguments in found:
        parser().parse_args(arguments.split())
