"""Templates: what a real server makes of them, and what is installed over what."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import main
from appliance.telemetry import templates
from appliance.telemetry.fields import FIELDS
from appliance.telemetry.streams import Stream
from appliance.telemetry.templates import Kind, Resource, Step, decide, resources
from tests.lab.elasticsearch import Elasticsearch
from tests.lab.recorder import ELASTIC, Recorder, Reply, Request
from tests.telemetry import scenario

DIGESTS = {1: "5a3e02d2dba18ce3"}
"""What each version installs. Once it is released, a change of the fields or of a template is a new version."""


def test_a_change_is_a_new_version() -> None:
    assert templates.digest() == DIGESTS[templates.VERSION]
    assert max(DIGESTS) == templates.VERSION


def leaves(properties: dict[str, Any], before: str = "") -> dict[str, str]:
    """Return the fields of a mapping by their full names."""
    found: dict[str, str] = {}
    for name, value in properties.items():
        if "properties" in value:
            found |= leaves(value["properties"], f"{before}{name}.")
        else:
            found[before + name] = value["type"]
    return found


@pytest.mark.parametrize("stream", Stream)
def test_the_mapping_is_the_table_of_fields(stream: Stream) -> None:
    mapping = templates.mappings(stream)
    assert mapping["dynamic"] is False
    wanted = {field.name: str(field.type) for field in FIELDS if stream in field.streams}
    assert leaves(mapping["properties"]) == wanted
    assert len(wanted) > 30


def test_nothing_refers_to_what_comes_later() -> None:
    for lifecycle in (False, True):
        seen: set[str] = set()
        for resource in resources(lifecycle):
            assert set(resource.body.get("composed_of", ())) <= seen
            if name := resource.body.get("template", {}).get("settings", {}).get("index", {}).get("lifecycle"):
                assert name["name"] in seen
            seen.add(resource.name)
        assert any(resource.kind is Kind.POLICY for resource in resources(lifecycle)) is lifecycle


def there(resource: Resource, **meta: Any) -> Any:
    """Return what a server answers that has this resource with other marks."""
    body: Any = copy.deepcopy(dict(resource.body))
    if resource.kind is Kind.POLICY:
        body["policy"]["_meta"] |= meta
        return {resource.name: {"version": 3, **body}}
    body["_meta"] |= meta
    word = resource.kind[1:]
    return {f"{word}s": [{"name": resource.name, word: body}]}


OLD, NEW = {"version": templates.VERSION - 1, "digest": "x"}, {"version": templates.VERSION + 1, "digest": "x"}


@pytest.mark.parametrize(
    ("meta", "force", "step", "policy"),
    [
        ({}, False, Step.UNCHANGED, Step.UNCHANGED),
        ({}, True, Step.UPDATE, Step.UPDATE),
        (OLD, False, Step.UPDATE, Step.KEPT),
        (OLD, True, Step.UPDATE, Step.UPDATE),
        (NEW, False, Step.NEWER, Step.KEPT),
        (NEW, True, Step.UPDATE, Step.UPDATE),
        ({"version": "odd", "digest": None}, False, Step.UPDATE, Step.KEPT),
        ({"version": templates.VERSION, "digest": "edited"}, False, Step.UPDATE, Step.KEPT),
    ],
)
def test_what_is_written_over_what(meta: dict[str, Any], force: bool, step: Step, policy: Step) -> None:
    for resource in resources():
        assert decide(resource, None, force) is Step.CREATE
        expected = policy if resource.kind is Kind.POLICY else step
        assert decide(resource, there(resource, **meta), force) is expected, resource.path


@pytest.mark.parametrize("answer", [{}, [], {"index_templates": []}, {"component_templates": [{}]}, "no", 3])
def test_an_odd_answer_is_something_that_is_not_ours(answer: Any) -> None:
    for resource in resources():
        wanted = Step.KEPT if resource.kind is Kind.POLICY else Step.UPDATE
        assert decide(resource, answer) is wanted


def install(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["elasticsearch", "install", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_real_server_takes_it_and_the_documents(
    bare_elasticsearch: Elasticsearch, capsys: pytest.CaptureFixture[str], namespace: str
) -> None:
    elasticsearch = bare_elasticsearch
    url = ("--url", elasticsearch.url)
    status, text, _ = install(capsys, *url, "--dry-run")
    assert status == 0
    assert "component template vc5-probe@mappings: would be put\nPUT /_component_template/vc5-probe@mappings" in text
    assert text.endswith("Elasticsearch 8.6.2: nothing was changed, this was a dry run\n")
    assert elasticsearch.request("GET", "/_index_template/logs-vc5.probe")[0] == 404

    status, text, errors = install(capsys, *url)
    assert (status, errors) == (0, "")
    assert text.startswith("warning: this server has no lifecycle policies")
    assert text.endswith("Elasticsearch 8.6.2: ready for the log, version 1\n")
    status, text, _ = install(capsys, *url)
    assert (status, text.count("as it should be")) == (0, 5)
    assert text.endswith("Elasticsearch 8.6.2: nothing changed\n")

    # Its documents, two that it cannot take whole, and one that it cannot take at all.
    records = list(itertools.islice(scenario.records(namespace), 50))
    action, document = records[0].split(b"\n")[:2]
    odd = json.loads(document) | {"later": {"than": "us"}, "destination": {"ip": "203.0.113.10", "port": "https"}}
    worse = json.loads(document) | {"event": "probe"}
    bodies = [
        action.replace(b"4be2f09a1c37-0", name) + b"\n" + json.dumps(body).encode() + b"\n"
        for name, body in ((b"odd", odd), (b"worse", worse))
    ]
    answer = elasticsearch.asked("POST", "/_bulk", b"".join([*records, *bodies]))
    states = [item["create"]["status"] for item in answer["items"]]
    assert states == [201] * len(records) + [201, 400]
    elasticsearch.refresh()
    found = elasticsearch.search(f"logs-vc5.*-{namespace}", {"query": {"ids": {"values": ["odd"]}}})["hits"]["hits"]
    assert [hit["_ignored"] for hit in found] == [["destination.port"]]
    assert found[0]["_source"]["later"] == {"than": "us"}
    mapping = next(iter(elasticsearch.asked("GET", f"/logs-vc5.probe-{namespace}/_mapping").values()))["mappings"]
    assert "later" not in mapping["properties"]
    assert elasticsearch.count(f"logs-vc5.*-{namespace}") == len(records) + 1


def test_a_later_version_is_not_overwritten(
    bare_elasticsearch: Elasticsearch, capsys: pytest.CaptureFixture[str]
) -> None:
    elasticsearch = bare_elasticsearch
    url = ("--url", elasticsearch.url)
    assert install(capsys, *url)[2] == ""
    [resource] = [one for one in resources(False) if one.name == "vc5@settings"]
    later = {**resource.body, "version": 99, "_meta": {**resource.body["_meta"], "version": 99, "digest": "x"}}
    elasticsearch.asked("PUT", resource.path, later)

    def installed() -> Any:
        [found] = elasticsearch.asked("GET", resource.path)["component_templates"]
        return found["component_template"]["version"]

    status, text, _ = install(capsys, *url)
    assert status == 0
    assert "component template vc5@settings: of a later version than 1, left alone (--force writes ours)" in text
    assert installed() == 99
    status, text, _ = install(capsys, *url, "--force")
    assert (status, installed()) == (0, 1)
    assert "POST /logs-vc5.probe-default/_rollover" in text


HELLO = Reply(
    200, {"version": {"number": "7.17.29", "build_flavor": "default"}, "tagline": "You Know, for Search"}, ELASTIC
)
MISSING = {"error": {"type": "resource_not_found_exception", "reason": "no such thing"}, "status": 404}


def with_policies(request: Request) -> Reply:
    """A server with everything, on which nothing is installed; it wants to know who one is."""
    if request.headers.get("authorization") != "Basic dmM1OnMzY3JldA==":
        return Reply(401, {"error": {"type": "security_exception", "reason": "missing authentication"}}, ELASTIC)
    if request.path == "/":
        return HELLO
    return Reply(200, {"acknowledged": True}, ELASTIC) if request.method == "PUT" else Reply(404, MISSING, ELASTIC)


def test_where_there_are_policies_they_come_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("secret").write_text("s3cret\n")
    with Recorder(with_policies) as recorder:
        words = ("--url", recorder.url, "--user", "vc5", "--password-file", str(tmp_path / "secret"))
        status, text, errors = install(capsys, *words)
        assert (status, errors) == (0, "")
        assert "warning" not in text
        put = [request for request in recorder.asked if request.method == "PUT"]
        assert [request.path for request in put] == [resource.path for resource in resources()]
        assert [request.json() for request in put] == [resource.body for resource in resources()]
        policy = put[[request.path for request in put].index("/_ilm/policy/vc5-probe")].json()["policy"]
        assert policy["phases"]["delete"] == {"min_age": "30d", "actions": {"delete": {}}}

        status, text, errors = install(capsys, "--url", recorder.url)
        assert status == 1
        assert "with 401 (security_exception: missing authentication); check user and password" in errors
        monkeypatch.setenv("VC5_ELASTICSEARCH_PASSWORD", "wrong")
        status, text, errors = install(capsys, "--url", recorder.url, "--user", "vc5", "--json")
        assert status == 1
        assert "wrong" not in text + errors
    status, text, errors = install(capsys, "--url", recorder.url)
    assert status == 1
    assert "vc5: Elasticsearch cannot be reached: " in errors
    assert "Traceback" not in errors


def test_the_configuration_names_the_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its credentials go to its own servers and to no other."""
    seen: list[str | None] = []

    def note(request: Request) -> Reply:
        seen.append(request.headers.get("authorization"))
        return Reply(403, {"error": "no"}, ELASTIC) if request.path != "/" else HELLO

    with Recorder(note) as ours, Recorder(note) as other:
        section = f"{{addresses: ['{ours.url}'], username: vc5, password: s3cret}}"
        tmp_path.joinpath("c.yaml").write_text(f"logging: {{elasticsearch: {section}}}\n")
        config = ("--config", str(tmp_path / "c.yaml"))
        for words in (config, (*config, "--url", ours.url)):
            status, _, errors = install(capsys, *words)
            assert status == 1
            assert "with 403 (no); the user or API key lacks a privilege" in errors
        assert set(seen) == {"Basic dmM1OnMzY3JldA=="}
        seen.clear()
        install(capsys, *config, "--url", other.url)
        assert set(seen) == {None}


def test_another_server_takes_the_place_of_one_that_is_down(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Recorder(with_policies) as recorder:
        addresses = f"['http://127.0.0.1:1', 'http://127.0.0.1:2', '{recorder.url}']"
        section = f"{{addresses: {addresses}, username: vc5, password: s3cret}}"
        tmp_path.joinpath("c.yaml").write_text(f"logging: {{elasticsearch: {section}}}\n")
        status, text, errors = install(capsys, "--config", str(tmp_path / "c.yaml"), "--json")
    assert (status, errors) == (0, "")
    assert {step["step"] for step in json.loads(text)["steps"]} == {"create"}
