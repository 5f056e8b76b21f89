"""The console's pure modules, one expression after the other, in the browser that will run them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Show

FORMAT = [
    ("amount(null)", "–"),
    ("amount(0)", "0"),
    ("amount(7)", "7"),
    ("amount(42.25)", "42.3"),
    ("amount(999.4)", "999"),
    ("amount(999.6)", "1.00 k"),
    ("amount(12345, 'bit/s')", "12.3 kbit/s"),
    ("amount(1e21)", "1000 E"),
    ("amount(-1500)", "-1.50 k"),
    ("bits(125)", "1.00 kbit/s"),
    ("bits(null)", "–"),
    ("count(1048576)", "1\u202f048\u202f576"),
    ("count(999)", "999"),
    ("span(0)", "0s"),
    ("span(-3)", "0s"),
    ("span(59.9)", "59s"),
    ("span(192)", "3m12s"),
    ("span(18180)", "5h03m"),
    ("span(1051200)", "12d4h"),
    ("span(NaN)", "–"),
    ("percent(0.1256)", "12.6 %"),
    ("percent(1)", "100 %"),
    ("milliseconds(0.32)", "320 µs"),
    ("milliseconds(4.25)", "4.3 ms"),
    ("milliseconds(2000)", "2.0 s"),
    ("printable('a\\nb\\u202ec\\x1b[0m')", "a\\x0ab\\u202ec\\x1b[0m"),
    ("printable(null)", ""),
    ("plural(1, 'VIP')", "1 VIP"),
    ("plural(2, 'VIP')", "2 VIPs"),
]
ADDRESS = [
    ("['10.1.1.10', '9.9.9.9', '::1', '10.1.1.9'].sort((a, b) => sortable(a) < sortable(b) ? -1 : 1).join()",
     "9.9.9.9,10.1.1.9,10.1.1.10,::1"),
    ("sortable('2001:db8::1') === sortable('2001:0DB8:0:0:0:0:0:1')", True),
    ("prefix20(0)", "0.0.0.0/20"),
    ("prefix20(1048575)", "255.255.240.0/20"),
    ("prefix20((198 << 12) | (51 << 4) | 6)", "198.51.96.0/20"),
    ("[purpose(10), purpose(8), purpose(224), purpose(250)].join()", "private,,multicast,reserved"),
]  # fmt: skip
HILBERT = [
    ("place(0)", 0),
    ("index(0, 0)", 0),
    ("""[...Array(5000).keys()].map((n) => n * 209)
        .every((n) => index(place(n) % SIDE, Math.floor(place(n) / SIDE)) === n)""", True),
    # What follows each other in the address space touches on the map: that is what the curve is for.
    ("""[...Array(20000).keys()].every((n) => { const [a, b] = [place(n * 50), place(n * 50 + 1)];
        return Math.abs((a % SIDE) - (b % SIDE)) + Math.abs(Math.floor(a / SIDE) - Math.floor(b / SIDE)) === 1; })""",
     True),
    # The four quarters of the address space, clockwise from the upper left by way of the lower half.
    ("JSON.stringify([0, 64, 128, 192].map((octet) => corner(octet)))",
     '[{"x":0,"y":0},{"x":0,"y":512},{"x":512,"y":512},{"x":960,"y":448}]'),
]  # fmt: skip
QUERY = [
    ("parse('').length", 0),
    ("parse('  -  state:  ').length", 0),
    ("JSON.stringify(parse('-State:Dead shop'))",
     '[{"negative":true,"place":"state","text":"dead"},{"negative":false,"place":"","text":"shop"}]'),
    ("JSON.stringify(parse('2001:db8::1'))", '[{"negative":false,"place":"","text":"2001:db8::1"}]'),
]  # fmt: skip
TROUBLES = "[{ word: 'up', since: 1 }, { word: 'dead', since: 9 }, { word: 'wrong', since: 7 }]"
STATE = [
    ("ofBackend({ state: 'available', health: 'up' })", "up"),
    ("ofBackend({ state: 'draining', health: 'up' })", "draining"),
    ("ofBackend({ state: 'draining', health: 'up', enabled: false })", "disabled"),
    ("ofBackend({ state: 'draining', health: 'wrong' })", "wrong"),
    ("ofBackend({ state: 'dead', health: 'dead', enabled: false })", "dead"),
    ("ofBackend({ state: 'available', health: 'dead', kept_by: 'last resort' })", "kept"),
    ("ofBackend({ state: 'none', health: 'unknown' })", "unknown"),
    ("ofBackend({ state: 'standby', health: 'up', fallback: true })", "standby"),
    ("ofService({ up: false, pending: true, backends: [] })", "pending"),
    ("ofService({ up: false, backends: [] })", "down"),
    ("ofService({ up: true, backends: [{ word: 'up' }, { word: 'dead' }] })", "degraded"),
    ("ofService({ up: true, backends: [{ word: 'up' }, { word: 'draining' }] })", "up"),
    ("sinceOfService({ word: 'up', since: 3, backends: [{ word: 'draining', since: 9 }] })", 3),
    (f"sinceOfService({{ word: 'degraded', since: 3, backends: {TROUBLES} }})", 7),
    (f"sinceOfService({{ word: 'degraded', since: 8, backends: {TROUBLES} }})", 8),
    ("sinceOfService({ word: 'degraded', since: null, backends: [{ word: 'dead', since: 9 }] })", None),
    ("sinceOfService({ word: 'degraded', since: 3, backends: [{ word: 'kept', since: null }] })", 3),
    ("marks({ overrides: [{ override: 'weight', weight: 3, who: 'eve', since: 1 }] })[0].word", "weight 3"),
    ("marks({ drained_by: 'removed', fallback: true }).map((one) => one.word).join()", "removed,fallback"),
]  # fmt: skip
LAST = """const [c, h] = [new Clock(), new History()];
    for (let t = 0; t < 100; t += 1) { c.advance(t * 2, 2); h.push(c, t); }"""
MISSED = "const c = new Clock(); c.advance(10, 2);"
GAP = "const [c, h] = [new Clock(), new History()]; c.advance(0, 2); h.push(c, 5); h.push(c, 7, c.advance(6, 2));"
HISTORY = [
    (f"(() => {{ {LAST} return [...h.read(c)].join(); }})()", ",".join(map(str, range(40, 100)))),
    (f"(() => {{ {MISSED} return [c.advance(12.1, 2), c.advance(20, 2), c.advance(9e9, 2)].join(); }})()", "0,3,59"),
    # A gap: two lines, and no line through the time of which nothing is known.
    (f"(() => {{ {GAP} return path(h, c, 118, 24); }})()", "M112.0 7.3M118.0 1.0"),
    ("path(new History(), new Clock(), 118, 24)", ""),
]
STREAM = [("[0, 1, 2, 3, 4, 9].map(wait).join()", "1,2,4,8,10,10")]
DROPS = [
    ("dump('4142ff')", "0000  41 42 ff                                          AB."),
    ("dump('00'.repeat(17)).split('\\n').length", 2),
    ("dump('<script>')", ""),
]
LOG = [
    ("tone({ severity: 3, kind: 'vip', outcome: 'up' })", "good"),
    ("tone({ severity: 3, kind: 'vip', outcome: 'down' })", "bad"),
    ("tone({ severity: 5, kind: 'backend', outcome: 'dead' })", "bad"),
    ("tone({ severity: 3, kind: 'alarm' })", "bad"),
    ("tone({ severity: 4, kind: 'bgp', outcome: 'malformed' })", "worry"),
    ("tone({ severity: 6, kind: 'daemon', outcome: 'started' })", "quiet"),
]
TABLE = [
    *(("format", *row) for row in FORMAT),
    *(("address", *row) for row in ADDRESS),
    *(("hilbert", *row) for row in HILBERT),
    *(("query", *row) for row in QUERY),
    *(("state", *row) for row in STATE),
    *(("history", *row) for row in HISTORY),
    *(("stream", *row) for row in STREAM),
    *(("drops", *row) for row in DROPS),
    *(("log", *row) for row in LOG),
]


def test_expressions(show: Show) -> None:
    _, page = show(backends=0)
    wrong: list[tuple[str, Any, Any]] = []
    for module, expression, answer in TABLE:
        names = page.evaluate(f"import('/js/{module}.js').then((one) => Object.keys(one).join())")
        found = page.evaluate(f"import('/js/{module}.js').then(({{ {names} }}) => {expression})")
        if found != answer:
            wrong.append((expression, found, answer))
    assert wrong == []


SEARCHES = [
    ("shop", ["shop"]),
    ("203.0.113.11", ["images"]),
    ("state:dead", ["search"]),
    ("refused", ["search"]),
    ("-state:up", ["search"]),
    ("port:53", ["mail"]),
    ("port:5", []),
    ("proto:udp -mail", []),
    ("backend:10.1.0.27", ["search"]),
    ("nowhere", []),
    ("203.0.113.10 443", ["shop"]),
]


@pytest.mark.parametrize(("words", "names"), SEARCHES)
def test_searches(show: Show, words: str, names: list[str]) -> None:
    replay, page = show(backends=25, per_service=5)
    replay.send("services", replay.picture.kill(1, 0))
    page.wait("the dead backend", "document.querySelectorAll('.row.backend.dead').length === 1")
    page.evaluate("location.hash = 'services'")
    page.press("/")
    page.write(words)
    found = page.wait(
        "the search", f"document.getElementById('services-search').value === {words!r} && [...document."
        "querySelectorAll('.row.service .name')].map((one) => one.textContent).concat(['end'])"
    )  # fmt: skip
    assert sorted(found[:-1]) == sorted(names)
