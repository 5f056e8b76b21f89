"""The text of `vc5 bgp`, from the JSON of routing/status.py. What an older or newer daemon lacks stays empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from appliance.cli.tables import (
    GAP,
    Cell,
    Column,
    Screen,
    Style,
    count,
    duration,
    moment,
    octets,
    printable,
    table,
    width,
)

PEERS = (
    Column("PEER"),
    Column("GROUP", least=6, drop=4),
    Column("AS", right=True, drop=2),
    Column("STATE"),
    Column("SINCE", right=True),
    Column("ROUTES", right=True),
    Column("PENDING", right=True),
    Column("WITHHELD", right=True, drop=5),
    Column("BFD"),
    Column("LAST ERROR", drop=1),
)
ROUTES = (
    Column("VIP"),
    Column("TOLD"),
    Column("NEXT HOP", drop=1),
    Column("MED", right=True),
    Column("PREF", right=True),
    Column("AS PATH", least=10, drop=3),
    Column("COMMUNITIES", least=12, drop=4),
    Column("WHY", least=20),
)
STATES = {"established": Style.GOOD, "stopped": Style.FAINT}
BFD_STATES = {"up": Style.GOOD, "init": Style.WORRY, "admin-down": Style.FAINT}
WAIT = "nothing is announced for another"

Json = Mapping[str, Any]


def listing(body: Json, now: float, to: Screen, *, routes: bool = False) -> list[str]:
    """Return the lines of `vc5 bgp`, peers that are not established first; with `routes` the routes of each as well."""
    peers = peers_of(body)
    if not peers:
        return [*_drained(body, to), "no BGP peers are configured (`bgp`)"]
    ordered = sorted(peers, key=lambda peer: peer.get("state") == "established")
    lines = [*_header(body, to), "", *table(PEERS, [_row(peer, now) for peer in ordered], to)]
    notes = [(text(peer.get("address")), said) for peer in ordered if (said := _note(peer, now))]
    lines += ["", *(f"{address}: {printable(said)}" for address, said in notes)] if notes else []
    for peer in ordered if routes else ():
        lines += ["", _title(peer, now, to), *_routes(peer, to)]
    return lines


def peers_of(body: Json) -> list[dict[str, Any]]:
    """Return what there is of each peer."""
    found = body.get("peers")
    return [peer for peer in found if isinstance(peer, dict)] if isinstance(found, list) else []


def summary(body: object, to: Screen) -> Iterator[str]:
    """Yield the lines of `vc5 status`; none where no peer is configured, and nobody drains this node."""
    if not isinstance(body, dict):
        return
    yield from _drained(body, to)
    peers = peers_of(body)
    if not peers:
        return
    well = sum(peer.get("state") == "established" for peer in peers)
    told = sum(_number(peer.get("advertised")) for peer in peers)
    routes = f"{count(told)} route{'' if told == 1 else 's'}"
    text = to.paint(f"BGP: {well} of {len(peers)} peers established", _grade(well, len(peers))) + f", {routes}"
    if pending := sum(_number(peer.get("pending")) for peer in peers):
        text += f", {count(pending)} pending"
    if watched := [_dict(peer.get("bfd")) for peer in peers if peer.get("bfd")]:
        up = sum(bfd.get("state") == "up" for bfd in watched)
        words = f"{up} up" if up == len(watched) else f"{up} of {len(watched)} up"
        text += f"; {to.paint(f'BFD {words}', _grade(up, len(watched)))}"
    if learning := _number(body.get("learning")):
        text += f"; {to.paint(f'{WAIT} {span(learning)}', Style.WORRY)}"
    yield text


def _drained(body: Json, to: Screen) -> Iterator[str]:
    """Yield the line of a node that is drained."""
    if by := _dict(body.get("drained")):
        since = moment(by.get("since"))
        told = _stage(by) if peers_of(body) else "no router is configured that could be told"
        who = f"this node is DRAINED, by {text(by.get('who'))}" + (f" since {since}" if since else "")
        yield f"{to.paint(who, Style.WORRY)}: {told} (`vc5 undrain --all`)"


def _stage(by: Json) -> str:
    """How far a drain is, and what still comes."""
    rate = by.get("packets_per_second")
    comes = "" if rate is None else f", {count(rate)} packets/s still come"
    match by.get("stage"):
        case "withdrawn":
            return f"its routes are withdrawn{comes}"
        case "detached":
            return "its routes are withdrawn, and the program is detached from the interfaces"
    calm = by.get("packets_per_second_calm")
    until = "" if rate is None or calm is None else f" (withdrawn at {count(calm)})"
    return f"all its routes are last resorts{comes}{until}"


def _grade(well: int, of: int) -> Style:
    return Style.GOOD if well == of else Style.WORRY if well else Style.BAD


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a word of the daemon's, harmless; nothing for none."""
    return "" if value is None else printable(str(value))


def span(seconds: object) -> str:
    """Return a short time: 300ms, 3.3s, 10s; longer ones as `duration`."""
    value = _number(seconds)
    if value < 1:
        return f"{value * 1000:.0f}ms"
    return f"{value:.1f}s".replace(".0s", "s") if value < 60 else duration(value)


def age(at: object, now: float) -> str:
    """Return how long ago a moment was; a clock that was set back is no reason for a negative one."""
    return duration(max(0.0, now - _number(at))) if _number(at) else ""


def _header(body: Json, to: Screen) -> Iterator[str]:
    router = text(body.get("router_id"))
    parts = [f"router id {router}"] if router else []
    parts.append("routers may connect (port 179)" if body.get("listening") else "")
    learning = _number(body.get("learning"))
    parts.append(to.paint(f"{WAIT} {span(learning)} (learn)", Style.WORRY) if learning else "")
    yield GAP.join(part for part in parts if part)
    yield from summary({**body, "learning": 0}, to)


def _row(peer: Json, now: float) -> list[Cell | str]:
    state, bfd = text(peer.get("state")), _dict(peer.get("bfd"))
    established = state == "established"
    told = _number(peer.get("advertised"))
    pending, withheld = _number(peer.get("pending")), _number(peer.get("withheld"))
    return [
        text(peer.get("address")),
        text(peer.get("group")),
        text(peer.get("remote_as")),
        Cell(state, STATES.get(state, Style.BAD)),
        age(peer.get("since"), now),
        Cell(count(told), Style.WORRY if established and not told else Style.PLAIN),
        Cell(count(pending), Style.WORRY) if pending and established else "",
        count(withheld) if withheld else "",
        Cell(text(bfd.get("state")), BFD_STATES.get(str(bfd.get("state")), Style.BAD)),
        Cell(_brief(_dict(peer.get("last_error")), now), Style.FAINT if established else Style.PLAIN),
    ]


def _brief(error: Json, now: float) -> str:
    """When it was, and the codes if there are any: 12s ago, sent 2/2."""
    codes = "/".join(str(error[name]) for name in ("code", "subcode") if error.get(name) is not None)
    who = text(error.get("direction"))
    return f"{age(error.get('at'), now)} ago, {f'{who} {codes}' if codes else who}" if error else ""


def _note(peer: Json, now: float) -> str:
    """Why a session is not there, and what is waited for; nothing of those that are there."""
    if peer.get("state") == "established":
        return ""
    error = _dict(peer.get("last_error"))
    end = _dict(peer.get("last_end"))
    parts = [f"ended {age(end.get('at'), now)} ago, {_error(end)}"] if end else []
    if error and error != end:
        parts.append(f"last attempt {age(error.get('at'), now)} ago, {_error(error)}")
    if peer.get("next_attempt") is not None:
        parts.append(f"next attempt in {span(peer.get('next_attempt'))}")
    elif peer.get("passive") and peer.get("state") in ("active", "idle"):
        parts.append("the router is to connect")
    return "; ".join(parts)


def _error(error: Json) -> str:
    """Who found fault, with which code, and the words."""
    codes = [str(error[name]) for name in ("code", "subcode") if error.get(name) is not None]
    who = {"sent": "we said", "received": "it said"}.get(str(error.get("direction")), "")
    head = " ".join(part for part in (who, "/".join(codes)) if part)
    return f"{head}: {error.get('text', '')}" if head else str(error.get("text", ""))


def _title(peer: Json, now: float, to: Screen) -> str:
    state = text(peer.get("state"))
    since = age(peer.get("since"), now)
    told = to.paint(f"{state}{since and f' for {since}'}", STATES.get(state, Style.BAD))
    group = text(peer.get("group"))
    return GAP.join(part for part in (to.paint(text(peer.get("address")), Style.HEAD), group, told) if part)


def _routes(peer: Json, to: Screen) -> list[str]:
    rows = [_route(route) for route in _list(peer.get("routes")) if isinstance(route, dict)]
    return table(ROUTES, rows, to, "  ") if rows else ["  no VIPs"]


def _route(route: Json) -> list[Cell | str]:
    told, why = route.get("told"), text(route.get("why"))
    return [
        text(route.get("vip")),
        Cell("yes" if told else "no", Style.GOOD if told and not why else Style.WORRY),
        text(route.get("next_hop")),
        text(route.get("med")),
        text(route.get("local_pref")),
        " ".join(map(text, _list(route.get("as_path")))),
        ", ".join(_community(one) for one in _list(route.get("communities"))),
        why,
    ]


def _community(value: object) -> str:
    """A community by its name where it has one (IANA's registry of well-known ones)."""
    from appliance.config.routing import WELL_KNOWN

    names = {":".join(map(str, parts)): name for name, parts in WELL_KNOWN.items()}
    return names.get(str(value), text(value))


def detail(body: Json, peer: Json, now: float, to: Screen) -> list[str]:
    """Return all there is to say of one peer."""
    facts = [(name, said) for name, pieces in _facts(body, peer, now) if (said := [one for one in pieces if one])]
    wide = max((len(name) for name, _ in facts), default=0)
    lines = [_title(peer, now, to)]
    for name, said in facts:
        lines += _folded(f"  {name:{wide}}  ", said, to)
    lines += ["", *_last_error(peer, now, to), *_capabilities(peer, to), *_messages(peer, to)]
    return [*lines, *_routes(peer, to)]


def _folded(head: str, pieces: Sequence[str], to: Screen) -> Iterator[str]:
    """Yield the pieces with commas between them, in as many lines as the screen needs; only the first has a head."""
    line = head + pieces[0]
    for piece in pieces[1:]:
        if to.width is not None and width(line) + width(piece) + 3 > to.width:
            yield line + ","
            line = " " * len(head) + piece
        else:
            line += f", {piece}"
    yield line


def _facts(body: Json, peer: Json, now: float) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield names with what is said under them, piece by piece; empty pieces are none."""
    remote = text(peer.get("remote_as"))
    kind = ("iBGP" if peer.get("ibgp") else "eBGP") if remote else "any, none is known yet"
    yield "AS", (f"{remote}, ours {text(peer.get('local_as'))} ({kind})" if remote else kind,)
    theirs, ours = text(peer.get("remote_router_id")), text(body.get("router_id"))
    yield "router id", (theirs, f"ours {ours}" if ours else "")
    yield "our address", (text(peer.get("local_address")),)
    yield "families", map(text, _list(peer.get("families")))
    yield "who connects", ("the router alone (passive)" if peer.get("passive") else "",)
    yield "timers", _timers(peer)
    yield "graceful restart", (_graceful(_dict(peer.get("graceful_restart"))),)
    yield "routes", _told(peer)
    sessions, attempts = (f"{_number(peer.get(name)):.0f}" for name in ("sessions", "attempts"))
    yield "sessions", (f"{sessions} established", f"{attempts} tried")
    yield "errors", _errors(peer)
    ignored = _number(peer.get("received_routes_ignored"))
    yield "routes of the peer", (f"{count(ignored)} received, none is installed" if ignored else "",)
    bad = _number(peer.get("treated_as_withdraw"))
    yield "malformed updates", (f"{count(bad)}, treated as withdrawals" if bad else "",)
    yield "BFD", _bfd(_dict(peer.get("bfd")), now)


def _timers(peer: Json) -> Iterator[str]:
    left = peer.get("hold_left")
    hold = _number(peer.get("hold_time"))
    yield (f"hold {span(hold)}" if hold else "no hold time") + (f" ({span(left)} left)" if left is not None else "")
    if _number(peer.get("keepalive")):
        yield f"keepalive every {span(peer.get('keepalive'))}"
    if peer.get("next_attempt") is not None:
        yield f"next attempt in {span(peer.get('next_attempt'))}"


def _graceful(told: Json) -> str:
    if not told.get("offered") and not told.get("peer"):
        return ""
    if told.get("offered") and told.get("peer"):
        words = f"both, for {span(told.get('time'))}"
    else:
        words = "offered, and the peer has not" if told.get("offered") else "of the peer only"
    return words + (", restarting now" if told.get("restarting") else "")


def _told(peer: Json) -> Iterator[str]:
    families = {name: number for name, number in _dict(peer.get("advertised_by_family")).items() if _number(number)}
    names = {"ipv4": "IPv4", "ipv6": "IPv6"}
    of = ", ".join(f"{count(number)} {names.get(name, text(name))}" for name, number in families.items())
    yield f"{count(_number(peer.get('advertised')))} told" + (f" ({of})" if of else "")
    yield f"{count(_number(peer.get('pending')))} pending"
    yield f"{count(_number(peer.get('withheld')))} withheld"
    if peer.get("state") == "established":
        yield "end of RIB sent" if peer.get("end_of_rib") else "end of RIB not sent yet"


def _errors(peer: Json) -> Iterator[str]:
    for one in map(_dict, _list(peer.get("errors"))):
        code = one.get("code")
        yield f"{count(one.get('count'))} {text(one.get('direction'))}" + ("" if code is None else f" with code {code}")


def _bfd(told: Json, now: float) -> Iterator[str]:
    if not told:
        return
    since = age(told.get("since"), now)
    yield f"{text(told.get('state'))}{since and f' for {since}'}"
    if told.get("diagnostic"):
        yield text(told.get("diagnostic"))
    yield f"the peer says {text(told['remote_state'])}" if told.get("remote_state") else "the peer has said nothing"
    yield f"a packet every {span(told.get('interval'))}, broken after {span(told.get('detection'))}"
    if told.get("multihop"):
        yield "over several hops"
    packets = _dict(told.get("packets"))
    dropped = _number(packets.get("dropped"))
    yield f"{count(packets.get('sent'))} sent and {count(packets.get('received'))} received" + (
        f" with {count(dropped)} dropped" if dropped else ""
    )
    yield f"{_number(told.get('flaps')):.0f} flaps"


def _last_error(peer: Json, now: float, to: Screen) -> Iterator[str]:
    end, error = _dict(peer.get("last_end")), _dict(peer.get("last_error"))
    for name, one in (("end of the last session", end), ("last error", error if error != end else {})):
        if one:
            yield to.paint(f"{name}, {age(one.get('at'), now)} ago", Style.HEAD)
            yield f"  {printable(_error(one))}"
            data = text(one.get("hex"))
            yield from (f"  {at // 2:04x}  {spaced(data[at : at + 32])}" for at in range(0, len(data), 32))
            yield ""


def spaced(digits: str) -> str:
    """Return hexadecimal digits with a blank after each byte."""
    return " ".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _capabilities(peer: Json, to: Screen) -> Iterator[str]:
    told = _dict(peer.get("capabilities"))
    sent, received = ([text(one) for one in _list(told.get(name))] for name in ("sent", "received"))
    rows = [
        [one, *("yes" if one in those else "" for those in (sent, received))] for one in dict.fromkeys(sent + received)
    ]
    if rows:
        yield from table((Column("CAPABILITY", least=20), Column("SENT"), Column("RECEIVED")), rows, to, "  ")
        yield ""


def _messages(peer: Json, to: Screen) -> Iterator[str]:
    told, size = _dict(peer.get("messages")), _dict(peer.get("bytes"))
    types = list(dict.fromkeys(name for one in told.values() for name in _dict(one)))
    columns = [Column("MESSAGES"), *(Column(name.upper(), right=True) for name in types), Column("BYTES", right=True)]
    rows = [[one, *(count(_dict(told.get(one)).get(name)) for name in types), octets(size.get(one))] for one in told]
    if rows:
        yield from table(columns, rows, to, "  ")
        yield ""
