"""Configurations that programs make: what is put in order, and what is refused and how."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.balancer.sound import checked
from appliance.errors import RequestError
from appliance.model import Backend, Config, Service, ServiceKey

WEB = ServiceKey.parse("203.0.113.10:80/tcp")
TLS = ServiceKey.parse("203.0.113.10:443/tcp")


def service(key: ServiceKey, *backends: str, weight: int = 1) -> Service:
    """A service with these backends."""
    return Service(key, tuple(Backend(ip_address(address), weight) for address in backends), checks=())


def config(*services: Service) -> Config:
    """A configuration with these services."""
    return Config(("eth0",), services=services)


def test_services_and_backends_are_put_in_order() -> None:
    made = checked(config(service(TLS, "10.0.0.10", "10.0.0.9"), service(WEB, "10.1.0.1")))
    assert made == config(service(WEB, "10.1.0.1"), service(TLS, "10.0.0.9", "10.0.0.10"))
    assert checked(made) == made


REFUSED = [
    (Config(), "needs an interface"),
    (config(service(WEB), service(WEB)), "203.0.113.10:80/tcp is named twice; put its backends into one"),
    (config(service(WEB, "10.0.0.9", "10.0.0.8", "10.0.0.9")), "backend 10.0.0.9 is named twice; give it a weight"),
    (config(service(WEB, "10.0.0.9", weight=101)), "weight 101 is not a whole number from 0 to 100"),
    (config(service(WEB, "10.0.0.9", weight=-1)), "backend 10.0.0.9: weight -1 is not"),
    (config(service(WEB, "10.0.0.9", weight=True)), "weight True is not"),
    (config(service(WEB, "127.0.0.1")), "the backend: 127.0.0.1 is a loopback address; write the unicast address"),
    (config(service(WEB, "203.0.113.10")), "is the VIP itself; name the address that the backend has"),
    (config(service(WEB, "2001:db8::1")), "2001:db8::1"),
    (config(service(ServiceKey.parse("224.0.0.1:80/tcp"))), "the VIP: 224.0.0.1 is a multicast address"),
    (config(service(ServiceKey(WEB.vip, 0, WEB.protocol))), "port 0 is not between 1 and 65535"),
    (config(service(ServiceKey(WEB.vip, 65536, WEB.protocol))), "port 65536 is not between 1 and 65535"),
]


@pytest.mark.parametrize(("made", "text"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refused(made: Config, text: str) -> None:
    with pytest.raises(RequestError) as refused:
        checked(made)
    assert text in str(refused.value)
