"""Which dialect is a file in? Recognised by its keys, not by a version, which none of them has."""

from __future__ import annotations

from enum import Enum

from appliance.config.convert.lists import OLDEST
from appliance.config.convert.source import is_null
from appliance.config.convert.top import is_peers
from appliance.config.findings import Findings, suggestion
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, describe, quote
from appliance.config.settings import LATER, settings_of


class Dialect(Enum):
    """An earlier dialect, as messages name it."""

    OLDEST = "the YAML of 2021 (`rhi`, `reals`, services with `addr port real`)"
    MIDDLE = "the YAML of 2022 and 2023 (`rhi`, services with `servers` and `policy`)"
    DAEMON = "the JSON of the daemon (services by address:port:protocol)"


OLD_TOP = ("rhi", "reals")
_OLD_SERVICE = ("address", "leastconns", "expt")
_OLD_WORDS = frozenset(("dns", "dns/tcp", "dns/udp", "dns*", "dns/tcp*", "dns/udp*"))
_HINT = "earlier dialects are the YAML of 2021 to 2023 and the JSON that the former daemon loads"


def recognise(node: Node | None, findings: Findings) -> Dialect | None:
    """Return the dialect; None where it is none of them, which `findings` then tells."""
    if node is None:
        findings.refuse(1, 1, "dialect", "the file is empty; there is nothing to convert", _HINT)
        return None
    if not isinstance(node, Mapping):
        findings.error(node, "", "dialect", f"this is {describe(node)}, not a configuration of any dialect", _HINT)
        return None
    top = {key.text: value for key, value in node.entries}
    services = None if is_null(top.get("services", node)) else top.get("services")
    if isinstance(services, Mapping):
        return Dialect.DAEMON
    entries = [item for item in services.items if isinstance(item, Mapping)] if isinstance(services, Sequence) else []
    keys = [{key.text: value for key, value in entry.entries} for entry in entries]
    if "reals" in top or any(name in entry for entry in keys for name in OLDEST):
        return Dialect.OLDEST
    bgp = top.get("bgp")
    if services is None and isinstance(bgp, Mapping) and is_peers(bgp):
        return Dialect.DAEMON
    named = top.get("policy")
    policies = [value for _, value in named.entries] if isinstance(named, Mapping) else []
    if "rhi" in top or any(map(_is_old_policies, policies)) or any(map(_is_middle, keys)):
        return Dialect.MIDDLE
    known = {*settings_of(Place.TOP), *LATER[Place.TOP]}
    if any(name in known for name in top):
        hint = "`vc5 check` says whether it is valid"
        findings.error(node, "", "dialect", "this is today's dialect already; there is nothing to convert", hint)
        return None
    first = node.entries[0][0] if node.entries else node
    what = f"no dialect has a setting {quote(first.text)}" if isinstance(first, Scalar) else "the map is empty"
    hint = suggestion(first.text, (*known, *OLD_TOP)) if isinstance(first, Scalar) else ""
    findings.error(first, "", "dialect", f"this is no configuration of any dialect: {what}", hint or _HINT)
    return None


def _is_middle(entry: dict[str, Node]) -> bool:
    """Whether a service of a list has something that only 2022 and 2023 had."""
    if any(name in entry for name in _OLD_SERVICE) or isinstance(entry.get("servers"), Mapping):
        return True
    if "policy" not in entry:
        return "virtual" in entry and "servers" in entry
    return _is_old_policies(entry["policy"])


def _is_old_policies(policy: Node) -> bool:
    return isinstance(policy, Mapping) and any(
        key.text in _OLD_WORDS or (isinstance(value, Mapping) and _is_old_policy(value))
        for key, value in policy.entries
    )


def _is_old_policy(policy: Mapping) -> bool:
    for key, value in policy.entries:
        if key.text in _OLD_SERVICE:
            return True
        if key.text == "checks" and isinstance(value, Sequence) and any(_is_old_check(item) for item in value.items):
            return True
    return False


def _is_old_check(check: Node) -> bool:
    return isinstance(check, Mapping) and any(
        key.text == "expt" or (key.text == "type" and isinstance(value, Scalar) and value.text == "dnstcp")
        for key, value in check.entries
    )
