"""Configurations, hosts and healths for tests of the control code, in few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from appliance.control.overrides import Override, Overrides, What
from appliance.control.plan import Openings, Plan, plan
from appliance.control.state import Pair, State
from appliance.model import (
    Address,
    Backend,
    Check,
    CheckKind,
    Config,
    Health,
    Host,
    Interface,
    Service,
    ServiceKey,
)

WEB = ServiceKey.parse("203.0.113.10:80/tcp")
TLS = ServiceKey.parse("203.0.113.10:443/tcp")
DNS = ServiceKey.parse("203.0.113.11:53/udp")
ETH0 = Interface("eth0", 2, bytes.fromhex("020000000010"), (IPv4Interface("10.1.0.1/16"),))
SEED = bytes(range(16))
HTTP = Check(CheckKind.HTTP, 80, host="www.example.com", expect=(200, 204))


def address(number: int) -> IPv4Address:
    """The address of backend 1 to 255."""
    return IPv4Address("10.1.10.0") + number


def mac(number: int) -> bytes:
    """The MAC address of a backend."""
    return bytes((2, 0, 0, 0, 10, number))


def host(*numbers: int) -> Host:
    """A host that knows the MAC addresses of these backends."""
    return Host((ETH0,), {(ETH0.index, address(number)): mac(number) for number in numbers})


def service(key: ServiceKey = WEB, *numbers: int, **values: Any) -> Service:
    """A service with plain backends, unless `backends` says otherwise."""
    values.setdefault("backends", tuple(Backend(address(number)) for number in numbers))
    return Service(key, checks=values.pop("checks", (HTTP,)), **values)


def drained(*pairs: Pair, who: str = "ann") -> Overrides:
    """The drains of an operator."""
    return Overrides({pair: {What.DRAIN: Override(who, 500.0)} for pair in pairs})


def config(*services: Service, **values: Any) -> Config:
    """A configuration."""
    return Config(("eth0",), services=tuple(sorted(services, key=lambda one: one.key)), **values)


@dataclass
class Planner:
    """Plans of one state; backends without a health of their own are up."""

    state: State
    health: dict[Pair, Health] = field(default_factory=dict)
    host: Host = field(default_factory=lambda: host(*range(1, 20)))
    openings: Openings = field(default_factory=Openings)

    def verdict(self, key: ServiceKey, address: Address) -> Health:
        """The health of a backend."""
        return self.health.get((key, address), Health.UP)

    def set(self, key: ServiceKey, healths: Mapping[int, Health]) -> None:
        """Say how some backends are."""
        self.health |= {(key, address(number)): health for number, health in healths.items()}

    def plan(self, now: float = 100.0) -> Plan:
        """What the tables should hold."""
        return plan(self.state, self.verdict, self.host, seed=SEED, now=now, openings=self.openings)
