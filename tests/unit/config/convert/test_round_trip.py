"""A configuration of today, written as the former daemon's JSON and converted back, is the same configuration."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from appliance import config
from appliance.config.convert import Dialect, convert_text
from appliance.errors import ConfigError
from tests.profile import EXAMPLES

NAMES = st.sampled_from(["shop", "mail-1", "x", "On", "007"])
TEXTS = st.sampled_from(["Web shop", "yes", "1:30", "a: b # c", "'quoted' \"twice\"", "0x10", "~", "ümlaut", "- x"])
HOSTS = st.sampled_from(["www.example.com", "on", "1.2", "203.0.113.99:8080"])
PATHS = st.sampled_from(["/alive", "/", "/a?b=c&d", "/%20:x", "/[a]"])
EXPECTS = st.sampled_from(["200", "any", "200 301-304", "404 200", "100-599"])
HTTP = st.fixed_dictionaries(
    {}, optional={"host": HOSTS, "path": PATHS, "expect": EXPECTS, "method": st.sampled_from(["GET", "HEAD"])}
)
PORTS = st.sampled_from([1, 22, 25, 53, 80, 443, 8080, 65535])


@st.composite
def checks(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one check."""
    kind = draw(st.sampled_from(["http", "https", "syn", "tcp"]))
    check: dict[str, Any] = {"type": kind, **(draw(HTTP) if kind.startswith("http") else {})}
    if draw(st.booleans()):
        check["port"] = draw(PORTS)
    return check


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES,
        "description": TEXTS,
        "need": st.integers(0, 255),
        "sticky": st.booleans(),
        "scheduler": st.sampled_from(["maglev", "leastconn"]),
    },
)
TUNNELS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {},
        {"tunnel-type": "ipip"},
        {"tunnel-type": "gre"},
        {"tunnel-type": "fou", "tunnel-port": 9999},
        {"tunnel-type": "gue", "tunnel-port": 5555, "tunnel-no-checksum": True},
    ]
)
FORMS = st.sampled_from(["http", "https", "8080/http", "8443/https", "smtp", "80", "53/udp", "53/tcp", "443*", "7/udp"])


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy; what contradicts itself is sorted out by whoever loads it."""
    policy: dict[str, Any] = {}
    for form in draw(st.lists(FORMS, min_size=1, max_size=4, unique=True)):
        values = draw(st.one_of(st.just({}), OPTIONS))
        if not form.endswith("*") and draw(st.booleans()):
            values = {**values, "checks": draw(st.lists(checks(), max_size=3))}
        elif "http" in form:
            values = {**values, **draw(HTTP)}
        policy[form] = values or None
    return policy


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """Draw a file."""
    entries = []
    shared = draw(policies())
    for number in range(draw(st.integers(1, 3))):
        six = draw(st.booleans())
        vips = [f"2001:db8::{number}:{last}" if six else f"203.0.113.{number * 10 + last}" for last in (1, 2)]
        addresses = [f"2001:db8:10::{last}" if six else f"10.1.10.{last}" for last in range(1, 6)]
        chosen = draw(st.lists(st.sampled_from(addresses), unique=True, max_size=5))
        entry = {
            "virtual": vips[: draw(st.integers(1, 2))],
            "servers": [f"{address}{draw(st.sampled_from(['', '*']))}" for address in chosen],
            "policy": draw(st.one_of(st.just(shared), policies())),
            **draw(OPTIONS),
            **draw(TUNNELS),
        }
        if draw(st.booleans()) and "tunnel-type" not in entry:
            entry["forward"] = "nat"
            entry["policy"] = {"http": {"bind": 8000 + number}, "https": None}
        entries.append(entry)
    return json.dumps({"interfaces": ["eth0"], "services": entries})


def services_of(text: str) -> list[dict[str, Any]]:
    """Return the services of `vc5 check --json`."""
    found: Any = config.expand(config.load_text(text, "f"))["services"]
    return list(found)


def daemon_json(services: list[dict[str, Any]], short: bool) -> str:
    """Return what the former converter writes; `short` leaves out what a check can do without."""
    result: dict[str, Any] = {}
    for service in services:
        value = {"need": service["need"], "priority": service["priority"], "sticky": service["sticky"], "reset": False}
        value |= {key: service[key] for key in ("name", "description") if service[key]}
        if service["scheduler"] != "maglev":
            value["scheduler"] = "leastconn"
        tunnel = service["tunnel"]
        if tunnel:
            value |= {"tunnel-type": tunnel["type"], "tunnel-port": tunnel["port"] or 0}
            value |= {"tunnel-no-checksum": True} if tunnel["checksum"] is False else {}
        value["reals"] = {
            f"{backend['address']}:{backend['port']}": {
                "checks": [daemon_check(check, service, backend["port"], short) for check in service["checks"]],
                "disabled": not backend["enabled"],
                "weight": int(backend["enabled"]),
            }
            for backend in service["backends"]
        }
        result[f"{service['vip']}:{service['port']}:{service['proto']}"] = value
    return json.dumps({"services": result})


def daemon_check(check: dict[str, Any], service: dict[str, Any], port: int, short: bool) -> dict[str, Any]:
    """Return one check in the daemon's words."""
    own: dict[str, Any] = {
        key: check[key] for key in ("type", "port", "host", "path", "method", "expect") if key in check
    }
    if "expect" in own:
        own["expect"] = [0] if own["expect"] == "any" else own["expect"]
    if own.get("host") == service["vip"]:
        # The VIP is the default, which the former converter leaves out.
        del own["host"]
    if short:
        defaults = {"port": port, "path": "/", "method": "GET", "expect": [200]}
        own = {key: value for key, value in own.items() if defaults.get(key) != value}
    return own


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(configurations(), st.booleans())
def test_conversion_keeps_services_backends_and_checks(text: str, short: bool) -> None:
    try:
        before = services_of(text)
    except ConfigError:
        assume(False)
        raise
    result = convert_text(daemon_json(before, short), "old")
    assert result.dialect is Dialect.DAEMON
    assert result.complete
    expected = [comparable(service) for service in before]
    assert [comparable(service) for service in services_of(result.text)] == expected


def comparable(service: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the daemon's JSON has no word for: checks of a service without backends, and who answers."""
    if not service["backends"]:
        service = {**service, "checks": []}
    if all(backend["port"] == service["port"] for backend in service["backends"]):
        service = {**service, "forward": "dsr"}
    return service
