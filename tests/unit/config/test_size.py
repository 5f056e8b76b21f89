"""A large fleet's configuration is read whole; every service has its own backends."""

from __future__ import annotations

from appliance import config


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
