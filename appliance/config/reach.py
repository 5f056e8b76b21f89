"""Rules about the way to backends: families, VLANs, and answers that nobody could map back."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from appliance.config.findings import Findings
from appliance.config.networks import Networks
from appliance.config.reader import Given
from appliance.config.resolve import Draft, listed
from appliance.model import Address, Forward, Mode, Service, TunnelKind, Vlan


def apply_reach(networks: Networks, drafts: list[Draft], findings: Findings) -> None:
    """Report every backend that the configuration gives no way to, or none back."""
    _families(drafts, findings)
    _networks(networks, drafts, findings)
    _nat_answers(drafts, findings)
    _dscp_codes(drafts, findings)


def _families(drafts: list[Draft], findings: Findings) -> None:
    looked_at: set[tuple[int, int, str]] = set()
    for draft in drafts:
        tunnel, vip = draft.service.tunnel, draft.service.key.vip
        if tunnel and tunnel.kind is not TunnelKind.DSCP:
            continue
        kind = str(tunnel.kind) if tunnel else ""
        case = (id(draft.servers), vip.version, kind)
        if case in looked_at:
            continue
        looked_at.add(case)
        how = f"`tunnel-type: {kind}` does" if tunnel else "without a tunnel packets do"
        for address, item in listed(draft.servers):
            if address.version != vip.version:
                message = (
                    f"the backend {address} is IPv{address.version}, the VIP {vip} is IPv{vip.version}; {how} not "
                    "change the family"
                )
                hint = "write `tunnel-type` ipip, gre, fou or gue, or servers of the VIP's family"
                findings.error(item.node, item.path, "family", message, hint)


def _networks(networks: Networks, drafts: list[Draft], findings: Findings) -> None:
    if not networks.certain or not networks.vlans or networks.mode is Mode.SIMPLE or networks.mixed:
        return
    inside = _membership(networks.vlans)
    looked_at: set[int] = set()
    for draft in drafts:
        if draft.service.tunnel or id(draft.servers) in looked_at:
            continue
        looked_at.add(id(draft.servers))
        for address, item in listed(draft.servers):
            if not inside(address):
                name = "vlans" if address.version == 4 else "vlans6"
                message = (
                    f"{address} is in no prefix of `{name}`, so mode {networks.mode} has no way to it for "
                    f"{draft.service.key}"
                )
                hint = f"add its network to `{name}`, or give the service a `tunnel-type`"
                findings.error(item.node, item.path, "network", message, hint)


def _membership(vlans: tuple[Vlan, ...]) -> Callable[[Address], bool]:
    """Return a test of whether an address is in one of the prefixes, in a time that does not depend on their number."""
    starts: dict[tuple[int, int], set[int]] = {}
    for vlan in vlans:
        shift = vlan.prefix.max_prefixlen - vlan.prefix.prefixlen
        starts.setdefault((vlan.prefix.version, shift), set()).add(int(vlan.prefix.network_address) >> shift)

    def inside(address: Address) -> bool:
        number = int(address)
        return any(
            version == address.version and number >> shift in numbers for (version, shift), numbers in starts.items()
        )

    return inside


def _nat_answers(drafts: list[Draft], findings: Findings) -> None:
    def endpoint(service: Service) -> Hashable | None:
        if service.forward is not Forward.NAT:
            return None
        return (service.backends[0].port or service.key.port, service.key.protocol) if service.backends else None

    for draft, other, address in _shared(drafts, endpoint):
        key, first = draft.service.key, other.service.key
        port = draft.service.backends[0].port or key.port
        host = f"[{address}]" if address.version == 6 else str(address)
        message = (
            f"answers of {host}:{port}/{key.protocol} could be for {key} or for {first} at {_where(other, draft)}; "
            "`forward: nat` could not tell"
        )
        hint = "map one of them to another port of the backend, or to another address"
        _blame(draft, other, "nat", message, hint, findings)


def _dscp_codes(drafts: list[Draft], findings: Findings) -> None:
    def code(service: Service) -> Hashable | None:
        tunnel = service.tunnel
        if tunnel is None or tunnel.kind is not TunnelKind.DSCP:
            return None
        return (tunnel.code, service.key.port, service.key.protocol)

    for draft, other, address in _shared(drafts, code):
        tunnel, key, first = draft.service.tunnel, draft.service.key, other.service.key
        assert tunnel is not None
        message = (
            f"the backend {address} could not tell {key} from {first} at {_where(other, draft)}: both have the DSCP "
            f"code {tunnel.code}"
        )
        _blame(draft, other, "dscp", message, "give them different codes", findings)


def _shared(drafts: list[Draft], group_of: Callable[[Service], Hashable | None]) -> list[tuple[Draft, Draft, Address]]:
    """Return each service of a group that has a backend of an earlier one, with the earlier one and that backend."""
    groups: dict[Hashable, list[Draft]] = {}
    for draft in drafts:
        group = group_of(draft.service)
        if group is not None:
            groups.setdefault(group, []).append(draft)
    found = []
    # Lists of servers that share none. The services of an entry have the same ones for every port.
    strangers: set[tuple[int, ...]] = set()
    for members in groups.values():
        lists = tuple(id(draft.servers) for draft in members)
        if len(members) < 2 or lists in strangers:
            continue
        owners: dict[Address, Draft] = {}
        for draft in members:
            for backend in draft.service.backends:
                owner = owners.setdefault(backend.address, draft)
                # A service that is there twice is an issue of its own.
                if owner.service.key != draft.service.key:
                    found.append((draft, owner, backend.address))
                    break
        if len(owners) == sum(len(draft.service.backends) for draft in members):
            strangers.add(lists)
    return found


def _place(draft: Draft, other: Draft) -> Given:
    """Return what tells one service from another: the policy's key where they have one VIP, else the VIP."""
    return draft.form if draft.vip is other.vip else draft.vip


def _where(draft: Draft, other: Draft) -> str:
    node = _place(draft, other).node
    return node.where


def _blame(draft: Draft, other: Draft, code: str, message: str, hint: str, findings: Findings) -> None:
    at = _place(draft, other)
    findings.error(at.node, at.path, code, message, hint)
