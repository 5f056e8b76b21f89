"""Which services stand and fall together: those that share a backend, or both share one with a third. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.model import Service, ServiceKey


def relations(services: Iterable[Service]) -> Mapping[ServiceKey, int]:
    """Return for each service that is checked a number, the same one for those that are related."""
    leader: dict[int, int] = {}  # addresses by number: to hash an address takes long
    first: dict[ServiceKey, int] = {}

    def group(address: int) -> int:
        while leader.setdefault(address, address) != address:
            leader[address] = leader[leader[address]]
            address = leader[address]
        return address

    for service in services:
        if service.checks and service.backends:
            first[service.key] = number = int(service.backends[0].address)
            for backend in service.backends:
                leader[group(int(backend.address))] = group(number)
    return {key: group(number) for key, number in first.items()}
