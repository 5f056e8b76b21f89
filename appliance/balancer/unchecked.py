"""The daemon's instance, without health checks, and with or without anything on disk."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from appliance.control import requirements, store
from appliance.control.instance import Instance, data_plane
from appliance.control.state import State
from appliance.dataplane.sync import DataPlane
from appliance.model import Address, Config, Health, ServiceKey
from appliance.net.watch import HostWatch
from appliance.paths import Root, root


class Unchecked(Instance):
    """An instance that believes in every backend in `assumed`: those that have been found at layer 2."""

    def verdict(self, service: ServiceKey, address: Address) -> Health:
        """Return UP or UNKNOWN."""
        return self.assumed.get((service, address), Health.UNKNOWN)

    def adopt(self, *, look: bool = False) -> bool:
        """As an instance does; nobody is dead here, whatever a daemon that checked them thought."""
        running = super().adopt(look=look)
        self.assumed = dict.fromkeys(self.assumed, Health.UP)
        return running


class Passing(Unchecked):
    """An instance that ends with its process: nothing is pinned, nothing is on disk."""

    def save(self) -> None:
        """Nothing."""

    def seed_for(self, config: Config) -> bytes:
        """Return the configured seed, else the one in force, else a new one."""
        return config.hash_seed or self.seed or secrets.token_bytes(store.SEED_BYTES)


def kept(places: Root, config: Config, watch: HostWatch) -> Unchecked:
    """Return the instance of a root."""
    return Unchecked(places, data_plane(places), State(config), lambda: watch.snapshot())


def passing(interfaces: tuple[str, ...], config: Config, watch: HostWatch) -> Passing:
    """Return an instance without a root."""
    places = nameless(interfaces)
    data = DataPlane(places.pins, None, requirements.read_possible_cpus(), pinned=False)
    return Passing(places, data, State(config), lambda: watch.snapshot())


def nameless(interfaces: tuple[str, ...]) -> Root:
    """Return places of which only the names in the kernel are used.

    They follow from the interfaces, which only one balancer can have at a time: so what one that was killed leaves of
    its probe namespace is found and repaired by the next.
    """
    own = os.stat("/proc/thread-self/ns/net").st_ino
    return root(str(Path("/nonexistent", str(own), *sorted(interfaces))))
