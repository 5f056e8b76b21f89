"""For how long nodes may think differently: the bound, and that docs/agreement.md has the same figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.health.agreement import ALONE, HEARD, confirmed, patience, untold
from appliance.health.quorum import FRESH, LATELY
from appliance.model import Check
from tests.unit.health.fellows import CHECK
from tests.unit.house import tree

PAGE = tree.ROOT / "docs" / "agreement.md"
CHECKS = [
    CHECK,
    replace(CHECK, interval=5.0),
    replace(CHECK, interval=10.0),
    replace(CHECK, interval=10.0, timeout=1.0),
    replace(CHECK, interval=30.0, fall=3),
    replace(CHECK, interval=0.5, timeout=0.5),
]


def row(check: Check) -> str:
    """The line of the page about a check."""
    settings = f"{check.interval:g} s | {check.timeout:g} s | {max(check.rise, check.fall)}"
    quick = replace(check, timeout=0.0)
    spans = [f"{untold(check):.1f} s", f"{HEARD + min(untold(check), confirmed(quick)):.1f} s"]
    return f"| {settings} | {' | '.join([*spans, f'{patience((check,)):.1f} s'])} |"


@pytest.mark.parametrize("check", CHECKS)
def test_the_page_has_the_figures(check: Check) -> None:
    assert row(check) in PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_constants() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for words in (f"{HEARD:g} s", f"{FRESH:g} s", f"{LATELY:g} s"):
        assert words in text


def test_the_most_patient_check_counts() -> None:
    slow = replace(CHECK, interval=10.0)
    assert patience((CHECK, slow)) == patience((slow,)) > patience((CHECK,))
    assert patience(()) == ALONE


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_told_is_never_later_than_what_is_not(check: Check) -> None:
    assert patience((check,)) <= HEARD + untold(check)
    assert patience((replace(check, interval=2 * check.interval),)) >= patience((check,))
