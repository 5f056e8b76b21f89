"""The daemon's ear for the prober: results become verdicts, changed verdicts become plans and events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from appliance.control.overriding import tell_dropped
from appliance.health.judge import Transition
from appliance.model import EventKind, Health, ProbeResult

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon


class Judging:
    """Takes what the prober says of backends, and of itself."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.prober_gone = ""
        """Why no results come; empty while they do."""
        self.restarts = 0

    def look(self) -> None:
        """Every second."""
        tell_dropped(self._daemon)

    def probed(self, result: ProbeResult) -> None:
        """Take a result."""
        daemon = self._daemon
        transition = daemon.instance.health.observe(result, time.time())
        daemon.recorder.probe(result)
        if transition is not None:
            self._moved(transition)

    def _moved(self, transition: Transition) -> None:
        daemon = self._daemon
        assumed = daemon.instance.assumed.pop((transition.service, transition.backend), Health.UNKNOWN)
        before = transition.before if transition.before is not Health.UNKNOWN else assumed
        daemon.plan_soon(transition.service, unsaved=True)
        if before is transition.after:
            return
        daemon.record(
            EventKind.BACKEND,
            f"{before} -> {transition.after}: {transition.diagnostic}",
            service=transition.service,
            backend=transition.backend,
            outcome=str(transition.after),
        )

    def prober_state(self, alive: bool, why: str) -> None:
        """Take note of whether the prober works."""
        self.prober_gone = "" if alive else why or "the prober is gone"
        self._daemon.tell_summary()
        if alive:
            self._daemon.record(EventKind.DAEMON, f"the prober works: {why}" if why else "the prober works")
            return
        self.restarts += 1
        self._daemon.record(EventKind.ALARM, f"health is frozen, all verdicts stand: {self.prober_gone}")
