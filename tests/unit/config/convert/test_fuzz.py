"""Whatever the old file holds, the answer is a text that can be read again, or positioned issues; nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.config.compose import compose
from appliance.config.convert import Converted, convert_text
from appliance.config.convert.document import Block, render, scalar_text
from appliance.config.findings import Findings
from appliance.config.nodes import Mapping, Scalar
from appliance.errors import ConfigError, Severity
from tests.profile import PARSER_INPUTS
from tests.unit.config.convert.test_golden import GOLDEN

OLD = [path.read_text() for path in sorted(GOLDEN.glob("*.old"))]
PROFILE = settings(max_examples=PARSER_INPUTS, deadline=None, suppress_health_check=list(HealthCheck))

KEYS = sorted(
    {word for text in OLD for word in re.findall(r"[\w./*-]+(?=\"?:)", text)} | {"servers", "policy", "address"}
)
WORDS = sorted({word for text in OLD for word in re.findall(r"[\w./*=:-]+", text)})
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=6),
    st.integers(-(10**30), 10**30),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(st.sampled_from(KEYS), below, max_size=5)),
    max_leaves=20,
)


def nearly(**right: object) -> st.SearchStrategy[dict[str, object]]:
    """Return a strategy of maps with these keys, whose values are right, or anything."""
    return st.fixed_dictionaries(
        {},
        optional={key: st.one_of(st.just(value), st.just(value), VALUES) for key, value in right.items()},
    )


def either(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of values that are nearly right, or anything."""
    return st.one_of(right, right, right, VALUES)


CHECK = nearly(type="http", port=80, host="h", path="/p", expect=[200, 301], expt="200", method="HEAD", name="n")
CHECKS = either(st.lists(either(CHECK), max_size=3))
OPTIONS = nearly(
    name="a b", need=2, sticky="yes", leastconns=True, scheduler="rr", persist=3, bind=81, desc="two\nlines"
)
TUNNEL = nearly(**{"tunnel-type": "gue", "tunnel-port": 5, "tunnel-no-checksum": True})
FORMS = st.sampled_from(["http", "80", "dns", "dns/tcp", "domain*", "53/udp", "8080/http", "70000", "x"])
POLICY = either(
    st.dictionaries(FORMS, either(st.builds(lambda a, checks: {**a, "checks": checks}, OPTIONS, CHECKS)), max_size=4)
)
LISTED = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    nearly(virtual=["203.0.113.1*", "::ffff:1.2.3.4"], address="203.0.113.2", servers="web"),
    st.one_of(st.just({}), nearly(addr="203.0.113.3", port=[80, 443, 80], real=["web", "other"], least=True)),
    OPTIONS,
    TUNNEL,
    st.fixed_dictionaries({}, optional={"policy": POLICY, "checks": CHECKS}),
)
SERVICES = st.lists(either(LISTED), max_size=3)
REAL = either(st.builds(lambda a, checks: {**a, "checks": checks}, nearly(disabled=True, weight=3), CHECKS))
REALS = st.dictionaries(st.sampled_from(["10.1.1.1:80", "10.1.1.1", "10.1.1.2:81", "2001:db8::1", "x"]), REAL)
DAEMON = st.builds(lambda a, b, reals: {**a, **b, "reals": reals}, OPTIONS, TUNNEL, either(REALS))
KEYED = st.dictionaries(
    st.sampled_from(["203.0.113.1:80:tcp", "2001:db8::1:53:udp", "x:1:tcp", "203.0.113.1:0:tcp", "::"]),
    either(DAEMON),
    max_size=3,
)
BGP = nearly(
    as_number=65000,
    hold_time=1,
    communities=["1:2", 3],
    peers=["10.1.1.1", "x"],
    listen="yes",
    groups=[{"peers": ["::1"], "accept": "any"}, 3],
    accept=["a", "10.0.0.1/8"],
    source_ip="10.1.1.1",
)
PEERS = st.dictionaries(st.sampled_from(["10.1.1.1", "[2001:db8::1]", "2001:db8::1", "x.y"]), either(BGP), max_size=3)
TOP = st.fixed_dictionaries(
    {},
    optional={
        "rhi": either(BGP),
        "bgp": either(PEERS),
        "reals": either(st.just({"web": ["10.1.1.1", "host.example"], "other": {"10.1.1.1": "n"}, "a b": 3})),
        "servers": either(st.just({"web": ["10.1.1.1*", "10.1.1.1"], "a b": []})),
        "policy": either(st.dictionaries(st.sampled_from(["web", "a b"]), POLICY)),
        "logging": either(nearly(alert=9, slack="*" * 12, elasticsearch={"addresses": "x", "password": [1]})),
        "vlans": either(st.just({"10": "10.1.1.0/24", "4095": "10.2.0.0/16", "11": "::/64"})),
        "prefixes": either(st.just({"a": ["10.0.0.1/8", "x"]})),
        "listen": SCALARS,
        "native": SCALARS,
        "zz": VALUES,
    },
)
FILES = st.builds(lambda top, services: {**top, "services": services}, TOP, st.one_of(SERVICES, KEYED, VALUES))


def answer(text: str) -> Converted | ConfigError:
    """Return the conversion or the refusal; anything else that is raised fails the test."""
    try:
        return convert_text(text, "f")
    except ConfigError as error:
        return error


def judge(text: str) -> None:
    """Convert a text, and hold the answer against what the package promises of every answer."""
    result = answer(text)
    issues = result.issues
    assert all(str(issue).isprintable() and issue.message for issue in issues)
    if isinstance(result, ConfigError):
        assert any(issue.severity is Severity.ERROR for issue in issues)
        return
    assert all(issue.line >= 1 and issue.column >= 1 for issue in result.issues)
    findings = Findings("result")
    node = compose(result.text, findings)
    assert findings.issues() == ()
    assert node is None or isinstance(node, Mapping)
    assert all(line == line.rstrip() for line in result.text.splitlines())
    assert convert_text(text, "f") == result


@PROFILE
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    judge(text)


@PROFILE
@given(FILES)
@example({"services": {"203.0.113.1:80:tcp": {"reals": {"10.1.1.1:80": {"checks": 10**400}}}}})
@example({"rhi": {"peers": {"a": [{}]}}, "services": [{"virtual": [[]], "servers": {}, "policy": [1]}, [], None, 7]})
@example({"services": {"203.0.113.1:53:tcp": {"reals": {"10.1.1.1:53": {"checks": [{"type": ["dns"]}]}}}}})
def test_wrong_types_everywhere(value: object) -> None:
    judge(json.dumps(value))


@PROFILE
@given(st.data())
def test_changed_files(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(OLD))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        piece = data.draw(
            st.one_of(st.sampled_from([*WORDS, "\n", ": ", "- ", "[", "{", "&a ", "*a"]), st.text(max_size=4))
        )
        text = text[:start] + piece + text[end:]
    judge(text)


def test_deep_and_wide_files_are_refused_in_words() -> None:
    deep = "services: " + "[" * 5000
    wide = "a: &a [" + "x, " * 1000 + "]\nb: &b [" + "*a, " * 1000 + "]\nrhi: [*b]\n"
    for text in (deep, wide):
        judge(text)


def test_a_file_that_aliases_make_huge_is_refused() -> None:
    address = "x" * 3000
    text = f"rhi: {{as_number: 65000}}\nlogging: {{elasticsearch: {{addresses: [&a {address}{', *a' * 20000}]}}}}\n"
    with pytest.raises(ConfigError) as caught:
        convert_text(text, "f")
    assert [issue.code for issue in caught.value.issues if issue.severity is Severity.ERROR] == ["limit"]


@PROFILE
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("on")
@example("1:30")
@example("0x1f")
@example("1_000")
@example("2024-01-01")
@example("=")
@example("\x85\u2028\ufeff")
def test_texts_are_the_same_to_every_reader(text: str) -> None:
    written = render(Block(), []) + f"key: {scalar_text(text)}\n"
    assert yaml.safe_load(written) == {"key": text}
    node = compose(written, Findings("f"))
    assert isinstance(node, Mapping)
    ((_, value),) = node.entries
    assert isinstance(value, Scalar)
    assert value.text == text
