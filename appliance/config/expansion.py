"""The configuration in force as JSON: the body of `vc5 check --json`."""

from __future__ import annotations

from typing import Any

from appliance.config.kinds import Place
from appliance.config.settings import settings_of
from appliance.errors import Issue
from appliance.model import Check, Config, Service, Tunnel, TunnelKind, Vlan


def expand(config: Config, warnings: tuple[Issue, ...], shape: str) -> dict[str, Any]:
    """Return the whole document. What this version does not have is null, empty, or the only way it works."""
    return {
        "services": [_service(service) for service in config.services],
        "bgp": {"peers": [], "learn": None, "listen": False},
        "vlans": _vlans(config.vlans),
        "mode": str(config.mode),
        "shape": shape,
        "settings": {
            "mode": str(config.mode),
            "interfaces": list(config.interfaces),
            "xdp": str(config.xdp),
            "address": None,
            "router_id": None,
            "host_id": None,
            "webserver": None,
            "multicast": None,
            "learn": None,
            "listen": False,
            "hash_seed": "generated" if config.hash_seed is None else "given",
            "max_flows": config.max_flows,
            "idle": seconds(config.idle),
            "udp_grace": seconds(config.udp_grace),
            "unknown_port": str(config.unknown_port),
            "hold_down": seconds(config.hold_down),
            "on_isolation": "demote" if config.demote else "no",
            "attach_delay": seconds(config.attach_delay),
            "block": [str(prefix) for prefix in config.block],
            "count_prefixes": config.count_prefixes,
            "mixed_tags": config.mixed_tags,
            "logging": None,
        },
        "warnings": [issue.as_json() for issue in warnings],
    }


def seconds(value: float) -> int | float:
    """Return a time as a JSON number, without a fraction where it has none."""
    return int(value) if value == int(value) else value


def _service(service: Service) -> dict[str, Any]:
    return {
        "vip": str(service.key.vip),
        "port": service.key.port,
        "proto": str(service.key.protocol),
        "name": service.name,
        "description": service.description,
        "need": service.need,
        "sticky": service.sticky,
        "priority": "critical",
        "scheduler": str(service.scheduler),
        "eject_most_loaded": service.eject_most_loaded,
        "tracking": str(service.tracking),
        "forward": str(service.forward),
        "clamp_mss": service.clamp_mss,
        "slow_start": seconds(service.slow_start),
        "on_dead": str(service.on_dead),
        "on_down": str(service.on_down),
        "drain_timeout": seconds(service.drain_timeout),
        "vip_enabled": True,
        "vip_up": "any" if service.vip_any else "all",
        "critical": service.critical,
        "max_removal": service.max_removal,
        "removal_window": seconds(service.removal_window),
        "tunnel": _tunnel(service.tunnel),
        "backends": [
            {
                "address": str(backend.address),
                "port": backend.port or service.key.port,
                "enabled": backend.enabled,
                "weight": backend.weight,
                "fallback": backend.fallback,
            }
            for backend in service.backends
        ],
        "checks": [check_json(check) for check in service.checks],
    }


def _tunnel(tunnel: Tunnel | None) -> dict[str, Any] | None:
    """Return a tunnel; what means nothing to its kind is null."""
    if tunnel is None:
        return None
    udp = tunnel.kind in (TunnelKind.FOU, TunnelKind.GUE)
    return {
        "type": str(tunnel.kind),
        "port": tunnel.port if udp else None,
        "checksum": tunnel.checksum if udp else None,
        "dscp": tunnel.code if tunnel.kind is TunnelKind.DSCP else None,
    }


def _vlans(vlans: tuple[Vlan, ...]) -> dict[str, Any]:
    """Return prefixes by family and id; ids are texts, as JSON wants its keys."""
    families: dict[int, dict[str, str]] = {4: {}, 6: {}}
    gateways: dict[str, list[str]] = {}
    for vlan in vlans:
        families[vlan.prefix.version][str(vlan.id)] = str(vlan.prefix)
        if vlan.gateway is not None:
            gateways.setdefault(str(vlan.id), []).append(str(vlan.gateway))
    return {"v4": families[4], "v6": families[6], "gateways": gateways}


def check_json(check: Check) -> dict[str, Any]:
    """Return a check with the keys that its type has; `window` null means that rise and fall count in a row."""
    values: dict[str, Any] = {
        "method": check.method,
        "path": check.path,
        "host": check.host,
        "expect": list(check.expect) or "any",
    }
    rows = settings_of(Place.CHECK)
    own = {name: value for name, value in values.items() if check.kind in rows[name].checks}
    return {
        "type": str(check.kind),
        "port": check.port,
        **own,
        "interval": seconds(check.interval),
        "timeout": seconds(check.timeout),
        "rise": check.rise,
        "fall": check.fall,
        "window": check.window,
    }
