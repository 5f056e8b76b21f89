"""`vc5 dashboards install`: what Kibana is sent, and what becomes of what it answers. A stand-in records."""

from __future__ import annotations

import email
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import main
from tests.kibana.__main__ import SHIPPED
from tests.lab.recorder import Recorder, Reply, Request

OBJECTS = SHIPPED.read_bytes()
COUNT = len(OBJECTS.splitlines()) - 1


def install(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["dashboards", "install", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def uploaded(request: Request) -> bytes:
    """Return the file of a form, as the standard library's own reader of MIME finds it."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + request.body).get_payload()
    assert isinstance(form, list)
    [part] = form
    assert isinstance(part, email.message.Message)
    assert part.get_param("name", header="content-disposition") == "file"
    filename = part.get_filename()
    assert filename
    assert filename.endswith(".ndjson")  # Kibana takes no other
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


GOOD = Reply(200, {"success": True, "successCount": COUNT, "successResults": []})


@pytest.mark.parametrize(
    ("words", "base", "path"),
    [
        ((), "", "/api/saved_objects/_import?overwrite=true"),
        (("--space", "default"), "", "/api/saved_objects/_import?overwrite=true"),
        (("--space", "net/ops"), "/kibana/", "/kibana/s/net%2Fops/api/saved_objects/_import?overwrite=true"),
    ],
)
def test_kibana_gets_what_is_shipped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], base: str, path: str
) -> None:
    tmp_path.joinpath("key").write_text("id:key\n")
    with Recorder(lambda request: GOOD) as recorder:
        url = recorder.url + base
        status, text, errors = install(capsys, "--kibana", url, "--api-key-file", str(tmp_path / "key"), *words)
    assert (status, errors) == (0, "")
    assert text == (
        f"{COUNT} objects imported; the dashboards are vc5: overview, vc5: probe explorer, vc5: changes, vc5: routers\n"
    )
    [request] = recorder.asked
    assert (request.method, request.path) == ("POST", path)
    assert request.headers["kbn-xsrf"] == "true"
    assert request.headers["authorization"] == "ApiKey aWQ6a2V5"
    assert uploaded(request) == OBJECTS


def test_a_dry_run_sends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(lambda request: GOOD) as recorder:
        status, text, _ = install(capsys, "--kibana", recorder.url, "--dry-run")
        assert status == 0
        assert "dashboard vc5-overview: vc5: overview" in text
        assert f"{COUNT} objects would be imported" in text
        status, text, _ = install(capsys, "--kibana", recorder.url, "--dry-run", "--json")
        assert json.loads(text)["objects"]["search vc5-log"] == "Everything that changed, the newest first"
    assert recorder.asked == []


PARTLY = {
    "success": False,
    "successCount": 1,
    "errors": [{"type": "dashboard", "id": "vc5-overview", "error": {"type": "unsupported_type"}}] * 7,
}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            Reply(401, {"statusCode": 401, "error": "Unauthorized", "message": "who\x1b[2J?"}),
            "answers 401 (who [2J?); chec",
        ),
        (Reply(403, {"message": "Unable to bulk_create"}), "403 (Unable to bulk_create); the user or API key lacks"),
        (Reply(404, {"message": "Not Found"}), "404 (Not Found); is there such a space, and is this Kibana?"),
        (
            Reply(400, {"message": "Document has property which belongs to a more recent version"}),
            "a more recent version",
        ),
        (Reply(503, b"Kibana server is not ready yet"), "503 (no JSON); Kibana is not ready"),
        (Reply(302, b"", {"Location": "/login"}), "answers 302"),
        (Reply(200, b"<html>"), "what answers is no Kibana"),
        (Reply(200, {"hello": 1}), "what answers is no Kibana"),
        (Reply(200, PARTLY), "not imported everything: dashboard vc5-overview: unsupported_type; dash"),
        (Reply(200, {"success": False, "errors": [3, {"error": None}, {}]}), "not imported everything: 3; object : "),
        (Reply(200, {"success": False}), "not imported everything: it says no more"),
        (Reply(200, {"success": True}, cut=True), "Kibana cannot be reached"),
    ],
)
def test_an_answer_that_is_not_good(capsys: pytest.CaptureFixture[str], reply: Reply, words: str) -> None:
    with Recorder(lambda request: reply) as recorder:
        status, text, errors = install(capsys, "--kibana", recorder.url)
    assert (status, text) == (1, "")
    assert words in errors
    assert errors.startswith("vc5: ")
    assert "\x1b" not in errors


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = install(capsys, "--kibana", "http://127.0.0.1:1")
    assert status == 1
    assert "vc5: Kibana cannot be reached: [Errno 111] Connection refused" in errors


def test_tls(capsys: pytest.CaptureFixture[str], certificates: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    with Recorder(lambda request: GOOD, context) as recorder:
        status, _, errors = install(capsys, "--kibana", recorder.url)
        assert status == 1
        assert "certificate verify failed" in errors
        assert recorder.asked == []
        assert install(capsys, "--kibana", recorder.url, "--ca", str(certificates / "ca.pem"))[0] == 0
        status, _, errors = install(capsys, "--kibana", recorder.url, "--ca", str(certificates / "none.pem"))
        assert status == 1
        assert "none.pem: no certificates to vouch for the server" in errors


def test_a_password_comes_from_a_file_and_never_shows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def answer(request: Request) -> Reply:
        seen.append(request.headers.get("authorization"))
        return Reply(401, {"message": "no"})

    secret = tmp_path / "secret"
    secret.write_text("s3cret\nmore\n")
    with Recorder(answer) as recorder:
        who = ("--kibana", recorder.url, "--user", "vc5")
        for words in (("--password-file", str(secret)), ("--password-file", str(secret), "--json")):
            _, text, errors = install(capsys, *who, *words)
            assert "s3cret" not in text + errors
        monkeypatch.setenv("VC5_ELASTICSEARCH_PASSWORD", "s3cret")
        install(capsys, *who)
        assert seen == ["Basic dmM1OnMzY3JldA=="] * 3
        for content in ("", "\n", "a\x00b", "x" * 5000):
            secret.write_text(content)
            status, _, errors = install(capsys, *who, "--password-file", str(secret))
            assert status == 2
            assert "the first line must be the secret, printable and not empty" in errors
        status, _, errors = install(capsys, *who, "--password-file", str(tmp_path / "none"))
        assert status == 1
        assert "No such file" in errors
    assert len(seen) == 3
