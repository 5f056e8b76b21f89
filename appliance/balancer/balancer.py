"""Services and destinations, one by one, and what they count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from appliance.balancer import destination
from appliance.balancer.destination import Counters, Destination
from appliance.balancer.running import Running
from appliance.dataplane.enums import Reason
from appliance.errors import RequestError
from appliance.model import Address, Backend, Service, ServiceKey
from appliance.net import namespace

Result = TypeVar("Result")


class Balancer(Running):
    """One data plane on some interfaces of this network namespace. A context manager: `open`, `attach`; `close`."""

    # ---- services

    def services(self) -> tuple[Service, ...]:
        """The services as configured, without what only drains."""
        return self._config.services

    def create_service(self, service: Service) -> None:
        """Begin to balance a service. Raises RequestError where it is there already, and as `configure` does."""
        if service.key in self._keys():
            raise RequestError(f"there is a service {service.key} already; update it")
        self._put_services((*self._config.services, service))

    def update_service(self, service: Service) -> None:
        """Replace a service, destinations included; those that are not named any more drain. Raises RequestError."""
        old = self._service(service.key)
        self._put_services(service if one is old else one for one in self._config.services)

    def delete_service(self, key: ServiceKey, *, drain: bool = True) -> None:
        """Give a service no new flows, and let those it has go on for its `drain_timeout`; without `drain`, cut them.

        What is cut is treated as packets for an unknown port are, or for no VIP at all. Raises RequestError.
        """
        old = self._service(key)
        self._put_services(one for one in self._config.services if one is not old)
        if not drain:
            self._cut(lambda service, _: service == key)

    # ---- destinations

    def create_destination(self, key: ServiceKey, backend: Backend) -> None:
        """Give a service one more backend. Raises RequestError where it has that address already."""
        service = self._service(key)
        if any(one.address == backend.address for one in service.backends):
            raise RequestError(f"{key} has a backend {backend.address} already; update it")
        self.update_service(replace(service, backends=(*service.backends, backend)))

    def update_destination(self, key: ServiceKey, backend: Backend) -> None:
        """Change weight or other settings of a backend; weight 0 drains it. Raises RequestError."""
        service, old = self._backend(key, backend.address)
        self.update_service(replace(service, backends=tuple(backend if b is old else b for b in service.backends)))

    def delete_destination(self, key: ServiceKey, address: Address, *, drain: bool = True) -> None:
        """Take a backend out: its flows go on for the service's `drain_timeout`, or without `drain` are cut now.

        Flows that are cut go to other backends, which do not know them. A backend that drains can still be cut. Raises
        RequestError.
        """
        if drain or (key, address) not in self._running().state.leaving:
            service, old = self._backend(key, address)
            self.update_service(replace(service, backends=tuple(b for b in service.backends if b is not old)))
        if not drain:
            self._cut(lambda service, backend: (service, backend) == (key, address))

    def destinations(self, key: ServiceKey) -> tuple[Destination, ...]:
        """The backends of a service and how they stand, those that drain included. Raises RequestError."""
        found = destination.destinations(self._running(), key)
        if found is None:
            raise RequestError(self._unknown(key))
        return found

    # ---- looking

    def counters(self, key: ServiceKey) -> Counters:
        """What the destinations of a service count together, and what was dropped as none was available.

        The counters of a destination go with it. Raises RequestError.
        """
        found = destination.totals(self._running(), key)
        if found is None:
            raise RequestError(self._unknown(key))
        return found

    def reasons(self) -> dict[Reason, int]:
        """How many packets left the program for each reason, since it was first loaded.

        Those that were forwarded in the ordinary way are counted by their destinations alone.
        """
        generation = self._running().data.generation
        return {reason: generation.memory.reason(reason) for reason in Reason} if generation else {}

    def nat_address(self, key: ServiceKey, address: Address) -> Address:
        """Where, `inside` the namespace of probes, a backend answers for the VIP of a service: see ARCHITECTURE.md.

        What is sent there, to any port, arrives at the backend as if a client had sent it to the VIP and the port of
        the service. Probes of one service need different source ports (health/ports.py tells why). The address may
        change with every change of the configuration. Raises RequestError.
        """
        tables = self._running().data.tables
        number = tables.numbers(key).get(address) if tables else None
        if number is None:
            raise RequestError(self._unknown(key) if key not in self._keys() else f"{key} has no backend {address}")
        return namespace.nat_address(number, key.vip.version)

    def inside(self, function: Callable[[], Result]) -> Result:
        """Call a function in the namespace of probes; sockets made there can be handed out.

        Raises RequestError without probes.
        """
        instance = self._running()
        if instance.probe_end is None:
            raise RequestError("this balancer has no namespace for probes; make it with probes=True, and attach it")
        return namespace.run_in_namespace(instance.root, function)

    # ---- inner parts

    def _keys(self) -> set[ServiceKey]:
        return {service.key for service in self._config.services}

    def _unknown(self, key: ServiceKey) -> str:
        known = ", ".join(str(service.key) for service in self._config.services[:8]) or "none"
        return f"there is no service {key}; there are: {known}"

    def _service(self, key: ServiceKey) -> Service:
        found = next((service for service in self._config.services if service.key == key), None)
        if found is None:
            raise RequestError(self._unknown(key))
        return found

    def _backend(self, key: ServiceKey, address: Address) -> tuple[Service, Backend]:
        service = self._service(key)
        found = next((backend for backend in service.backends if backend.address == address), None)
        if found is None:
            known = ", ".join(str(backend.address) for backend in service.backends[:8]) or "none"
            raise RequestError(f"{key} has no backend {address}; it has: {known}")
        return service, found

    def _put_services(self, services: Iterable[Service]) -> None:
        self._running()
        self.configure(replace(self._config, services=tuple(services)))

    def _cut(self, chosen: Callable[[ServiceKey, Address], bool]) -> None:
        instance = self._running()
        for pair in [pair for pair in instance.state.leaving if chosen(*pair)]:
            del instance.state.leaving[pair]
        instance.save()
        self._follow()
