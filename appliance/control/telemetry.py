"""The daemon's side of the telemetry process: what it needs on disk, and who is told from when on.

What it has not sent yet is in the spool, on disk; what went wrong there becomes an alarm.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from appliance.child.channel import Handler
from appliance.control.supervised import USER, Supervised, Tell
from appliance.errors import HostError
from appliance.paths import Root
from appliance.telemetry import cursor


def own_place(root: Root) -> Path:
    """Make and return the directory that the process may write; raises HostError."""
    place = root.state / "telemetry"
    try:
        place.mkdir(mode=0o750, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(place, pwd.getpwnam(USER).pw_uid, 0)
    except (OSError, KeyError) as error:
        raise HostError(f"{place}: cannot be made for the telemetry process: {error}") from None
    return place


def begin_alerts(root: Root, *, wanted: bool) -> None:
    """Have people told of what happens from now on, where they were not told so far; raises HostError."""
    file = root.state / "telemetry" / "alerts.json"
    if file.exists() == wanted:
        return
    try:
        if wanted:
            own_place(root)
            cursor.save(file, cursor.end(root.log))
            file.chmod(0o644)
        else:
            file.unlink()
    except OSError as error:
        raise HostError(f"{file}: {error.strerror}") from None


class TelemetryClient(Supervised):
    """Keeps the telemetry process."""

    def __init__(self, tell: Tell, answers: dict[str, Handler] | None = None) -> None:
        """`tell` hears of troubles; `answers` has what the process may ask for."""
        super().__init__("telemetry", "appliance.telemetry.process", tell, answers)
        self.idle = "nothing is configured that tells anybody: no Elasticsearch, no webhook, no syslog"
