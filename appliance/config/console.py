"""Where the console is offered and to whom, with the rules that bind these settings."""

from __future__ import annotations

from appliance.config.findings import Findings
from appliance.config.reader import Fields
from appliance.model_address import NOWHERE, Endpoint
from appliance.model_console import Console

TEXTS = ("certificate", "key", "user", "password", "token")


def resolve_webserver(top: Fields, findings: Findings) -> tuple[Endpoint, ...] | None:
    """Return where the console is offered: nowhere for an empty tuple, None where nothing is said."""
    given = top.get("webserver")
    if given is None:
        return None
    found: dict[Endpoint, None] = {}
    for item in given.value:
        if item.value in found:
            message = f"{item.value} is given twice"
            findings.error(item.node, item.path, "duplicate-address", message, "keep one of them")
        if item.value == NOWHERE and len(given.value) > 1:
            message = "`no` stands beside addresses"
            findings.error(item.node, item.path, "conflict", message, "remove `no`, or the others")
        found[item.value] = None
    return tuple(one for one in found if one != NOWHERE)


def resolve_console(top: Fields, findings: Findings) -> Console:
    """Return who may look; reports what is given by half."""
    section = top.get("console")
    if section is None:
        return Console()
    fields: Fields = section.value
    for one, other in (("certificate", "key"), ("user", "password")):
        for given, missing in ((one, other), (other, one)):
            value = fields.get(given)
            if value is not None and fields.get(missing) is None and missing not in fields.refused:
                message = f"`{given}` is given, but no `{missing}`"
                findings.error(value.node, value.path, "missing", message, f"give `{missing}` as well")
    hosts = fields.get("hosts")
    given_texts = {name: value.value for name in TEXTS if (value := fields.get(name)) is not None}
    console = Console(
        hosts=tuple(dict.fromkeys(item.value.lower() for item in hosts.value)) if hosts else (), **given_texts
    )
    secret = fields.get("password") or fields.get("token")
    if secret is not None and not console.certificate and _reached_from_afar(top):
        message = (
            "it crosses the network in clear text: `webserver` names other addresses than this host's own (loopback)"
        )
        hint = "give `certificate` and `key`, or let a proxy on this host speak TLS"
        findings.warning(secret.node, secret.path, "clear-text", message, hint)
    return console


def _reached_from_afar(top: Fields) -> bool:
    given = top.get("webserver")
    places = [item.value for item in given.value] if given else []
    return any(place != NOWHERE and (place.address is None or not place.address.is_loopback) for place in places)
