"""The door to Elasticsearch is the same with the client of Debian 12 and with that of Debian 13.

Requests are made by `elastic_driver.py` in a process of its own, which has one client or the other.
"""

from __future__ import annotations

import gzip
import json
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ShipError
from appliance.model_logging import Elasticsearch as Settings
from appliance.telemetry.elastic import Answer, Elastic, refusal
from appliance.telemetry.identity import authorization, shown
from tests.lab.backend import REPOSITORY
from tests.lab.elasticsearch import Elasticsearch
from tests.lab.recorder import ELASTIC, Recorder, Reply, Request

OTHER = REPOSITORY / "build/elasticsearch-client/bin/python"
CLIENTS = {"7.17": Path(sys.executable), "8.17": OTHER}
HELLO = Reply(200, {"version": {"number": "8.6.2"}, "tagline": "You Know, for Search"}, ELASTIC)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not CLIENTS[name].exists():
        pytest.fail(f"{CLIENTS[name]} is missing: sh tests/setup.sh elasticsearch", pytrace=False)
    return name


def drive(client: str, settings: dict[str, Any], *steps: list[Any], timeout: float = 30) -> list[Any]:
    """Return what came of each step; warnings are errors in there."""
    order = json.dumps({"settings": settings, "steps": steps, "timeout": timeout})
    command = [
        str(CLIENTS[client]),
        "-W",
        "error",
        "-W",
        "ignore::ResourceWarning",
        "-m",
        "tests.telemetry.elastic_driver",
    ]
    done = subprocess.run(command, input=order, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    version, *results = (json.loads(line) for line in done.stdout.splitlines())
    assert version.startswith(client), f"this machine has client {version}"
    return results


def line(index: str, name: str) -> str:
    action = json.dumps({"create": {"_index": index, "_id": name}})
    return action + '\n{"@timestamp":"2026-11-22T08:00:00.123456Z","letters":"\\u0000 \\u00e4"}\n'


def test_a_real_server(elasticsearch: Elasticsearch, client: str) -> None:
    index = f"door-{client}"
    settings = {"addresses": ["http://127.0.0.1:1", elasticsearch.url]}
    # One of the two is not there: it is left alone after it did not answer once.
    first, *_ = results = drive(client, settings, *(["perform", "GET", "/"],) * 4)
    assert [isinstance(result, dict) for result in results].count(True) <= 1
    assert isinstance(first, list) or first["retryable"]
    assert [result[0] for result in results[-2:]] == [200, 200]
    settings = {"addresses": [elasticsearch.url + "/"]}
    bulk, again, found, nothing, head, bad, count, blocked, refused = drive(
        client,
        settings,
        ["bulk", line(index, "a") + line(index, "b")],
        ["bulk", line(index, "b") + line(index, "c")],
        ["perform", "HEAD", f"/{index}"],
        ["perform", "GET", f"/{index}/_doc/none"],
        ["perform", "HEAD", "/nothing"],
        ["demand", "PUT", f"/{index}/_settings?preserve_existing=false", {"nonsense": 1}],
        ["perform", "GET", f"/{index}/_count?q=*:*&ignore_unavailable=true"],
        ["demand", "PUT", f"/{index}/_settings", {"index": {"blocks.write": True}}],
        ["bulk", line(index, "d")],
    )
    assert bulk == [200, {"errors": False, "items": [{"create": {"status": 201}}] * 2}]
    assert [item["create"]["status"] for item in again[1]["items"]] == [409, 201]
    assert (found[0], head[0], nothing[0]) == (200, 404, 404)
    assert bad["error"].startswith(
        f"Elasticsearch answers PUT /{index}/_settings?preserve_existing=false with 400 (ill"
    )
    assert "nonsense" in bad["error"]
    assert not bad["retryable"]
    assert count[0] == 200
    assert blocked == {"acknowledged": True}
    assert refused[1]["items"][0]["create"]["status"] == 403


def test_a_body_is_sent_as_it_is_and_compressed(client: str) -> None:
    def answer(request: Request) -> Reply:
        return HELLO if request.method == "GET" else Reply(200, {"errors": False, "items": []}, ELASTIC)

    body = "".join(line("x", str(number)) for number in range(500))
    with Recorder(answer) as recorder:
        settings = {"addresses": [recorder.url + "/prefix"], "api_key": "id:key"}
        assert drive(client, settings, ["bulk", body]) == [[200, {"errors": False, "items": []}]]
        [request] = [request for request in recorder.asked if request.method == "POST"]
    assert request.path.startswith("/prefix/_bulk?filter_path=")
    assert request.headers["authorization"] == "ApiKey aWQ6a2V5"
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == "application/json"
    assert "compatible-with" not in str(request.headers)
    assert gzip.decompress(request.body) == body.encode()
    assert len(request.body) < len(body) / 10


SAYS_NO: list[tuple[str, Reply, str, bool]] = [
    (
        "busy",
        Reply(429, {"error": {"type": "es_rejected_execution_exception", "reason": "full"}}, ELASTIC),
        "full",
        True,
    ),
    ("broken", Reply(503, b"<html>", {**ELASTIC, "Content-Type": "text/html"}), "503", True),
    ("unknown", Reply(401, {"error": {"type": "security_exception", "reason": "who?"}}, ELASTIC), "check user", False),
    ("forbidden", Reply(403, {"error": "no"}, ELASTIC), "lacks a privilege", False),
    ("cut", Reply(200, {"errors": False}, ELASTIC, cut=True), "cannot be reached", True),
    ("no JSON", Reply(200, b"{", ELASTIC), "what is no JSON", True),
    ("a page", Reply(200, b"<html>", {**ELASTIC, "Content-Type": "text/html"}), "is something between", True),
]


def test_a_server_that_says_no(client: str) -> None:
    replies = {f"/{number}": row[1] for number, row in enumerate(SAYS_NO)} | {"/": HELLO}
    with Recorder(lambda request: replies[request.path]) as recorder:
        settings = {"addresses": [recorder.url], "username": "vc5", "password": "s3cret"}
        steps = [["demand", "POST", f"/{number}", {}] for number in range(len(SAYS_NO))]
        results = drive(client, settings, *steps)
    for result, (name, _, words, retryable) in zip(results, SAYS_NO, strict=True):
        assert words in result["error"], name
        assert result["retryable"] is retryable, name
        assert "s3cret" not in result["error"]


def test_nobody_answers(client: str) -> None:
    [gone] = drive(client, {"addresses": ["http://127.0.0.1:1"]}, ["perform", "GET", "/"])
    assert gone["retryable"]
    assert gone["error"].startswith("Elasticsearch cannot be reached: Cannot connect to host 127.0.0.1:1")


def test_a_server_that_says_nothing(client: str) -> None:
    over = threading.Event()

    def answer(request: Request) -> Reply:
        if request.path != "/":
            over.wait(30)
        return HELLO

    with Recorder(answer) as recorder:
        [result] = drive(client, {"addresses": [recorder.url]}, ["perform", "GET", "/_search"], timeout=0.5)
        over.set()
    assert result == {"error": "Elasticsearch has not answered within 0.5 s", "retryable": True, "status": 0}


def test_tls_both_ways(client: str, certificates: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    trusted = {"ca": str(certificates / "ca.pem")}
    shown_too = {"certificate": str(certificates / "client.pem"), "key": str(certificates / "client.key")}
    with Recorder({"GET /": HELLO}, context) as recorder:
        address = {"addresses": [recorder.url]}
        [good] = drive(client, {**address, **trusted, **shown_too}, ["perform", "GET", "/"])
        assert good[0] == 200
        asked = len(recorder.asked)
        for settings in (address, {**address, **shown_too}, {**address, **trusted}):
            [bad] = drive(client, settings, ["perform", "GET", "/"])
            assert bad["error"].startswith(("Elasticsearch cannot be reached", "no TLS with Elasticsearch"))
        assert len(recorder.asked) == asked


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(), "logging.elasticsearch.addresses is empty"),
        (Settings(addresses=("https://h",), ca="/nothing.pem"), "/nothing.pem: no certificates to vouch for"),
        (Settings(addresses=("https://h",), certificate="/c.pem", key="/k"), "/c.pem and /k: no certificate to show"),
    ],
)
def test_settings_that_cannot_work(settings: Settings, words: str) -> None:
    with pytest.raises(ShipError, match=words) as caught:
        Elastic(settings)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        (Settings(), ""),
        (Settings(username="vc5", password="s3cret"), "Basic dmM1OnMzY3JldA=="),
        (Settings(addresses=("https://vc5:s%33cret@h:9200",)), "Basic dmM1OnMzY3JldA=="),
        (Settings(username="vc5", password="x", api_key="id:key"), "ApiKey aWQ6a2V5"),
        (Settings(api_key="aWQ6a2V5"), "ApiKey aWQ6a2V5"),
    ],
)
def test_who_we_are(settings: Settings, header: str) -> None:
    assert authorization(settings) == header


def test_what_a_server_says_is_one_printable_line() -> None:
    assert shown("a\x1b[2J\n\tb\u202e") == "a [2J b"
    assert len(shown("x" * 10_000)) < 600
    error = refusal(Answer(400, {"error": {"type": "t", "reason": "r", "caused_by": {"reason": "why"}}}), "GET /")
    assert str(error) == "Elasticsearch answers GET / with 400 (t: r: why)"
    assert refusal(Answer(200, None), "GET /") is None
