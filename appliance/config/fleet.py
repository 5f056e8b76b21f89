"""The other balancers: with whom what is exchanged, and what becomes of a VIP that only this node announces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from appliance.config.checks import effective
from appliance.config.findings import Findings
from appliance.config.reader import Fields, Given
from appliance.config.resolve import Draft
from appliance.config.vip_routes import HINT
from appliance.model import Address, LastAnnouncer, Service
from appliance.model_address import Endpoint
from appliance.model_fleet import FLEET_PORT, Fleet


def resolve_fleet(top: Fields, findings: Findings) -> Fleet | None:
    """Return with whom this node exchanges what it knows; None for nobody. Reports what is given by half."""
    section, group = top.get("fleet"), top.get("multicast")
    if section is None:
        if group is not None and "fleet" not in top.refused:
            message = "nothing is exchanged with other balancers, for there is no key"
            findings.warning(
                group.node, group.path, "fleet", message, "give the secret that they share: fleet: {key: ...}"
            )
        return None
    fields: Fields = section.value
    given, source = fields.get("port"), fields.get("source")
    port: int = given.value if given else FLEET_PORT
    named = fields.get("peers")
    peers = _peers(named, port, findings)
    keys = _keys(fields.get("key"), findings)
    at = section.key or section.node
    understood = "multicast" not in top.refused and "peers" not in fields.refused and (named is None or named.sound)
    if not peers and group is None and understood:
        hint = "name the other nodes, for example peers: [10.1.1.2], or a group with `multicast`"
        findings.error(at, section.path, "missing", "there is nobody to exchange anything with", hint)
    if top.get("hash_seed") is None and "hash_seed" not in top.refused:
        message = "without `hash_seed` every node makes one of its own, so the same flow goes to different backends"
        findings.warning(at, section.path, "hash-seed", message, "give all nodes the same: `openssl rand -hex 16`")
    return Fleet(
        keys=keys,
        peers=peers,
        group=group.value if group else None,
        source=source.value if source else None,
        port=port,
        rate=effective("rate", fields),
        quorum=effective("quorum", fields),
    )


def _keys(given: Given | None, findings: Findings) -> tuple[bytes, ...]:
    seen: dict[bytes, Given] = {}
    for item in given.value if given else ():
        first = seen.setdefault(item.value, item)
        if first is not item:
            message = f"the same key as at {first.node.where}"
            findings.error(item.node, item.path, "duplicate-key", message, "keep one of them")
    return tuple(seen)


def _peers(given: Given | None, port: int, findings: Findings) -> tuple[Endpoint, ...]:
    """Return the peers in the order of the file, those that name no port with that of the fleet."""
    seen: dict[Endpoint, Given] = {}
    for item in given.value if given else ():
        peer = item.value if item.value.port else replace(item.value, port=port)
        first = seen.setdefault(peer, item)
        if first is not item:
            message = f"{peer} is given twice; the first is at {first.node.where}"
            findings.error(item.node, item.path, "duplicate-peer", message, "keep one of them")
    return tuple(seen)


def resolve_last_announcers(
    services: tuple[Service, ...], drafts: Iterable[Draft], findings: Findings
) -> tuple[Service, ...]:
    """Return the services, all of a VIP with what one of them says; two that differ are in `findings`."""
    said: dict[Address, Given] = {}
    for draft in drafts:
        if draft.last is None:
            continue
        first = said.setdefault(draft.service.key.vip, draft.last)
        if first.value is not draft.last.value:
            message = (
                f"last_announcer is {draft.last.value} here, and {first.value} for the same VIP at {first.node.where}"
            )
            findings.error(draft.last.node, draft.last.path, "conflict", message, HINT)
    if not said:
        return services
    return tuple(_told(service, said.get(service.key.vip)) for service in services)


def _told(service: Service, given: Given | None) -> Service:
    wanted: LastAnnouncer = given.value if given else service.last_announcer
    return service if service.last_announcer is wanted else replace(service, last_announcer=wanted)
