"""The text of `vc5 status`, from the body of /status.json. A field that an older or newer daemon lacks stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.cli import bgp_view
from appliance.cli.overrides import words
from appliance.cli.tables import GAP, Cell, Column, Screen, Style, count, duration, moment, octets, printable, table

SERVICES = (
    Column("SERVICE"),
    Column("NAME", least=8),
    Column("STATE"),
    Column("AVAIL", right=True),
    Column("TRACKED", right=True, drop=3),
    Column("FLOWS", right=True, drop=4),
    Column("PACKETS", right=True, drop=1),
    Column("BYTES", right=True, drop=2),
    Column("DROPS", right=True),
)
BACKENDS = (
    Column("BACKEND"),
    Column("WEIGHT", right=True, drop=1),
    Column("STATE"),
    Column("SINCE", right=True),
    Column("CHECK", right=True, drop=4),
    Column("SLOTS", right=True),
    Column("FLOWS", right=True, drop=5),
    Column("PACKETS", right=True, drop=2),
    Column("DROPS", right=True, drop=3),
    Column("NOTE", least=24),
)
STATE_STYLES = {
    "up": Style.GOOD,
    "dead": Style.BAD,
    "wrong": Style.BAD,
    "draining": Style.WORRY,
    "standby": Style.FAINT,
}
REASONS_SHOWN = 8


def lines(body: dict[str, Any], to: Screen) -> list[str]:
    """Return the lines of the whole view: header, warnings, services (down ones first), the backends of each, drops."""
    return [*_header(body, to), *_warnings(body, to), "", *_services(body, to), *_reasons(body, to)]


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return "" if value is None else printable(str(value))


def _header(body: dict[str, Any], to: Screen) -> Iterator[str]:
    title = to.paint(f"vc5 {_text(body.get('version')) or '?'}", Style.HEAD)
    facts = [f"pid {_text(body['pid'])}" if "pid" in body else "", f"up {duration(body.get('uptime_s'))}"]
    facts += [f"mode {_text(body['mode'])}" if body.get("mode") else "", _health(_dict(body.get("prober")), to)]
    yield GAP.join([title, *(fact for fact in facts if fact and fact != "up ")])
    config = _dict(body.get("config"))
    if config:
        yield f"configuration {_text(config.get('file'))}, generation {_text(config.get('generation'))}"
    table_ = _dict(body.get("flow_table"))
    if table_:
        text = f"flow table {count(table_.get('used'))} of {count(table_.get('size'))}"
        refused = table_.get("refused")
        yield text + (GAP + to.paint(f"{count(refused)} refused", Style.BAD) if refused else "")
    yield from bgp_view.summary(body.get("bgp"), to)
    drained = bool(_dict(body.get("bgp")).get("drained"))  # then all routes are last resorts, and it has been said
    for vip in _dicts(body.get("vips")):
        if drained and vip.get("announce") == "demote":
            continue
        if vip.get("announce") not in (None, "yes") and vip.get("up"):
            how = "announced as a last resort" if vip["announce"] == "demote" else "not announced"
            yield to.paint(f"vip {_text(vip.get('vip'))} is up, and {how}: {_text(vip.get('reason'))}", Style.WORRY)
    for interface in _dicts(body.get("interfaces")):
        attach = _text(interface.get("attach")) or "not attached"
        style = {"native": Style.GOOD, "generic": Style.WORRY}.get(attach, Style.BAD)
        parts = [_text(interface.get("name")), to.paint(attach, style)]
        parts += [_text(interface[name]) for name in ("address", "mac") if interface.get(name)]
        if interface.get("up") is False:
            parts.append(to.paint("no link", Style.BAD))
        if interface.get("standby"):
            parts.append("on standby in its bond")
        yield GAP.join(["interface", *parts])
    if awaits := [_text(one) for one in _list(body.get("waiting_for"))]:
        yield to.paint(f"waiting for {', '.join(awaits)}", Style.WORRY)


def _health(prober: dict[str, Any], to: Screen) -> str:
    if not prober:
        return ""
    restarts = prober.get("restarts")
    suffix = f" (prober restarted {_text(restarts)} times)" if restarts else ""
    if prober.get("frozen"):
        by = _text(prober.get("reason")) if str(prober.get("reason")).startswith("by ") else ""
        if str(prober.get("reason")).startswith("the checker itself is broken"):
            by = "as the checker itself is broken"
        return to.paint(f"health FROZEN{by and ' '}{by}: the last verdicts stand", Style.BAD) + suffix
    if prober.get("alive") is False:
        return to.paint("prober GONE", Style.BAD) + suffix
    return to.paint("health live", Style.GOOD) + suffix


def _warnings(body: dict[str, Any], to: Screen) -> Iterator[str]:
    warnings = body.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        text = warning.get("message", "") if isinstance(warning, dict) else warning
        yield to.paint(f"warning: {_text(text)}", Style.WORRY)


def _is_down(service: dict[str, Any]) -> bool:
    return service.get("up") is False


def _services(body: dict[str, Any], to: Screen) -> Iterator[str]:
    services = sorted(_dicts(body.get("services")), key=lambda service: not _is_down(service))
    if not services:
        yield "no services are configured"
        return
    yield from table(SERVICES, [_service_row(service) for service in services], to)
    for service in services:
        name = _text(service.get("name"))
        heading = to.paint(_text(service.get("service")), Style.HEAD)
        yield ""
        yield GAP.join(part for part in (heading, name) if part)
        rows = [_backend_row(backend) for backend in _dicts(service.get("backends"))]
        yield from table(BACKENDS, rows, to, "  ") if rows else ["  no backends"]


def _service_row(service: dict[str, Any]) -> list[Cell | str]:
    up = service.get("up")
    state = Cell("", Style.PLAIN) if up is None else Cell("up", Style.GOOD) if up else Cell("DOWN", Style.BAD)
    if service.get("pending"):
        state = Cell("pending", Style.WORRY)
    available, need = service.get("available"), service.get("need")
    tracked, slots = service.get("tracked_slots"), service.get("slots")
    return [
        _text(service.get("service")),
        _text(service.get("name")),
        state,
        Cell(f"{_text(available)}/{_text(need)}", Style.BAD if up is False else Style.PLAIN),
        f"{100 * tracked / slots:.1f}%" if isinstance(tracked, int) and isinstance(slots, int) and slots else "",
        count(service.get("flows")),
        count(service.get("packets")),
        octets(service.get("octets")),
        _loss(service.get("drops")),
    ]


def _backend_row(backend: dict[str, Any]) -> list[Cell | str]:
    state = _text(backend.get("state"))
    who = backend.get("drained_by")
    drained = "removed from the configuration" if who == "removed" else f"by {_text(who)}" if who else ""
    said = [_said(one) for one in _dicts(backend.get("overrides"))]
    notes = [*(said or [drained]), backend.get("diagnostic") or ""]
    kept = backend.get("kept_by")
    notes += [f"{_text(backend.get('health'))}, yet kept ({kept})"] if kept else []
    notes += [trouble.get("message", "") for trouble in _dicts(backend.get("troubles"))]
    took = backend.get("took_ms")
    share = backend.get("share")
    enabled = backend.get("enabled") is not False
    return [
        _text(backend.get("address")),
        _text(backend.get("weight")) if enabled else Cell("off", Style.WORRY),
        Cell(state, STATE_STYLES.get(state, Style.FAINT)),
        duration(backend.get("since_s")),
        f"{took:.1f}ms" if isinstance(took, (int, float)) else "",
        f"{100 * share:.1f}%" if isinstance(share, (int, float)) else count(backend.get("slots")),
        count(backend.get("flows")),
        count(backend.get("packets")),
        _loss(backend.get("drops")),
        _text(", ".join(str(note) for note in notes if note)),
    ]


def _said(one: dict[str, Any]) -> str:
    since = moment(one.get("since"))
    return f"{words(one)} by {one.get('who')}" + (f" since {since}" if since else "")


def _loss(number: object) -> Cell:
    return Cell(count(number), Style.WORRY if number else Style.FAINT)


def _reasons(body: dict[str, Any], to: Screen) -> Iterator[str]:
    counted = [(name, number) for name, number in _dict(body.get("reasons")).items() if isinstance(number, int)]
    largest = sorted((item for item in counted if item[1]), key=lambda item: -item[1])
    if not largest:
        return
    yield ""
    yield to.paint("verdicts by reason", Style.HEAD)
    shown, more = largest[:REASONS_SHOWN], len(largest) - REASONS_SHOWN
    wide = max(len(_text(name)) for name, _ in shown)
    yield from (f"  {_text(name):{wide}}  {count(number):>6}" for name, number in shown)
    if more > 0:
        yield f"  and {more} more (--json has all)"
