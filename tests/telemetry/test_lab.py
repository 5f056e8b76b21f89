"""The laboratory's own Elasticsearch is what its description says."""

from __future__ import annotations

import json

import pytest

from tests.lab.elasticsearch import Elasticsearch
from tests.lab.namespace import LabError


def document(stream: str, name: str) -> bytes:
    head = json.dumps({"create": {"_index": stream, "_id": name}})
    body = json.dumps({"@timestamp": "2026-11-22T08:00:00.123456Z", "event": {"id": name}})
    return f"{head}\n{body}\n".encode()


@pytest.fixture(scope="module")
def stream(elasticsearch: Elasticsearch) -> str:
    properties = {"@timestamp": {"type": "date"}, "event": {"properties": {"id": {"type": "keyword"}}}}
    elasticsearch.asked(
        "PUT",
        "/_index_template/lab",
        {
            "index_patterns": ["logs-lab-*"],
            "priority": 200,
            "data_stream": {},
            "template": {"mappings": {"properties": properties}},
        },
    )
    return "logs-lab-default"


def test_what_is_stored_survives_the_end_of_the_node(elasticsearch: Elasticsearch, stream: str) -> None:
    url = elasticsearch.url
    assert elasticsearch.count(stream) == 0
    status, answer = elasticsearch.request("POST", "/_bulk", document(stream, "a") + document(stream, "b"))
    assert (status, answer["errors"]) == (200, False)
    elasticsearch.refresh()
    assert elasticsearch.ids(stream) == ["a", "b"]
    elasticsearch.kill()
    with pytest.raises(ConnectionRefusedError):
        elasticsearch.request("GET", "/")
    elasticsearch.start()
    assert elasticsearch.url == url
    assert elasticsearch.count(stream) == 2
    again = elasticsearch.asked("POST", "/_bulk", document(stream, "b"))["items"][0]["create"]
    assert again["status"] == 409


def test_a_bad_request_is_told(elasticsearch: Elasticsearch) -> None:
    with pytest.raises(LabError, match="answers GET /_nothing with 400"):
        elasticsearch.asked("GET", "/_nothing")


def test_a_node_that_cannot_start_says_why() -> None:
    with pytest.raises(LabError, match="unknown setting"), Elasticsearch("no.such.setting=1"):
        raise AssertionError
