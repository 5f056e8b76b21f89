"""The text of `vc5 doctor`: a row for each finding. Where the terminal is narrow, --json has the whole of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.cli.tables import Cell, Column, Screen, Style, screen, table
from appliance.control.nic import Finding, Severity

COLUMNS = (
    Column("INTERFACE"),
    Column("SEVERITY"),
    Column("FINDING", least=24),
    Column("WHAT TO DO", least=24),
    Column("WHY", least=24, drop=1),
)
STYLES = {Severity.PROBLEM: Style.BAD, Severity.WARNING: Style.WORRY, Severity.NOTE: Style.FAINT}
FINE = "nothing speaks against XDP"


def lines(found: Mapping[str, Sequence[Finding]], to: Screen | None = None) -> list[str]:
    """Return the lines of the table, or one that says that no interface is configured."""
    if not found:
        return ["no interfaces are configured"]
    rows = []
    for name, each in found.items():
        rows += [_row(name, one) for one in each] or [[name, Cell("fine", Style.GOOD), FINE, "", ""]]
    return table(COLUMNS, rows, to or screen())


def _row(name: str, one: Finding) -> list[Cell | str]:
    return [name, Cell(str(one.severity), STYLES[one.severity]), one.what, one.remedy, one.why]
