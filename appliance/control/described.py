"""A host as `--host H.json` of `vc5 explain` describes it: read with care, every mistake with its place.

    {"interfaces": [{"name": "eth0", "mac": "02:00:0a:01:0a:05", "addresses": ["10.1.10.5/24"], "mtu": 1500}],
     "neighbours": {"10.1.10.11": "02:00:0a:01:0a:0b"},
     "health": {"203.0.113.10:443/tcp": {"10.1.10.11": "down"}}}

A neighbour that is not named is unresolved, a backend that is not named is up.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from appliance.errors import ControlError
from appliance.model import Address, Config, Host, Interface, ServiceKey

WORDS = ("up", "down", "draining", "wrong")
"""What may be said of a backend."""

Words = Mapping[tuple[ServiceKey, Address], str]
T = TypeVar("T")


class DescribedHost(Host):
    """A host with the health of its backends, by word."""

    health: Words

    def __init__(
        self, interfaces: tuple[Interface, ...], neighbours: Mapping[tuple[int, Address], bytes], health: Words
    ) -> None:
        super().__init__(interfaces, neighbours)
        object.__setattr__(self, "health", health)


def read_host(path: Path, config: Config) -> DescribedHost:
    """Read a description, of which the interfaces that `config` names count; raises ControlError naming the place."""
    try:
        content = _map(json.loads(path.read_bytes()), "the description of a host")
        interfaces = tuple(
            _interface(item, number, f"interfaces[{number - 1}]")
            for number, item in enumerate(_list(content.get("interfaces", []), "interfaces"), 1)
        )
        macs = {
            parsed(ipaddress.ip_address, address, "neighbours"): _mac(mac, f"neighbours.{address}")
            for address, mac in _map(content.get("neighbours", {}), "neighbours").items()
        }
        health = health_words(content.get("health", {}))
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ControlError(f"{path}: is not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{path}: {error}") from None
    wanted = tuple(i for i in interfaces if not config.interfaces or i.name in config.interfaces)
    if interfaces and not wanted:
        described, named = ", ".join(i.name for i in interfaces), ", ".join(config.interfaces)
        raise ControlError(f"{path}: describes {described}, but the configuration's interfaces are {named}")
    return DescribedHost(wanted, {(i.index, address): mac for i in wanted for address, mac in macs.items()}, health)


def health_words(content: Any) -> dict[tuple[ServiceKey, Address], str]:
    """Read {SERVICE: {ADDRESS: WORD}}; raises ValueError naming the place."""
    found = by_backend(content, "health")
    for (key, address), word in found.items():
        if word not in WORDS:
            raise ValueError(f"health.{key}.{address}: must be one of {', '.join(WORDS)}, not {word!r}")
    return found


def by_backend(content: Any, place: str) -> dict[tuple[ServiceKey, Address], Any]:
    """Read {SERVICE: {ADDRESS: ANYTHING}}; raises ValueError naming the place."""
    found = {}
    for service, backends in _map(content, place).items():
        key = parsed(ServiceKey.parse, service, place)
        for address, value in _map(backends, f"{place}.{service}").items():
            found[key, parsed(ipaddress.ip_address, address, f"{place}.{service}")] = value
    return found


def parsed(parse: Callable[[str], T], text: Any, place: str) -> T:
    """Parse a text; raises ValueError that begins with the place."""
    if not isinstance(text, str):
        raise ValueError(f"{place}: must be a text, not {json.dumps(text)[:60]}")
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _interface(item: Any, index: int, place: str) -> Interface:
    fields = _map(item, place)
    for name in ("name", "mac"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise ValueError(f"{place}.{name}: must be there, and be a text")
    mtu = fields.get("mtu", 1500)
    if type(mtu) is not int or not 68 <= mtu <= 65536:
        raise ValueError(f"{place}.mtu: must be a whole number of bytes from 68 to 65536, not {json.dumps(mtu)[:60]}")
    addresses = _list(fields.get("addresses", []), f"{place}.addresses")
    return Interface(
        fields["name"],
        index,
        _mac(fields["mac"], f"{place}.mac"),
        tuple(parsed(ipaddress.ip_interface, address, f"{place}.addresses") for address in addresses),
        mtu,
    )


def _mac(text: Any, place: str) -> bytes:
    found = parsed(_bytes, text, place)
    if len(found) != 6:
        raise ValueError(f"{place}: must be the six bytes of a MAC address as 02:00:0a:01:0a:05, not {text!r}")
    return found


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return b""


def _map(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: must be a JSON object, not {json.dumps(value)[:60]}")
    return value


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{place}: must be a JSON list, not {json.dumps(value)[:60]}")
    return value
