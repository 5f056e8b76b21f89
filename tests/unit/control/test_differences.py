"""What differs between two configurations."""

from __future__ import annotations

import pytest

from appliance.control.differences import Backends, Change, ServiceDifference, differences
from appliance.model import Backend, Config, ServiceKey, UnknownPort
from tests.unit.control.sample import DNS, TLS, WEB, address, config, service

ONE, TWO, THREE = address(1), address(2), address(3)
OLD = config(service(WEB, 1, 2), service(DNS, 1))
ADDED, REMOVED, CHANGED, SAME = Change.ADDED, Change.REMOVED, Change.CHANGED, Change.SAME
NO_BACKENDS = Backends()
UNTOUCHED = {WEB: ServiceDifference(SAME), DNS: ServiceDifference(SAME)}


def changed(*fields: str, backends: Backends = NO_BACKENDS) -> ServiceDifference:
    """A service that stays, but not as it was."""
    return ServiceDifference(CHANGED, fields, backends)


TABLE: dict[str, tuple[Config, dict[ServiceKey, ServiceDifference], tuple[str, ...]]] = {
    "nothing": (config(service(WEB, 1, 2), service(DNS, 1)), {}, ()),
    "a service more": (
        config(service(WEB, 1, 2), service(DNS, 1), service(TLS, 3)),
        {TLS: ServiceDifference(ADDED, backends=Backends(added=(THREE,)))},
        (),
    ),
    "a service less": (
        config(service(WEB, 1, 2)),
        {DNS: ServiceDifference(REMOVED, backends=Backends(removed=(ONE,)))},
        (),
    ),
    "a backend in place of another": (
        config(service(WEB, 1, 3), service(DNS, 1)),
        {WEB: changed(backends=Backends((THREE,), (TWO,)))},
        (),
    ),
    "a weight": (
        config(service(WEB, backends=(Backend(ONE, 5), Backend(TWO, enabled=False))), service(DNS, 1)),
        {WEB: changed(backends=Backends(changed={ONE: ("weight",), TWO: ("enabled",)}))},
        (),
    ),
    "fields of a service": (
        config(service(WEB, 1, 2, need=2, sticky=True), service(DNS, 1, checks=())),
        {WEB: changed("need", "sticky"), DNS: changed("checks")},
        (),
    ),
    "settings": (
        config(service(WEB, 1, 2), service(DNS, 1), idle=60.0, unknown_port=UnknownPort.PASS),
        {},
        ("idle", "unknown_port"),
    ),
}


@pytest.mark.parametrize(("new", "services", "settings"), TABLE.values(), ids=TABLE)
def test_differences(new: Config, services: dict[ServiceKey, ServiceDifference], settings: tuple[str, ...]) -> None:
    found = differences(OLD, new)
    assert found.services == UNTOUCHED | services
    assert list(found.services) == sorted(found.services)
    assert found.settings == settings
