"""What became of each document of a bulk request, whatever the server answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.telemetry import bulk
from appliance.telemetry.back_off import FIRST, MOST, BackOff, delay
from appliance.telemetry.documents import Documents
from appliance.telemetry.record import records, sound
from tests.unit.telemetry.events import STORY

RECORDS = [Documents("0").event(event, number) for number, event in enumerate(STORY, 1)]

# status, type of the error, what becomes of the document
FATES = [
    (201, "", "taken"),
    (200, "", "taken"),
    (409, "version_conflict_engine_exception", "taken"),
    (400, "document_parsing_exception", "dead"),
    (400, "mapper_parsing_exception", "dead"),
    (400, "index_closed_exception", "again"),
    (413, "too_large", "dead"),
    (401, "security_exception", "again"),
    (403, "cluster_block_exception", "again"),
    (403, "security_exception", "again"),
    (404, "index_not_found_exception", "again"),
    (408, "timeout", "again"),
    (429, "es_rejected_execution_exception", "again"),
    (500, "anything", "again"),
    (503, "unavailable_shards_exception", "again"),
]


def answer(*items: tuple[int, str]) -> dict[str, Any]:
    """Return the answer of a server."""
    told = [
        {"create": {"status": status} | ({"error": {"type": kind, "reason": "why"}} if kind else {})}
        for status, kind in items
    ]
    return {"errors": any(kind for _, kind in items), "items": told}


@pytest.mark.parametrize(("status", "kind", "fate"), FATES)
def test_fates(status: int, kind: str, fate: str) -> None:
    judgement = bulk.judge(RECORDS[:2], answer((201, ""), (status, kind)))
    assert judgement.taken == (2 if fate == "taken" else 1)
    assert judgement.again == ((RECORDS[1],) if fate == "again" else ())
    assert [one.record for one in judgement.dead] == ([RECORDS[1]] if fate == "dead" else [])
    assert judgement.why == (f"status {status}, {kind}: why" if fate == "again" else "")
    if judgement.dead:
        assert judgement.dead[0].reason == f"{kind}: why"


@given(st.lists(st.sampled_from(FATES), min_size=1, max_size=7))
def test_every_document_has_one_fate(fates: list[tuple[int, str, str]]) -> None:
    sent = RECORDS[: len(fates)]
    judgement = bulk.judge(sent, answer(*((status, kind) for status, kind, _ in fates)))
    assert judgement.taken + len(judgement.again) + len(judgement.dead) == len(sent)
    assert judgement.again == tuple(one for one, fate in zip(sent, fates, strict=True) if fate[2] == "again")


NO_ANSWERS: list[Any] = [
    None,
    [],
    "<html>",
    {},
    {"errors": False},
    {"errors": "no", "items": []},
    {"errors": False, "items": [{"create": {"status": 201}}]},
    {"errors": True, "items": [{}, {}]},
    {"errors": True, "items": [{"create": {"status": "201"}}, {"create": {"status": 201}}]},
    {"errors": True, "items": [{"create": 201}, {"create": {"status": 201}}]},
    {"errors": True, "items": [{"create": {"status": 201, "error": "x"}}, {"create": {"status": 201}}]},
]


@pytest.mark.parametrize("told", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_what_is_no_answer_is_never_taken_for_one(told: Any) -> None:
    with pytest.raises(ValueError, match=r"answer|status"):
        bulk.judge(RECORDS[:2], told)


KEYS = st.sampled_from(["errors", "items", "create", "status", "error", "type"])
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
)


@given(ANYTHING)
def test_any_answer_is_judged_or_refused(told: Any) -> None:
    try:
        judgement = bulk.judge(RECORDS[:1], told)
    except ValueError:
        return
    assert judgement.taken + len(judgement.again) + len(judgement.dead) == 1


def test_records_are_found_again() -> None:
    assert records(b"".join(RECORDS)) == RECORDS
    assert [sound(record) for record in RECORDS] == [""] * len(RECORDS)


@given(st.lists(st.sampled_from([*RECORDS, *RECORDS[0].splitlines(keepends=True), b"\n", b"junk\n", b"{}\n"])))
def test_damage_is_told_apart(parts: list[bytes]) -> None:
    data = b"".join(parts)
    found = records(data)
    assert b"".join(found) == data
    good = b"".join(one for one in found if not sound(one))
    for line in good.splitlines():
        json.loads(line)
    assert good.count(b"\n") == 2 * sum(1 for one in found if not sound(one))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_waits_grow_and_are_bounded(chances: list[float]) -> None:
    given_ = iter(chances)
    back_off = BackOff(lambda: next(given_))
    for number, chance in enumerate(chances):
        whole = min(MOST, FIRST * 2**number)
        assert back_off.failed() == whole * (0.5 + 0.5 * chance)
    back_off.succeeded()
    assert BackOff(lambda: 1.0).failed() == FIRST
    assert delay(10_000, 1.0, 2.0, 300.0) == 300.0
