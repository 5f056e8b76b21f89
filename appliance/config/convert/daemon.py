"""Services of the JSON that the former daemon loads: each VIP, port and protocol apart, with all its checks."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.config.addresses import parse_address
from appliance.config.convert.checks import OldCheck, policy_of, read_checks
from appliance.config.convert.options import read_options
from appliance.config.convert.policies import NAT, NAT_HINT
from appliance.config.convert.source import Job, Old
from appliance.config.findings import Invalid
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, Node, Scalar, describe, quote
from appliance.config.policy import PORT
from appliance.model import Address, Protocol, ServiceKey

_DEFAULTS: dict[str, object] = {"need": 1, "priority": "critical", "sticky": False, "tunnel-type": "none"}


_PROTOCOLS = {str(protocol): protocol for protocol in Protocol}


@dataclass
class OldService:
    """One service. `servers` are texts as the list has them, `policy` the settings of its policy's key."""

    key: ServiceKey
    disabled: bool
    servers: tuple[str, ...]
    form: str
    options: dict[str, object]
    checks: dict[str, object]
    notes: list[str] = field(default_factory=list)


def read_services(node: Node, job: Job) -> tuple[list[OldService], list[str]]:
    """Return the services in the order of their keys, and comments for those that are none."""
    notes: list[str] = []
    found: dict[ServiceKey, OldService] = {}
    if not isinstance(node, Mapping):
        return [], [job.lost(node, "services", f"must be a map or a list, not {describe(node)}")]
    old = Old(node, "services", job)
    for text, value in node.entries:
        path = old.where(text.text)
        key = _service_key(text.text)
        if key is None:
            hint = "address:port:tcp or address:port:udp"
            notes.append(job.lost(value, path, f"{quote(text.text)} names no service", hint))
        elif not isinstance(value, Mapping):
            notes.append(job.lost(value, path, f"a service is a map, not {describe(value)}"))
        elif key in found:
            notes.append(job.lost(text, path, f"{key} is there already, spelt otherwise"))
        else:
            found[key] = _service(key, Old(value, path, job), job)
    return [found[key] for key in sorted(found)], notes


def _service_key(text: str) -> ServiceKey | None:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or parts[2] not in _PROTOCOLS:
        return None
    try:
        return ServiceKey(parse_address(parts[0]), PORT.parse(parts[1]), _PROTOCOLS[parts[2]])
    except Invalid:
        return None


def _service(key: ServiceKey, old: Old, job: Job) -> OldService:
    udp = key.protocol is Protocol.UDP
    notes: list[str] = []
    options = read_options(old, Place.SERVICE, job)
    if "need" not in old:
        # The daemon's number is zero where the file gives none: always up.
        options.add("need", 0, job.guessed(old.node, old.path, "`need` was not given, which meant 0: always up"))
    disabled = _is_true(old, "disabled", job, notes)
    reals, port, checks = _reals(key, old, job, notes)
    form, settings = policy_of(key.port, udp, checks)
    tunnel = options.entry("tunnel-type")
    if port != key.port and tunnel is not None and tunnel.value != "none":
        notes.append(job.lost(old.node, old.path, f"the servers' port {port} cannot be reached through a tunnel"))
    elif port != key.port:
        notes.append(job.guessed(old.node, old.path, NAT, NAT_HINT))
        settings = {"bind": port, "forward": "nat", **settings}
    for entry in options.entries:
        notes.extend(entry.notes)
    notes.extend(options.tail)
    notes.extend(old.rest("in a service"))
    given = {entry.key: entry.value for entry in options.entries if _DEFAULTS.get(entry.key) != entry.value}
    return OldService(key, disabled, reals, form, given, settings, notes)


def _is_true(old: Old, name: str, job: Job, notes: list[str]) -> bool:
    node = old.take(name)
    text = node.text if isinstance(node, Scalar) else ""
    if node is not None and text not in ("true", "false"):
        notes.append(job.lost(node, old.where(name), f"must be true or false, not {describe(node)}"))
    return text == "true"


def _reals(key: ServiceKey, old: Old, job: Job, notes: list[str]) -> tuple[tuple[str, ...], int, tuple[OldCheck, ...]]:
    """Return the servers, their port, and their checks; the first real decides where they differ."""
    udp = key.protocol is Protocol.UDP
    node = old.take("reals")
    if node is None:
        return (), key.port, ()
    path = old.where("reals")
    if not isinstance(node, Mapping):
        notes.append(job.lost(node, path, f"must be a map, not {describe(node)}"))
        return (), key.port, ()
    servers: dict[Address, str] = {}
    port: int | None = None
    checks: tuple[OldCheck, ...] | None = None
    reals = Old(node, path, job)
    for text, value in node.entries:
        where = reals.where(text.text)
        place = _real_key(text.text, key.port)
        if place is None or not (isinstance(value, Mapping) or (isinstance(value, Scalar) and value.is_null)):
            what = f"{quote(text.text)} is no address with a port" if place is None else "a real is a map"
            notes.append(job.lost(value, where, what))
            continue
        address, own = place
        if port is not None and own != port:
            reason = f"the servers of a service have one port, {port} here"
            notes.append(job.lost(text, where, reason, "give this server a service of its own"))
            continue
        if address in servers:
            notes.append(job.lost(text, where, f"{address} is there already"))
            continue
        real = Old(value if isinstance(value, Mapping) else Mapping(value.line, value.column, 1, ()), where, job)
        at = real.take("checks")
        mine, more = read_checks(at, real.where("checks"), job, own, udp) if at is not None else ((), [])
        notes.extend(more)
        if checks is not None and mine != checks and at is not None:
            notes.append(job.lost(at, real.where("checks"), "all servers of a service get the checks of the first"))
        elif checks is not None and mine != checks:
            notes.append(job.guessed(real.node, where, "all servers of a service get the checks of the first"))
        servers[address] = f"{address}{_share(real, job, notes)}"
        notes.extend(real.rest("in a real"))
        port, checks = own, mine if checks is None else checks
    ordered = sorted(servers, key=lambda address: (address.version, int(address)))
    return tuple(servers[address] for address in ordered), key.port if port is None else port, checks or ()


def _share(real: Old, job: Job, notes: list[str]) -> str:
    """Return what stands behind an address: the mark of a disabled one, or a weight of 0."""
    disabled = _is_true(real, "disabled", job, notes)
    node = real.take("weight")
    text = node.text if isinstance(node, Scalar) else ""
    if node is not None and text not in ("0", "1"):
        notes.append(
            job.dropped(node, real.where("weight"), f"the former daemon took the weight {describe(node)} for 1")
        )
    if disabled:
        return "*"
    return " weight=0" if text == "0" else ""


def _real_key(text: str, port: int) -> tuple[Address, int] | None:
    """Return address and port; a port may be left out behind an IPv4 address, where it is the service's."""
    address, colon, own = text.rpartition(":")
    try:
        if not colon:
            return parse_address(text), port
        return parse_address(address), PORT.parse(own)
    except Invalid:
        return None
