"""Rules that concern several settings or services at once. Each looks at everything and reports all it finds."""

from __future__ import annotations

from appliance.config.findings import Findings
from appliance.config.kinds import duration_text
from appliance.config.reader import Fields, Given
from appliance.config.resolve import Draft, listed
from appliance.config.setting import MAX_BACKENDS
from appliance.dataplane.abi import BLOCKED_LIMIT
from appliance.model import Address, Config, Network, ServiceKey, UnknownPort


def apply_rules(top: Fields, config: Config, drafts: list[Draft], findings: Findings) -> None:
    """Report every breach of a rule."""
    _interfaces(top, findings)
    _times(top, config, findings)
    _unknown_port(top, findings)
    _block(top, findings)
    _same_service(drafts, findings)
    _vip_as_backend(drafts, findings)
    _backends(drafts, findings)
    _vip_up(drafts, findings)
    _vip_as_next_hop(top, drafts, findings)
    _unknown_to_routers(top, config, findings)


def _interfaces(top: Fields, findings: Findings) -> None:
    services, interfaces = top.get("services"), top.get("interfaces")
    interfaces_given = "interfaces" in top.refused or (interfaces and (interfaces.value or not interfaces.sound))
    if services and services.value and not interfaces_given:
        assert services.key is not None
        hint = "for example interfaces: [eth0]"
        findings.error(services.key, "interfaces", "missing", "there are services, but no interfaces", hint)
    seen: dict[str, None] = {}
    for item in interfaces.value if interfaces else ():
        if item.value in seen:
            findings.error(item.node, item.path, "duplicate-interface", f"{item.value} is given twice", "keep one")
        seen[item.value] = None


def _times(top: Fields, config: Config, findings: Findings) -> None:
    grace = top.get("udp_grace")
    if grace and grace.value > config.idle and "idle" not in top.refused:
        message = f"must be at most `idle`, which is {duration_text(config.idle)}"
        findings.error(grace.node, grace.path, "range", message, "shorten it or lengthen `idle`")


def _unknown_port(top: Fields, findings: Findings) -> None:
    given = top.get("unknown_port")
    if given and given.value is UnknownPort.PASS:
        message = "if this host forwards packets, those for unknown ports of a VIP go back to the router, and round"
        findings.warning(given.node, given.path, "loop", message, "write drop, or see that the host does not forward")


def _block(top: Fields, findings: Findings) -> None:
    given = top.get("block")
    seen: dict[Network, Given] = {}
    for item in given.value if given else ():
        prefix: Network = item.value
        first = seen.setdefault(prefix, item)
        if first is not item:
            where = first.node.where
            message = f"{prefix} is given twice; the first is at {where}"
            findings.error(item.node, item.path, "duplicate-prefix", message, "keep one of them")
        if len(seen) > BLOCKED_LIMIT:
            message = f"more than {BLOCKED_LIMIT:,} prefixes"
            findings.error(item.node, item.path, "limit", message, "join neighbours into shorter prefixes")
            break
        if not prefix.prefixlen:
            message = f"this drops everything from IPv{prefix.version}"
            findings.warning(item.node, item.path, "block", message, "name the networks that you mean")


def _same_service(drafts: list[Draft], findings: Findings) -> None:
    seen: dict[ServiceKey, Draft] = {}
    for draft in drafts:
        first = seen.setdefault(draft.service.key, draft)
        if first is draft:
            continue
        # Two keys of one policy are told apart by the key, two entries (which may share a policy) by the VIP.
        same_vip = first.vip is draft.vip
        at, other = (draft.form, first.form) if same_vip else (draft.vip, first.vip)
        message = f"{draft.service.key} is defined twice; the first is at {other.node.where}"
        findings.error(at.node, at.path, "duplicate-service", message, "remove one of them")


def _vip_as_backend(drafts: list[Draft], findings: Findings) -> None:
    vips: dict[Address, Draft] = {}
    for draft in drafts:
        vips.setdefault(draft.service.key.vip, draft)
    looked_at: set[int] = set()
    for draft in drafts:
        if id(draft.servers) in looked_at:
            continue
        looked_at.add(id(draft.servers))
        for address, item in listed(draft.servers):
            if address in vips:
                vip = vips[address].vip
                where = vip.node.where
                message = f"{address} is a backend, but also the VIP at {where}"
                findings.error(item.node, item.path, "vip-is-backend", message, "use the backend's own address")


def _vip_as_next_hop(top: Fields, drafts: list[Draft], findings: Findings) -> None:
    """Refuse routes that would lead to themselves."""
    vips: dict[Address, Draft] = {}
    entries: dict[int, Fields] = {}
    for draft in drafts:
        vips.setdefault(draft.service.key.vip, draft)
        if draft.entry is not None:
            entries[id(draft.entry)] = draft.entry
    sections: list[Fields] = [given.value for level in (top, *entries.values()) if (given := level.get("bgp"))]
    groups = [group.value for section in sections if (given := section.get("groups")) for group in given.value]
    for section in (*sections, *groups):
        for given in (section.get("next_hop_4"), section.get("next_hop_6")):
            if given is not None and given.value in vips:
                where = vips[given.value].vip.node.where
                message = f"{given.value} is the VIP at {where}, so routes to it would lead to themselves"
                findings.error(given.node, given.path, "vip-is-next-hop", message, "write an address of this host")


def _unknown_to_routers(top: Fields, config: Config, findings: Findings) -> None:
    section, peers = top.get("bgp"), config.bgp.peers
    if section is None or not section.sound or not peers or any(peer.multiprotocol for peer in peers):
        return
    six = next((service.key.vip for service in config.services if service.key.vip.version == 6), None)
    if six is not None:
        message = f"no router learns of IPv6 VIPs such as {six}: no session is over IPv6, and there is no `next_hop_6`"
        hint = "for example next_hop_6: 2001:db8:10::5, an address of this host"
        findings.warning(section.key or section.node, section.path, "next-hop", message, hint)


def _backends(drafts: list[Draft], findings: Findings) -> None:
    counted: dict[tuple[int, int], tuple[int, bool, bool]] = {}
    for draft in drafts:
        servers = draft.servers
        key = (id(servers), id(draft.fallback))
        if key not in counted:
            backends = draft.service.backends
            enabled = sum(backend.enabled for backend in backends)
            weighted = any(backend.weight for backend in backends)
            counted[key] = (enabled, weighted, _all_counted(servers, draft.fallback))
        enabled, weighted, sound = counted[key]
        if not sound:
            continue
        if draft.service.need > enabled:
            at, need = draft.need or servers, draft.service.need
            few = {0: "none is", 1: "only 1 is"}.get(enabled, f"only {enabled} are")
            message = f"needs {need} healthy backend{'s' if need > 1 else ''}, but {few} enabled; it is never up"
            findings.warning(at.node, at.path, "need", message, "lower `need` or enable more servers")
        if servers.value and not weighted:
            message = "all weights are 0; no backend gets new flows"
            findings.warning(servers.node, servers.path, "weights", message, "give one of them a weight")


def _all_counted(*lists: Given | None) -> bool:
    """Whether every entry of these lists is a backend; one that was refused has an issue of its own."""
    given = [one for one in lists if one]
    addresses = [address for one in given for address, _ in listed(one)]
    return all(one.sound for one in given) and len(set(addresses)) == len(addresses)


def _vip_up(drafts: list[Draft], findings: Findings) -> None:
    first: dict[Address, Draft] = {}
    for draft in drafts:
        service = draft.service
        other = first.setdefault(service.key.vip, draft)
        if other.service.vip_any is not service.vip_any:
            where = f"line {other.vip.node.line}, column {other.vip.node.column}"
            here, there = ("any", "all") if service.vip_any else ("all", "any")
            message = f"vip_up is {here} here, and {there} for the same VIP at {where}"
            findings.error(draft.vip.node, draft.vip.path, "conflict", message, "write the same for both")
        if len(service.backends) > MAX_BACKENDS:
            message = f"more than {MAX_BACKENDS:,} backends, `servers` and `fallback` together"
            findings.error(draft.servers.node, draft.servers.path, "limit", message, "use fewer")
