"""The text of `vc5 plan`, from its JSON. A field that an older or newer daemon lacks stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.cli.tables import Cell, Column, Screen, Style, count, printable, table

COLUMNS = (
    Column("SERVICE"),
    Column("CHANGE"),
    Column("BACKENDS"),
    Column("DISRUPTS", right=True),
    Column("SLOTS", right=True, drop=2),
    Column("FLOWS", right=True, drop=1),
    Column("BECAUSE", least=12),
)
UNSAID = ("slots move", "removed")
"""Of a removed service the loss says it; of slots that move, the cause says why."""
LARGE = 0.2
"""From this share on a row stands out."""


def lines(body: dict[str, Any], to: Screen) -> list[str]:
    """Return the lines of the whole plan; services that stay as they are have none."""
    return [*_head(body), *_rows(body, to), *_foot(body)]


def share_text(share: object) -> str:
    """A share in percent: never 0 where anything is disturbed, never 100 where anything stays."""
    if isinstance(share, bool) or not isinstance(share, int | float):
        return ""
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    return f"{min(99.9, max(0.1, share * 100)):.1f} %"


def _lost(one: dict[str, Any]) -> object:
    """The share that is disturbed; daemons that do not tell it counted slots only."""
    return one.get("disruption", one.get("share"))


def _head(body: dict[str, Any]) -> Iterator[str]:
    yield f"{printable(str(body.get('file', '')))}, against {printable(str(body.get('against', '')))}"
    for what in ("services", "backends"):
        numbers = {how: body.get(f"{what}_{how}") for how in ("added", "removed", "changed")}
        yield f"{what:<10}" + ", ".join(f"{number} {how}" for how, number in numbers.items() if number is not None)
    settings = ", ".join(map(str, body.get("settings") or ()))
    if settings:
        yield f"settings  {printable(settings)}"
    vips = body.get("vips") or {}
    for how in ("announce", "withdraw"):
        if vips.get(how):
            yield f"{how:<10}{printable(', '.join(map(str, vips[how])))}"
    yield f"program   {printable(str(body.get('program', '')))}"
    moved, slots = body.get("moved_slots"), body.get("slots")
    if isinstance(moved, int) and isinstance(slots, int):
        yield f"slots     {share_text(moved / slots if slots else 0)} move ({moved} of {slots})"
    if largest := share_text(body.get("largest_disruption")):
        yield f"disrupts  {largest} of a service at most, by --max-disruption"


def _rows(body: dict[str, Any], to: Screen) -> list[str]:
    rows = [_row(one) for one in body.get("services") or () if one.get("change") != "same" or _lost(one)]
    found = table(COLUMNS, rows, to)
    return ["", *found] if found else []


def _row(one: dict[str, Any]) -> list[Cell | str]:
    backends = one.get("backends") or {}
    signs = (("added", "+"), ("removed", "-"), ("changed", "~"))
    changes = " ".join(f"{sign}{len(backends[name])}" for name, sign in signs if backends.get(name))
    moved, share = one.get("moved_slots"), _lost(one)
    style = Style.BAD if isinstance(share, int | float) and share >= LARGE else Style.PLAIN
    flows = count(one.get("flows"))
    if share and flows and not one.get("flows_counted"):
        flows = f"<={flows}"
    causes = [one.get("disrupted_by"), one.get("cause"), ", ".join(map(str, one.get("fields") or ()))]
    because = "; ".join(str(text) for text in causes if text and text not in UNSAID)
    return [
        str(one.get("service", "")),
        str(one.get("change", "")),
        changes,
        Cell(share_text(share), style),
        "" if moved is None else f"{moved}/{one.get('slots', '')}",
        flows,
        because,
    ]


def _foot(body: dict[str, Any]) -> Iterator[str]:
    for warning in body.get("warnings") or ():
        message = warning.get("message", "") if isinstance(warning, dict) else warning
        yield f"warning: {printable(str(message))}"
