"""Settings of what makes services and VIPs up: fallbacks, critical services, `vip_up`, `max_removal`."""

from __future__ import annotations

import pytest

from appliance import config
from appliance.errors import ConfigError
from appliance.model import Config

FILE = """interfaces: eth0
hold_down: 30s
on_isolation: no
max_removal: 50%
servers: {{more: [10.1.1.7]}}
services:
  - virtual: 203.0.113.10
    servers: [10.1.1.5, 10.1.1.9]
    {service}
    policy: {{http: {{critical: no, removal_window: 5m}}}}
  - virtual: 203.0.113.10
    servers: [10.1.1.5]
    {second}
    policy: {{https: }}
"""


def load(service: str = "", second: str = "") -> Config:
    return config.load_text(FILE.format(service=service, second=second), "f").config


def test_all_of_them() -> None:
    made = load("fallback: [10.1.1.6 weight=3, 10.1.1.2]\n    vip_up: any", "vip_up: any")
    assert (made.hold_down, made.demote) == (30.0, False)
    web, tls = made.services
    assert [(str(one.address), one.weight, one.fallback) for one in web.backends] == [
        ("10.1.1.2", 1, True),
        ("10.1.1.5", 1, False),
        ("10.1.1.6", 3, True),
        ("10.1.1.9", 1, False),
    ]
    assert (web.critical, web.vip_any, web.max_removal, web.removal_window) == (False, True, 0.5, 300.0)
    assert (tls.critical, tls.vip_any, tls.max_removal, tls.removal_window) == (True, True, 0.5, 60.0)
    assert not any(one.fallback for one in tls.backends)


def test_a_fallback_by_name() -> None:
    web = load("fallback: more").services[0]
    assert [one.fallback for one in web.backends] == [False, True, False]


@pytest.mark.parametrize(
    ("service", "path", "message"),
    [
        ("fallback: [10.1.1.9]", "services[0].fallback[0]", "10.1.1.9 is one of the service's `servers`, too"),
        ("fallback: mores", "services[0].fallback", "no server list 'mores'"),
        ("vip_up: any", "services[1].virtual", "vip_up is all here, and any for the same VIP at line 7, column 14"),
        ("max_removal: 50", "services[0].max_removal", "must be a percentage from 0% to 100%, not '50'"),
        ("max_removal: 101%", "services[0].max_removal", "must be a percentage from 0% to 100%, not '101%'"),
    ],
)
def test_mistakes(service: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(service)
    [issue] = caught.value.issues
    assert (issue.path, issue.message) == (path, message)
