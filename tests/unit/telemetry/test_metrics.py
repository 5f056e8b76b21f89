"""The table of metrics keeps Prometheus's rules, and the classes of failures fit what probes say."""

from __future__ import annotations

import re

import pytest

from appliance.dataplane.enums import Reason
from appliance.model import Outcome
from appliance.telemetry.compat import _REASONS, COMPAT
from appliance.telemetry.failures import FAILURES, failure
from appliance.telemetry.fields import FIELDS
from appliance.telemetry.metrics import BUCKETS, METRICS, OUTLETS, Metric, MetricType
from appliance.telemetry.readings import BOUNDS

EVERY = (*METRICS, *COMPAT)


@pytest.mark.parametrize("one", METRICS, ids=lambda one: one.name)
def test_names_follow_the_conventions(one: Metric) -> None:
    assert re.fullmatch("vc5_[a-z]+(_[a-z]+)*", one.name)
    assert one.name.endswith("_total") == (one.type is MetricType.COUNTER)
    assert one.name.endswith("_info") == (one.type is MetricType.INFO)
    assert not re.search("_(ms|ns|octets|milliseconds|kb|count|sum|bucket)(_|$)", one.name)
    assert not set(one.labels) & {"job", "instance", "le", "client", "source"}


def test_every_name_is_given_once_and_every_help_says_something() -> None:
    names = [one.name for one in EVERY]
    assert len(set(names)) == len(names)
    helps = [one.help for one in METRICS]
    assert len(set(helps)) == len(helps)
    assert [one.name for one in EVERY if not re.fullmatch(r"[A-Z][^\n]{10,118}\.", one.help)] == []
    # As OpenMetrics knows them: without the suffixes.
    families = [re.sub("_(total|info)$", "", one.name) if one.type != "unknown" else one.name for one in EVERY]
    assert len(set(families)) == len(families)


def test_what_others_count_is_in_the_table() -> None:
    assert {one.short for one in OUTLETS} == {
        *("spool_bytes", "spool_dropped_total", "shipped_documents_total", "ship_retries_total"),
        *("dead_letter_documents_total", "ship_lag_seconds", "alerts_sent_total", "alerts_failed_total"),
    }


def test_bounds_are_written_as_the_library_writes_them() -> None:
    from prometheus_client.utils import floatToGoString

    assert list(BOUNDS) == [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]  # type: ignore[no-untyped-call]


def test_earlier_names_are_of_reasons_that_there_are() -> None:
    known = {str(reason) for reason in Reason}
    assert {reason for reasons in _REASONS.values() for reason in reasons} <= known


def test_the_log_and_the_metrics_have_the_same_classes() -> None:
    [field] = [field for field in FIELDS if field.name == "error.type"]
    classes = field.about.partition(": ")[2].removesuffix(".").split(", ")
    assert set(classes) == set(FAILURES)


TEXTS = [
    ("connection refused", "refused"),
    ("connection reset", "reset"),
    ("connection reset (response)", "reset"),
    ("the server reset the call: CANCEL", "reset"),
    ("timeout", "timeout"),
    ("timeout (connect)", "timeout"),
    ("timeout (TLS handshake)", "timeout"),
    ("timeout (no echo reply)", "timeout"),
    ("host unreachable", "unreachable"),
    ("network unreachable", "unreachable"),
    ("protocol unreachable", "unreachable"),
    ("host down", "unreachable"),
    ("prohibited", "unreachable"),
    ("HTTP 503, expected 200, 204", "status"),
    ("NXDOMAIN, expected NOERROR", "status"),
    ("RCODE12, expected NOERROR", "status"),
    ("NOT_SERVING, expected SERVING", "status"),
    ("status 7, expected SERVING", "status"),
    ("gRPC UNAVAILABLE: timeout", "status"),
    ("HTTP 200, but the body does not contain 'TLS: certificate'", "content"),
    ("HTTP 200, but the body has no match for 'x'", "content"),
    ("the answer begins with 'timeout', expected 'SERVING'", "content"),
    ("packets of full size (MSS 1460) do not arrive; an MSS of 1360 would", "content"),
    ("TLS: certificate refused: certificate has expired", "certificate"),
    ("TLS: sslv3 alert bad certificate", "certificate"),
    ("TLS: wrong version number", "tls"),
    ("TLS: the server does not offer HTTP/2 (ALPN)", "tls"),
    ("the name a..b cannot be used for TLS: label empty", "tls"),
    ("connection closed without an answer", "closed"),
    ("connection closed (TLS handshake)", "closed"),
    ("the server ended the connection: NO_ERROR", "closed"),
    ("not valid HTTP: illegal status line", "protocol"),
    ("not valid DNS: 3 bytes are no DNS message", "protocol"),
    ("not gRPC: a message of more than 4096 bytes", "protocol"),
    ("not a health answer: a number is cut short", "protocol"),
    ("HTTP 404, and not gRPC", "protocol"),
    ("no final response", "protocol"),
    ("more than 1048576 bytes without an end (response)", "protocol"),
    ("protocol error", "protocol"),
    ("path 203.0.113.10: timeout", "timeout"),
    ("HTTP 200 at 203.0.113.9, path 203.0.113.10: connection refused", "refused"),
    ("something that nobody has thought of", "other"),
]


@pytest.mark.parametrize(("text", "name"), TEXTS)
def test_classes_of_failures(text: str, name: str) -> None:
    assert failure(Outcome.WRONG, text) == failure(Outcome.NONE, text) == name
    assert failure(Outcome.OK, text) == ""


def test_every_class_is_met() -> None:
    assert {name for _, name in TEXTS} == set(FAILURES)
