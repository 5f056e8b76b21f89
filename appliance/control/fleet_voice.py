"""What this node says of itself to the others of its fleet, gathered from the daemon: the exchange's `Local`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.control import fleet_slots
from appliance.control.fleet_digests import configuration_digest, service_digest
from appliance.control.fleet_flows import remembered
from appliance.control.fleet_told import DownSince, Told
from appliance.control.overrides import word
from appliance.control.state import Pair
from appliance.dataplane.flowshare import PIECE
from appliance.fleet.records import DIGEST, Facts, How, NodeState, Record, TableOf
from appliance.model import Address, Config, Health, Service, ServiceKey
from appliance.model_bgp import Announce

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

HOW = {
    Announce.YES: How.YES,
    Announce.DEMOTE: How.DEMOTE,
    Announce.LAST: How.LAST,
    Announce.DOWN: How.NO,
    Announce.NO: How.NO,
}
COUNTED = 10.0
"""Seconds between two looks at how many flows are remembered."""


class FleetVoice:
    """What there is to say."""

    def __init__(self, daemon: Daemon, told: Told) -> None:
        self._daemon = daemon
        self._told = told
        self._config: Config | None = None
        self.digest = bytes(DIGEST)
        """Of the configuration."""
        self._services: dict[ServiceKey, Service] = {}
        self._digests: dict[ServiceKey, bytes] = {}
        """Of those services that were asked for: all at once would take a while where there are thousands."""
        self._flows, self._counted_at = 0, 0.0

    @property
    def doing(self) -> NodeState:
        """What this node is doing."""
        if self._daemon.departing.current is not None:
            return NodeState.DRAINING
        return NodeState.LEARNING if self._daemon.routing.learning else NodeState.READY

    def configured(self, config: Config) -> None:
        """Speak of another configuration; its digest is not known before `digested`."""
        if config is self._config:
            return
        self._config, self.digest = config, bytes(DIGEST)
        self._services, self._digests = {service.key: service for service in config.services}, {}

    async def digested(self) -> None:
        """Make the digest of the configuration, which takes too long for the loop."""
        config = self._config
        assert config is not None
        found = await asyncio.to_thread(configuration_digest, config, self._daemon.instance.seed)
        if config is self._config:
            self.digest = found

    def service(self, key: ServiceKey) -> bytes:
        """Return the digest of a service's configuration; of one that only drains, nothing."""
        found = self._digests.get(key)
        if found is None:
            service = self._services.get(key)
            found = self._digests[key] = service_digest(service) if service else bytes(DIGEST)
        return found

    def down(self) -> DownSince:
        """Return which backends this node takes for down, by its own checks and whatever others say."""
        instance, found = self._daemon.instance, {}
        for pair in instance.health:
            verdict = instance.found(*pair)
            if verdict in (Health.DEAD, Health.WRONG):
                found[pair] = verdict, instance.health.changes(*pair)[1] or 0.0
        return found

    def announces(self) -> Mapping[Address, How]:
        """Return how each VIP is announced; not at all where no router listens."""
        routing, gone = self._daemon.routing, self._daemon.departing
        if not routing.heard or gone.withdrawn:
            return {}
        demoted = gone.current is not None
        how = {vip: HOW[one.how] for vip, one in routing.announced.by_vip.items()}
        return {vip: How.DEMOTE if demoted and one is How.YES else one for vip, one in how.items() if one is not How.NO}

    def overrides(self) -> Mapping[Pair, str]:
        """Return what operators say of backends here, in the words of the commands."""
        entries = self._daemon.instance.state.overrides.entries
        return {
            pair: ", ".join(word(what, one) for what, one in found.items() if not one.passing)
            for pair, found in entries.items()
            if not all(one.passing for one in found.values())
        }

    def flows(self) -> int:
        """About how many flows are remembered."""
        tables, now = self._daemon.instance.data.tables, time.monotonic()
        if tables is not None and now - self._counted_at > COUNTED:
            self._flows, self._counted_at = tables.memory.flows_used(), now
        return self._flows

    # ---- what the exchange asks

    def hello(self) -> Facts:
        """Return the facts."""
        instance = self._daemon.instance
        tables, config = instance.data.tables, instance.state.config
        return Facts(
            name=config.host_id or socket.gethostname(),
            version=__version__,
            state=self.doing,
            configuration=self.digest,
            tables=self._told.digest(),
            health=self._told.view,
            tracked_slots=sum(tables.tracked().values()) if tables is not None else 0,
            flows=self.flows(),
            packets=round(self._daemon.departing.rate() or 0),
            isolated=instance.governor.isolated,
        )

    def state(self, shared: bool) -> Iterator[Record]:
        """Yield everything: own facts first; tracked slots before the flows that are remembered because of them."""
        yield from self._told.everything(self.down(), time.time())
        tables = self._daemon.instance.data.tables
        if not shared or tables is None:
            return
        for key in list(tables.tracked()):
            yield from fleet_slots.slots_of(tables, key)
        for first in range(0, tables.memory.shape.owners, PIECE):
            if self._daemon.instance.data.tables is not tables:
                return  # another program has taken its place: whoever asked hears of its flows as they are told again
            yield from remembered(tables.memory, first, min(PIECE, tables.memory.shape.owners - first))

    def table(self, key: ServiceKey) -> TableOf | None:
        """Return a whole table."""
        tables = self._daemon.instance.data.tables
        return fleet_slots.table_of(tables, key) if tables is not None else None
