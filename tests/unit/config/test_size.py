"""A large fleet's configuration is read whole; every service has its own backends."""

from __future__ import annotations

import pytest

from appliance import config
from appliance.dataplane.abi import BLOCKED_LIMIT
from appliance.errors import ConfigError


def large(services: int, backends: int) -> str:
    """Return a configuration of that many services with that many backends each, written out."""
    lines = ["interfaces: [eth0]", "services:"]
    for n in range(services):
        lines += [f"- name: service-{n}", f"  virtual: 203.{n // 65536}.{n // 256 % 256}.{n % 256}", "  servers:"]
        lines += [f"  - 10.{n // 256}.{n % 256}.{b + 1} weight={b % 100 + 1}" for b in range(backends)]
        lines += ["  policy:", "    https: {host: www.example.com, path: /alive}"]
    return "\n".join(lines)


def test_a_thousand_services() -> None:
    loaded = config.load_text(large(1000, 20), "f")
    assert loaded.warnings == ()
    assert len(loaded.config.services) == 1000
    assert sum(len(service.backends) for service in loaded.config.services) == 20_000
    assert len({backend.address for service in loaded.config.services for backend in service.backends}) == 20_000


def test_filters_are_bounded_by_what_they_come_to() -> None:
    prefixes = ", ".join(f"10.{n // 256}.{n % 256}.0/24" for n in range(1000))
    peers = [f"10.1.{n // 256}.{n % 256}" for n in range(1, 202)]
    text = f"prefixes: {{many: [{prefixes}]}}\nbgp: {{as_number: 65001, reject: many, peers: [%s]}}\n"
    assert len(config.load_text(text % ", ".join(peers[:200]), "f").config.bgp.peers) == 200
    with pytest.raises(ConfigError, match="f:2:6: bgp: more than 200,000 prefixes in filters"):
        config.load_text(text % ", ".join(peers), "f")


def test_as_many_blocked_prefixes_as_the_tables_hold() -> None:
    prefixes = [f"10.{n // 256}.{n % 256}.0/24" for n in range(BLOCKED_LIMIT)]
    loaded = config.load_text(f"interfaces: [eth0]\nblock: [{', '.join(prefixes)}]\n", "f")
    assert len(loaded.config.block) == BLOCKED_LIMIT
    with pytest.raises(ConfigError, match="more than 16,384 prefixes"):
        config.load_text(f"interfaces: [eth0]\nblock: [192.0.2.0/24, {', '.join(prefixes)}]\n", "f")
