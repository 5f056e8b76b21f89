"""What the configuration can say and this version cannot do is refused by name, before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from appliance.control.requirements import features
from appliance.errors import HostError
from appliance.model import Config, Forward, Protocol, Scheduler, Service, ServiceKey, Tracking, Tunnel, TunnelKind

PLAIN = Service(ServiceKey(IPv4Address("203.0.113.10"), 80, Protocol.TCP), (), ())
NAMES = ServiceKey(IPv4Address("203.0.113.10"), 53, Protocol.UDP)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tunnel": Tunnel(TunnelKind.IPIP)}, "tunnel-type"),
        ({"forward": Forward.NAT}, "forward: nat"),
        ({"sticky": True}, "sticky"),
        ({"scheduler": Scheduler.LEAST_CONNECTIONS}, "scheduler: least-connections"),
        ({"tracking": Tracking.ALL}, "tracking: all"),
        ({"slow_start": 30.0}, "slow_start"),
    ],
)
def test_what_cannot_be_served_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HostError, match=f"^service 203.0.113.10:80/tcp: {said} cannot be served by this version"):
        features(Config(services=(PLAIN, replace(PLAIN, **changes))))


def test_what_can_be_served_is_not() -> None:
    features(Config(services=(PLAIN, replace(PLAIN, key=NAMES, tracking=Tracking.NONE))))
