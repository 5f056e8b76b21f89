"""The text of `vc5 doctor`: a row for each finding. Where the terminal is narrow, --json has the whole of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.cli.tables import Cell, Column, Screen, Style, screen, table
from appliance.control.nic import Finding, Severity

COLUMNS = (
    Column("SEVERITY"),
    Column("FINDING", least=24),
    Column("WHAT TO DO", least=24),
    Column("WHY", least=24, drop=1),
)
STYLES = {Severity.PROBLEM: Style.BAD, Severity.WARNING: Style.WORRY, Severity.NOTE: Style.FAINT}


def lines(
    interfaces: Mapping[str, Sequence[Finding]],
    units: Mapping[str, Sequence[Finding]] | None = None,
    to: Screen | None = None,
) -> list[str]:
    """Return a table of the interfaces, or a line that says that none is configured, and one of the units if any."""
    text = ["no interfaces are configured"]
    if interfaces:
        text = _table("INTERFACE", interfaces, "nothing speaks against XDP", to)
    if units:
        text += ["", *_table("UNIT", units, "nothing speaks against it", to)]
    return text


def _table(title: str, found: Mapping[str, Sequence[Finding]], fine: str, to: Screen | None) -> list[str]:
    rows = []
    for name, each in found.items():
        rows += [_row(name, one) for one in each] or [[name, Cell("fine", Style.GOOD), fine, "", ""]]
    return table((Column(title), *COLUMNS), rows, to or screen())


def _row(name: str, one: Finding) -> list[Cell | str]:
    return [name, Cell(str(one.severity), STYLES[one.severity]), one.what, one.remedy, one.why]
