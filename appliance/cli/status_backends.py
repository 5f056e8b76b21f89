"""The backends of `vc5 status`: how each is, in a word, whether that is worth telling, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from appliance.cli.overrides import words
from appliance.cli.status_head import dicts, text
from appliance.cli.tables import Cell, Column, Screen, Style, count, duration, moment, table

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
    Column("NOTE", least=30),
)


class Grade(IntEnum):
    """How much a backend has to tell, the most first."""

    BAD = 0
    WORRY = 1
    UNKNOWN = 2
    ASIDE = 3
    """Without new flows because somebody wanted it so, or with another share of them than configured."""
    STANDBY = 4
    WELL = 5

    @property
    def style(self) -> Style:
        """How its word is painted."""
        return GRADE_STYLES[self]


GRADE_STYLES = {
    Grade.BAD: Style.BAD,
    Grade.WORRY: Style.WORRY,
    Grade.UNKNOWN: Style.FAINT,
    Grade.ASIDE: Style.WORRY,
    Grade.STANDBY: Style.FAINT,
    Grade.WELL: Style.GOOD,
}
WORD_GRADES = {
    "up": Grade.WELL,
    "dead": Grade.BAD,
    "wrong": Grade.BAD,
    "draining": Grade.ASIDE,
    "disabled": Grade.ASIDE,
    "standby": Grade.STANDBY,
}
Body = dict[str, Any]


def word(backend: Body) -> str:
    """Return how a backend is: what it receives, and where that does not tell it, what its checks say."""
    state, health = text(backend.get("state")), text(backend.get("health"))
    if state == "available":
        return "up"
    if state in ("dead", "draining") and health in ("dead", "wrong"):
        return health
    if state == "none":
        return health or state
    if state == "draining" and backend.get("enabled") is False and not backend.get("drained_by"):
        return "disabled"
    return state


def grade(backend: Body) -> Grade:
    """Return how much it has to tell."""
    own = WORD_GRADES.get(word(backend), Grade.UNKNOWN)
    if own is Grade.BAD:
        return own
    if backend.get("kept_by") or backend.get("taken_out_by") or dicts(backend.get("troubles")):
        return Grade.WORRY
    if own > Grade.ASIDE and (backend.get("enabled") is False or dicts(backend.get("overrides"))):
        return Grade.ASIDE
    return own


def note(backend: Body) -> str:
    """Return what is to be said of a backend besides: who did what to it, what its checks say, what is missing."""
    who = backend.get("drained_by")
    drained = "removed from the configuration" if who == "removed" else f"by {text(who)}" if who else ""
    said = [_said(one) for one in dicts(backend.get("overrides"))]
    kept, out = backend.get("kept_by"), backend.get("taken_out_by")
    # What is missing on our side explains what the checks find.
    notes = [*(said or [drained]), *(trouble.get("message", "") for trouble in dicts(backend.get("troubles")))]
    notes += [backend.get("diagnostic") or "", f"{text(backend.get('health'))}, yet kept ({kept})" if kept else ""]
    notes.append(f"{text(backend.get('health'))} here, yet taken out ({out})" if out else "")
    return text(", ".join(str(one) for one in notes if one))


def backend_rows(backends: Sequence[Body], to: Screen) -> list[str]:
    """Return the table of some backends."""
    return table(BACKENDS, [_row(one) for one in backends], to, "  ")


def _row(backend: Body) -> list[Cell | str]:
    took, share = backend.get("took_ms"), backend.get("share")
    enabled = backend.get("enabled") is not False
    how = word(backend)
    return [
        text(backend.get("address")),
        text(backend.get("weight")) if enabled else Cell("off", Style.WORRY),
        Cell(how, WORD_GRADES.get(how, Grade.UNKNOWN).style),
        duration(backend.get("since_s")),
        f"{took:.1f}ms" if isinstance(took, (int, float)) else "",
        f"{100 * share:.1f}%" if isinstance(share, (int, float)) else count(backend.get("slots")),
        count(backend.get("flows")),
        count(backend.get("packets")),
        Cell(count(backend.get("drops")), Style.WORRY if backend.get("drops") else Style.FAINT),
        note(backend),
    ]


def _said(one: Body) -> str:
    since = moment(one.get("since"))
    return f"{words(one)} by {one.get('who')}" + (f" since {since}" if since else "")
