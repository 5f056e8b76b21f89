"""`vc5 convert` as a user meets it: exit statuses, files, names to resolve, JSON."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cli import convert
from appliance.cli.main import main
from tests.profile import PARSER_INPUTS

COMPLETE = '{"services": {"203.0.113.1:80:tcp": {"need": 1, "reals": {"10.1.1.1:80": {"checks": []}}}}}'
NAMED = "reals: {web: [web.example]}\nservices: [{addr: 203.0.113.1, port: 80, real: web}]\n"
REFUSED = "rhi: {}\nservices: [{virtual: 203.0.113.1, servers: [2001:db8::1], policy: {80: }}]\n"
TODAY = "interfaces: [eth0]\n"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return where the tests put the old file."""
    return tmp_path / "old"


def test_a_complete_result_is_0_and_passes_the_check(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old.write_text(COMPLETE)
    new = tmp_path / "config.yaml"
    assert main(["convert", str(old), "-o", str(new), "--interface", "bond0", "--interface", "eth1"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == ""
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert "interfaces: [bond0, eth1]" in new.read_text()
    assert main(["check", str(new)]) == 0
    capsys.readouterr()
    assert main(["convert", str(old), "--interface", "bond0", "--interface", "eth1"]) == 0
    assert capsys.readouterr().out == new.read_text()


def test_guesses_are_told_on_standard_error(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(COMPLETE)
    assert main(["convert", str(old)]) == 0
    printed = capsys.readouterr()
    assert "# guessed:" in printed.out
    assert printed.err.startswith(f"{old}:1:1: warning: interfaces: ")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (NAMED, 1, ":1:15: reals.web[0]: the host name 'web.example' needs an address"),
        (REFUSED, 1, "<result>:"),
        (TODAY, 78, ":1:1: this is today's dialect already"),
        ("]", 78, ":1:1: not valid YAML"),
    ],
)
def test_exit_statuses(old: Path, capsys: pytest.CaptureFixture[str], text: str, status: int, said: str) -> None:
    old.write_text(text)
    assert main(["convert", str(old)]) == status
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out == "") is (status == 78)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "none")]) == 78
    assert "does not exist" in capsys.readouterr().err
    assert main(["convert"]) == 2


def test_nothing_is_overwritten(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(COMPLETE)
    assert main(["convert", str(old), "-o", str(old)]) == 1
    assert "exists, and is not overwritten" in capsys.readouterr().err
    assert old.read_text() == COMPLETE
    assert main(["convert", str(old), "-o", str(tmp_path / "none" / "new")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_the_resolver_is_asked_only_on_demand(
    old: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def resolve(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("10.1.1.7",)

    monkeypatch.setattr(convert, "resolve", resolve)
    old.write_text(NAMED)
    assert main(["convert", str(old)]) == 1
    assert asked == []
    capsys.readouterr()
    assert main(["convert", str(old), "--resolve"]) == 0
    assert asked == ["web.example"]
    assert "- 10.1.1.7\n" in capsys.readouterr().out


def test_the_resolver_of_this_host() -> None:
    assert convert.resolve("localhost") == ("127.0.0.1",)
    assert convert.resolve("no-such-name.invalid") == ()
    assert convert.resolve("a" * 300) == ()


def test_json(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(NAMED)
    assert main(["convert", str(old), "--json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert (body["dialect"], body["complete"], body["valid"]) == ("oldest", False, True)
    assert body["text"].startswith("# Converted")
    assert [issue["code"] for issue in body["issues"] if issue["severity"] == "error"] == ["not-converted"]
    old.write_text(TODAY)
    assert main(["convert", str(old), "--json"]) == 78
    assert [issue["code"] for issue in json.loads(capsys.readouterr().out)["issues"]] == ["dialect"]


def test_what_the_check_says_of_secrets_is_not_told(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "s3cr3t s3cr3t"
    old.write_text(json.dumps({"services": {}, "logging": {"slack": secret, "teams": secret, "alert": 3}}))
    main(["convert", str(old)])
    printed = capsys.readouterr()
    assert secret in printed.out
    assert secret not in printed.err


@settings(
    max_examples=PARSER_INPUTS // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.one_of(st.binary(max_size=80), st.sampled_from([COMPLETE, NAMED, REFUSED]).map(lambda t: t.encode("utf-16"))))
def test_any_bytes(old: Path, data: bytes) -> None:
    old.write_bytes(data)
    assert main(["convert", str(old)]) in (0, 1, 78)
