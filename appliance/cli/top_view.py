"""A frame of `vc5 top`: from rates, a view and the size of the screen to lines. The terminal is another's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from appliance.cli.tables import GAP, Cell, Column, Screen, Style, count, cut, duration, fold, printable, table, width
from appliance.cli.top_keys import HELP, View, listed, measure, place
from appliance.cli.top_rates import Line, Reading

SERVICES = (
    Column("  SERVICE"),
    Column("NAME", least=6, drop=1),
    Column("STATE"),
    Column("UP", right=True),
    Column("PKT/S", right=True),
    Column("BIT/S", right=True),
    Column("NEW/S", right=True, drop=2),
    Column("ACTIVE", right=True, drop=3),
    Column("DROPS/S", right=True, drop=4),
)
BACKENDS = (
    Column("  BACKEND"),
    Column("SERVICE", drop=1),
    Column("STATE"),
    Column("PKT/S", right=True),
    Column("BIT/S", right=True),
    Column("NEW/S", right=True, drop=2),
    Column("ACTIVE", right=True, drop=3),
    Column("DROPS/S", right=True, drop=4),
)
STATES = {"up": Style.GOOD, "DOWN": Style.BAD, "down": Style.BAD, "kept": Style.WORRY, "aside": Style.WORRY}
NUMBER = 6
"""How wide a number is at least, so that columns stay where they are."""
BAR, BAR_MOST = 8, 40
"""Columns that the bars get at least, and at most."""
BLOCKS = " ▏▎▍▌▋▊▉█"
DROPS_SHOWN = 3
USUAL = "? help  q quit  s sort  / filter  enter backends  b all backends"
OPENED = "? help  q quit  s sort  / filter  escape back"
MARKS = {False: "  ", True: "> "}


def frame(
    found: Reading, view: View, to: Screen, height: int | None, message: str = "", *, blocks: bool = True
) -> list[str]:
    """Return the lines of a screen: `height` of them, or as many as there are where that is None.

    `message` is what there is to say of the daemon's absence; `blocks`, whether the terminal knows more than ASCII.
    """
    head = _head(found, to)
    if message:
        head += fold(to.paint(printable(message), Style.BAD), to)
    if height is None:
        return [*head, "", *_body(found, view, to, None, blocks)]
    room = max(1, height - len(head) - 2)
    if view.help:
        body = [cut(f"  {name:16}  {text}", to.width or 1000) for name, text in HELP]
    else:
        body = _body(found, view, to, room, blocks)
    lines = [*head, "", *body[:room]]
    lines += [""] * (height - 1 - len(lines))
    return [*lines[: height - 1], _foot(found, view, to, room)]


def page(height: int) -> int:
    """Return about how many rows a screen shows, which is how far a page goes."""
    return max(1, height - 7)


def _head(found: Reading, to: Screen) -> list[str]:
    down = sum(line.state == "DOWN" for line in found.services)
    states = Counter(line.state for lines in found.backends.values() for line in lines)
    parts = [to.paint(f"vc5 {printable(found.version)}", Style.HEAD), f"up {duration(found.time - found.started)}"]
    parts.append(_some(len(found.services), "service") + (GAP + to.paint(f"{down:,} DOWN", Style.BAD) if down else ""))
    backends = _some(sum(states.values()), "backend")
    others = [to.paint(f"{states[name]:,} {name}", STATES[name]) for name in ("down", "kept", "aside") if states[name]]
    parts.append(GAP.join([backends, *others]))
    alarms = [(found.frozen, "health FROZEN"), (not found.prober, "prober GONE"), (found.isolated, "cut off")]
    alarms.append((found.drained, "this node is DRAINED"))
    alarms.append((bool(found.missing), f"fleet: {found.missing} MISSING"))
    alarms.append((found.differing, "fleet DIFFERS"))
    parts += [to.paint(text, Style.BAD) for holds, text in alarms if holds]
    rates = f"{rate(found.total('packets'))} packets/s{GAP}{rate(found.total('bits'))} bit/s{GAP}"
    rates += f"{rate(found.total('flows'))} new flows/s"
    if found.dropped:
        shown = list(found.dropped.items())[:DROPS_SHOWN]
        more = ", ..." if len(found.dropped) > DROPS_SHOWN else ""
        reasons = ", ".join(f"{printable(name)} {rate(number)}" for name, number in shown)
        rates += GAP + to.paint(f"dropped {rate(sum(found.dropped.values()))}/s: {reasons}{more}", Style.WORRY)
    return [*fold(GAP.join(parts), to), *fold(rates, to)]


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _body(found: Reading, view: View, to: Screen, room: int | None, blocks: bool) -> list[str]:
    lines = listed(found, view)
    title = []
    if view.opened:
        name = next((line.name for line in found.services if line.service == view.opened), "")
        title = [to.paint(cut(f"{printable(view.opened)}  {printable(name)}".rstrip(), to.width or 1000), Style.HEAD)]
    if not lines:
        return [*title, "nothing has this in its name: escape shows all" if view.wanted else "there is nothing to show"]
    at = place(lines, view)
    rows = len(lines) if room is None else max(1, room - len(title) - 1)
    start = at // rows * rows
    shown = lines[start : start + rows]
    selected = lines[at].key if room is not None else None
    largest = max((measure(line, view.sort) or 0.0 for line in lines), default=0.0)
    active = any(line.active is not None for line in lines)
    table_ = BACKENDS if view.opened or view.flat else SERVICES
    cells = [_cells(line, view, line.key == selected, active) for line in shown]
    narrow = None if to.width is None else max(20, to.width - BAR - len(GAP))
    plain = table(table_, cells, Screen(narrow))
    painted = table(table_, cells, replace(to, width=narrow))
    used = max(width(line) for line in plain)
    bar = BAR_MOST if to.width is None else min(BAR_MOST, to.width - used - len(GAP))
    if bar < 1:
        return [*title, *painted]
    filled = [
        line
        + " " * (used - width(bare))
        + GAP
        + to.paint(_bar(measure(one, view.sort), largest, bar, blocks), Style.GOOD)
        for line, bare, one in zip(painted[1:], plain[1:], shown, strict=True)
    ]
    return [*title, painted[0], *(line.rstrip() for line in filled)]


def _cells(line: Line, view: View, selected: bool, active: bool) -> list[Cell | str]:
    numbers = [_number(line.packets), _number(line.bits), _number(line.flows)]
    numbers += [f"{count(line.active):>{NUMBER}}" if active else ""]
    drops = Cell(_number(line.drops), Style.WORRY if line.drops else Style.FAINT)
    state = Cell(line.state, STATES.get(line.state, Style.PLAIN))
    name = Cell(MARKS[selected] + (line.backend or line.service), Style.HEAD if selected else Style.PLAIN)
    if line.backend:
        return [name, "" if view.opened else line.service, state, *numbers, drops]
    up = Cell(f"{line.well}/{line.of}", Style.BAD if line.state == "DOWN" else Style.PLAIN)
    return [name, line.name, state, up, *numbers, drops]


def rate(number: float | None) -> str:
    """Return a rate in at most six characters; a question mark where nobody knows it."""
    if number is None:
        return "?"
    return f"{number:.1f}" if 0 < number < 9.95 else count(number)


def _number(number: float | None) -> str:
    return f"{rate(number):>{NUMBER}}"


def _bar(number: float | None, largest: float, columns: int, blocks: bool) -> str:
    if not number or not largest:
        return ""
    eighths = round(number / largest * columns * 8)
    if not blocks:
        return "#" * max(1, round(eighths / 8))
    return "█" * (eighths // 8) + BLOCKS[eighths % 8].strip() or "▏"


def _foot(found: Reading, view: View, to: Screen, room: int) -> str:
    if view.typing:
        return cut(f"filter: {printable(view.wanted)}_", to.width or 1000)
    said = [f"by {view.sort.value}"]
    if view.wanted:
        said.append(f"only {printable(view.wanted)!r}")
    if view.paused:
        said.append("PAUSED")
    lines = listed(found, view)
    rows = max(1, room - bool(view.opened) - 1)
    pages = -(-len(lines) // rows)
    if pages > 1:
        said.append(f"page {place(lines, view) // rows + 1} of {pages}")
    text = GAP.join([*said, "", OPENED if view.opened else USUAL])
    return to.paint(cut(text, to.width or 1000), Style.FAINT)
