"""`vc5 reexec`: the daemon becomes the program that is installed now, and nothing stops meanwhile.

    rehearse (rehearsal.py) -> no more requests are accepted, those under way end -> state is saved -> the prober ends,
    health stands -> exec (handover.py), the control socket listening on -> the new program adopts, begins, and answers

Until the exec everything can be undone, and the running program goes on. What the kernel holds is pinned, what the
daemon knows is in its files; what is only in its memory (how far runs of checks have come, counts) is left as the
bequest `daemon`. The lock is left, too, so at no moment can another daemon begin.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance import __version__, config
from appliance.control import doctor, requirements, standing
from appliance.control.handover import execute
from appliance.control.heritage import Bequest
from appliance.control.overriding import who_asks
from appliance.control.recorder import headline
from appliance.control.rehearsal import Ready, try_out
from appliance.control.socket import Request, success
from appliance.errors import HostError, Vc5Error
from appliance.model import EventKind

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

log = logging.getLogger("vc5")

DAEMON = "daemon"
CONTROL = "control"
LOCK = "lock"
ANSWER = "answer"
START_TIME = 180.0
"""Seconds for which the watchdog leaves a new program alone that is not ready: as long as a start may take."""


async def reexec(daemon: Daemon, request: Request) -> Any:
    """Become the installed program, or raise Vc5Error with this one going on. On success the new one answers."""
    who = who_asks(request)
    async with daemon.reloading:
        daemon.notifier.reloading()
        try:
            ready = await asyncio.to_thread(try_out)
            note = await _unread(daemon)
            await _hand_over(daemon, request, ready, who, note)
        except Vc5Error as error:
            text = f"version {__version__} goes on: {headline(error)}"
            daemon.record(EventKind.ALARM, f"re-execution refused, by {who}: {text}")
            raise HostError(f"nothing was changed, {text}") from error
        finally:
            daemon.recorder.flush_soon()
            daemon.notifier.ready(standing.summary(daemon))


async def _unread(daemon: Daemon) -> str:
    """What an operator should know where the file says something else than what is in force.

    Raises HostError where it names an interface that is not there, and was not waited for so far: as in a reload, that
    is a misspelt one. Those that are waited for, the next program goes on to wait for.
    """
    loaded = await asyncio.to_thread(config.load, daemon.file)
    in_force = daemon.instance.state.config
    if loaded.config == in_force or daemon.trials.note():
        return ""
    requirements.interfaces(loaded.config, await asyncio.to_thread(doctor.look, loaded.config), in_force.interfaces)
    return f"{daemon.file} has changed since it was put in force, and is in force now"


async def _hand_over(daemon: Daemon, request: Request, ready: Ready, who: str, note: str) -> None:
    daemon.instance.save()  # where the disk is full, nothing has happened yet
    await daemon.server.pause()
    try:
        text = f"re-executing version {ready.version} in place of {__version__}, by {who}"
        daemon.record(EventKind.OPERATOR, text + (f"; {note}" if note else ""))
        for one in ready.notes:
            daemon.record(EventKind.ALARM, one)
        await daemon.prober.stop()
        await daemon.telling.stop()
        daemon.keep()
        daemon.recorder.write()
        daemon.routing.hand_over()
        answer = {"who": who, "from": __version__, "since": time.monotonic(), "rehearsal": ready.seconds, "note": note}
        bequests = [*daemon.estate.gather(), Bequest(ANSWER, request.descriptor, answer)]
        daemon.notifier.watch_less(START_TIME)
        execute(bequests, daemon.notifier)
    except BaseException:
        daemon.notifier.watch_again()
        await daemon.server.resume()
        await daemon.prober.start()
        raise


def offer_all(daemon: Daemon) -> None:
    """Have left what belongs to the daemon itself."""
    daemon.estate.offer(DAEMON, lambda: Bequest(DAEMON, state=_memory(daemon)))
    daemon.estate.offer(CONTROL, lambda: Bequest(CONTROL, daemon.server.descriptor, kept=True))
    daemon.estate.offer(LOCK, lambda: Bequest(LOCK, daemon.lock.descriptor))


def _memory(daemon: Daemon) -> dict[str, Any]:
    return {
        "generation": daemon.generation,
        "loaded_at": daemon.loaded_at,
        "started": daemon.started,
        "progress": daemon.instance.health.progress(),
    }


def remember(daemon: Daemon) -> None:
    """Take over what only the former program's memory held; what makes no sense is as after a restart."""
    left = daemon.inherited.take(DAEMON)
    state = left.state if left is not None else None
    if not isinstance(state, Mapping):
        return
    daemon.instance.health.proceed(state.get("progress"))
    generation, loaded, started = (state.get(name) for name in ("generation", "loaded_at", "started"))
    if type(generation) is int and generation > 0:
        daemon.generation = generation
    if isinstance(loaded, float) and isinstance(started, float) and 0 <= started <= daemon.started:
        daemon.loaded_at, daemon.started = loaded, started


def answer(daemon: Daemon) -> None:
    """Tell the one who asked for it that the new program works; and have nothing held any more but what is kept."""
    daemon.descriptors.forget_rest()
    left = daemon.inherited.take(ANSWER)
    for note in daemon.inherited.close():
        daemon.record(EventKind.ALARM, note)
    if not daemon.inherited.program:
        return
    daemon.notifier.watch_again()
    state = left.state if left is not None and isinstance(left.state, Mapping) else {}
    since = state.get("since")
    gap = max(0.0, time.monotonic() - since) if isinstance(since, float) else 0.0
    text = f"version {__version__} runs in place of {daemon.inherited.program}, without a break; it took {gap:.2f} s"
    note = str(state.get("note") or "")
    daemon.record(EventKind.DAEMON, f"re-executed: {text}")
    if left is None or left.descriptor is None:
        return
    result = {
        "message": text + (f"; {note}" if note else ""),
        "version": __version__,
        "from": daemon.inherited.program,
        "seconds": round(gap, 3),
        "rehearsal_s": state.get("rehearsal"),
    }
    try:
        os.write(left.descriptor, success(json.dumps(result)))
    except OSError as error:
        log.warning("nobody waited for the end of the re-execution: %s", error.strerror)
    os.close(left.descriptor)
