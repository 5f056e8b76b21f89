"""What differs between two configurations, by service, backend and setting. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from appliance.model import Address, Backend, Config, Service, ServiceKey


class Change(StrEnum):
    """What becomes of a service."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True)
class Backends:
    """What becomes of the backends of one service, by address in ascending order."""

    added: tuple[Address, ...] = ()
    removed: tuple[Address, ...] = ()
    changed: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)
    """The names of the fields that differ."""


@dataclass(frozen=True)
class ServiceDifference:
    """What becomes of one service; `fields` names what differs beside its backends."""

    change: Change
    fields: tuple[str, ...] = ()
    backends: Backends = Backends()


@dataclass(frozen=True)
class Differences:
    """What becomes of every service of either configuration, and which settings of the whole differ."""

    services: Mapping[ServiceKey, ServiceDifference]
    settings: tuple[str, ...]


UNCHANGED = ServiceDifference(Change.SAME)


def differences(before: Config, after: Config) -> Differences:
    """Compare two configurations; services come in their order."""
    old, new = _by_key(before), _by_key(after)
    found: dict[ServiceKey, ServiceDifference] = {}
    for key in sorted(old.keys() | new.keys()):
        then, now = old.get(key), new.get(key)
        if then is None:
            found[key] = ServiceDifference(Change.ADDED, backends=Backends(added=_addresses(now)))
        elif now is None:
            found[key] = ServiceDifference(Change.REMOVED, backends=Backends(removed=_addresses(then)))
        else:
            found[key] = UNCHANGED if then == now else _changed(then, now)
    return Differences(found, _differing(before, after, leave_out=("services",)))


def _changed(then: Service, now: Service) -> ServiceDifference:
    old = {backend.address: backend for backend in then.backends}
    new = {backend.address: backend for backend in now.backends}
    changed = {address: _differing(old[address], new[address]) for address in old if address in new}
    backends = Backends(
        tuple(address for address in new if address not in old),
        tuple(address for address in old if address not in new),
        {address: names for address, names in changed.items() if names},
    )
    return ServiceDifference(Change.CHANGED, _differing(then, now, leave_out=("backends",)), backends)


def _differing(one: object, other: object, leave_out: Iterable[str] = ()) -> tuple[str, ...]:
    names = (found.name for found in fields(one) if found.name not in leave_out)  # type: ignore[arg-type]
    return tuple(name for name in names if getattr(one, name) != getattr(other, name))


def _by_key(config: Config) -> dict[ServiceKey, Service]:
    return {service.key: service for service in config.services}


def _addresses(service: Service | None) -> tuple[Address, ...]:
    backends: tuple[Backend, ...] = service.backends if service else ()
    return tuple(backend.address for backend in backends)
