"""The host's own settings and its log's outlets, with the settings that are written in two ways or places."""

from __future__ import annotations

import dataclasses
from typing import Any

from appliance.config.bgp import resolve_bgp
from appliance.config.checks import effective
from appliance.config.console import resolve_console, resolve_webserver
from appliance.config.findings import Findings
from appliance.config.fleet import resolve_fleet, resolve_last_announcers
from appliance.config.kinds import duration_text
from appliance.config.reader import Fields, Given
from appliance.config.resolve import Draft
from appliance.config.settings import default_of
from appliance.config.vip_routes import resolve_vips
from appliance.model import Config, XdpMode
from appliance.model_logging import Elasticsearch, Logging


def resolve_host(top: Fields, config: Config, drafts: list[Draft], findings: Findings) -> Config:
    """Return the configuration with what concerns host, routers and log filled in."""
    section = top.get("bgp")
    bgp: Fields | None = section.value if section else None
    address, identifier = _value(top, "address"), _value(top, "router_id")
    return dataclasses.replace(
        config,
        xdp=_xdp(top, findings),
        address=address,
        router_id=identifier or address,
        host_id=_value(top, "host_id") or (str(address) if address else None),
        webserver=resolve_webserver(top, findings),
        console=resolve_console(top, findings),
        multicast=_value(top, "multicast"),
        fleet=resolve_fleet(top, findings),
        leave=effective("leave", top),
        services=resolve_last_announcers(config.services, drafts, findings),
        on_orphan=effective("on_orphan", top),
        learn=_once("learn", top, bgp, findings),
        listen=bool(_once("listen", top, bgp, findings)),
        bgp=resolve_bgp(top, resolve_vips(drafts, findings), findings),
        logging=_logging(top),
        compat_metrics=effective("compat_metrics", top),
        backend_metrics=effective("backend_metrics", top),
    )


def _value(fields: Fields, name: str) -> Any:
    given = fields.get(name)
    return given.value if given else None


def _xdp(top: Fields, findings: Findings) -> XdpMode:
    xdp, native = top.get("xdp"), top.get("native")
    other = None if native is None else XdpMode.NATIVE if native.value else XdpMode.GENERIC
    if xdp and native and xdp.value is not other:
        message = f"`native` means `xdp: {other}` here, but `xdp: {xdp.value}` is given too"
        findings.error(native.node, native.path, "conflict", message, "remove `native`; `xdp` says it")
    mode: XdpMode = xdp.value if xdp else other or default_of("xdp")
    return mode


def _once(name: str, top: Fields, bgp: Fields | None, findings: Findings) -> Any:
    """Return a value that may stand at the top level or in `bgp`, but not with two values."""
    outer, inner = top.get(name), bgp.get(name) if bgp else None
    if outer and inner and outer.value != inner.value:
        message = f"`bgp.{name}` is {_text(inner)}, but `{name}` is {_text(outer)} at {outer.node.where}"
        findings.error(inner.node, inner.path, "conflict", message, "keep one of them")
    given = inner or outer
    return given.value if given else default_of(name)


def _text(given: Given) -> str:
    return ("yes" if given.value else "no") if isinstance(given.value, bool) else duration_text(given.value)


def _logging(top: Fields) -> Logging:
    section = top.get("logging")
    if section is None:
        return Logging()
    fields: Fields = section.value
    search, syslog = fields.get("elasticsearch"), fields.get("syslog")
    return Logging(
        alert=effective("alert", fields),
        teams=_value(fields, "teams") or "",
        slack=_value(fields, "slack") or "",
        syslog=tuple(dict.fromkeys(item.value for item in syslog.value if item.value)) if syslog else (),
        elasticsearch=_elasticsearch(search.value) if search else None,
        keep=effective("keep", fields),
        space=effective("space", fields),
    )


def _elasticsearch(fields: Fields) -> Elasticsearch:
    addresses = fields.get("addresses")
    texts = ("index", "username", "password", "api_key", "ca", "certificate", "key")
    return Elasticsearch(
        addresses=tuple(item.value for item in addresses.value) if addresses else (),
        namespace=effective("namespace", fields),
        **{name: _value(fields, name) or "" for name in texts},
    )
