"""Bad configurations, each with the position, severity and words of what is found: `golden/config/issues.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import config
from appliance.errors import ConfigError, Issue

TABLE = Path(__file__).resolve().parents[2] / "golden" / "config" / "issues.txt"


def found(text: str) -> tuple[Issue, ...]:
    """Return every issue of a text."""
    try:
        return config.load_text(text, "f").warnings
    except ConfigError as error:
        return error.issues


def service(servers: str = "[10.1.1.5]", policy: str = "{http: }", virtual: str = "203.0.113.1", more: str = "") -> str:
    """Return a file with one service; `virtual` is on line 3, `servers` 4, `policy` 5, `more` 6."""
    lines = [f"- virtual: {virtual}", f"  servers: {servers}", f"  policy: {policy}", f"  {more}"]
    return "\n".join(["interfaces: [eth0]", "services:", *lines]) + "\n"


def cases() -> dict[str, tuple[str, str]]:
    """Return the table: name to configuration and issues."""
    table = {}
    for block in TABLE.read_text().split("\n=== ")[1:]:
        name, _, rest = block.partition("\n")
        text, _, issues = rest.partition("\n---\n")
        table[name] = (text, issues.strip())
    return table


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_issues(name: str) -> None:
    text, expected = CASES[name]
    assert "\n".join(str(issue) for issue in found(text)) == expected


def test_codes_are_stable_words() -> None:
    codes = {issue.code for text, _ in CASES.values() for issue in found(text)}
    expected = (
        "address bfd block conflict dscp duplicate-interface duplicate-key duplicate-peer duplicate-prefix "
        "duplicate-server duplicate-service family loop missing nat need network next-hop obsolete overlap port range "
        "restart scheduler timeout ttl type unknown-key unknown-name unsupported value vip-is-backend vip-is-next-hop "
        "weak weights"
    )
    assert codes == set(expected.split())


def test_too_many_backends() -> None:
    servers = ", ".join(f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1025))
    (issue,) = found(service(servers=f"[{servers}]"))
    expected = "f:4:12: services[0].servers: 1,025 items; there may be at most 1,024"
    assert str(issue) == expected
    assert issue.code == "limit"


def test_errors_and_warnings_come_together_in_file_order() -> None:
    issues = found("unknown_port: pass\nrise: 0\n")
    assert [(issue.line, str(issue.severity)) for issue in issues] == [(1, "warning"), (2, "error")]


def test_a_secret_never_gets_into_a_message() -> None:
    text = "hash_seed: 8d969eef6ecad3c29a3a629280e686cg\n"
    assert "8d969" not in str(found(text)[0])
