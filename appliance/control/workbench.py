"""A data plane without interfaces: filled from a configuration and a description of a host, driven step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.control.described import DescribedHost, by_backend, health_words
from appliance.control.overrides import Override, Overrides, What
from appliance.control.plan import Openings, plan
from appliance.control.requirements import read_possible_cpus
from appliance.control.state import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.shape import shape_for
from appliance.dataplane.sync import DataPlane
from appliance.dataplane.tables import Tables
from appliance.errors import ControlError
from appliance.model import Address, Config, Health, Host, Service, ServiceKey

SEED = bytes(range(16))
"""In the place of a generated seed, so that explanations of one configuration are always the same."""
HEALTH = {"up": Health.UP, "down": Health.DEAD, "draining": Health.UP, "wrong": Health.WRONG}
OPERATOR = "explain"


class Workbench:
    """One data plane, its state and its clock."""

    def __init__(self, config: Config, host: DescribedHost | None) -> None:
        self.host = host or Host(())
        self._words = dict(host.health) if host else {}
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
        return HEALTH[self._words.get((key, address), "up")]

    def _apply(self) -> Mapping[ServiceKey, int]:
        known = {(service.key, b.address) for service in self.state.services() for b in service.backends}
        drain = {What.DRAIN: Override(OPERATOR, 0.0)}
        draining = [pair for pair, word in self._words.items() if word == "draining" and pair in known]
        self.state.overrides = Overrides(dict.fromkeys(draining, drain))
        seed = self.state.config.hash_seed or SEED
        made = plan(self.state, self._verdict, self.host, seed=seed, now=self._time, openings=Openings())
        self._desired = made.desired
        return self._data.apply(made.desired).changed

    def set_health(self, content: Any) -> Mapping[ServiceKey, int]:
        """Change what is said of some backends; raises ValueError."""
        self._words.update(health_words(content))
        return self._apply()

    def set_weight(self, content: Any) -> Mapping[ServiceKey, int]:
        """Change weights of backends of the configuration in force; raises ValueError."""
        weights = by_backend(content, "weight")
        known = {(service.key, b.address) for service in self.state.config.services for b in service.backends}
        for (key, address), weight in weights.items():
            if type(weight) is not int or not 0 <= weight <= 100:
                raise ValueError(f"weight.{key}.{address}: must be a whole number from 0 to 100, not {weight!r}")
            if (key, address) not in known:
                raise ValueError(f"weight.{key}.{address}: is not a backend of the configuration in force")
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
        configured = {id(service) for service in config.services}
        gone = tuple(service for service in self.state.services() if id(service) not in configured)
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
