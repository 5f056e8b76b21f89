"""Whether a configuration that a program made, and no file, makes sense. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from appliance.config.addresses import WEIGHT, parse_address
from appliance.config.findings import Invalid
from appliance.errors import RequestError
from appliance.model import Address, Backend, Config, Service


def checked(config: Config) -> Config:
    """Return the configuration with services and backends in their order.

    Raises RequestError naming what a configuration file could not have said.
    """
    if not config.interfaces:
        raise RequestError("a balancer needs an interface; name at least one in Config.interfaces")
    services = tuple(sorted((_service(service) for service in config.services), key=lambda service: service.key))
    for one, other in pairwise(services):
        if one.key == other.key:
            raise RequestError(f"service {one.key} is named twice; put its backends into one")
    return replace(config, services=services)


def _service(service: Service) -> Service:
    key = service.key
    _usable(key.vip, f"service {key}: the VIP")
    if not 1 <= key.port <= 65535:
        raise RequestError(f"service {key}: port {key.port} is not between 1 and 65535")
    backends = tuple(sorted(service.backends, key=lambda backend: (backend.address.version, int(backend.address))))
    for backend in backends:
        _backend(service, backend)
    for one, other in pairwise(backends):
        if one.address == other.address:
            raise RequestError(f"service {key}: backend {one.address} is named twice; give it a weight instead")
    return replace(service, backends=backends)


def _backend(service: Service, backend: Backend) -> None:
    where = f"service {service.key}: backend {backend.address}"
    _usable(backend.address, f"service {service.key}: the backend")
    if backend.address == service.key.vip:
        raise RequestError(f"{where} is the VIP itself; name the address that the backend has on its own network")
    if backend.address.version != service.key.vip.version and service.tunnel is None:
        raise RequestError(
            f"{where} is of another family than the VIP, which only a tunnel can bridge; set Service.tunnel"
        )
    if type(backend.weight) is not int or not WEIGHT.low <= backend.weight <= WEIGHT.high:
        raise RequestError(f"{where}: weight {backend.weight} is not {WEIGHT.words()}")


def _usable(address: Address, what: str) -> None:
    """The rules for addresses are those of the configuration file."""
    try:
        parse_address(str(address))
    except Invalid as invalid:
        text = invalid.message or f"{address} is no address that packets can have"
        raise RequestError(f"{what}: {text}" + (f"; {invalid.hint}" if invalid.hint else "")) from None
