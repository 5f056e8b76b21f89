"""Single matters of conversion, as tables: what stands in the old file, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.config.convert import Converted, Dialect, convert_text
from appliance.config.convert.checks import codes_text
from appliance.errors import ConfigError, Severity

TODAY = "services: [{virtual: 203.0.113.1, servers: [10.1.1.1], policy: {http: }}]"
SERVICE = "virtual: 203.0.113.1, servers: [10.1.1.1]"
OLD_SERVICE = "addr: 203.0.113.1, port: 80, real: web"
SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("reals: {web: [10.1.1.1]}", Dialect.OLDEST),
        (f"services: [{{{OLD_SERVICE}}}]", Dialect.OLDEST),
        ("rhi: {as_number: 65000}", Dialect.MIDDLE),
        (f"services: [{{{SERVICE}}}]", Dialect.MIDDLE),
        ("services: [{address: 203.0.113.1, servers: [10.1.1.1], policy: {http: }}]", Dialect.MIDDLE),
        ("services: [{virtual: 203.0.113.1, servers: {10.1.1.1: one}, policy: {http: }}]", Dialect.MIDDLE),
        (f"services: [{{{SERVICE}, policy: {{dns: }}}}]", Dialect.MIDDLE),
        (f"services: [{{{SERVICE}, policy: {{http: {{checks: [{{type: http, expt: 301}}]}}}}}}]", Dialect.MIDDLE),
        (
            f"policy: {{p: {{domain: {{checks: [{{type: dnstcp}}]}}}}}}\nservices: [{{{SERVICE}, policy: p}}]",
            Dialect.MIDDLE,
        ),
        ('{"services": {}}', Dialect.DAEMON),
        ('{"bgp": {"10.1.1.1": {"as_number": 65000}}}', Dialect.DAEMON),
        ('{"bgp": {"10.1.1.1": null}, "services": null}', Dialect.DAEMON),
    ],
)
def test_the_dialect_is_recognised_by_its_keys(text: str, dialect: Dialect) -> None:
    assert convert_text(text, "f").dialect is dialect


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        ("# nothing", 1, "the file is empty"),
        ("just a text", 1, "not a configuration of any dialect"),
        ("- a\n- b", 1, "not a configuration of any dialect"),
        ("{}", 1, "the map is empty"),
        ("\nfrontend: x", 2, "no dialect has a setting 'frontend'"),
        (TODAY, 1, "this is today's dialect already"),
        ("bgp: {as_number: 65000, peers: [10.1.1.1]}", 1, "this is today's dialect already"),
        ("services: [}", 1, "not valid YAML"),
        ("rhi: {a: 1}\nrhi: {b: 1}", 2, "'rhi' is given twice"),
        ('{"services": {"a": 1,\n "a": 2}}', 2, "'a' is given twice"),
    ],
)
def test_what_is_none_of_them_is_refused_in_place(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_text(text, "f")
    (issue,) = caught.value.issues
    assert message in issue.message
    assert issue.line == line
    assert issue.hint


def middle(service: str, top: str = "rhi: {}") -> Converted:
    return convert_text(f"{top}\nservices: [{{{service}}}]", "f")


def lines(result: Converted) -> list[str]:
    """Return the lines without comments, and without the blanks and dashes before them."""
    return [line.lstrip(" -") for line in result.text.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (f"{SERVICE}", ["policy:", "http:", "https:"]),
        (f"{SERVICE}, policy: {{dns: , dns/tcp: }}", ["policy:", "53/udp:", "53/tcp:"]),
        (f"{SERVICE}, policy: {{dns*: }}", ["policy:", "53/udp*:"]),
        (f"{SERVICE}, policy: {{http: 80}}", ["policy:", "http:"]),
        (f"{SERVICE}, policy: {{http: 8080}}", ["http:", "bind: 8080", "forward: nat"]),
        (f"{SERVICE}, policy: {{http: {{checks: []}}}}", ["policy:", "http:"]),
        (f"{SERVICE}, leastconns: true", ["scheduler: least-connections"]),
        (f"{SERVICE}, sticky: yes", ["sticky: false"]),
        (f"{SERVICE}, path: alive, host: on, expt: 301", ['host: "on"', "path: /alive", "expect: 301"]),
        (f"{SERVICE}, description: '1:30'", ['description: "1:30"']),
        (f"{SERVICE}, name: 7", ['name: "7"']),
        (
            f"{SERVICE}, policy: {{80: {{checks: [{{type: http, port: 80, expt: 200 201 202}}, {{type: tcp}}]}}}}",
            ["80:", 'checks: [{type: http, expect: "200-202"}, {type: tcp}]'],
        ),
    ],
)
def test_services_of_2022(service: str, expected: list[str]) -> None:
    found = lines(middle(service))
    assert [line for line in expected if line not in found] == []


@pytest.mark.parametrize(
    ("service", "missing"),
    [
        (f"{SERVICE}, policy: nowhere", "there is no policy 'nowhere'"),
        ("virtual: 203.0.113.1, servers: nowhere", "there is no list 'nowhere'"),
        ("virtual: a sentence by mistake, servers: [10.1.1.1]", "must be an IPv4 or IPv6 address"),
        ("servers: [10.1.1.1]", "a service without virtual"),
        (f"{SERVICE}, policy: {{gopher: }}", "must be a port"),
        (f"{SERVICE}, policy: {{http: {{checks: [{{type: ping}}]}}}}", "the check's type is 'ping'"),
        ("virtual: 203.0.113.1, servers: [10.1.1.1, web.example.com]", "'web.example.com' needs an address"),
        ("addr: 203.0.113.1, port: 80, real: [web, nowhere]", "`reals` has no group 'nowhere'"),
    ],
)
def test_what_is_missing_is_an_error_and_a_comment(service: str, missing: str) -> None:
    result = middle(service)
    assert not result.complete
    assert any(missing in issue.message and issue.severity is Severity.ERROR for issue in result.issues)
    assert "NOT CONVERTED" in result.text
    assert missing in " ".join(result.text.replace("#", " ").split())


def test_host_names_are_asked_for_and_filled_in() -> None:
    text = "reals: {web: [a.example, b.example*, a.example]}\nservices: [{addr: 203.0.113.1, port: 80, real: web}]"
    asked = convert_text(text, "f")
    assert asked.names == ("a.example", "b.example")
    assert not asked.complete
    known = {"a.example": ("10.1.1.1",), "b.example": ("10.1.1.2", "10.1.1.3", "not an address")}
    answered = convert_text(text, "f", known=known)
    assert answered.complete
    found = [line for line in lines(answered) if line.startswith("10.")]
    assert found == ["10.1.1.2*", "10.1.1.3*", "10.1.1.1"]


def test_all_checks_of_2021_apply_to_all_ports() -> None:
    service = "addr: 203.0.113.1, port: [80, 443], real: web, checks: [{type: http}, {type: tcp, port: 443}]"
    result = convert_text(f"reals: {{web: [10.1.1.1]}}\nservices: [{{{service}}}]", "f")
    found = lines(result)
    assert "checks: [{type: http}, {type: tcp, port: 443}]" in found
    assert "checks: [{type: http, port: 80}, {type: tcp}]" in found


def daemon(**services: Any) -> Converted:
    return convert_text(json.dumps({"services": services}), "f")


def real(*checks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"checks": list(checks), "disabled": False, "weight": 1, **more}


@pytest.mark.parametrize(
    ("key", "reals", "expected"),
    [
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real({"type": "http"})}, ["http:"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1": real({"type": "http"})}, ["http:"]),
        ("203.0.113.1:81:tcp", {"10.1.1.1:81": real({"type": "http"})}, ["81/http:"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real({"type": "http", "method": True})}, ["http:", "method: HEAD"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real({"type": "http", "expect": [0]})}, ["http:", "expect: any"]),
        ("203.0.113.1:25:tcp", {"10.1.1.1:25": real({"type": "syn"})}, ["smtp:"]),
        ("203.0.113.1:25:tcp", {"10.1.1.1:25": real()}, ["25*:"]),
        ("203.0.113.1:25:udp", {"10.1.1.1:25": real()}, ["25/udp:"]),
        ("203.0.113.1:53:udp", {"10.1.1.1:53": real({"type": "dns"})}, ["domain/udp:"]),
        ("203.0.113.1:53:tcp", {"10.1.1.1:53": real({"type": "dns", "method": "TCP"})}, ["domain/tcp:"]),
        ("203.0.113.1:53:tcp", {"10.1.1.1:53": real({"type": "dns"})}, ["checks: [{type: dns, method: udp}]"]),
        ("203.0.113.1:54:udp", {"10.1.1.1:54": real({"type": "dns"})}, ["54/udp:", "checks: [{type: dns}]"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:81": real({"type": "syn"})}, ["80:", "bind: 81", "forward: nat"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real(disabled=True, weight=0)}, ["servers: [10.1.1.1*]"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real(weight=0)}, ["servers: [10.1.1.1 weight=0]"]),
        ("203.0.113.1:80:tcp", {"10.1.1.1:80": real(weight=7)}, ["servers: [10.1.1.1]"]),
        ("2001:db8::1:80:tcp", {"2001:db8::2:80": real()}, ['virtual: "2001:db8::1"', 'servers: ["2001:db8::2"]']),
    ],
)
def test_services_of_the_daemon(key: str, reals: dict[str, Any], expected: list[str]) -> None:
    result = daemon(**{key: {"need": 1, "reals": reals}})
    found = lines(result)
    assert result.complete
    assert [line for line in expected if line not in found] == []


def test_services_that_say_the_same_share_an_entry() -> None:
    web = {"need": 2, "sticky": True, "reals": {"10.1.1.1:80": real({"type": "http"})}}
    tls = {"need": 1, "sticky": True, "reals": {"10.1.1.1:443": real({"type": "https"})}}
    result = daemon(**{f"203.0.113.{last}:{port}:tcp": one for last in (1, 2) for port, one in ((80, web), (443, tls))})
    assert result.text.count("virtual:") == 1
    expected = ["virtual: [203.0.113.1, 203.0.113.2]", "sticky: true", "need: 2"]
    assert [line for line in expected if line not in lines(result)] == []


def test_a_server_with_other_checks_or_another_port_is_told_apart() -> None:
    key = "203.0.113.1:80:tcp"
    other = daemon(**{key: {"need": 1, "reals": {"10.1.1.1:80": real({"type": "syn"}), "10.1.1.2:80": real()}}})
    assert not other.complete
    assert "all servers of a service get the checks of the first" in other.text
    port = daemon(**{key: {"need": 1, "reals": {"10.1.1.1:80": real(), "10.1.1.2:81": real()}}})
    assert not port.complete
    assert "have one port, 80 here" in port.text


def test_peers_with_the_same_parameters_share_a_group() -> None:
    one, two = {"as_number": 65000}, {"as_number": 65001, "next_hop_6": "2001:db8::1", "multiprotocol": True}
    peers = {"10.1.1.1": one, "10.1.1.2": one, "[2001:db8::9]": two}
    result = convert_text(json.dumps({"bgp": peers, "listen": True}), "f")
    assert result.complete
    found = lines(result)
    assert "peers: [10.1.1.1, 10.1.1.2]" in found
    assert 'peers: ["2001:db8::9"]' in found
    assert "listen: true" in found
    alone = lines(convert_text(json.dumps({"bgp": {"10.1.1.1": one, "10.1.1.2": one}}), "f"))
    assert "groups:" not in alone


@pytest.mark.parametrize(
    "logging",
    [
        {"slack": SECRET, "teams": f"https://{SECRET}", "elasticsearch": {"password": SECRET, "username": "u"}},
        {"slack": {"a": SECRET}, "alert": SECRET, "syslog": SECRET, "zz": SECRET},
        {"elasticsearch": {"addresses": [f"http://u:{SECRET}@es:9200", [SECRET]], "api_key": SECRET}},
        {"elasticsearch": SECRET},
        SECRET,
    ],
)
def test_secrets_are_kept_and_not_told(logging: Any) -> None:
    result = convert_text(json.dumps({"services": {}, "logging": logging}), "f")
    assert SECRET in result.text
    assert all(SECRET not in str(issue) for issue in result.issues)


@pytest.mark.parametrize("value", [f"*{SECRET}", f"!{SECRET}", f"[{SECRET}"])
def test_secrets_are_not_told_by_errors_of_syntax(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_text(f"rhi: {{}}\nlogging:\n  slack: {value}\n", "f")
    assert SECRET not in str(caught.value)
    assert caught.value.issues[0].line >= 3


def test_a_mask_is_not_taken_for_a_secret() -> None:
    result = convert_text(json.dumps({"services": {}, "logging": {"slack": "*" * 12}}), "f")
    assert not result.complete


@pytest.mark.parametrize(
    ("codes", "text"),
    [({200}, 200), ({200, 201, 202, 404}, "200-202 404"), ({301, 200}, "200 301"), ({200, 201}, "200-201")],
)
def test_status_codes_in_few_words(codes: set[int], text: str | int) -> None:
    assert codes_text(codes) == text


def test_interfaces_that_cannot_be() -> None:
    result = convert_text('{"interfaces": ["eth0", "eth 1", "eth0", "a/b"], "services": {}}', "f")
    assert "  - eth0\n" in result.text
    assert [(issue.path, issue.severity) for issue in result.issues] == [
        ("interfaces[1]", Severity.ERROR),
        ("interfaces[2]", Severity.WARNING),
        ("interfaces[3]", Severity.ERROR),
    ]
    assert "interface name" in result.issues[0].message


def test_interfaces_can_be_named() -> None:
    result = convert_text('{"services": {}}', "f", interfaces=("bond0", "eth 1"))
    assert 'interfaces: [bond0, "eth 1"]' in result.text
    assert result.issues == ()


@pytest.mark.parametrize(
    "change",
    [
        {"need": 2},
        {"sticky": True},
        {"name": "other"},
        {"reals": {"10.1.1.2:80": real({"type": "http"})}},
        {"reals": {"10.1.1.1:80": real({"type": "http"}, disabled=True)}},
        {"reals": {"10.1.1.1:80": real({"type": "http", "path": "/other"})}},
        {"reals": {"10.1.1.1:80": real({"type": "http", "port": 81})}},
        {"reals": {"10.1.1.1:80": real({"type": "http"}, {"type": "syn"})}},
        {"reals": {"10.1.1.1:8080": real({"type": "http"})}},
    ],
)
def test_services_that_differ_in_anything_have_entries_of_their_own(change: dict[str, Any]) -> None:
    one = {"need": 1, "reals": {"10.1.1.1:80": real({"type": "http"})}}
    result = daemon(**{"203.0.113.1:80:tcp": one, "203.0.113.2:80:tcp": one | change})
    assert result.text.count("virtual:") == 2
