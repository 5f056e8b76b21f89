"""The text of `vc5 status`, from the body of /status.json. A field that an older or newer daemon lacks stays empty.

Where there is much, it tells what is wrong and how much is well: services that are down come first, of a service's
backends those that have something to tell, and a line says how to see the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from appliance.cli import status_head
from appliance.cli.status_backends import Grade, backend_rows, grade, note, word
from appliance.cli.status_head import announced, dict_, dicts, text
from appliance.cli.tables import GAP, Cell, Column, Screen, Style, count, duration, fold, octets, table

SERVICES = (
    Column("SERVICE"),
    Column("NAME", least=8),
    Column("STATE"),
    Column("UP", right=True),
    Column("NEED", right=True, drop=5),
    Column("TRACKED", right=True, drop=3),
    Column("FLOWS", right=True, drop=4),
    Column("PACKETS", right=True, drop=1),
    Column("BYTES", right=True, drop=2),
    Column("DROPS", right=True),
)
REASONS_SHOWN = 8
FEW_BACKENDS = 24
"""With no more than these, all are shown."""
SERVICES_SHOWN, TROUBLED_SERVICES_SHOWN = 10, 30
"""How many services, and where more have something to tell, how many of these."""
OF_ONE_SERVICE, OF_ALL = 5, 30
"""How many backends that have something to tell."""

Body = dict[str, Any]


def lines(body: Body, to: Screen, everything: bool = False) -> list[str]:
    """Return the lines of the whole view: head, services (down ones first), backends, verdicts by reason."""
    made = [*status_head.head(body, to), "", *_services(body, to, everything), *_reasons(body, to)]
    return [part for line in made for part in fold(line, to)]


def found(body: Body, name: str) -> list[Body]:
    """Return the services that are called so: by VIP:PORT/PROTOCOL, by VIP, or by their name."""
    services = dicts(body.get("services"))
    for field in ("service", "vip", "name"):
        if matching := [one for one in services if str(one.get(field)) == name]:
            return matching
    return []


def details(body: Body, services: Sequence[Body], to: Screen) -> list[str]:
    """Return the lines about some services with all of their backends."""
    made = [status_head.first(body, to)]
    vips = {vip.get("vip"): vip for vip in dicts(body.get("vips")) if isinstance(vip.get("vip"), str)}
    for service in services:
        vip = service.get("vip")
        made += ["", *_detail(service, vips.get(vip) if isinstance(vip, str) else None, to)]
    return [part for line in made for part in fold(line, to)]


def _services(body: Body, to: Screen, everything: bool) -> Iterator[str]:
    services = sorted(dicts(body.get("services")), key=_rank)
    if not services:
        yield "no services are configured"
        return
    backends = [backend for service in services for backend in dicts(service.get("backends"))]
    if len(services) > 1:
        yield from _tally(services, backends, to)
        yield ""
    everything = everything or len(backends) <= FEW_BACKENDS
    troubled = sum(_rank(service) < len(RANKS) for service in services)
    listed = services if everything else services[: max(SERVICES_SHOWN, min(troubled, TROUBLED_SERVICES_SHOWN))]
    yield from table(SERVICES, [_service_row(service) for service in listed], to)
    if rest := services[len(listed) :]:
        worse = sum(_rank(service) < len(RANKS) for service in rest)
        said = f", {worse:,} of them with something to tell" if worse else ", all well"
        yield f"and {len(rest):,} more services{said}"
    room = OF_ALL
    hidden = len(backends)
    for service in services:
        mine = dicts(service.get("backends"))
        telling = [one for one in mine if everything or grade(one) < Grade.STANDBY]
        shown = telling if everything else sorted(telling, key=grade)[: min(room, OF_ONE_SERVICE)]
        room -= 0 if everything else len(shown)
        hidden -= len(shown)
        if not shown and not (everything or _is_down(service)):
            continue
        if not everything and room <= 0 and not shown:
            continue
        yield ""
        yield _heading(service, to)
        yield from backend_rows(shown, to) if shown else ["  no backends"]
        if not everything and shown and len(mine) > len(shown):
            yield f"  and {_rest(mine, shown)}"
    if hidden:
        yield ""
        yield "`vc5 status SERVICE` shows all backends of one, `vc5 status --all` all of all"


def _rest(mine: Sequence[Body], shown: Sequence[Body]) -> str:
    """Return what is to be said of the backends that are not shown, in a few words."""
    known = {id(one) for one in shown}
    words = Counter(word(one) for one in mine if id(one) not in known)
    return ", ".join(f"{number:,} more {name}" for name, number in words.most_common())


def _tally(services: Sequence[Body], backends: Sequence[Body], to: Screen) -> Iterator[str]:
    """Yield how many services and backends are how."""
    states = Counter(_standing(service) for service in services)
    parts = [to.paint(f"{states[name]:,} {name}", style) for name, style in STANDINGS.items() if states[name]]
    yield f"{len(services):,} service{'' if len(services) == 1 else 's'}: {', '.join(parts)}"
    words = Counter(word(one) for one in backends)
    grades = {word(one): grade(one) for one in backends}
    order = sorted(words, key=lambda name: (grades[name] is not Grade.WELL, grades[name], -words[name]))
    parts = [to.paint(f"{words[name]:,} {name or 'unknown'}", grades[name].style) for name in order]
    yield f"{len(backends):,} backend{'' if len(backends) == 1 else 's'}{': ' if parts else ''}{', '.join(parts)}"


def _is_down(service: Body) -> bool:
    return service.get("up") is False


STANDINGS = {"DOWN": Style.BAD, "pending": Style.WORRY, "up": Style.GOOD, "unknown": Style.PLAIN}


def _standing(service: Body) -> str:
    if service.get("pending"):
        return "pending"
    up = service.get("up")
    return "unknown" if up is None else "up" if up else "DOWN"


RANKS: tuple[Callable[[Body], bool], ...] = (
    lambda service: _standing(service) == "DOWN",
    lambda service: _standing(service) == "pending",
    lambda service: any(grade(one) < Grade.ASIDE for one in dicts(service.get("backends"))),
    lambda service: any(grade(one) < Grade.STANDBY for one in dicts(service.get("backends"))),
)
"""Services come in this order; those that are none of these have nothing to tell."""


def _rank(service: Body) -> int:
    return next((number for number, holds in enumerate(RANKS) if holds(service)), len(RANKS))


def _heading(service: Body, to: Screen) -> str:
    heading = to.paint(text(service.get("service")), Style.HEAD)
    name = text(service.get("name"))
    return GAP.join(part for part in (heading, name) if part)


def _service_row(service: Body) -> list[Cell | str]:
    standing = _standing(service)
    backends = service.get("backends")
    of = f"/{len(backends)}" if isinstance(backends, list) else ""
    return [
        text(service.get("service")),
        text(service.get("name")),
        Cell("" if standing == "unknown" else standing, STANDINGS[standing]),
        Cell(f"{text(service.get('available'))}{of}", Style.BAD if _is_down(service) else Style.PLAIN),
        text(service.get("need")),
        _tracked(service),
        count(service.get("flows")),
        count(service.get("packets")),
        octets(service.get("octets")),
        Cell(count(service.get("drops")), Style.WORRY if service.get("drops") else Style.FAINT),
    ]


def _tracked(service: Body) -> str:
    tracked, slots = service.get("tracked_slots"), service.get("slots")
    return f"{100 * tracked / slots:.1f}%" if isinstance(tracked, int) and isinstance(slots, int) and slots else ""


def _detail(service: Body, vip: Body | None, to: Screen) -> Iterator[str]:
    yield _heading(service, to) + (f": {text(service['description'])}" if service.get("description") else "")
    mine = dicts(service.get("backends"))
    standing = _standing(service)
    needs = (
        f"{text(service.get('available'))} of {len(mine)} backends get new flows, {text(service.get('need'))} needed"
    )
    rows = [("state", to.paint(standing, STANDINGS[standing]) + f", {needs}")]
    if vip:
        since = duration(vip.get("since_s"))
        up = to.paint("up" if vip.get("up") else "DOWN", Style.GOOD if vip.get("up") else Style.BAD)
        said = f", {announced(vip)}" if vip.get("announce") is not None else ""
        rows.append(("vip", f"{text(vip.get('vip'))} {up}{since and f' for {since}'}{said}"))
    policies = [f"on_dead {text(service['on_dead'])}" if service.get("on_dead") else ""]
    policies += [f"on_down {text(service['on_down'])}" if service.get("on_down") else ""]
    policies += [
        "sticky" if service.get("sticky") is True else "",
        "critical" if service.get("critical") is True else "",
    ]
    rows.append(("policy", ", ".join(one for one in policies if one)))
    slots = service.get("slots")
    tracked = f", {_tracked(service)} of them tracked" if _tracked(service) else ""
    rows.append(("slots", f"{slots:,}{tracked}" if isinstance(slots, int) else ""))
    carried = [f"{count(service.get('packets'))} packets", octets(service.get("octets"))]
    carried += [f"{count(service.get('flows'))} flows", f"{count(service.get('drops'))} drops"]
    rows.append(("carried", ", ".join(carried)))
    yield from (f"  {name:9}{said}" for name, said in rows if said)
    yield ""
    ordered = sorted(mine, key=grade)
    rows_ = backend_rows(ordered, to) if mine else ["  no backends"]
    yield from rows_
    shown = "\n".join(rows_)
    whole = [f"  {text(one.get('address'))}: {note(one)}" for one in ordered if note(one) and note(one) not in shown]
    yield from ["", *whole] if whole else []


def _reasons(body: Body, to: Screen) -> Iterator[str]:
    counted = [(name, number) for name, number in dict_(body.get("reasons")).items() if isinstance(number, int)]
    largest = sorted((item for item in counted if item[1]), key=lambda item: -item[1])
    if not largest:
        return
    yield ""
    yield to.paint("verdicts by reason", Style.HEAD)
    shown, more = largest[:REASONS_SHOWN], len(largest) - REASONS_SHOWN
    wide = max(len(text(name)) for name, _ in shown)
    yield from (f"  {text(name):{wide}}  {count(number):>6}" for name, number in shown)
    if more > 0:
        yield f"  and {more} more (--json has all)"
