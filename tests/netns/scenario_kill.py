"""Killing the daemon in the middle of a reload: after a time, or as soon as a step of the reload shows from outside."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.dataplane.abi import HISTORY
from appliance.errors import ControlError
from tests.netns.scenario import Scenario
from tests.netns.scenario_pool import TCP
from tests.netns.scenario_slots import Slots, generations

Moment = Callable[[], object]
"""Returns something true once the moment has come; called as often as the machine can."""
LIMIT = 15.0


def after(seconds: float) -> Moment:
    """Return the moment so long after now."""
    at = time.monotonic() + seconds
    return lambda: time.monotonic() >= at


def state_written(scenario: Scenario) -> Moment:
    """Return the moment when the state file has been replaced: the program is the new one, the tables are the old."""
    return _other(lambda: scenario.daemon.places.state_file.stat().st_ino)


def generation_begun(scenario: Scenario) -> Moment:
    """Return the moment when the next generation has its directory, and not all of its pins."""
    return _other(lambda: len(generations(scenario.daemon.places.pins)))


def generation_pinned(scenario: Scenario) -> Moment:
    """Return the moment when the next generation has all of its pins, and the links are about to be updated."""
    old = _newest(scenario)
    full = _pins(old)

    def pinned() -> bool:
        new = _newest(scenario)
        return new != old and _pins(new) == full

    return pinned


def generation_swapped(scenario: Scenario) -> Moment:
    """Return the moment when the links run the new program and the former generation is being removed."""
    old = _newest(scenario)
    full = _pins(old)
    return lambda: _pins(old) < full


def histories_changing(scenario: Scenario) -> Moment:
    """Return the moment when the history of the first slot has been written, and few slots or none have changed hands.

    Only the field `changed` is looked at (its first byte): the program itself writes `diverted`.
    """
    offset = HISTORY.offsets["changed"] + (0 if sys.byteorder == "little" else 3)
    return _tables_changing(scenario, "vc5_histories", offset, HISTORY.size)


def slots_changing(scenario: Scenario) -> Moment:
    """Return the moment when the first slot has changed hands."""
    return _tables_changing(scenario, "vc5_slots", 0, 1)


def _tables_changing(scenario: Scenario, name: str, offset: int, step: int) -> Moment:
    slots = Slots(scenario.daemon.places.pins)
    table = slots.tables.slots(TCP)
    assert table is not None
    raw = table.memory.raw[name]
    size = len(raw) // table.memory.shape.slots
    watched = raw[table.first * size + offset : (table.first + table.count) * size : step]
    before = bytes(watched)

    def changed() -> bool:
        if bytes(watched) == before:
            return False
        slots.close()
        return True

    return changed


def _other(look: Callable[[], Any]) -> Moment:
    before = look()
    return lambda: look() != before


def _pins(directory: Path) -> int:
    try:
        return len(list(directory.iterdir()))
    except FileNotFoundError:
        return 0


def _newest(scenario: Scenario) -> Path:
    return generations(scenario.daemon.places.pins)[-1]


def kill_during_reload(scenario: Scenario, moment: Moment, **settings: Any) -> None:
    """Change fields of the pool, reload, and kill the daemon with SIGKILL when the moment has come."""
    scenario.write(**settings)

    def reload() -> None:
        try:
            scenario.ask("reload")
        except ControlError:
            pass  # the daemon died over it, as it should

    thread = threading.Thread(target=reload, name="reload")
    thread.start()
    deadline = time.monotonic() + LIMIT
    try:
        while not moment():
            assert time.monotonic() < deadline, "the moment did not come"
    finally:
        scenario.daemon.kill9()
        thread.join()
