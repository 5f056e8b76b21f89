"""A configuration on trial: in force until it is confirmed, or else the one before comes back. Pure.

  waiting    it is in force, and `vc5 confirm` has time until `until`
  back       nobody confirmed it: the one before is in force, although the file still says otherwise

The trial is kept on disk from before its first moment in force, so it goes on when the daemon ends and another one
starts. That one begins with the configuration on trial while there is time, and with the one before from then on, also
where the file still says what nobody confirmed. Only a reload, or a changed file and a new start, ends that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from appliance.control import kept_config
from appliance.model import Config

LONGEST = 86400.0
"""Seconds that a trial may take."""
VERSION = 1


class Phase(StrEnum):
    """Where a trial is."""

    WAITING = "waiting"
    BACK = "back"


@dataclass(frozen=True)
class Trial:
    """One trial. `until` is wall-clock seconds since the epoch; `seconds` is how long it was to take."""

    before: Config
    after: Config
    until: float
    seconds: float
    who: str
    phase: Phase = Phase.WAITING

    def left(self, now: float) -> float:
        """Seconds until the one before comes back; never more than the trial was to take, should the clock be set."""
        return min(self.seconds, self.until - now) if self.phase is Phase.WAITING else 0.0

    def due(self, now: float) -> bool:
        """Whether the one before is to come back."""
        return self.phase is Phase.WAITING and self.left(now) <= 0

    def back(self) -> Trial:
        """The trial, being over."""
        return replace(self, phase=Phase.BACK)

    def as_json(self) -> dict[str, Any]:
        """What is kept on disk."""
        return {
            "version": VERSION,
            "phase": str(self.phase),
            "until": self.until,
            "seconds": self.seconds,
            "who": self.who,
            "before": kept_config.as_json(self.before),
            "after": kept_config.as_json(self.after),
        }


def parsed(content: Mapping[str, Any]) -> Trial:
    """Read what is kept on disk. Raises ValueError where it makes no sense."""
    until, seconds = content.get("until"), content.get("seconds")
    if content.get("version") != VERSION:
        raise ValueError("it is of another version")
    for value in (until, seconds):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise ValueError("it names no time")
    return Trial(
        kept_config.config(content.get("before")),
        kept_config.config(content.get("after")),
        float(until or 0),
        min(LONGEST, float(seconds or 0)),
        str(content.get("who", "")),
        Phase(str(content.get("phase"))),
    )


def begun(trial: Trial | None, before: Config, after: Config, now: float, seconds: float, who: str) -> Trial:
    """A new trial, in the place of one that may be going on: nobody has confirmed that, so it is none to go back to."""
    if trial is not None and trial.phase is Phase.WAITING:
        before = trial.before
    return Trial(before, after, now + seconds, seconds, who)


def at_start(trial: Trial | None, file: Config, now: float) -> tuple[Config, Trial | None]:
    """With what a daemon begins whose file says this, and what is left of the trial."""
    if trial is None:
        return file, None
    if trial.phase is Phase.WAITING and not trial.due(now):
        return file, replace(trial, after=file)
    if file != trial.after:
        return file, None
    return trial.before, trial.back()


def note(trial: Trial | None, now: float, file: str) -> str:
    """What an operator should know of a trial; empty if there is none."""
    if trial is None:
        return ""
    if trial.phase is Phase.WAITING:
        left = max(0.0, trial.left(now))
        return f"the configuration is on trial: `vc5 confirm` within {left:.0f} s, or the one before comes back"
    return (
        f"{file} is not in force: nobody confirmed it in time, and the configuration before came back; correct the "
        "file and `vc5 reload`"
    )
