"""Values to the configuration in force: names looked up, inheritance resolved, one service for each VIP and port."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.config.addresses import Server, VirtualAddress
from appliance.config.checks import effective, given_at, resolve_checks, validate_policy
from appliance.config.findings import Findings, suggestion
from appliance.config.forwarding import Forwarding, Travel
from appliance.config.kinds import Place
from appliance.config.networks import Networks
from appliance.config.nodes import Mapping, quote
from appliance.config.policy import Form
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of, settings_of
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
    entry: Fields | None = None
    """The item of `services`."""
    last: Given | None = None
    """What it says of the last announcer, itself or by its policy."""


def resolve(top: Fields, networks: Networks, findings: Findings) -> tuple[Config, list[Draft]]:
    """Return the configuration and its services with their origins; what cannot be resolved is in `findings`."""
    drafts = _Services(top, _bottom(top, findings), networks, findings).all()
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
        max_probes=effective("max_probes", top),
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


def _bottom(top: Fields, findings: Findings) -> Fields:
    """Return the level below services: the top level's settings together with those of `defaults`."""
    section = top.get("defaults")
    if section is None:
        return top
    defaults: Fields = section.value
    for name, given in defaults.given.items():
        if name in top.given:
            message = f"`{name}` is given at the top level too, at {top.given[name].node.where}"
            findings.error(given.node, given.path, "conflict", message, "keep one of them")
    return Fields(top.node, top.path, {**top.given, **defaults.given}, top.refused | defaults.refused)


class _Services:
    def __init__(self, top: Fields, bottom: Fields, networks: Networks, findings: Findings) -> None:
        self._top = top
        self._networks = networks
        self._bottom = bottom
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
        self._found: dict[int, Given | None] = {}
        """What was looked up, by identity of what asked for it."""
        self._disabled = self._disabled_vips()

    def all(self) -> list[Draft]:
        services = self._top.get("services")
        drafts: list[Draft] = []
        for entry in services.value if services else ():
            fields: Fields = entry.value
            virtual = fields.get("virtual")
            policy = self._look_up(fields, "policy", self._policies)
            nothing = fields.get("policy") is None
            servers = self._servers(entry, policy.value if policy else (), alone=nothing)
            fallback = self._look_up(fields, "fallback", self._lists)
            for each in {id(found): found for found in servers}.values():
                self._refuse_both(each, fallback)
            if virtual is None or policy is None:
                continue
            count = len(virtual.value) * sum(len(key.value.protocols) for key, _ in policy.value)
            if len(drafts) + count > MAX_SERVICES:
                message = f"more than {MAX_SERVICES:,} services, counted as VIPs times ports"
                self._findings.error(entry.node, entry.path, "limit", message, "use fewer VIPs or ports")
                break
            drafts.extend(self._entry(fields, virtual.value, servers, policy.value, fallback))
        self._forwarding.report_unused()
        return drafts

    def _disabled_vips(self) -> frozenset[Address]:
        """Return the VIPs that carry the mark anywhere."""
        services = self._top.get("services")
        lists = [entry.value.get("virtual") for entry in services.value] if services else []
        vips: list[VirtualAddress] = [item.value for given in lists if given for item in given.value]
        return frozenset(vip.address for vip in vips if not vip.enabled)

    def _servers(self, entry: Given, policy: Pairs, alone: bool) -> list[Given | None]:
        """Return the server list of each key of a policy: its own, else the service's; None where that is refused.

        `alone` says that there is no policy which could have servers of its own.
        """
        fields: Fields = entry.value
        common = self._look_up(fields, "servers", self._lists)
        found = []
        for _, value in policy:
            own = value.value if isinstance(value.value, Fields) else None
            if own is not None and ("servers" in own.given or "servers" in own.refused):
                found.append(self._look_up(own, "servers", self._lists))
                continue
            alone = True
            found.append(common)
        if alone and "servers" not in fields.given and "servers" not in fields.refused:
            hint = f"for example servers: {settings_of(Place.SERVICE)['servers'].example}"
            self._findings.error(entry.node, entry.path, "missing", "'servers' is missing", hint)
        return found

    def _named(self, name: str) -> dict[str, Given]:
        given = self._top.get(name)
        return {key.value: value for key, value in given.value} if given else {}

    def _look_up(self, service: Fields, name: str, named: dict[str, Given]) -> Given | None:
        """Return the list or policy of a service or policy, followed by name where it is a name."""
        given = service.get(name)
        if given is None:
            return None
        if id(given) not in self._found:
            self._found[id(given)] = self._resolve(given, name, named)
        return self._found[id(given)]

    def _resolve(self, given: Given, name: str, named: dict[str, Given]) -> Given | None:
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
            if given.value[0].isdigit():
                hint = f"a list has brackets: {name}: [{given.value}]"
                hint = hint if place == "servers" else f"a policy is a map: {name}: {{{given.value}: }}"
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
                where = first.node.where
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
        self,
        service: Fields,
        virtual: tuple[Given, ...],
        lists: list[Given | None],
        policy: Pairs,
        fallback: Given | None,
    ) -> list[Draft]:
        drafts = []
        travels = [self._travel(service, key, value) for key, value in policy]
        for vip in virtual:
            address: VirtualAddress = vip.value
            for (key, _), servers, travel in zip(policy, lists, travels, strict=True):
                if servers is None:
                    continue
                form: Form = key.value
                checks = resolve_checks(form, travel.port or form.port, travel.levels, address.address, self._findings)
                need = given_at("need", *travel.levels)
                last = given_at("last_announcer", *travel.levels[:2])
                backends = self._of(servers, travel.port)
                if fallback is not None:
                    backends = _merged(backends, self._of(fallback, travel.port))
                for protocol in form.protocols:
                    named = ServiceKey(address.address, form.port, protocol)
                    made = self._service(named, travel, backends, checks[protocol])
                    drafts.append(Draft(made, vip, key, servers, need, fallback, service, last))
        return drafts

    def _travel(self, service: Fields, key: Given, value: Given) -> Travel:
        policy = value.value if isinstance(value.value, Fields) else Fields(key.node, key.path)
        return self._forwarding.resolve(key.value, value, (policy, service, self._bottom))

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
            priority=effective("priority", *levels),
            vip_enabled=key.vip not in self._disabled,
            critical=effective("critical", *levels),
            vip_any=effective("vip_up", *levels),
            max_removal=effective("max_removal", *levels),
            removal_window=effective("removal_window", *levels),
            last_announcer=effective("last_announcer", *levels),
        )

    def _of(self, servers: Given, port: int | None) -> tuple[Backend, ...]:
        made = self._backends.get((id(servers), port))
        if made is None:
            self._mapped += len(servers.value) if port else 0
            if self._mapped > MAX_MAPPED:
                message = f"more than {MAX_MAPPED:,} backends with mapped ports"
                self._findings.error(servers.node, servers.path, "limit", message, "map fewer ports")
                return ()
            unique = {address: self._backend(address, item, port) for address, item in listed(servers)}
            made = tuple(sorted(unique.values(), key=lambda one: (one.address.version, int(one.address))))
            self._backends[(id(servers), port)] = made
        return made

    def _backend(self, address: Address, item: Given, port: int | None) -> Backend:
        """Return an entry of a server list, written as a text or as a map."""
        override = self._networks.override(address)
        around = (override, self._bottom) if override else (self._bottom,)
        if not isinstance(item.value, Server):
            levels = (item.value, *around)
            return Backend(address, effective("weight", *levels), effective("enabled", *levels), port)
        server = item.value
        weight = effective("weight", *around) if server.weight is None else server.weight
        return Backend(address, weight, server.enabled and effective("enabled", *around), port)


def _merged(backends: tuple[Backend, ...], fallback: tuple[Backend, ...]) -> tuple[Backend, ...]:
    own = {backend.address for backend in backends}
    made = (*backends, *(replace(backend, fallback=True) for backend in fallback if backend.address not in own))
    return tuple(sorted(made, key=lambda backend: (backend.address.version, int(backend.address))))


def listed(servers: Given) -> list[tuple[Address, Given]]:
    """Return the addresses of a server list with their places, those refused left out."""
    found = [(_address(item), item) for item in servers.value]
    return [(address, item) for address, item in found if address is not None]


def _address(item: Given) -> Address | None:
    """Return the address of an entry of a server list; None where it is refused."""
    if isinstance(item.value, Server):
        return item.value.address
    given = item.value.get("address")
    return given.value if given else None
