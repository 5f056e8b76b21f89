"""Values to the configuration in force: names looked up, inheritance resolved, one service for each VIP and port."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.config.addresses import Server, VirtualAddress
from appliance.config.checks import effective, given_at, resolve_checks, validate_policy
from appliance.config.findings import Findings, suggestion
from appliance.config.forwarding import Forwarding, Travel
from appliance.config.networks import Networks
from appliance.config.nodes import Mapping, quote
from appliance.config.policy import Form
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of
from appliance.model import Address, Backend, Check, Config, Network, Service, ServiceKey

MAX_SERVICES = 10_000
"""More than any data plane of ours holds; bounds the product of VIPs and policies of an entry."""

MAX_MAPPED = 65_535
"""Backends with a port of their own, counted for each service; a data plane has no more destinations than that."""

Pairs = tuple[tuple[Given, Given], ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A service with the places it came from, for the rules that look at several services."""

    service: Service
    vip: Given
    form: Given
    servers: Given
    need: Given | None
    fallback: Given | None = None


def resolve(top: Fields, networks: Networks, findings: Findings) -> tuple[Config, list[Draft]]:
    """Return the configuration and its services with their origins; what cannot be resolved is in `findings`."""
    drafts = _Services(top, findings).all()
    interfaces = top.get("interfaces")
    seed = top.get("hash_seed")
    idle = effective("idle", top)
    grace = top.get("udp_grace")
    config = Config(
        interfaces=tuple(item.value for item in interfaces.value) if interfaces else (),
        mode=networks.mode,
        xdp=effective("xdp", top),
        services=tuple(sorted((draft.service for draft in drafts), key=lambda service: service.key)),
        hash_seed=seed.value if seed else None,
        max_flows=effective("max_flows", top),
        idle=idle,
        udp_grace=grace.value if grace else min(default_of("udp_grace"), idle),
        unknown_port=effective("unknown_port", top),
        vlans=networks.vlans,
        hold_down=effective("hold_down", top),
        demote=effective("on_isolation", top),
        attach_delay=effective("attach_delay", top),
        block=_blocked(top),
        count_prefixes=effective("count_prefixes", top),
        mixed_tags=networks.mixed,
    )
    return config, drafts


def _blocked(top: Fields) -> tuple[Network, ...]:
    """Return the prefixes to block, in the order of families and addresses."""
    given = top.get("block")
    found: set[Network] = {item.value for item in given.value} if given else set()
    return tuple(sorted(found, key=lambda prefix: (prefix.version, int(prefix.network_address), prefix.prefixlen)))


class _Services:
    def __init__(self, top: Fields, findings: Findings) -> None:
        self._top = top
        self._findings = findings
        self._lists: dict[str, Given] = self._named("servers")
        self._policies: dict[str, Given] = self._named("policy")
        for policy in self._policies.values():
            validate_policy(policy.value, findings)
        for servers in self._lists.values():
            self._refuse_twins(servers)
        self._forwarding = Forwarding(findings)
        self._backends: dict[tuple[int, int | None], tuple[Backend, ...]] = {}
        """By identity of the list that they come from, and port: a named list is built once."""
        self._mapped = 0

    def all(self) -> list[Draft]:
        services = self._top.get("services")
        drafts: list[Draft] = []
        for entry in services.value if services else ():
            fields: Fields = entry.value
            virtual = fields.get("virtual")
            servers = self._look_up(fields, "servers", self._lists)
            policy = self._look_up(fields, "policy", self._policies)
            fallback = self._look_up(fields, "fallback", self._lists)
            self._refuse_both(servers, fallback)
            if virtual is None or servers is None or policy is None:
                continue
            count = len(virtual.value) * sum(len(key.value.protocols) for key, _ in policy.value)
            if len(drafts) + count > MAX_SERVICES:
                message = f"more than {MAX_SERVICES:,} services, counted as VIPs times ports"
                self._findings.error(entry.node, entry.path, "limit", message, "use fewer VIPs or ports")
                break
            drafts.extend(self._entry(fields, virtual.value, servers, policy.value, fallback))
        self._forwarding.report_unused()
        return drafts

    def _named(self, name: str) -> dict[str, Given]:
        given = self._top.get(name)
        return {key.value: value for key, value in given.value} if given else {}

    def _look_up(self, service: Fields, name: str, named: dict[str, Given]) -> Given | None:
        """Return the list or policy of a service, followed by name where it is a name."""
        given = service.get(name)
        if given is None:
            return None
        if not isinstance(given.value, str):
            if name != "policy":
                self._refuse_twins(given)
            else:
                validate_policy(given.value, self._findings)
            return given
        found = named.get(given.value)
        if found is None and not self._mentioned("policy" if name == "policy" else "servers", given.value):
            what, place = ("policy", "policy") if name == "policy" else ("server list", "servers")
            hint = suggestion(given.value, named) or f"define it under `{place}` at the top level"
            if place == "servers" and given.value[0].isdigit():
                hint = f"a list has brackets: {name}: [{given.value}]"
            self._findings.error(given.node, given.path, "unknown-name", f"no {what} {quote(given.value)}", hint)
        return found

    def _mentioned(self, name: str, key: str) -> bool:
        """Whether the file defines this name, though wrongly; the definition has its own issue then."""
        top = self._top.get(name)
        if top is None:
            return name in self._top.refused
        return isinstance(top.node, Mapping) and any(entry.text == key for entry, _ in top.node.entries)

    def _refuse_twins(self, servers: Given) -> None:
        seen: dict[Address, Given] = {}
        for address, item in listed(servers):
            first = seen.setdefault(address, item)
            if first is not item:
                where = f"line {first.node.line}, column {first.node.column}"
                message = f"{address} is given twice; the first is at {where}"
                self._findings.error(item.node, item.path, "duplicate-server", message, "keep one of them")

    def _refuse_both(self, servers: Given | None, fallback: Given | None) -> None:
        """Refuse addresses that a service has both ways."""
        known = {address for address, _ in listed(servers)} if servers else set()
        for address, item in listed(fallback) if fallback else ():
            if address in known:
                message = f"{address} is one of the service's `servers`, too"
                self._findings.error(item.node, item.path, "duplicate-server", message, "keep one of them")

    def _entry(
        self, service: Fields, virtual: tuple[Given, ...], servers: Given, policy: Pairs, fallback: Given | None
    ) -> list[Draft]:
        drafts = []
        travels = [self._travel(service, key, value) for key, value in policy]
        for vip in virtual:
            address: VirtualAddress = vip.value
            if not address.enabled:
                message = f"disabling a VIP is not supported by this version; {address.address} stays enabled"
                self._findings.warning(vip.node, vip.path, "unsupported", message, "remove the VIP or the *")
            for (key, _), travel in zip(policy, travels, strict=True):
                form: Form = key.value
                checks = resolve_checks(form, travel.port or form.port, travel.levels, address.address, self._findings)
                need = given_at("need", *travel.levels)
                backends = self._of(servers, travel.port)
                if fallback is not None:
                    backends = _merged(backends, self._of(fallback, travel.port))
                for protocol in form.protocols:
                    made = self._service(ServiceKey(address.address, form.port, protocol), travel, backends, checks)
                    drafts.append(Draft(made, vip, key, servers, need, fallback))
        return drafts

    def _travel(self, service: Fields, key: Given, value: Given) -> Travel:
        policy = value.value if isinstance(value.value, Fields) else Fields(key.node, key.path)
        return self._forwarding.resolve(key.value, value, (policy, service, self._top))

    def _service(
        self, key: ServiceKey, travel: Travel, backends: tuple[Backend, ...], checks: tuple[Check, ...]
    ) -> Service:
        levels = travel.levels
        return Service(
            key,
            backends,
            checks,
            need=effective("need", *levels),
            name=effective("name", *levels) or "",
            description=effective("description", *levels) or "",
            on_dead=effective("on_dead", *levels),
            on_down=effective("on_down", *levels),
            drain_timeout=effective("drain_timeout", *levels),
            sticky=travel.sticky,
            scheduler=travel.scheduler,
            eject_most_loaded=travel.eject_most_loaded,
            tracking=travel.tracking(key.port, key.protocol),
            slow_start=travel.slow_start,
            forward=travel.forward,
            tunnel=travel.tunnel,
            clamp_mss=travel.clamp_mss,
            critical=effective("critical", *levels),
            vip_any=effective("vip_up", *levels),
            max_removal=effective("max_removal", *levels),
            removal_window=effective("removal_window", *levels),
        )

    def _of(self, servers: Given, port: int | None) -> tuple[Backend, ...]:
        made = self._backends.get((id(servers), port))
        if made is None:
            self._mapped += len(servers.value) if port else 0
            if self._mapped > MAX_MAPPED:
                message = f"more than {MAX_MAPPED:,} backends with mapped ports"
                self._findings.error(servers.node, servers.path, "limit", message, "map fewer ports")
                return ()
            found = [_server(item) for item in servers.value]
            unique = {server.address: server for server in found if server is not None}
            ordered = sorted(unique.values(), key=lambda server: (server.address.version, int(server.address)))
            made = tuple(Backend(server.address, server.weight, server.enabled, port) for server in ordered)
            self._backends[(id(servers), port)] = made
        return made


def _merged(backends: tuple[Backend, ...], fallback: tuple[Backend, ...]) -> tuple[Backend, ...]:
    own = {backend.address for backend in backends}
    made = (*backends, *(replace(backend, fallback=True) for backend in fallback if backend.address not in own))
    return tuple(sorted(made, key=lambda backend: (backend.address.version, int(backend.address))))


def listed(servers: Given) -> list[tuple[Address, Given]]:
    """Return the addresses of a server list with their places, those refused left out."""
    found = [(_server(item), item) for item in servers.value]
    return [(server.address, item) for server, item in found if server is not None]


def _server(item: Given) -> Server | None:
    """Return an entry of a server list, written as a text or as a map; None where its address is refused."""
    if isinstance(item.value, Server):
        return item.value
    fields: Fields = item.value
    address = fields.get("address")
    if address is None:
        return None
    return Server(address.value, effective("weight", fields), effective("enabled", fields))
