"""What the daemon knows beyond configuration, host and health: what operators said, and who is leaving.

Pure: deadlines are in coarse seconds, the data plane's own clock, so that a daemon that was away does not cut anybody's
drain short. `snapshot` and `restore` carry the state over a restart.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.control.blocks import Blocks
from appliance.control.overrides import Dropped, Override, Overrides, What, restored
from appliance.health.checks import decode_check, encode_check
from appliance.model import (
    Address,
    Backend,
    Check,
    CheckKind,
    Config,
    Forward,
    OnDead,
    OnDown,
    Service,
    ServiceKey,
    Tracking,
    Tunnel,
    TunnelKind,
)

Pair = tuple[ServiceKey, Address]


@dataclass(frozen=True)
class Leaving:
    """A backend that is gone from the configuration and drains until `deadline` (coarse seconds)."""

    service: Service
    """As it was configured when the backend left; its checks go on."""
    backend: Backend
    deadline: int


@dataclass
class State:
    """One configuration in force, and what operators and earlier configurations left behind."""

    config: Config
    overrides: Overrides = field(default_factory=Overrides)
    """What operators said of backends, and of the node."""
    leaving: dict[Pair, Leaving] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=Blocks)
    """Sources that operators block, on top of those of the configuration."""
    dropped: tuple[Dropped, ...] = ()
    """Overrides that went with their backends, and that nobody has been told of."""

    _sorted: tuple[Config, Overrides, tuple[Service, ...]] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    """The services of a configuration in their order; sorting thousands takes too long for every verdict."""

    def reconfigure(self, config: Config, time: int) -> None:
        """Put a new configuration in force; backends that are not in it any more begin to leave."""
        new = {(service.key, backend.address) for service in config.services for backend in service.backends}
        for service in self.config.services:
            for backend in service.backends:
                pair = (service.key, backend.address)
                if pair not in new and service.drain_timeout > 0:
                    deadline = time + _drain(service)
                    self.leaving[pair] = Leaving(service, backend, deadline)
        self.leaving = {pair: entry for pair, entry in self.leaving.items() if pair not in new}
        self.config = config
        self._drop_overrides()

    def expire(self, time: int, dead: Iterable[Pair] = ()) -> list[Pair]:
        """Let go of those whose deadline has come, and of those that died while leaving; returns them.

        A deadline further ahead than the whole drain is that of another clock, before a reboot: the drain begins anew.
        """
        died = set(dead)
        for pair, entry in self.leaving.items():
            latest = time + _drain(entry.service)
            if entry.deadline > latest:
                self.leaving[pair] = replace(entry, deadline=latest)
        gone = [pair for pair, entry in self.leaving.items() if time >= entry.deadline or pair in died]
        for pair in gone:
            del self.leaving[pair]
        return gone

    def inherit(self, present: Iterable[Pair], time: int) -> None:
        """Let those leave that the tables hold and the configuration does not, as a reload would have done.

        They were taken out of the file while no daemon ran, or by a reload that was cut short; their flows go on. How
        the service was configured is not known any more: today's settings count, else the defaults.
        """
        configured = {service.key: service for service in self.config.services}
        known = {(service.key, backend.address) for service in self.services() for backend in service.backends}
        for key, address in present:
            service = configured.get(key) or Service(key=key, backends=(), checks=())
            if (key, address) not in known and service.drain_timeout > 0:
                deadline = time + _drain(service)
                self.leaving[key, address] = Leaving(service, Backend(address, 1), deadline)

    def _drop_overrides(self) -> None:
        if self.overrides.entries:
            configured = {(service.key, one.address) for service in self.config.services for one in service.backends}
            self.overrides, gone = self.overrides.kept(configured)
            self.dropped += gone

    def staying(self) -> tuple[Service, ...]:
        """The services of the configuration, overrides applied."""
        if self._sorted is None or self._sorted[0] is not self.config or self._sorted[1] is not self.overrides:
            ordered = sorted(self.config.services, key=lambda service: service.key)
            self._sorted = self.config, self.overrides, self.overrides.applied(ordered)
        return self._sorted[2]

    def services(self) -> tuple[Service, ...]:
        """All services in force, overrides applied, with those that leave: as backends, or as services of their own."""
        staying = self.staying()
        if not self.leaving:
            return staying
        leavers: dict[ServiceKey, list[Leaving]] = {}
        for (key, _), entry in self.leaving.items():
            leavers.setdefault(key, []).append(entry)
        merged = []
        for service in staying:
            extra = [entry.backend for entry in leavers.pop(service.key, [])]
            merged.append(_with(service, service.backends, extra) if extra else service)
        for entries in leavers.values():
            merged.append(_with(entries[0].service, (), [entry.backend for entry in entries]))
        return tuple(sorted(merged, key=lambda service: service.key))

    def snapshot(self) -> dict[str, Any]:
        """The state in JSON's terms, without the configuration."""
        return {
            "overrides": self.overrides.lasting.snapshot(),
            "node_drain": self.overrides.node_snapshot(),
            "leaving": [_leaving_json(entry) for _, entry in sorted(self.leaving.items(), key=str)],
            "blocks": self.blocks.snapshot(),
        }

    def restore(self, saved: Mapping[str, Any]) -> int:
        """Take over a snapshot; returns how many entries made no sense and were left out."""
        refused = self.blocks.restore(saved.get("blocks"))
        self.overrides, strange = restored(saved.get("overrides"), saved.get("node_drain"))
        refused += strange + self._former_drains(_list(saved.get("drains")))
        configured = {(service.key, b.address) for service in self.config.services for b in service.backends}
        for item in _list(saved.get("leaving")):
            try:
                entry = _leaving(item)
            except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
                refused += 1
                continue
            if (entry.service.key, entry.backend.address) not in configured:
                self.leaving[entry.service.key, entry.backend.address] = entry
        self._drop_overrides()
        return refused

    def _former_drains(self, items: list[Any]) -> int:
        """Take over the drains as version 1 of the file had them, without their times; returns how many are wrong."""
        found, refused = dict(self.overrides.entries), 0
        for item in items:
            try:
                key, address, who = item
                found[ServiceKey.parse(key), ipaddress.ip_address(address)] = {What.DRAIN: Override(str(who), 0.0)}
            except (TypeError, ValueError, AttributeError, OverflowError):
                refused += 1
        self.overrides = replace(self.overrides, entries=found)
        return refused


def _drain(service: Service) -> int:
    """Seconds for which a backend that leaves drains."""
    return max(1, round(service.drain_timeout))


def _with(service: Service, backends: tuple[Backend, ...], extra: list[Backend]) -> Service:
    merged = sorted((*backends, *extra), key=lambda backend: int(backend.address))
    return replace(service, backends=tuple(merged))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


_DEFAULTS = encode_check(Check(CheckKind.SYN, 1))
"""Fills in what an earlier version did not write."""


def _leaving_json(entry: Leaving) -> dict[str, Any]:
    service = entry.service
    return {
        "service": str(service.key),
        "backend": str(entry.backend.address),
        "weight": entry.backend.weight,
        "deadline": entry.deadline,
        "on_dead": str(service.on_dead),
        "on_down": str(service.on_down),
        "drain_timeout": service.drain_timeout,
        "port": entry.backend.port,
        "sticky": service.sticky,
        "tracking": str(service.tracking),
        "forward": str(service.forward),
        "tunnel": _tunnel_json(service.tunnel),
        "checks": [encode_check(check) for check in service.checks],
    }


def _tunnel_json(tunnel: Tunnel | None) -> dict[str, Any] | None:
    return None if tunnel is None else {**asdict(tunnel), "kind": str(tunnel.kind)}


def _tunnel(item: Mapping[str, Any] | None) -> Tunnel | None:
    if item is None:
        return None
    return Tunnel(TunnelKind(item["kind"]), int(item["port"]), item["checksum"] is True, int(item["code"]))


def _leaving(item: Mapping[str, Any]) -> Leaving:
    port = item.get("port")
    backend = Backend(
        ipaddress.ip_address(item["backend"]), int(item["weight"]), port=None if port is None else int(port)
    )
    # A later version may know more of a check; what this one does not know, it cannot do.
    checks = tuple(
        decode_check({name: check.get(name, default) for name, default in _DEFAULTS.items()}, f"checks[{index}]")
        for index, check in enumerate(item["checks"])
        if check["kind"] in tuple(CheckKind)
    )
    service = Service(
        key=ServiceKey.parse(item["service"]),
        backends=(backend,),
        checks=checks,
        on_dead=OnDead(item["on_dead"]),
        on_down=OnDown(item["on_down"]),
        drain_timeout=float(item["drain_timeout"]),
        sticky=item.get("sticky") is True,
        tracking=Tracking(item.get("tracking", Tracking.AUTO)),
        forward=Forward(item.get("forward", Forward.DSR)),
        tunnel=_tunnel(item.get("tunnel")),
    )
    deadline = int(item["deadline"])
    if not (_sane(service, backend) and 0 <= deadline < 1 << 32):
        raise ValueError("no values that a configuration can have")
    return Leaving(service, backend, deadline)


def _sane(service: Service, backend: Backend) -> bool:
    """Whether all values are such that tables can hold them, and checks go on."""
    times = [value for check in service.checks for value in (check.interval, check.timeout)]
    counts = [value for check in service.checks for value in (check.rise, check.fall, check.window or 1)]
    return (
        0 <= backend.weight <= 100
        and (backend.port is None or 1 <= backend.port <= 65535)
        and (service.tunnel is None or (0 <= service.tunnel.port <= 65535 and 0 <= service.tunnel.code < 64))
        and math.isfinite(service.drain_timeout)
        and all(math.isfinite(time) and time > 0 for time in times)
        and all(1 <= check.port <= 65535 for check in service.checks)
        and all(count >= 1 for count in counts)
    )
