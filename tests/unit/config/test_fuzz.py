"""Whatever the file holds, the answer is a configuration or positioned issues; nothing else, and soon."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import config
from appliance.config.nodes import quote
from appliance.errors import ConfigError, Issue, Severity
from tests.unit.config.test_golden import GOLDEN

VALID = [path.read_text() for path in sorted(GOLDEN.glob("*.yaml"))]
WORDS = sorted({word for text in VALID for word in re.findall(r"[\w./*=-]+", text)})
MARKS = ["\n", "\n  ", "\n- ", ": ", ", ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!str ", "'", '"', "|", "\t"]
ADDRESSES_OF_SIX = ["2001:db8::5", "[2001:db8::1]", "2001:db8:10::1/64", "::", "::1", "fe80::1%eth0", "::ffff:10.1.1.5"]
PIECES = [*WORDS, *MARKS, *ADDRESSES_OF_SIX]

# The usual run repeats itself; a profile with more examples explores.
PROFILE = settings(
    deadline=None,
    derandomize=settings().max_examples <= 100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def answer(text: str) -> config.Loaded | ConfigError:
    """Return the configuration or the refusal; anything else that is raised fails the test."""
    try:
        return config.load_text(text, "f")
    except ConfigError as error:
        return error


def judge(text: str) -> None:
    """Load a text, and hold the answer against what the package promises of every answer."""
    given = answer(text)
    if isinstance(given, ConfigError):
        judge_issues(given.issues, text)
        assert any(issue.severity is Severity.ERROR for issue in given.issues)
        return
    judge_issues(given.warnings, text)
    assert not any(issue.severity is Severity.ERROR for issue in given.warnings)
    body = config.expand(given, "shape")
    assert json.loads(json.dumps(body)) == body
    assert config.explain_text(given).endswith("\n")
    keys = [service.key for service in given.config.services]
    assert keys == sorted(set(keys))
    for service in given.config.services:
        addresses = [(backend.address.version, int(backend.address)) for backend in service.backends]
        assert addresses == sorted(set(addresses))


def judge_issues(issues: tuple[Issue, ...], text: str) -> None:
    """Positions are inside the text and ascend; messages are one printable line."""
    lines = len(re.split("\r\n|[\r\n\x85\u2028\u2029]", text))
    for issue in issues:
        assert 1 <= issue.line <= lines
        assert issue.column >= 1
        assert issue.message
        assert str(issue).isprintable()
    assert list(issues) == sorted(issues, key=lambda issue: (issue.line, issue.column))


@PROFILE
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    judge(text)


@PROFILE
@given(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
def test_pieces_of_the_dialect(text: str) -> None:
    judge(text)


@PROFILE
@given(st.data())
def test_changed_configurations(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(VALID))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        piece = data.draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)))
        text = text[:start] + piece + text[end:]
    judge(text)


@PROFILE
@given(data=st.one_of(st.binary(max_size=100), st.sampled_from(VALID).map(lambda text: text.encode("utf-16"))))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        config.load(path)


@PROFILE
@given(st.text())
def test_quoted_text_is_short_and_printable(text: str) -> None:
    assert quote(text).isprintable()
    assert len(quote(text)) <= 40 * len("\\U00100000") + 2


FAMILIES = {
    "203.0.113.1": ipaddress.ip_network("10.1.0.0/22"),
    "2001:db8::1": ipaddress.ip_network("2001:db8:1::/64"),
}
OFFSETS = st.one_of(st.integers(1, 500), st.integers(1, 1023))


def spelled(address: ipaddress.IPv4Address | ipaddress.IPv6Address, way: int) -> str:
    """Return one of the ways to write an address."""
    if address.version == 4:
        return str(address)
    return (str(address), address.exploded.upper(), f"[{address}]")[way]


@PROFILE
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.lists(
        st.tuples(OFFSETS, st.integers(0, 100), st.booleans(), st.integers(0, 2)),
        max_size=30,
        unique_by=lambda server: server[0],
    ),
    st.integers(0, 40),
)
def test_what_is_written_is_what_is_read(vip: str, servers: list[tuple[int, int, bool, int]], need: int) -> None:
    network = FAMILIES[vip]
    items = [
        f"{spelled(network[offset], way)}{'' if enabled else '*'} weight={weight}"
        for offset, weight, enabled, way in servers
    ]
    entry = {"virtual": vip, "servers": items, "policy": {"80": {"need": need}}}
    text = json.dumps({"interfaces": ["eth0"], "services": [entry]})
    (service,) = config.load_text(text, "f").config.services
    assert service.need == need
    expected = sorted((network[offset], weight, enabled) for offset, weight, enabled, _ in servers)
    assert [(backend.address, backend.weight, backend.enabled) for backend in service.backends] == expected
