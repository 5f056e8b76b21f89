"""What nodes of a fleet tell of their configuration: short digests, made and compared here. Pure.

There are two. Of a service, what its table depends on by configuration, checks included; it is told with the digest of
the table (`TableDigest.configuration`). Of the whole, what all nodes of a fleet have in common; HELLO has it
(`Facts.configuration`), its first SEED octets being of the hash seed alone, so that another seed is told apart from
another file. The seed has 128 bits of chance (RFC 4086), of which a digest gives nothing away.

Nothing secret is in them, nor what is each node's own: how it is attached to its networks, what it is called, which
routers it speaks to and from where, who may look at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from appliance.config.expansion import expand
from appliance.fleet.records import DIGEST, Facts
from appliance.model import Config, Service

SEED = 3
"""Octets of the configuration's digest that are of the hash seed."""
OWN_SETTINGS = frozenset(
    {
        *("mode", "interfaces", "xdp", "attach_delay", "mixed_tags"),  # how the host is attached to its networks
        *("address", "router_id", "host_id"),  # what it is called
        *("webserver", "console"),  # where it is looked at, and by whom
        "hash_seed",  # told by octets of its own
    }
)
"""The settings of the file's top that are each node's own. `vlans` and `bgp.peers` are as well."""
OWN_PARTS: Mapping[str, frozenset[str]] = {
    "fleet": frozenset({"key", "peers", "source", "port"}),
    "elasticsearch": frozenset({"username", "password", "api_key", "ca", "certificate", "key"}),
    "logging": frozenset({"teams", "slack"}),
}
"""Of a section, what is secret, or names what is in the node's own file system or network."""
OWN_ROUTES = frozenset({"next_hop_4", "next_hop_6"})
"""Of what services say of routes, likewise."""


def configuration_digest(config: Config, seed: bytes) -> bytes:
    """Return the digest of a whole configuration, DIGEST octets; `seed` is the hash seed in use, generated or not.

    It takes as long as `vc5 check --json`: tens of milliseconds for thousands of backends.
    """
    told = json.dumps(common(config), sort_keys=True, separators=(",", ":"))
    return _digest((seed.hex(),), SEED) + _digest((told,), DIGEST - SEED)


def common(config: Config) -> dict[str, Any]:
    """Return what the nodes of a fleet have in common, expanded, and as JSON."""
    found = expand(config, (), "")
    services = [_service(one) for one in found["services"]]
    services.sort(key=lambda one: (one["vip"], one["port"], one["proto"]))
    settings = {name: _without(name, value) for name, value in found["settings"].items() if name not in OWN_SETTINGS}
    return {"services": services, "settings": settings}


def service_digest(service: Service) -> bytes:
    """Return the digest of what a service's table depends on by configuration, DIGEST octets.

    `service` is as the configuration has it, without what operators say of backends.
    """
    backends = sorted(service.backends, key=lambda one: (one.address.version, int(one.address)))
    return _digest(
        (
            *(f"{one.address} {one.weight} {one.enabled:d} {one.fallback:d}" for one in backends),
            f"{service.need} {service.sticky:d} {service.scheduler} {service.eject_most_loaded:d} {service.tracking}",
            f"{service.slow_start!r} {service.max_removal!r} {service.removal_window!r}",
            *(repr(check) for check in service.checks),
        ),
        DIGEST,
    )


def differing(mine: Facts, other: Facts) -> tuple[bool, bool]:
    """Return whether two nodes have another hash seed, and whether they have another configuration beside that.

    Where one does not say, neither; and other versions have other settings, so of these only the seed is compared.
    """
    one, two = mine.configuration, other.configuration
    if not any(one) or not any(two):
        return False, False
    return one[:SEED] != two[:SEED], mine.version == other.version and one[SEED:] != two[SEED:]


def _service(told: Mapping[str, Any]) -> dict[str, Any]:
    routes = told["bgp"]
    kept = routes and {name: value for name, value in routes.items() if name not in OWN_ROUTES}
    return {**told, "bgp": kept}


def _without(name: str, value: Any) -> Any:
    """Return a section without what is each node's own in it."""
    if not isinstance(value, dict):
        return value
    own = OWN_PARTS.get(name, frozenset())
    return {inner: _without(inner, part) for inner, part in value.items() if inner not in own}


def _digest(lines: Iterable[str], octets: int) -> bytes:
    return blake2b("\n".join(lines).encode(), digest_size=octets).digest()
