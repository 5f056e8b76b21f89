"""The classes of failure, held against every sentence that a probe can end with."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from appliance.health.probes.failure import NO_ANSWER, describe
from appliance.model import Outcome
from appliance.telemetry.failure import Failure, classify
from tests.unit.house.tree import ROOT

SENTENCES = [
    ("timeout (connect)", Failure.TIMEOUT),
    ("timeout (no echo reply)", Failure.TIMEOUT),
    ("connection refused", Failure.REFUSED),
    ("connection reset (TLS)", Failure.RESET),
    ("host unreachable", Failure.UNREACHABLE),
    ("connection closed without an answer", Failure.CLOSED),
    ("TLS: certificate has expired", Failure.CERTIFICATE),
    ("TLS: wrong version number", Failure.TLS),
    ("HTTP 503, expected 200", Failure.STATUS),
    ("HTTP 200, but the body does not contain 'timeout'", Failure.CONTENT),
    ("not valid HTTP: illegal status line", Failure.PROTOCOL),
    ("REFUSED, expected NOERROR", Failure.STATUS),
    ("NOT_SERVING, expected SERVING", Failure.STATUS),
    ("something that nobody thought of", Failure.OTHER),
]


@pytest.mark.parametrize(("words", "expected"), SENTENCES)
def test_classes(words: str, expected: Failure) -> None:
    assert classify(Outcome.WRONG, words) == expected


def test_what_went_well_has_none() -> None:
    assert classify(Outcome.OK, "HTTP 200, certificate expires in 3 days") == ""


def sentences() -> Iterator[str]:
    """Yield every literal sentence that a probe raises, with a word in place of what it fills in."""
    for path in sorted((ROOT / "appliance/health/probes").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ProbeFailed":
                words = node.args[1]
                if isinstance(words, ast.Constant):
                    yield str(words.value)
                elif isinstance(words, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "something" for part in words.values
                    )


def test_every_sentence_of_a_probe_has_a_class() -> None:
    found = [*sentences(), *NO_ANSWER.values(), *(describe(code, "TLS") for code in NO_ANSWER)]
    assert len(found) > 30
    assert [words for words in found if classify(Outcome.NONE, words) == Failure.OTHER] == []
