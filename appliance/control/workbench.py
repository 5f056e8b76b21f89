"""A data plane without interfaces: filled from a configuration and a description of a host, driven step by step."""

from __future__ import annotations

import ipaddress
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.control.plan import Openings, plan
from appliance.control.requirements import read_possible_cpus
from appliance.control.state import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.shape import shape_for
from appliance.dataplane.sync import DataPlane
from appliance.dataplane.tables import Tables
from appliance.errors import ControlError
from appliance.model import Address, Config, Health, Host, Interface, Service, ServiceKey

SEED = bytes(range(16))
"""In the place of a generated seed, so that explanations of one configuration are always the same."""
WORDS = {"up": Health.UP, "down": Health.DEAD, "draining": Health.UP, "wrong": Health.WRONG}
OPERATOR = "explain"


def read_host(path: Path, config: Config) -> Host:
    """Read the description of a host (`--host H.json`); raises ControlError that says what is wrong with it."""
    try:
        content = json.loads(path.read_text())
        interfaces = tuple(
            Interface(
                str(item["name"]),
                number,
                bytes.fromhex(str(item["mac"]).replace(":", "")),
                tuple(ipaddress.ip_interface(address) for address in item.get("addresses", [])),
                int(item.get("mtu", 1500)),
            )
            for number, item in enumerate(content.get("interfaces", []), 1)
        )
        wanted = [i for i in interfaces if not config.interfaces or i.name in config.interfaces]
        macs = {
            ipaddress.ip_address(address): bytes.fromhex(str(mac).replace(":", ""))
            for address, mac in content.get("neighbours", {}).items()
        }
        _health(content.get("health", {}))
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ControlError(f"{path}: describes no host: {error}") from None
    if any(len(i.mac) != 6 for i in wanted) or any(len(mac) != 6 for mac in macs.values()):
        raise ControlError(f"{path}: a MAC address has six bytes")
    neighbours = {(i.index, address): mac for i in wanted for address, mac in macs.items()}
    return DescribedHost(tuple(wanted), neighbours, _health(content.get("health", {})))


class DescribedHost(Host):
    """A host with the health of its backends, by word."""

    def __init__(
        self,
        interfaces: tuple[Interface, ...],
        neighbours: Mapping[tuple[int, Address], bytes],
        health: Mapping[tuple[ServiceKey, Address], str],
    ) -> None:
        super().__init__(interfaces, neighbours)
        object.__setattr__(self, "health", health)

    health: Mapping[tuple[ServiceKey, Address], str]


def _health(content: Mapping[str, Mapping[str, str]]) -> dict[tuple[ServiceKey, Address], str]:
    found = {}
    for service, backends in content.items():
        for address, word in backends.items():
            if word not in WORDS:
                raise ValueError(f"{word!r} is not one of {', '.join(WORDS)}")
            found[ServiceKey.parse(service), ipaddress.ip_address(address)] = word
    return found


class Workbench:
    """One data plane, its state and its clock."""

    def __init__(self, config: Config, host: Host | None) -> None:
        self.host = host or Host(())
        self._words = dict(getattr(host, "health", {}))
        self.state = State(config)
        self._time = 1.0
        self._cache = tempfile.TemporaryDirectory(prefix="vc5-explain-")
        self._data = DataPlane(Path(self._cache.name), None, read_possible_cpus(), pinned=False)
        self._data.install(self._data.prepare(shape_for(config, self._data.cpus)))
        self._apply()

    @property
    def generation(self) -> Generation:
        if self._data.generation is None:
            raise ControlError("the workbench is closed")
        return self._data.generation

    @property
    def tables(self) -> Tables:
        if self._data.tables is None:
            raise ControlError("the workbench is closed")
        return self._data.tables

    def services(self) -> tuple[Service, ...]:
        """The services in force, and those that drain."""
        return self.state.services()

    def _verdict(self, key: ServiceKey, address: Address) -> Health:
        return WORDS[self._words.get((key, address), "up")]

    def _apply(self) -> Mapping[ServiceKey, int]:
        known = {(service.key, b.address) for service in self.state.services() for b in service.backends}
        for pair, word in self._words.items():
            if word == "draining" and pair in known:
                self.state.drains[pair] = OPERATOR
            elif self.state.drains.get(pair) == OPERATOR:
                del self.state.drains[pair]
        seed = self.state.config.hash_seed or SEED
        made = plan(self.state, self._verdict, self.host, seed=seed, now=self._time, openings=Openings())
        self._desired = made.desired
        return self._data.apply(made.desired).changed

    def set_health(self, content: Mapping[str, Mapping[str, str]]) -> Mapping[ServiceKey, int]:
        """Change what is said of some backends."""
        self._words.update(_health(content))
        return self._apply()

    def set_weight(self, content: Mapping[str, Mapping[str, int]]) -> Mapping[ServiceKey, int]:
        """Change weights of backends of the configuration in force."""
        weights = {
            (ServiceKey.parse(service), ipaddress.ip_address(address)): int(weight)
            for service, backends in content.items()
            for address, weight in backends.items()
        }
        if any(not 0 <= weight <= 100 for weight in weights.values()):
            raise ValueError("a weight is from 0 to 100")
        config = self.state.config
        services = tuple(
            replace(
                service,
                backends=tuple(
                    replace(b, weight=weights.get((service.key, b.address), b.weight)) for b in service.backends
                ),
            )
            for service in config.services
        )
        self.state.config = replace(config, services=services)
        return self._apply()

    def set_config(self, config: Config) -> Mapping[ServiceKey, int]:
        """Put another configuration in force, as a reload does."""
        self.state.reconfigure(config, int(self._time))
        gone = tuple(service for service in self.state.services() if service not in config.services)
        shape = self._data.shape_wanted(config, config.hash_seed or SEED, gone)
        self._data.install(self._data.prepare(shape))
        return self._apply()

    def advance(self, seconds: float) -> None:
        """Let time pass, sweeping as the daemon does; at most a day in one step."""
        if not 0 <= seconds <= 86400:
            raise ValueError("advance by 0 to 86400 seconds")
        end = self._time + seconds
        while self._time < end:
            self._time = min(end, self._time + 1)
            self._data.set_time(int(self._time))
            self.tables.sweep(self._desired.services)
            if self.state.expire(int(self._time)):
                self._apply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()
        self._cache.cleanup()
