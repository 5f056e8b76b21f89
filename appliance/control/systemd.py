"""The door to systemd's own view of the units: systemctl(1), asked and never told anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

from appliance.control import units
from appliance.control.nic import Finding, Severity

BOOTED = Path("/run/systemd/system")
"""Where there is such a directory, systemd is the first process (sd_booted(3))."""
LIMIT = 5.0
"""Seconds that an answer may take; it comes at once from a systemd that works."""


def examine(limit: float = LIMIT) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of each unit of the package; none where systemd does not run. Raises nothing."""
    if not BOOTED.is_dir():
        return {}
    command = ["systemctl", "show", "--no-pager", f"--property={','.join(units.PROPERTIES)}"]
    command += [unit.name for unit in units.UNITS]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit
        )
    except subprocess.TimeoutExpired:
        return _silent(f"systemctl has not answered within {limit:g} s")
    except OSError as error:
        return _silent(f"systemctl: {error.strerror}")
    if done.returncode:
        return _silent(f"systemctl: {done.stderr.strip()[-200:] or f'exit status {done.returncode}'}")
    return units.findings(units.parsed(done.stdout))


def _silent(why: str) -> dict[str, tuple[Finding, ...]]:
    what = "systemd does not say how its units are"
    return {units.DAEMON: (Finding(Severity.WARNING, what, why, "systemctl status vc5"),)}
