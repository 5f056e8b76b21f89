"""Whose answers the program knows behind NAT: each endpoint (address, port, protocol) belongs to one destination.

An endpoint is written before its destination gets packets, and forgotten once the destination is nobody's any more.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

from appliance.dataplane.desired import DesiredService, Outlet
from appliance.dataplane.hashing import mapped
from appliance.dataplane.legs import Legs
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.errors import PlanError
from appliance.model import Address, Forward, Protocol, ServiceKey


def endpoint(address: Address, port: int, protocol: int) -> bytes:
    """Return the bytes of vc5_endpoint."""
    return mapped(address) + port.to_bytes(2, "big") + protocol.to_bytes(2, sys.byteorder)


def endpoints(service: DesiredService) -> dict[bytes, Address]:
    """Return the endpoints of a service's backends; none without NAT."""
    if service.forward is not Forward.NAT:
        return {}
    port, protocol = service.key.port, int(service.key.protocol)
    return {endpoint(member.address, member.port or port, protocol): member.address for member in service.members}


class Returns:
    """The endpoints in one generation's memory, by the services that they belong to."""

    def __init__(self, memory: Memory) -> None:
        """Adopt what the memory holds."""
        self._memory = memory
        self._of: dict[ServiceKey, dict[bytes, int]] = {}
        self._wanted: Mapping[int, Outlet] = {}
        self.outlets: set[int] = set()
        """The legs that they leave by."""
        for key, number in list(memory.returns.items()):
            port, protocol = memory.identities.get(number, "port"), memory.identities.get(number, "protocol")
            if port and protocol in tuple(Protocol):
                service = ServiceKey(memory.address(number, "vip"), port, Protocol(protocol))
                self._of.setdefault(service, {})[key] = number
            else:
                del memory.returns[key]

    def check(self, services: Collection[DesiredService], changed: Collection[ServiceKey]) -> None:
        """Raise PlanError where the answers of one endpoint could be for two services, one of them changed."""
        if not self._memory.shape.nat:
            return
        wanted = {service.key for service in services}
        owners: dict[bytes, ServiceKey] = {}
        for key, known in self._of.items():
            if key in wanted and key not in changed:
                owners.update(dict.fromkeys(known, key))
        for service in services:
            for place, address in endpoints(service).items() if service.key in changed else ():
                other = owners.setdefault(place, service.key)
                if other != service.key:
                    port = int.from_bytes(place[16:18], "big")
                    raise PlanError(
                        f"answers of {address} port {port}/{service.key.protocol} could be for {service.key} or for "
                        f"{other}, and `forward: nat` could not tell; map one of them to another port of the backend, "
                        "or wait until what was removed has drained (`drain_timeout`)"
                    )

    def write(self, service: DesiredService, numbers: Mapping[Address, int]) -> None:
        """Let the answers of a service's backends be known, before any packet goes there."""
        found = {place: numbers[address] for place, address in endpoints(service).items()}
        self._forget(service.key, found)
        for place, number in found.items():
            if self._memory.returns.get(place) != number:
                self._memory.returns[place] = number
        if found:
            self._of[service.key] = found

    def remove(self, gone: Collection[ServiceKey]) -> None:
        """Forget services."""
        for key in gone:
            self._forget(key, {})

    def write_outlets(self, outlets: Mapping[int, Outlet], legs: Legs) -> bool:
        """Let frames leave so for an interface that a route names; whether that is new. Raises NoRoom."""
        if self._wanted is outlets or self._wanted == outlets:
            return False
        self.outlets, self._wanted = write_outlets(self._memory, outlets, legs), outlets
        return True

    def _forget(self, key: ServiceKey, kept: Collection[bytes]) -> None:
        for place, number in self._of.pop(key, {}).items():
            # Another service may have got it meanwhile.
            if place not in kept and self._memory.returns.get(place) == number:
                del self._memory.returns[place]


def write_outlets(memory: Memory, outlets: Mapping[int, Outlet], legs: Legs) -> set[int]:
    """Write by which legs frames leave for an interface that a route names; returns those legs. Raises NoRoom."""
    found = {
        index.to_bytes(4, sys.byteorder): legs.number(outlet)
        for index, outlet in sorted(outlets.items())
        if memory.shape.nat and _leaves(memory.shape, outlet)
    }
    for key in list(memory.outlets):
        if key not in found:
            del memory.outlets[key]
    for key, leg in found.items():
        if memory.outlets.get(key) != leg:
            memory.outlets[key] = leg
    return set(found.values())


def _leaves(shape: Shape, outlet: Outlet) -> bool:
    """Whether a program of this shape can send frames with such a tag, or without one."""
    return shape.tagged if outlet.vlan else shape.mixed or not shape.tagged
