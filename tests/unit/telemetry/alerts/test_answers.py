"""What a webhook's answer means, and when to come again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telemetry.alerts.answers import LONGEST_WISH, Next, judge, wished
from tests.profile import PARSER_INPUTS

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC).timestamp()
ANSWERS = [
    (200, "ok", Next.DONE, ""),
    (202, "", Next.DONE, ""),
    (
        200,
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with",
        Next.AGAIN,
        "it answered 429",
    ),
    (
        200,
        "Webhook message delivery failed: returned HTTP error 413",
        Next.GIVEN_UP,
        "it answered 413; is the URL right",
    ),
    (429, "", Next.AGAIN, "it answered 429"),
    (503, "", Next.AGAIN, "it answered 503"),
    (408, "", Next.AGAIN, "it answered 408"),
    (302, "", Next.GIVEN_UP, "a redirection, which is not followed"),
    (404, "no_service", Next.GIVEN_UP, "it answered 404 (no_service)"),
    (403, "not found: /services/T00/SECRET", Next.GIVEN_UP, "it answered 403; is the URL right"),
    (400, "secretsecret" * 10, Next.GIVEN_UP, "it answered 400; is"),
]


@pytest.mark.parametrize(("status", "body", "then", "reason"), ANSWERS)
def test_answers(status: int, body: str, then: Next, reason: str) -> None:
    came = judge(status, body)
    assert came.next is then
    assert reason in came.reason
    assert "SECRET" not in came.reason
    assert (not came.reason) is (then is Next.DONE)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("999999999999999", LONGEST_WISH),
        ("Sun, 22 Nov 2026 08:01:30 GMT", 90.0),
        ("Sun, 22 Nov 2020 08:01:30 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("", 0.0),
        ("²", 0.0),
    ],
)
def test_how_long_a_server_asks_to_wait(header: str, seconds: float) -> None:
    assert wished(header, NOW) == seconds
    assert judge(429, "", header, NOW).wait == seconds


@given(st.text(max_size=60), st.integers(100, 999), st.text(max_size=80))
@settings(max_examples=PARSER_INPUTS)
def test_no_answer_is_too_odd(header: str, status: int, body: str) -> None:
    assert 0 <= judge(status, body, header, NOW).wait <= LONGEST_WISH
