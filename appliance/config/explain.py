"""The configuration in force for people: aligned tables, the text of `vc5 check`."""

from __future__ import annotations

from collections.abc import Callable

from appliance.config.expansion import MASK
from appliance.config.kinds import duration_text
from appliance.config.outlets import without_password
from appliance.config.values_check import payload_text, rcodes_text
from appliance.config.values_fleet import rate_text
from appliance.model import Backend, Check, CheckKind, Config, LastAnnouncer, Service, TunnelKind, Vlan
from appliance.model_bgp import GRACEFUL_SHUTDOWN, LARGEST_MED, NOTHING_SAID, Announce, Community, Peer, VipRoutes
from appliance.model_console import Console
from appliance.model_logging import Logging


def explain_text(config: Config) -> str:
    """Return the settings, then each service with its backends and checks; lines end without blanks."""
    vips = config.bgp.vips
    settings = [
        ("mode", str(config.mode)),
        ("interfaces", " ".join(config.interfaces) or "none"),
        ("xdp", str(config.xdp)),
        ("hash_seed", "generated" if config.hash_seed is None else "given"),
        ("max_flows", str(config.max_flows)),
        ("idle", duration_text(config.idle)),
        ("udp_grace", duration_text(config.udp_grace)),
        ("unknown_port", str(config.unknown_port)),
        ("hold_down", duration_text(config.hold_down)),
        ("max_probes", str(config.max_probes) if config.max_probes else "any number"),
        ("on_isolation", "demote" if config.demote else "no"),
        ("attach_delay", duration_text(config.attach_delay)),
        ("block", " ".join(str(prefix) for prefix in config.block) or "none"),
        ("count_prefixes", "yes" if config.count_prefixes else "no"),
        ("mixed_tags", "yes" if config.mixed_tags else "no"),
        ("on_orphan", str(config.on_orphan)),
        *((name, str(value)) for name, value in _host(config) if value is not None),
        *((f"vlan {vlan.id}", _vlan(vlan)) for vlan in config.vlans),
        *_outlets(config.logging),
    ]
    count = len(config.services)
    blocks = ["\n".join(_table(settings))]
    blocks.extend("\n".join(_peer(peer)) for peer in config.bgp.peers)
    blocks.append(f"{count or 'no'} service{'s' if count != 1 else ''}")
    blocks.extend("\n".join(_service(service, vips.get(service.key.vip, NOTHING_SAID))) for service in config.services)
    return "\n\n".join(blocks) + "\n"


def _host(config: Config) -> tuple[tuple[str, object], ...]:
    """Return what need not be there; None where it is not."""
    return (
        ("address", config.address),
        ("router_id", config.router_id),
        ("host_id", config.host_id),
        ("webserver", _places(config)),
        ("console", _console(config.console)),
        ("multicast", config.multicast),
        ("fleet", _fleet(config)),
        ("leave", duration_text(config.leave) if config.leave else None),
        ("learn", None if config.learn is None else duration_text(config.learn)),
        ("listen", "yes" if config.listen else None),
    )


def _places(config: Config) -> str | None:
    if config.webserver is None:
        return None
    return " ".join(map(str, config.webserver)) or "no"


def _console(console: Console) -> str | None:
    """Return who may look, secrets masked."""
    words = [f"TLS by {console.certificate}"] if console.certificate else []
    words += [f"user {console.user}, password {MASK}"] if console.password else []
    words += [f"token {MASK}"] if console.token else []
    words += [f"called {' '.join(console.hosts)}"] if console.hosts else []
    return ", ".join(words) or None


def _fleet(config: Config) -> str | None:
    """Return with whom this node exchanges what it knows, secrets masked."""
    fleet = config.fleet
    if fleet is None:
        return None
    words = [f"key {' '.join(MASK for _ in fleet.keys)}"]
    if fleet.group is not None:
        words.append(f"to the group {fleet.group}")
    if fleet.peers:
        words.append(f"to {' '.join(map(str, fleet.peers))}")
    words.append(f"from {fleet.source} port {fleet.port}" if fleet.source else f"from port {fleet.port}")
    words.append(f"at most {rate_text(fleet.rate)} bytes a second")
    return ", ".join([*words, "quorum"] if fleet.quorum else words)


def _outlets(logging: Logging) -> list[tuple[str, str]]:
    """Return the log's outlets that are in use, secrets masked."""
    found = [("logging keeps", f"{duration_text(logging.keep)}, at most {logging.space} MB")]
    found += [
        (f"logging {name}", f"{MASK} from severity {logging.alert}")
        for name, url in (("teams", logging.teams), ("slack", logging.slack))
        if url
    ]
    if logging.syslog:
        found.append(("logging syslog", " ".join("yes" if one == "local" else one for one in logging.syslog)))
    search = logging.elasticsearch
    if search is not None:
        addresses = " ".join(without_password(url) for url in search.addresses)
        login = f" as {search.username}" if search.username else " with an API key" if search.api_key else ""
        found.append(("logging elasticsearch", f"namespace {search.namespace} at {addresses or 'none'}{login}"))
    return found


def _peer(peer: Peer) -> list[str]:
    """Return a router and what it is told; what is off is left out."""
    remote = "any AS" if peer.remote_as is None else f"AS {peer.remote_as}"
    words = [f"hold_time {peer.hold_time}s", f"local_pref {peer.local_pref}"]
    words.extend(
        f"{name} {value}"
        for name, value in (
            ("med", peer.med),
            ("prepend", peer.prepend),
            ("source_ip", peer.source_ip),
            ("next_hop_4", peer.next_hop_4),
            ("next_hop_6", peer.next_hop_6),
            ("communities", _communities(peer.communities)),
            ("on_vip_down", "demote" if peer.demote_down else ""),
            ("demote_med", "" if peer.demote_med == LARGEST_MED else str(peer.demote_med)),
            ("demote_communities", _demoted(peer)),
            ("last_communities", _communities(peer.last_communities)),
            ("graceful_restart", f"{peer.restart_time}s" if peer.graceful_restart else "no"),
            ("router_id", peer.router_id),
            ("multihop", peer.multihop),
            ("password", MASK if peer.password else ""),
            ("bfd", f"{duration_text(peer.bfd.interval)} x {peer.bfd.multiplier}" if peer.bfd else ""),
        )
        if value
    )
    words.extend(name for name in ("ttl_security", "passive") if getattr(peer, name))
    lines = [f"peer {peer.address} {peer.group}".rstrip(), f"  from AS {peer.local_as} to {remote}, {', '.join(words)}"]
    for name, prefixes in (("accept", peer.accept), ("reject", peer.reject)):
        if prefixes:
            lines.append(f"  {name} {' '.join(str(prefix) for prefix in prefixes)}")
    return lines


def _communities(communities: tuple[Community, ...]) -> str:
    return " ".join(str(community) for community in communities)


def _demoted(peer: Peer) -> str:
    if peer.demote_communities == (GRACEFUL_SHUTDOWN,):
        return ""
    return _communities(peer.demote_communities) or "none"


def _routes(said: VipRoutes) -> str:
    """Return what services say of a VIP's routes."""
    values = (
        ("med", said.med),
        ("local_pref", said.local_pref),
        ("communities", _communities(said.communities) or None),
        ("prepend", said.prepend),
        ("next_hop_4", said.next_hop_4),
        ("next_hop_6", said.next_hop_6),
    )
    return " ".join(f"{name} {value}" for name, value in values if value is not None)


def _vlan(vlan: Vlan) -> str:
    return f"{vlan.prefix} gateway {vlan.gateway}" if vlan.gateway else str(vlan.prefix)


def _service(service: Service, said: VipRoutes) -> list[str]:
    title = " ".join(part for part in (str(service.key), service.name) if part)
    lines = [f"{title}  {service.description}".rstrip()]
    facts = (
        f"need {service.need}, on_dead {service.on_dead}, on_down {service.on_down}, "
        f"drain_timeout {duration_text(service.drain_timeout)}, priority {service.priority}"
    )
    if not service.vip_enabled:
        facts += ", the VIP is disabled: not announced"
    if said.announce is not Announce.YES:
        facts += f", announce {said.announce}"
    if _routes(said):
        facts += f", bgp {_routes(said)}"
    if not service.critical:
        facts += ", not critical"
    if service.vip_any:
        facts += ", vip_up any"
    if service.max_removal is not None:
        facts += f", max_removal {service.max_removal:.0%} in {duration_text(service.removal_window)}"
    if service.last_announcer is LastAnnouncer.KEEP:
        facts += ", last_announcer keep"
    lines.extend(("  " + facts, "  " + ", ".join(_way(service))))
    backends = [("backend", "port", "weight", "state"), *(_backend(backend, service) for backend in service.backends)]
    checks = [
        ("check", "port", "every", "within", "rise", "fall", "request", "expect"),
        *(_check(check) for check in service.checks),
    ]
    lines.extend("  " + line for line in (_table(backends) if service.backends else ["no backends"]))
    lines.extend("  " + line for line in (_table(checks) if service.checks else ["no checks"]))
    return lines


def _way(service: Service) -> list[str]:
    """Return how flows are shared out and packets travel; what is off is left out."""
    words = [f"scheduler {service.scheduler}", f"tracking {service.tracking}", f"forward {service.forward}"]
    if service.eject_most_loaded:
        words.append("eject_most_loaded")
    if service.sticky:
        words.append("sticky")
    if service.slow_start:
        words.append(f"slow_start {duration_text(service.slow_start)}")
    if service.clamp_mss:
        words.append(f"clamp_mss {service.clamp_mss}")
    tunnel = service.tunnel
    if tunnel is not None:
        words.append(f"tunnel {tunnel.kind}")
        if tunnel.kind in (TunnelKind.FOU, TunnelKind.GUE):
            words[-1] += f" to port {tunnel.port} with{'' if tunnel.checksum else 'out'} checksum"
        elif tunnel.kind is TunnelKind.DSCP:
            words[-1] += f" {tunnel.code}"
    return words


def _backend(backend: Backend, service: Service) -> tuple[str, ...]:
    port = str(backend.port or service.key.port)
    state = ("enabled" if backend.enabled else "disabled") + (" fallback" if backend.fallback else "")
    return (str(backend.address), port, str(backend.weight), state)


def _check(check: Check) -> tuple[str, ...]:
    window = f" of {check.window}" if check.window else ""
    common = (
        str(check.kind),
        str(check.port) if check.kind is not CheckKind.ICMP else "",
        duration_text(check.interval),
        duration_text(check.timeout),
        f"{check.rise}{window}",
        f"{check.fall}{window}",
    )
    return (*common, *_REQUESTS[check.kind](check)) if check.kind in _REQUESTS else (*common, "", "")


def _of_http(check: Check) -> tuple[str, str]:
    host = f"[{check.host}]" if check.host.count(":") > 1 and not check.host.startswith("[") else check.host
    expected = codes_text(check.expect)
    request = f"{check.method} {host}{check.path}{' of full size' if check.mtu else ''}"
    if check.body_pattern:
        return request, f"{expected}, matching {check.body_pattern!r}"
    return request, f"{expected}, {check.body!r}" if check.body else expected


def _of_https(check: Check) -> tuple[str, str]:
    request, expected = _of_http(check)
    return request, f"{expected}, a valid certificate" if check.verify else expected


def _of_grpc(check: Check) -> tuple[str, str]:
    request = f"{check.service or 'the server'}{' over TLS' if check.tls else ''}"
    return request, "SERVING, a valid certificate" if check.verify else "SERVING"


def _of_dns(check: Check) -> tuple[str, str]:
    return f"{check.query or '.'} {check.qtype} over {str(check.transport).upper()}", rcodes_text(check.rcode)


def _of_udp(check: Check) -> tuple[str, str]:
    sent = payload_text(check.send) if check.send else "an empty datagram"
    return sent, payload_text(check.receive) if check.receive else "any answer"


_REQUESTS: dict[CheckKind, Callable[[Check], tuple[str, str]]] = {
    CheckKind.HTTP: _of_http,
    CheckKind.HTTPS: _of_https,
    CheckKind.GRPC: _of_grpc,
    CheckKind.DNS: _of_dns,
    CheckKind.UDP: _of_udp,
}
"""What is asked, and what is expected."""


def codes_text(codes: tuple[int, ...]) -> str:
    """Return status codes as the configuration writes them: `200 300-399`, or `any`."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][-1] == code - 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return " ".join(texts) or "any"


def _table(rows: list[tuple[str, ...]] | list[tuple[str, str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
