"""The table of settings, and what is derived from it: parser, JSON Schema, reference page."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from appliance import config
from appliance.config.compose import compose
from appliance.config.findings import Findings
from appliance.config.kinds import Place
from appliance.config.reader import read
from appliance.config.setting import Setting
from appliance.config.settings import LATER, SETTINGS, default_of, settings_of
from appliance.errors import ConfigError
from appliance.model import Backend, Check, Config, Service
from tests.unit.config.test_golden import FILES, GOLDEN
from tests.unit.config.test_issues import service

ROOT = Path(__file__).resolve().parents[3]
ROWS = [pytest.param(row, id=f"{row.name}-{row.places[0].name}") for row in SETTINGS]


class _Plain(yaml.SafeLoader):
    """Reads as YAML 1.2 editors do: only true, false, null and decimal numbers are no texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _tag, _pattern in (
    ("null", "|~|null"),
    ("bool", "true|false"),
    ("int", "-?(0|[1-9][0-9]*)"),
    ("float", r"[0-9]+\.[0-9]+"),
    ("merge", "<<"),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), None)


def plain(text: str) -> Any:
    """Return a document as an editor sees it: keys are texts."""
    return _texts(yaml.load(text, Loader=_Plain))


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {"" if key is None else str(key): _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value


SCHEMA = config.schema_json()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(plain(text)))


@pytest.mark.parametrize("row", ROWS)
def test_examples_and_defaults_are_accepted(row: Setting) -> None:
    for text in (row.example, row.default):
        if text is None:
            continue
        findings = Findings("example")
        node = compose(f"- {text}", findings)
        assert node is not None
        read(row.kind, node.items[0], row.name, findings)  # type: ignore[attr-defined]
        assert findings.issues() == ()
        place = row.places[-1]
        properties = (SCHEMA if place is Place.TOP else SCHEMA["$defs"][place.name.lower()])["properties"]
        schema = {**properties[row.name], "$defs": SCHEMA["$defs"]}
        jsonschema.Draft202012Validator(schema).validate(plain(f"- {text}")[0])


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_complete(row: Setting) -> None:
    assert row.help.endswith("."), "help is a sentence"
    assert row.places
    assert row.default is None or not row.required


def test_no_setting_is_both_here_and_to_come() -> None:
    for place in Place:
        assert not set(settings_of(place)) & set(LATER[place])


def test_defaults_are_those_of_the_model() -> None:
    for model in (Config, Service, Backend, Check):
        for field in dataclasses.fields(model):
            default = default_of(field.name)
            if default is not None and field.default is not dataclasses.MISSING:
                expected = frozenset(field.default) if field.name == "expect" else field.default
                assert default == expected, field.name
    assert config.load_text("", "f").config == Config()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_default_configuration_is_valid_and_serves_nothing() -> None:
    path = ROOT / "etc" / "vc5" / "config.yaml"
    loaded = config.load(path)
    assert loaded.config == Config()
    assert loaded.warnings == ()
    assert accepts(path.read_text())


def test_the_default_configuration_is_valid_with_its_examples() -> None:
    lines = (ROOT / "etc" / "vc5" / "config.yaml").read_text().splitlines()
    start = lines.index("services: []")
    example = "\n".join(["interfaces: [eth0]", "services:", *(line.removeprefix("# ") for line in lines[start + 1 :])])
    assert len(config.load_text(example, "f").config.services) == 3


@pytest.mark.parametrize("name", [name for name in FILES if (GOLDEN / f"{name}.json").exists()])
def test_the_schema_accepts_what_the_parser_accepts(name: str) -> None:
    text = (GOLDEN / f"{name}.yaml").read_text()
    VALIDATOR.validate(plain(text))


REFUSED = [
    "unknown: 1",
    "mode: bridge",
    "untagged: maybe",
    "vlans: [10.1.1.0/24]",
    "vlans: {0: 10.1.1.0/24}",
    "vlans: {4095: 10.1.1.0/24}",
    "vlans: {web: 10.1.1.0/24}",
    "vlans: {10: 10.1.1.0}",
    "vlans: {10: 10.1.1.0/33}",
    "vlans: {10: '2001:db8::/64'}",
    "vlans6: {10: 10.1.1.0/24}",
    "vlans6: {10: '2001:db8::/129'}",
    "attach_delay: 301",
    "block: [10.1.1.0]",
    "block: [10.1.1.0/33]",
    "block: {10.1.1.0/24: 1}",
    "count_prefixes: 20",
    "mixed_tags: 20",
    "scheduler: random",
    "native: 1",
    "learn: -1",
    "listen: 20",
    "defcon: 0",
    "on_orphan: stop",
    "address: 2001:db8::1",
    "router_id: 0.0.0.0",
    "host_id: two words",
    "webserver: 9090",
    "webserver: '2001:db8::1:80'",
    "multicast: ':9999'",
    "leave: 7200",
    "last_announcer: drop",
    "fleet: yes",
    "fleet: {peers: [10.1.1.2]}",
    "fleet: {key: []}",
    "fleet: {key: too-short}",
    "fleet: {key: [a-long-secret-text, 1]}",
    "fleet: {key: aaaaaaaaaaaaaaaaaaaa}",
    "fleet: {key: a-long-secret-text, peers: [node-b]}",
    "fleet: {key: a-long-secret-text, peers: ['10.1.1.2:0']}",
    "fleet: {key: a-long-secret-text, source: 10.1.1.0/24}",
    "fleet: {key: a-long-secret-text, port: 65536}",
    "fleet: {key: a-long-secret-text, rate: 4MB}",
    "fleet: {key: a-long-secret-text, rate: 9}",
    "fleet: {key: a-long-secret-text, quorum: most}",
    "fleet: {key: a-long-secret-text, leave: 60s}",
    "defaults: [1]",
    "defaults: {virtual: 10.1.1.1}",
    "defaults: {weight: 101}",
    "prefixes: [10.0.0.0/8]",
    "prefixes: {a: [any]}",
    "prefixes: {a: [10.0.0.0/99x]}",
    "bgp: [10.1.1.1]",
    "bgp: {as_number: 0}",
    "bgp: {as_number: 4294967295}",
    "bgp: {as_number: AS1}",
    "bgp: {hold_time: 2}",
    "bgp: {local_pref: -1}",
    "bgp: {med: 4294967296}",
    "bgp: {source_ip: router}",
    "bgp: {next_hop_4: '2001:db8::1'}",
    "bgp: {next_hop_6: 10.1.1.1}",
    "bgp: {communities: [nothing]}",
    "bgp: {communities: ['1']}",
    "bgp: {accept: [all of them]}",
    "bgp: {reject: {a: b}}",
    "bgp: {peers: [router]}",
    "bgp: {groups: {name: x}}",
    "bgp: {groups: [{groups: []}]}",
    "bgp: {groups: [{listen: yes}]}",
    "bgp: {bfd: 300ms}",
    "bgp: {bfd: {receive: 1}}",
    "bgp: {bfd: {multiplier: 0}}",
    "bgp: {multihop: 256}",
    "bgp: {password: ''}",
    "bgp: {prepend: 17}",
    "bgp: {on_vip_down: drain}",
    "bgp: {demote_med: 4294967296}",
    "bgp: {demote_communities: [nothing]}",
    "bgp: {graceful_restart: 120}",
    "bgp: {restart_time: 0}",
    "bgp: {restart_time: 4096}",
    "bgp: {loopback: 65001}",
    "bgp: {groups: [{loopback: yes}]}",
    "logging: yes",
    "logging: {alert: 8}",
    "logging: {slack: hooks.example.com}",
    "logging: {syslog: local0}",
    "logging: {elasticsearch: {index: UPPER}}",
    "logging: {elasticsearch: {addresses: [elastic]}}",
    "logging: {kibana: yes}",
    "xdp: fast",
    "interfaces: [eth/0]",
    "interfaces: [averyveryverylongname]",
    "max_flows: 4095",
    "max_flows: 67108865",
    "idle: 0",
    "idle: 14401",
    "idle: 3 weeks",
    "idle:",
    "rise: 0",
    "rise: 1.5",
    "fall: abc",
    "hash_seed: abc",
    "hash_seed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "unknown_port: maybe",
    "services: {}",
    "services: [{}]",
    "servers: [10.1.1.1]",
    "servers: {web: 10.1.1.1}",
    "policy: {web: {}}",
    service(virtual="[]"),
    service(virtual="10.1.1.256"),
    service(virtual="10.1.1"),
    service(virtual="www.example.com"),
    service(virtual="'2001:db8::g'"),
    service(virtual="'[2001:db8::1]:80'"),
    service(virtual="'2001:db8::1/64'"),
    service(servers="['2001:db8::5 wait=1']"),
    service(servers="[{address: '2001:db8::5*'}]"),
    service(servers="[10.1.1.5 weight=101]"),
    service(servers="[10.1.1.5 wait=1]"),
    service(servers="[10.1.1.5:80]"),
    service(servers="[{address: 10.1.1.5, weight: 101}]"),
    service(servers="[{weight: 1}]"),
    service(servers="[{address: 10.1.1.5, enabled: maybe}]"),
    service(servers="[{address: 10.1.1.5, port: 80}]"),
    service(policy="{}"),
    service(policy="{htp: }"),
    service(policy="{0: }"),
    service(policy="{080: }"),
    service(policy="{65536: }"),
    service(policy="{http: 0}"),
    service(policy="{http: 65536}"),
    service(policy="{80/sctp: }"),
    service(policy="{2525/smtp: }"),
    service(policy="{domain: 0}"),
    service(policy="{0/domain: {need: 1}}"),
    service(policy="{http: {port: 80}}"),
    service(policy="{http: {bind: 0}}"),
    service(policy="{http: {expect: 99}}"),
    service(policy="{http: {expect: 200;300}}"),
    service(policy="{http: {expect: []}}"),
    service(policy="{http: {method: POST}}"),
    service(policy="{http: {host: 'http://a'}}"),
    service(policy="{http: {path: 'a b'}}"),
    service(policy="{http: {name: -a}}"),
    service(policy="{http: {need: 1025}}"),
    service(policy="{http: {checks: 5}}"),
    service(policy="{http: {checks: [{port: 80}]}}"),
    service(policy="{http: {checks: [{type: gopher}]}}"),
    service(policy="{http: {checks: [{type: dns, path: /}]}}"),
    service(policy="{http: {checks: [{type: dns, name: a..b}]}}"),
    service(policy="{http: {checks: [{type: dns, qtype: a}]}}"),
    service(policy="{http: {checks: [{type: dns, rcode: OK}]}}"),
    service(policy="{http: {checks: [{type: udp, rcode: NOERROR}]}}"),
    service(policy="{http: {checks: [{type: udp, send: 'hex:0'}]}}"),
    service(policy="{http: {checks: [{type: http, send: a}]}}"),
    service(policy="{http: {checks: [{type: syn, path: /}]}}"),
    service(policy="{http: {checks: [{type: tcp, method: GET}]}}"),
    service(policy="{http: {checks: [{type: http, port: 0}]}}"),
    service(policy="{http: {servers: 5.5.5.5.5 x}}"),
    service(policy="{http: {servers: [10.1.1.256]}}"),
    service(more="announce: maybe"),
    service(more="bgp: yes"),
    service(more="bgp: {peers: []}"),
    service(more="bgp: {med: -1}"),
    service(more="bgp: {prepend: 17}"),
    service(more="bgp: {next_hop_4: '2001:db8::1'}"),
    service(more="bgp: {next_hop_6: 10.1.1.1}"),
    service(policy="{http: {bgp: {med: 5}}}"),
    service(policy="{http: {announce: no}}"),
    service(more="persist: yes"),
    service(more="sticky: maybe"),
    service(more="priority: urgent"),
    service(more="scheduler: wlc"),
    service(more="tracking: some"),
    service(more="slow_start: 3601"),
    service(more="forward: snat"),
    service(more="clamp_mss: 535"),
    service(more="tunnel-type: vxlan"),
    service(more="tunnel-port: 0"),
    service(more="tunnel-checksum: 2"),
    service(more="dscp: 64"),
    service(policy="{http: {host: '[10.1.1.1]'}}"),
    service(more="on_dead: explode"),
    service(more="drain_timeout: -1"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_parser_and_schema_refuse_alike(text: str) -> None:
    assert not accepts(text)
    with pytest.raises(ConfigError):
        config.load_text(text, "f")
