"""A host as `--host H.json` of `vc5 explain` describes it: read with care, every mistake with its place.

    {"interfaces": [{"name": "eth0", "mac": "02:00:0a:01:0a:05", "mtu": 1500},
                    {"name": "eth0.10", "mac": "02:00:0a:01:0a:05", "vlan": 10,
                     "addresses": ["10.1.10.5/24", "2001:db8:10::5/64"]}],
     "routes": [{"prefix": "0.0.0.0/0", "via": "10.1.10.1", "interface": "eth0", "vlan": 10}],
     "neighbours": {"10.1.10.11": "02:00:0a:01:0a:0b"},
     "health": {"203.0.113.10:443/tcp": {"10.1.10.11": "down"}}}

A neighbour that is not named is unresolved, a backend that is not named is up. Interfaces may also have `up`, `parent`
(a VLAN's, by name) and `master` (a member's bond, by name). Without `parent`, a VLAN is on top of the interface whose
name is that before the dot, else of the first without a VLAN. Under mode vlan an entry with the name of a configured
interface and a VLAN is such a VLAN on top of it. A route without `via` is one on the link; `metric` is 0.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from appliance.errors import ControlError
from appliance.model import Address, Config, Host, Interface, Mode, Route, ServiceKey

WORDS = ("up", "down", "draining", "wrong")
"""What may be said of a backend."""

Words = Mapping[tuple[ServiceKey, Address], str]
T = TypeVar("T")


class DescribedHost(Host):
    """A host with the health of its backends, by word."""

    health: Words

    def __init__(
        self,
        interfaces: tuple[Interface, ...],
        neighbours: Mapping[tuple[int, Address], bytes],
        routes: tuple[Route, ...],
        health: Words,
    ) -> None:
        super().__init__(interfaces, neighbours, routes)
        object.__setattr__(self, "health", health)


def read_host(path: Path, config: Config) -> DescribedHost:
    """Read a description, of which the interfaces that `config` names count; raises ControlError naming the place."""
    try:
        content = _map(json.loads(path.read_bytes()), "the description of a host")
        listed = _list(content.get("interfaces", []), "interfaces")
        interfaces = _interfaces(listed, config)
        macs = {
            parsed(ipaddress.ip_address, address, "neighbours"): _mac(mac, f"neighbours.{address}")
            for address, mac in _map(content.get("neighbours", {}), "neighbours").items()
        }
        routes = _routes(_list(content.get("routes", []), "routes"), interfaces)
        health = health_words(content.get("health", {}))
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ControlError(f"{path}: is not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{path}: {error}") from None
    wanted = _concerned(interfaces, config)
    if interfaces and not wanted:
        described, named = ", ".join(i.name for i in interfaces), ", ".join(config.interfaces)
        raise ControlError(f"{path}: describes {described}, but the configuration's interfaces are {named}")
    neighbours = {(i.index, address): mac for i in wanted for address, mac in macs.items()}
    indices = {interface.index for interface in wanted}
    return DescribedHost(wanted, neighbours, tuple(r for r in routes if r.interface in indices), health)


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


def _interfaces(items: list[Any], config: Config) -> tuple[Interface, ...]:
    """All interfaces that are described, numbered in their order; those that only VLANs imply behind them."""
    found, places = [], [f"interfaces[{number}]" for number in range(len(items))]
    for number, (item, place) in enumerate(zip(items, places, strict=True), 1):
        found.append(_interface(_map(item, place), number, place))
    plain = {one.name: one for one in reversed(found) if one.vlan is None}
    for at, (one, place) in enumerate(zip(list(found), places, strict=True)):
        parent, master = items[at].get("parent"), items[at].get("master")
        for field, name in (("parent", parent), ("master", master)):
            if name is not None and (not isinstance(name, str) or name not in plain):
                raise ValueError(f"{place}.{field}: must name one of the interfaces without a VLAN")
        if master is not None:
            found[at] = replace(one, master=plain[master].index)
        if one.vlan is None:
            continue
        if config.mode is Mode.VLAN and one.name in config.interfaces:
            if one.name not in plain:
                plain[one.name] = Interface(one.name, len(found) + 1, one.mac, (), one.mtu, one.up)
                found.append(plain[one.name])
            found[at] = replace(one, name=f"{one.name}.{one.vlan}", parent=plain[one.name].index)
        elif plain:
            below = parent or one.name.rpartition(".")[0]
            first = min(plain.values(), key=lambda each: (each.name not in config.interfaces, each.index))
            found[at] = replace(one, parent=plain.get(below, first).index)
    return tuple(found)


def _concerned(interfaces: tuple[Interface, ...], config: Config) -> tuple[Interface, ...]:
    """The configured interfaces, and behind them the bonds above and the VLAN interfaces on top of either."""
    if not config.interfaces:
        return tuple(sorted(interfaces, key=lambda one: one.vlan is not None))
    named = [one for one in interfaces if one.name in config.interfaces]
    bonds = [one for one in interfaces if one.index in {member.master for member in named} and one not in named]
    below = {one.index for one in (*named, *bonds)}
    vlans = [one for one in interfaces if one.parent in below and one not in named]
    return (*named, *vlans, *bonds)


def _interface(fields: dict[str, Any], index: int, place: str) -> Interface:
    for name in ("name", "mac"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise ValueError(f"{place}.{name}: must be there, and be a text")
    mtu = fields.get("mtu", 1500)
    if type(mtu) is not int or not 68 <= mtu <= 65536:
        raise ValueError(f"{place}.mtu: must be a whole number of bytes from 68 to 65536, not {json.dumps(mtu)[:60]}")
    up = _yes_or_no(fields.get("up", True), f"{place}.up")
    standby = _yes_or_no(fields.get("standby", False), f"{place}.standby")
    addresses = _list(fields.get("addresses", []), f"{place}.addresses")
    return Interface(
        fields["name"],
        index,
        _mac(fields["mac"], f"{place}.mac"),
        tuple(parsed(ipaddress.ip_interface, address, f"{place}.addresses") for address in addresses),
        mtu,
        up,
        _vlan(fields.get("vlan"), f"{place}.vlan"),
        standby=standby,
    )


def _yes_or_no(value: Any, place: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{place}: must be true or false, not {json.dumps(value)[:60]}")
    return value


def _vlan(value: Any, place: str) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= 4094):
        raise ValueError(f"{place}: must be a VLAN id from 1 to 4094, or null, not {json.dumps(value)[:60]}")
    return value


def _routes(items: list[Any], interfaces: tuple[Interface, ...]) -> tuple[Route, ...]:
    found = []
    for number, item in enumerate(items):
        place = f"routes[{number}]"
        fields = _map(item, place)
        prefix = parsed(ipaddress.ip_network, fields.get("prefix"), f"{place}.prefix")
        via, metric = fields.get("via"), fields.get("metric", 0)
        if type(metric) is not int or not 0 <= metric < 1 << 32:
            raise ValueError(f"{place}.metric: must be a whole number from 0, not {json.dumps(metric)[:60]}")
        gateway = None if via is None else parsed(ipaddress.ip_address, via, f"{place}.via")
        vlan = _vlan(fields.get("vlan"), f"{place}.vlan")
        name = fields.get("interface")
        named = [one for one in interfaces if one.name == name]
        below = {one.index for one in named} | {one.master for one in named if one.master}
        if vlan is not None:
            named = [one for one in named if one.vlan == vlan] or [
                one for one in interfaces if one.vlan == vlan and one.parent in below
            ]
        if not named:
            tag = "" if vlan is None else f" with VLAN {vlan}"
            raise ValueError(
                f"{place}.interface: there is no interface {json.dumps(name)[:60]}{tag} in this description"
            )
        found.append(Route(prefix, gateway, named[0].index, metric))
    return tuple(found)


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
