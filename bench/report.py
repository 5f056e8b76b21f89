"""What a benchmark run leaves behind: rows, a table for people, build/bench.json for scripts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "bench.json"


@dataclass(frozen=True)
class Row:
    """One figure. `limit` bounds what `limit_on` names, from above; a row without a limit is for information.

    `floor` is the figure of comparison from the same run. `paired` is how many times the floor where that was measured
    round by round (driver.py); it stands before the quotient of the two. `more` holds further figures that only the
    JSON carries.
    """

    name: str
    value: float
    unit: str
    labels: Mapping[str, str | int] = field(default_factory=dict)
    floor: float | None = None
    limit: float | None = None
    limit_on: Literal["value", "ratio"] = "value"
    more: Mapping[str, Any] = field(default_factory=dict)
    paired: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor."""
        if self.paired is not None:
            return self.paired
        return self.value / self.floor if self.floor else None

    @property
    def ok(self) -> bool | None:
        """Whether the limit holds; None without one."""
        if self.limit is None:
            return None
        bounded = self.ratio if self.limit_on == "ratio" else self.value
        return bounded is not None and bounded <= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return the row as build/bench.json has it: absent is what there is nothing to say about."""
        row: dict[str, Any] = {
            "name": self.name,
            "labels": dict(self.labels),
            "value": _short(self.value),
            "unit": self.unit,
        }
        if self.floor is not None and self.ratio is not None:
            row |= {"floor": _short(self.floor), "ratio": _short(self.ratio)}
        if self.limit is not None:
            row |= {"limit": self.limit, "limit_on": self.limit_on, "ok": self.ok}
        return row | {name: _short(value) for name, value in self.more.items()}


def machine() -> dict[str, str | int | bool]:
    """Return what the figures depend on: processor, cores, kernel, and whether BPF is compiled (JIT)."""
    try:
        jit = Path("/proc/sys/net/core/bpf_jit_enable").read_text().strip() != "0"
    except OSError:
        jit = False
    return {"cpu": _processor(), "cores": os.cpu_count() or 1, "kernel": platform.release(), "jit": jit}


def commit() -> str:
    """Return the commit that was measured, with `+` for changes on top; empty outside a git tree."""
    command = ["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def write(rows: Sequence[Row], load: float, output: Path = OUTPUT) -> None:
    """Write the JSON file; its directory is made if need be. `load` is the load average from before the run."""
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "commit": commit(), "load": load, "measurements": [row.as_json() for row in rows]}
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text, one line each."""
    lines = [("figure", "", "value", "", "floor", "ratio", "limit", "")]
    for row in rows:
        labels = " ".join(f"{name}={value}" for name, value in row.labels.items())
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        limit = "" if row.limit is None else f"{row.limit:g} {row.limit_on}"
        verdict = {None: "", True: "ok", False: "TOO MUCH"}[row.ok]
        floor = "" if row.floor is None else f"{row.floor:.4g}"
        lines.append((row.name, labels, f"{row.value:.4g}", row.unit, floor, ratio, limit, verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(8)]
    right = {2, 4, 5}
    cells = (
        [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in cells)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
