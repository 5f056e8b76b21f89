"""The daemon's end of `vc5 drill`: carries a drill out, and sees to it that nothing of it stays.

    {"action": "start", "service": ..., "seconds": null, "flows": null, "backends": null}   {"drill": 3, "of_s": 41}
    {"action": "watch", "drill": 3}     within a second {"progress": {...}, "report": null or {...}}
    {"action": "end", "drill": 3}       {"progress": {...}, "report": {...}}

Whoever started it has to watch: where nobody has asked for PATIENCE seconds, the drill ends. What it overrides is of
its own kind (`Override.passing`): it is never on disk, so a daemon that is killed leaves none to the next one, and all
of it goes at the drill's end. An operator who says something of the same service, or reloads, ends the drill first.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance import config
from appliance.control import reload as reloading
from appliance.control.drill import (
    IN_FORCE,
    NEW,
    Action,
    Done,
    Evidence,
    Step,
    report,
)
from appliance.control.drill_flows import DrillStopped, Flows
from appliance.control.drill_start import Wish, asked, least, members_of, wish
from appliance.control.overrides import What
from appliance.control.overriding import who_asks
from appliance.control.recorder import headline
from appliance.control.socket import Request
from appliance.dataplane import text
from appliance.dataplane.compile import compile_text
from appliance.dataplane.enums import State
from appliance.dataplane.sync import Prepared
from appliance.errors import ControlError, Vc5Error
from appliance.health.drill import FlowNews, FlowState
from appliance.model import Address, EventKind, ServiceKey
from appliance.paths import TEMPLATES

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

PATIENCE = 5.0
"""Seconds without a question after which nobody is taken to watch any more."""
WATCH = 0.5
"""Seconds for which an answer waits."""
TICK = 0.05
LOOK = 0.5
"""Seconds from one look at where the program sends packets to the next."""
OPENING = 8.0
"""Seconds for the first flows to be open, besides those in which they are started."""

log = logging.getLogger(__name__)


@dataclass
class _Run:
    """One drill."""

    number: int
    wish: Wish
    who: str
    seen: Evidence
    began: float
    asked: float
    prober: int | None
    flows: Flows
    at: int = 0
    """The step that is being done."""
    out: Address | None = None
    """The backend that is out of the service for the drill."""
    looked: float = 0.0
    report: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def key(self) -> ServiceKey:
        return self.wish.service.key

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began


class Drilling:
    """At most one drill."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._run: _Run | None = None
        self._drills = int(time.time())  # another daemon's drills had other numbers
        self._numbers = itertools.count(1)

    async def answer(self, request: Request) -> dict[str, Any]:
        """Answer a request. Raises ControlError."""
        action = request.arguments.get("action")
        if action == "start":
            return await self._start(request)
        if action not in ("watch", "end"):
            raise ControlError('the request\'s "action" is none of start, watch and end')
        run = self._run
        if run is None or run.number != request.arguments.get("drill"):
            raise ControlError("that drill is not known here: the daemon began anew, or another drill was started")
        run.asked = time.monotonic()
        if action == "end" and run.report is None:
            self._stop(run, "interrupted")
        if run.task is not None and not run.task.done():
            await asyncio.wait({run.task}, timeout=WATCH)
        run.asked = time.monotonic()
        return {"progress": self._progress(run), "report": run.report}

    def give_way(self, why: str, key: ServiceKey | None = None) -> None:
        """End a drill at once, if one is on that concerns this service (None: any)."""
        run = self._run
        if run is not None and run.report is None and key in (None, run.key):
            self._stop(run, why)
            if self._put_back():
                self._daemon.plan_soon()

    def close(self) -> None:
        """The daemon ends: the tables that it leaves are to be as they were."""
        if self._run is not None and self._run.report is None:
            self._stop(self._run, "the daemon ends")
            try:
                if self._put_back():
                    self._daemon.instance.replan()
            except Vc5Error as error:
                log.warning("what a drill took out of %s stays out until a daemon runs again: %s", self._run.key, error)

    async def _start(self, request: Request) -> dict[str, Any]:
        daemon, former = self._daemon, self._run
        if former is not None and former.report is None:
            raise ControlError(f"a drill of {former.key} is on, by {former.who}; wait until it is over")
        given = asked(request.arguments, daemon.instance.state.staying())
        loaded = await asyncio.to_thread(config.load, daemon.file)
        if self._run is not former:
            raise ControlError("another drill has just begun; wait until it is over")
        wanted = wish(daemon, given, loaded.config)
        now, who, service = time.monotonic(), who_asks(request), wanted.service
        addresses = tuple(backend.address for backend in service.backends)
        seen = Evidence(service.key.protocol, service.tracking, addresses)
        self._drills += 1
        flows = Flows(daemon, wanted, seen, self._numbers, now)
        run = self._run = _Run(self._drills, wanted, who, seen, now, now, daemon.prober.pid, flows)
        daemon.prober.on_flows = self._news
        seconds = sum(step.hold for step in wanted.course)
        text_ = f"drill of {seconds:.0f} s begins, by {who}"
        daemon.record(EventKind.OPERATOR, text_, service=service.key, reason=f"by {who}")
        run.task = asyncio.create_task(self._perform(run))
        run.task.add_done_callback(lambda done: self._finish(run))  # even if it is cancelled before its first step
        return {"drill": run.number, "of_s": round(seconds, 1), "service": str(service.key)}

    def _stop(self, run: _Run, why: str) -> None:
        run.seen.cut_short = run.seen.cut_short or why
        if run.task is not None:
            run.task.cancel()

    def _progress(self, run: _Run) -> dict[str, Any]:
        steps, long = run.wish.course, [flow for flow in run.seen.flows.values() if not flow.new]
        return {
            "at_s": round(run.now(), 1),
            "of_s": round(sum(step.hold for step in steps), 1),
            "step": str(steps[run.at]),
            "steps": [run.at + 1, len(steps)],
            "flows": sum(flow.alive for flow in long),
            "broken": sum(flow.state is FlowState.BROKEN for flow in long),
        }

    async def _perform(self, run: _Run) -> None:
        try:
            for place, step in enumerate(run.wish.course):
                run.at = place
                await self._step(run, step)
        except asyncio.CancelledError:
            run.seen.cut_short = run.seen.cut_short or "interrupted"
        except (DrillStopped, Vc5Error) as error:
            run.seen.cut_short = headline(error)
        except Exception as error:
            log.exception("the drill failed, please report it")
            run.seen.cut_short = f"unexpected: {type(error).__name__}: {headline(error)}"
        if self._put_back():
            self._daemon.plan_soon()
        if run.out is not None:
            await self._returned(run, run.out)

    async def _returned(self, run: _Run, backend: Address) -> None:
        """See that a backend that was out when the drill ended early has its slots again."""
        limit = time.monotonic() + IN_FORCE + run.wish.service.slow_start
        while time.monotonic() < limit:
            await asyncio.sleep(TICK)
            try:
                entry, owners, numbers = run.flows.slots()
            except DrillStopped:
                return
            said = self._daemon.instance.state.overrides.of(run.key, backend)
            away = members_of(self._daemon, run.key).get(backend) not in (State.AVAILABLE, State.DRAINING)
            if numbers[backend] - entry.destinations in owners or said or away:
                return
        run.seen.left = f"{backend} is not back in the service {IN_FORCE:g} s after the drill; see `vc5 status`"

    def _finish(self, run: _Run) -> None:
        self._put_back()
        run.flows.close_all()
        run.report = report(run.seen, run.wish.service, run.wish.check, run.now(), run.who)
        run.seen.flows.clear()
        reasons = run.report["reasons"]
        why = f": {reasons[0]}" if reasons else ""
        text_ = f"drill ended, {run.report['verdict']}{why}"
        self._daemon.record(EventKind.OPERATOR, text_, service=run.key, reason=f"by {run.who}")

    def _put_back(self) -> bool:
        """Take back what the drill overrides; returns whether there was anything."""
        state = self._daemon.instance.state
        before, state.overrides = state.overrides, state.overrides.lasting
        return state.overrides is not before

    # ---- the steps

    async def _step(self, run: _Run, step: Step) -> None:
        began, done = time.monotonic(), Done(step, run.now())
        run.seen.steps.append(done)
        if step.backend is not None:
            text_, who = f"{step.action}, by a drill of {run.who}", f"by a drill of {run.who}"
            self._daemon.record(EventKind.OPERATOR, text_, service=run.key, backend=step.backend, reason=who)
        before = {flow.number for flow in run.seen.flows.values() if flow.alive and not flow.new}
        if step.action is Action.OPEN:
            await self._open_all(run)
        elif step.backend is not None and step.action.withdraws:
            ports = await run.flows.ports(step.backend, NEW)
            await self._withdraw(run, step, step.backend, done)
            run.flows.begin(step.backend, ports, run.at, new=True)
        elif step.backend is not None:
            run.flows.close_new()
            self._put_back()
            await self._in_force(run, step.backend, done, began, there=True)
            run.out = None
        elif step.action is Action.RELOAD:
            await self._whole(self._reload(run), done)
        elif step.action is Action.RECOMPILE:
            await self._whole(self._recompile(), done)
        end = max(began + step.hold, time.monotonic() + min(step.hold, 1.0))
        while time.monotonic() < end:
            await self._pause(run)
        run.flows.look()
        alive = [flow for flow in run.seen.flows.values() if flow.alive and not flow.new]
        done.open = len(alive)
        done.carried = sum(flow.number in before and flow.backend == step.backend for flow in alive)

    async def _withdraw(self, run: _Run, step: Step, backend: Address, done: Done) -> None:
        state, began = self._daemon.instance.state, time.monotonic()
        what = What.MARK if step.action is Action.DISABLE else What.DRAIN
        run.out = backend
        self._guard(run)
        who = f"a drill of {run.who}"
        state.overrides = state.overrides.withdraw((run.key, backend), what, who, round(time.time(), 3))
        await self._in_force(run, backend, done, began, there=False)

    async def _in_force(self, run: _Run, backend: Address, done: Done, began: float, *, there: bool) -> None:
        """Have the tables follow, and wait until the slots name the backend, or do not."""
        self._daemon.plan_soon()
        limit = began + IN_FORCE + run.wish.service.slow_start
        while True:
            await asyncio.sleep(0)
            entry, owners, numbers = run.flows.slots()
            if (numbers[backend] - entry.destinations in owners) is there:
                done.in_force = time.monotonic() - began
                return
            if time.monotonic() > limit:
                done.trouble = f"not in force after {limit - began:.0f} s"
                return
            await self._pause(run)

    async def _reload(self, run: _Run) -> None:
        """Reload the file, if it says what is in force: a drill is to put nothing new in force."""
        daemon = self._daemon
        loaded = await asyncio.to_thread(config.load, daemon.file)
        if loaded.config != daemon.instance.state.config:
            raise ControlError("not done: the configuration file has changed meanwhile")
        await reloading.reload(daemon, f"a drill of {run.who}")

    async def _recompile(self) -> None:
        """Compile the program anew and put it in the place of the running one; then the usual one again."""
        daemon = self._daemon
        async with daemon.reloading:
            generation = daemon.instance.data.generation
            if generation is None:
                raise ControlError("no program is loaded")
            shape, digest = generation.shape, generation.digest
            del generation
            compiled = await asyncio.to_thread(compile_text, lambda: text.rendered(shape, TEMPLATES), text.FUNCTIONS)
            anew = Prepared(shape, f"{digest}-anew", compiled.code, compiled.seconds, compiled.child_rss)
            daemon.instance.reconfigure(daemon.instance.state.config, anew)
            await reloading.put_in_force(daemon, daemon.instance.state.config)

    async def _whole(self, work: Coroutine[Any, Any, None], done: Done) -> None:
        """Do what may not be left half done, even if the drill ends meanwhile."""
        began = time.monotonic()
        try:
            await asyncio.shield(asyncio.ensure_future(work))
            done.in_force = time.monotonic() - began
        except Vc5Error as error:
            done.trouble = headline(error)

    # ---- what goes on meanwhile

    async def _pause(self, run: _Run) -> None:
        await asyncio.sleep(TICK)
        self._guard(run)
        if time.monotonic() - run.looked >= LOOK:
            run.looked = time.monotonic()
            run.flows.look()
            await run.flows.replace_ended(run.out, run.at)

    def _guard(self, run: _Run) -> None:
        """Raise DrillStopped where the drill may not go on."""
        daemon, now = self._daemon, time.monotonic()
        if now - run.asked > PATIENCE:
            raise DrillStopped(f"nobody has watched it for {PATIENCE:g} s")
        if daemon.prober.pid != run.prober:
            raise DrillStopped("the prober ended, and the flows with it")
        if frozen := daemon.judging.frozen():
            raise DrillStopped(f"health is frozen, {frozen}")
        members = members_of(daemon, run.key)
        addresses = {backend.address for backend in run.wish.service.backends}
        if not addresses <= members.keys():
            raise DrillStopped("the service has changed")
        ready = {one for one in addresses if members[one] is State.AVAILABLE}
        for lost in sorted(addresses - ready - {run.out}, key=int):
            self._unwell(run, lost)
        if len(ready - {run.out}) < least(run.wish.service) - 1:
            raise DrillStopped("too few backends are available any more for one to be out")

    def _unwell(self, run: _Run, backend: Address) -> None:
        """Note a backend that is out of the service, and not by the drill; those that begin so are not drilled."""
        if backend in run.wish.absent or any(line.startswith(f"{backend} ") for line in run.seen.health):
            return
        standing = self._daemon.instance.health.standing(run.key, backend)
        said = standing.diagnostic if standing else ""
        run.seen.health.append(f"{backend} went out of the service after {run.now():.1f} s: {said or 'no verdict'}")

    def _news(self, news: Iterable[FlowNews]) -> None:
        run = self._run
        if run is not None and run.report is None:
            run.flows.news(news, run.at)

    async def _open_all(self, run: _Run) -> None:
        for backend, count in run.wish.flows.items():
            await run.flows.open(backend, count, run.at)
        limit = time.monotonic() + OPENING + len(run.seen.flows) * 0.01
        while any(flow.state is None for flow in run.seen.flows.values()):
            await self._pause(run)
            if time.monotonic() > limit:
                raise DrillStopped(f"some flows are not open after {OPENING:g} s, and nothing is known of them")
