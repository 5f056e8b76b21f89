"""What the configuration can say and this version cannot do is refused by name, before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from appliance.dataplane.shape import shape_for, unserved
from appliance.errors import PlanError
from appliance.model import Config, Forward, Protocol, Scheduler, Service, ServiceKey, Tracking, Tunnel, TunnelKind

PLAIN = Service(ServiceKey(IPv4Address("203.0.113.10"), 80, Protocol.TCP), (), ())
NAMES = ServiceKey(IPv4Address("203.0.113.10"), 53, Protocol.UDP)
ASKED: list[tuple[dict[str, Any], str]] = [
    ({"tunnel": Tunnel(TunnelKind.IPIP)}, "tunnel-type"),
    ({"forward": Forward.NAT}, "forward: nat"),
    ({"sticky": True}, "sticky"),
    ({"scheduler": Scheduler.LEAST_CONNECTIONS}, "scheduler: least-connections"),
    ({"tracking": Tracking.ALL}, "tracking: all"),
    ({"slow_start": 30.0}, "slow_start"),
]


@pytest.mark.parametrize(("changes", "said"), ASKED)
def test_what_cannot_be_served_is_refused(changes: dict[str, Any], said: str) -> None:
    config = Config(services=(replace(PLAIN, key=NAMES), replace(PLAIN, **changes)))
    with pytest.raises(PlanError, match=f"^service 203.0.113.10:80/tcp: {said} cannot be served by this version"):
        shape_for(config, 1)


def test_all_services_are_named_at_once() -> None:
    config = Config(services=(replace(PLAIN, sticky=True, slow_start=5.0), replace(PLAIN, key=NAMES, sticky=True)))
    first, second = unserved(config)
    assert "sticky, slow_start cannot" in first
    assert "203.0.113.10:53/udp" in second


def test_what_can_be_served_is_not() -> None:
    assert unserved(Config(services=(PLAIN, replace(PLAIN, key=NAMES, tracking=Tracking.NONE)))) == ()
