"""`vc5 reload`: the configuration file is read and put in force, in one step or not at all.

With a limit, the reload is foretold first (foresight.py), and refused where it would disturb more of some service's
flows; what counts is in disruption.py.
With a time to confirm, it is a trial (trials.py): kept on disk before anything changes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance import config
from appliance.control import foresight, heap, standing
from appliance.control.confirmation import LONGEST
from appliance.control.disruption import refusal
from appliance.control.recorder import headline
from appliance.errors import ControlError, Vc5Error
from appliance.model import Config, EventKind

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

log = logging.getLogger("vc5")


@dataclass(frozen=True)
class Wish:
    """How a reload is wanted: the largest share of a service's flows that it may disturb, seconds to confirm it."""

    most: float | None = None
    confirm: float | None = None


@dataclass(frozen=True)
class Done:
    """What it took to put a configuration in force; seconds."""

    compiled: bool
    compile_seconds: float


PLAIN = Wish()


def wish(arguments: Mapping[str, Any]) -> Wish:
    """Read the arguments of a request. Raises ControlError."""
    return Wish(
        _number(arguments, "max_disruption", 0.0, 1.0, "a share from 0 to 1"),
        _number(arguments, "confirm", 1.0, LONGEST, f"1 to {LONGEST:.0f} seconds"),
    )


def _number(arguments: Mapping[str, Any], name: str, least: float, most: float, words: str) -> float | None:
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ControlError(f"{name}: must be {words}")
    if not least <= value <= most:
        raise ControlError(f"{name}: must be {words}, not {value:g}")
    return float(value)


async def reload(daemon: Daemon, who: str, wanted: Wish = PLAIN) -> dict[str, Any]:
    """Put the configuration file in force; raises Vc5Error with the former one still in force."""
    async with daemon.reloading:
        daemon.notifier.reloading()
        started = time.monotonic()
        try:
            loaded = await asyncio.to_thread(config.load, daemon.file)
            if wanted.confirm is not None:
                _refuse_no_way_back(daemon, loaded.config)
            if wanted.most is not None:
                await _refuse_more(daemon, loaded.config, wanted.most)
            async with daemon.trials.of(loaded.config, wanted.confirm, who):
                done = await put_in_force(daemon, loaded.config)
        except BaseException as error:
            daemon.upkeep.tell()
            why = headline(error)
            daemon.record(EventKind.RELOAD, f"refused, by {who}: {why}", outcome="refused", reason=why)
            daemon.recorder.flush_soon()
            daemon.measuring.tally.reload("refused")
            daemon.refusal = why
            daemon.notifier.ready(standing.summary(daemon))
            raise
        daemon.routing.look(time.monotonic())
        daemon.warnings = tuple(issue.as_json() for issue in loaded.warnings)
        daemon.refusal = ""
        daemon.measuring.tally.reload("ok")
        seconds = time.monotonic() - started
        text = f"configuration in force after {seconds * 1000:.0f} ms"
        if wanted.confirm is not None:
            text += f", for {wanted.confirm:g} s: `vc5 confirm` keeps it, or the one before comes back"
        daemon.record(EventKind.RELOAD, f"{text}, by {who}", outcome="ok", reason=f"by {who}")
        daemon.recorder.flush_soon()
        daemon.notifier.ready(standing.summary(daemon))
        return {
            "message": text,
            "seconds": round(seconds, 6),
            "compiled": done.compiled,
            "compile_seconds": round(done.compile_seconds, 6),
            "confirm_s": wanted.confirm,
            "warnings": list(daemon.warnings),
        }


async def reload_quietly(daemon: Daemon) -> None:
    """Reload for who waits for no answer: the log has it."""
    daemon.drilling.give_way("a reload was asked for, by SIGHUP")
    try:
        await reload(daemon, "SIGHUP")
    except Vc5Error as error:
        log.error("reload refused, the old configuration stays in force: %s", error)


def _refuse_no_way_back(daemon: Daemon, wanted: Config) -> None:
    """Refuse to try what could not be taken back: the next change of the seed has to wait until this one is over."""
    instance = daemon.instance
    if instance.seed_for(wanted) != instance.seed:
        raise ControlError(
            f"nothing was changed: with another hash_seed there is no way back for {2 * wanted.idle:g} s (twice "
            "`idle`), so --confirm could not keep its word; change hash_seed on its own, without --confirm"
        )


async def _refuse_more(daemon: Daemon, wanted: Config, most: float) -> None:
    with foresight.considerate():
        outlook, _ = await foresight.foresee(daemon.instance, wanted)
    worst = refusal(outlook.lost, outlook.moves, most)
    if worst:
        raise ControlError(
            f"nothing was changed: more would be disturbed than --max-disruption {most * 100:g} % allows: {worst}; "
            "`vc5 plan` shows all; allow more, or go in smaller steps"
        )


async def put_in_force(daemon: Daemon, wanted: Config) -> Done:
    """Put a configuration in force, with all that follows. Raises Vc5Error with the former one still in force."""
    # Only its name: who held on to the former generation here would keep its tables in memory until the next reload.
    running = daemon.instance.data.generation
    before, known = running.digest if running is not None else None, daemon.instance.state.config.interfaces
    del running
    try:
        # Both, so that the tables can follow meanwhile, and go back if it comes to that.
        daemon.watch_for(tuple(dict.fromkeys((*daemon.watched, *wanted.interfaces))))
        prepared = await daemon.reconfigure(wanted)
    except BaseException:
        _watch_only(daemon, daemon.instance.state.config.interfaces)
        raise
    _watch_only(daemon, wanted.interfaces)
    daemon.judging.look()
    daemon.upkeep.warn([name for name in wanted.interfaces if name not in known])
    daemon.upkeep.tell()
    daemon.prober.schedule(daemon.instance.targets(), daemon.instance.state.config.max_probes)
    heap.trim()
    daemon.generation += 1
    daemon.loaded_at = time.time()
    compiled = prepared.digest != before
    return Done(compiled, prepared.seconds if compiled else 0.0)


def _watch_only(daemon: Daemon, interfaces: tuple[str, ...]) -> None:
    """Watch no more than these; where that fails, more are watched, and what is in force is in force all the same."""
    try:
        daemon.watch_for(interfaces)
    except (OSError, Vc5Error) as error:
        text = f"the interfaces of two configurations are watched until the next reload: {headline(error)}"
        daemon.record(EventKind.ALARM, text)
