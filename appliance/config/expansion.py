"""The configuration in force as JSON: the body of `vc5 check --json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from appliance.config.kinds import Place
from appliance.config.outlets import without_password
from appliance.config.settings import settings_of
from appliance.config.values_check import payload_text, rcodes_text
from appliance.errors import Issue
from appliance.model import Check, CheckKind, Config, Service, Tunnel, TunnelKind, Vlan
from appliance.model_address import NOWHERE, Endpoint
from appliance.model_bgp import NOTHING_SAID, Peer, VipRoutes
from appliance.model_console import Console
from appliance.model_fleet import Fleet
from appliance.model_logging import Logging

MASK = "***"
"""What stands for a secret."""


def expand(config: Config, warnings: tuple[Issue, ...], shape: str) -> dict[str, Any]:
    """Return the whole document."""
    learn = None if config.learn is None else seconds(config.learn)
    return {
        "services": [_service(service, config.bgp.vips.get(service.key.vip)) for service in config.services],
        "bgp": {"peers": [_peer(peer) for peer in config.bgp.peers], "learn": learn, "listen": config.listen},
        "vlans": _vlans(config.vlans),
        "mode": str(config.mode),
        "shape": shape,
        "settings": {
            "mode": str(config.mode),
            "interfaces": list(config.interfaces),
            "xdp": str(config.xdp),
            "address": _text(config.address),
            "router_id": _text(config.router_id),
            "host_id": config.host_id,
            "webserver": _webserver(config.webserver),
            "console": _console(config.console),
            "multicast": _text(config.multicast),
            "fleet": _fleet(config.fleet),
            "leave": seconds(config.leave),
            "learn": learn,
            "listen": config.listen,
            "on_orphan": str(config.on_orphan),
            "hash_seed": "generated" if config.hash_seed is None else "given",
            "max_flows": config.max_flows,
            "idle": seconds(config.idle),
            "udp_grace": seconds(config.udp_grace),
            "unknown_port": str(config.unknown_port),
            "hold_down": seconds(config.hold_down),
            "max_probes": config.max_probes,
            "on_isolation": "demote" if config.demote else "no",
            "attach_delay": seconds(config.attach_delay),
            "block": [str(prefix) for prefix in config.block],
            "count_prefixes": config.count_prefixes,
            "mixed_tags": config.mixed_tags,
            "logging": _logging(config.logging),
            "compat_metrics": config.compat_metrics,
            "backend_metrics": config.backend_metrics,
        },
        "warnings": [issue.as_json() for issue in warnings],
    }


def seconds(value: float) -> int | float:
    """Return a time as a JSON number, without a fraction where it has none."""
    return int(value) if value == int(value) else value


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _webserver(places: tuple[Endpoint, ...] | None) -> str | list[str] | None:
    """Where the console is offered: one text for one place, as it has always been."""
    if places is None:
        return None
    texts = [str(place) for place in places or (NOWHERE,)]
    return texts if len(texts) > 1 else texts[0]


def _console(console: Console) -> dict[str, Any]:
    return {
        "hosts": list(console.hosts),
        "certificate": console.certificate or None,
        "key": console.key or None,
        "user": console.user or None,
        "password": _masked(console.password),
        "token": _masked(console.token),
    }


def _fleet(fleet: Fleet | None) -> dict[str, Any] | None:
    if fleet is None:
        return None
    return {
        "key": [MASK for _ in fleet.keys],
        "peers": [str(peer) for peer in fleet.peers],
        "source": _text(fleet.source),
        "port": fleet.port,
        "rate": fleet.rate,
        "quorum": fleet.quorum,
    }


def _masked(secret: str) -> str | None:
    return MASK if secret else None


def _peer(peer: Peer) -> dict[str, Any]:
    return {
        "address": str(peer.address),
        "group": peer.group or None,
        "local_as": peer.local_as,
        "remote_as": peer.remote_as,
        "hold_time": peer.hold_time,
        "local_pref": peer.local_pref,
        "med": peer.med,
        "source_ip": _text(peer.source_ip),
        "next_hop_4": _text(peer.next_hop_4),
        "next_hop_6": _text(peer.next_hop_6),
        "multiprotocol": peer.multiprotocol,
        "communities": [str(community) for community in peer.communities if not community.large],
        "large_communities": [str(community) for community in peer.communities if community.large],
        "accept": [str(prefix) for prefix in peer.accept],
        "reject": [str(prefix) for prefix in peer.reject],
        "password": _masked(peer.password),
        "bfd": {"interval": seconds(peer.bfd.interval), "multiplier": peer.bfd.multiplier} if peer.bfd else None,
        "multihop": peer.multihop,
        "ttl_security": peer.ttl_security,
        "passive": peer.passive,
        "prepend": peer.prepend,
        "on_vip_down": "demote" if peer.demote_down else "withdraw",
        "demote_med": peer.demote_med,
        "demote_communities": [str(community) for community in peer.demote_communities],
        "last_communities": [str(community) for community in peer.last_communities],
        "graceful_restart": peer.graceful_restart,
        "restart_time": peer.restart_time,
        "router_id": _text(peer.router_id),
    }


def _routes(said: VipRoutes) -> dict[str, Any] | None:
    """Return what services say of a VIP's routes; null where the peers' values hold."""
    if replace(said, announce=NOTHING_SAID.announce) == NOTHING_SAID:
        return None
    return {
        "med": said.med,
        "local_pref": said.local_pref,
        "communities": [str(community) for community in said.communities],
        "prepend": said.prepend,
        "next_hop_4": _text(said.next_hop_4),
        "next_hop_6": _text(said.next_hop_6),
    }


def _logging(logging: Logging) -> dict[str, Any]:
    search = logging.elasticsearch
    return {
        "alert": logging.alert,
        "teams": _masked(logging.teams),
        "slack": _masked(logging.slack),
        "syslog": list(logging.syslog),
        "keep": seconds(logging.keep),
        "space": logging.space,
        "elasticsearch": search
        and {
            "index": search.index,
            "addresses": [without_password(url) for url in search.addresses],
            "username": search.username or None,
            "password": _masked(search.password),
            "api_key": _masked(search.api_key),
            "ca": search.ca or None,
            "certificate": search.certificate or None,
            "key": search.key or None,
            "namespace": search.namespace,
        },
    }


def _service(service: Service, said: VipRoutes | None) -> dict[str, Any]:
    told = said or NOTHING_SAID
    return {
        "vip": str(service.key.vip),
        "port": service.key.port,
        "proto": str(service.key.protocol),
        "name": service.name,
        "description": service.description,
        "need": service.need,
        "sticky": service.sticky,
        "priority": str(service.priority),
        "scheduler": str(service.scheduler),
        "eject_most_loaded": service.eject_most_loaded,
        "tracking": str(service.tracking),
        "forward": str(service.forward),
        "clamp_mss": service.clamp_mss,
        "slow_start": seconds(service.slow_start),
        "on_dead": str(service.on_dead),
        "on_down": str(service.on_down),
        "drain_timeout": seconds(service.drain_timeout),
        "vip_enabled": service.vip_enabled,
        "announce": str(told.announce) if service.vip_enabled else "no",
        "bgp": _routes(told),
        "vip_up": "any" if service.vip_any else "all",
        "critical": service.critical,
        "max_removal": service.max_removal,
        "removal_window": seconds(service.removal_window),
        "last_announcer": str(service.last_announcer),
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


_OF_CHECKS: dict[str, Callable[[Check], Any]] = {
    "port": lambda check: check.port,
    "method": lambda check: check.transport if check.kind is CheckKind.DNS else check.method,
    "path": lambda check: check.path,
    "host": lambda check: check.host,
    "expect": lambda check: list(check.expect) or "any",
    "body": lambda check: check.body,
    "body_pattern": lambda check: check.body_pattern,
    "mtu": lambda check: check.mtu,
    "verify": lambda check: check.verify,
    "ca": lambda check: check.ca,
    "expiry_warning": lambda check: check.expiry_warning,
    "tls": lambda check: check.tls,
    "service": lambda check: check.service,
    "name": lambda check: check.query or ".",
    "qtype": lambda check: check.qtype,
    "rcode": lambda check: rcodes_text(check.rcode).split() if check.rcode else "any",
    "send": lambda check: payload_text(check.send) if check.send else "",
    "receive": lambda check: payload_text(check.receive) if check.receive else "",
}
"""What some types of check alone have, as the settings are called."""


def check_json(check: Check) -> dict[str, Any]:
    """Return a check with the keys that its type has; `window` null means that rise and fall count in a row."""
    rows = settings_of(Place.CHECK)
    own = {name: value(check) for name, value in _OF_CHECKS.items() if check.kind in rows[name].checks}
    if check.kind is CheckKind.DNS:
        own["transport"] = str(own.pop("method"))
    return {
        "type": str(check.kind),
        **own,
        "interval": seconds(check.interval),
        "timeout": seconds(check.timeout),
        "rise": check.rise,
        "fall": check.fall,
        "window": check.window,
    }
