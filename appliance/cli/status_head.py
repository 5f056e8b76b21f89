"""The head of `vc5 status`: the daemon, its configuration, routes, interfaces, and what it warns of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.cli import bgp_view
from appliance.cli.tables import GAP, Screen, Style, count, duration, moment, printable


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list; none where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def dict_(value: object) -> dict[str, Any]:
    """Return an object; an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Return a value for people; nothing for none."""
    return "" if value is None else printable(str(value))


def first(body: dict[str, Any], to: Screen) -> str:
    """Return the line about the daemon itself."""
    title = to.paint(f"vc5 {text(body.get('version')) or '?'}", Style.HEAD)
    facts = [f"pid {text(body['pid'])}" if "pid" in body else "", f"up {duration(body.get('uptime_s'))}"]
    facts += [f"mode {text(body['mode'])}" if body.get("mode") else "", _health(dict_(body.get("prober")), to)]
    return GAP.join([title, *(fact for fact in facts if fact and fact != "up ")])


def head(body: dict[str, Any], to: Screen) -> Iterator[str]:
    """Yield the lines before the services; some may be too long for the screen."""
    yield first(body, to)
    config = dict_(body.get("config"))
    if config:
        yield f"configuration {text(config.get('file'))}, generation {text(config.get('generation'))}"
    table_ = dict_(body.get("flow_table"))
    if table_:
        line = f"flow table {count(table_.get('used'))} of {count(table_.get('size'))}"
        refused = table_.get("refused")
        yield line + (GAP + to.paint(f"{count(refused)} refused", Style.BAD) if refused else "")
    yield from _misroutes(dict_(body.get("misroutes")), to)
    yield from bgp_view.summary(body.get("bgp"), to)
    yield from _fleet(body.get("fleet"), to)
    yield from _vips(body, to)
    for interface in dicts(body.get("interfaces")):
        attach = text(interface.get("attach")) or "not attached"
        style = {"native": Style.GOOD, "generic": Style.WORRY}.get(attach, Style.BAD)
        parts = [text(interface.get("name")), to.paint(attach, style)]
        parts += [text(interface[name]) for name in ("address", "mac") if interface.get(name)]
        if interface.get("up") is False:
            parts.append(to.paint("no link", Style.BAD))
        if interface.get("standby"):
            parts.append("on standby in its bond")
        yield GAP.join(["interface", *parts])
    awaits = body.get("waiting_for")
    if isinstance(awaits, list) and awaits:
        yield to.paint(f"waiting for {', '.join(map(text, awaits))}", Style.WORRY)
    yield from _warnings(body, to)


TOLD = {
    "yes": "announced",
    "demote": "announced as a last resort",
    "last": "announced as a last resort, by this node alone",
}
DRAINED = "this node is drained"
"""How the reasons begin that the whole node has."""


def _fleet(body: object, to: Screen) -> Iterator[str]:
    if isinstance(body, dict):
        from appliance.cli import fleet_view  # which most nodes have no use for

        yield from fleet_view.summary(body, to)


def _misroutes(meter: dict[str, Any], to: Screen) -> Iterator[str]:
    """Yield a line about connections that are not known here, where there were any."""
    if not meter.get("total"):
        return
    causes = {cause: number for cause, number in dict_(meter.get("causes")).items() if number}
    put_down = ", ".join(f"{count(number)} {text(cause)}" for cause, number in causes.items())
    yield to.paint(f"connections not known here {count(meter.get('total'))}", Style.WORRY) + f": {put_down}"
    for one in dicts(meter.get("happenings"))[:1]:
        share = one.get("share_of_flows")
        of = f", {100 * share:.2g}% of the flows then" if isinstance(share, int | float) else ""
        much = f"{count(one.get('connections'))} within {duration(one.get('for_s'))}{of}"
        yield f"  the last after {moment(one.get('at'))}, {text(one.get('text'))}: {much}"


def _vips(body: dict[str, Any], to: Screen) -> Iterator[str]:
    drained = bool(dict_(body.get("bgp")).get("drained"))  # then it has been said what becomes of all routes
    for vip in dicts(body.get("vips")):
        if drained and (vip.get("announce") == "demote" or str(vip.get("reason")).startswith(DRAINED)):
            continue
        if vip.get("announce") == "last":
            yield to.paint(f"vip {text(vip.get('vip'))} is {announced(vip)}", Style.BAD)
        elif vip.get("announce") not in (None, "yes") and vip.get("up"):
            yield to.paint(f"vip {text(vip.get('vip'))} is up, and {announced(vip)}", Style.WORRY)


def announced(vip: dict[str, Any]) -> str:
    """Return how a VIP is announced, and why not otherwise."""
    how = TOLD.get(str(vip.get("announce")), "not announced")
    return how + (f": {text(vip['reason'])}" if vip.get("reason") else "")


def _health(prober: dict[str, Any], to: Screen) -> str:
    if not prober:
        return ""
    restarts = prober.get("restarts")
    suffix = f" (prober restarted {text(restarts)} times)" if restarts else ""
    if prober.get("frozen"):
        by = text(prober.get("reason")) if str(prober.get("reason")).startswith("by ") else ""
        if str(prober.get("reason")).startswith("the checker itself is broken"):
            by = "as the checker itself is broken"
        return to.paint(f"health FROZEN{by and ' '}{by}: the last verdicts stand", Style.BAD) + suffix
    if prober.get("alive") is False:
        return to.paint("prober GONE", Style.BAD) + suffix
    return to.paint("health live", Style.GOOD) + suffix


def _warnings(body: dict[str, Any], to: Screen) -> Iterator[str]:
    warnings = body.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        said = warning.get("message", "") if isinstance(warning, dict) else warning
        yield to.paint(f"warning: {text(said)}", Style.WORRY)
