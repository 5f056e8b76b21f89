"""The daemon's ear for the prober: results become verdicts, changed verdicts become plans and events."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.control.announcing import ALONE, ISOLATED
from appliance.control.blocks import moment
from appliance.control.disagreement import Disagreement, told
from appliance.control.learning import Learning
from appliance.control.overriding import tell_dropped, who_asks
from appliance.control.socket import Request
from appliance.errors import RequestError
from appliance.health.governor import Freeze
from appliance.health.judge import Transition
from appliance.health.quorum import Opinion
from appliance.model import EventKind, Health, ProbeResult, Service, ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

REJOINED = (
    "most backends answer again, or others do not find them up either; this node is not taken for cut off any more"
)


class Judging:
    """Takes what the prober says of backends, and of itself."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.prober_gone = ""
        """Why no results come; empty while they do."""
        self._isolated = False
        """What alarms have told of."""
        self.learning = Learning()
        self._disagreement = Disagreement()

    def heard(self, opinions: Iterable[Opinion], *, quorum: bool) -> None:
        """Take what all other nodes of the fleet say now, whenever one says something else, and each second.

        Where they find something else than this node, that is checked at once; with a `quorum` most of them outvote it.
        Views that are the same as before are to be the same objects.
        """
        daemon, opinions, now = self._daemon, tuple(opinions), time.monotonic()
        instance = daemon.instance
        daemon.prober.prompt(self._disagreement.hear(opinions, instance.found, now))
        staying = instance.state.staying()
        for key in instance.governor.hear(opinions if quorum else (), staying, instance.found, now):
            daemon.plan_soon(key, unsaved=True)
        self._tell_rulings()

    def _tell_rulings(self) -> None:
        """Write down where most nodes began or ceased to outvote this one."""
        instance = self._daemon.instance
        if news := instance.governor.news():
            for one in told(news, instance.found):
                place = {"service": one.service, "backend": one.backend} if one.service else {}
                self._daemon.record(EventKind.ALARM, one.text, outcome=one.outcome, **place)

    def look(self) -> None:
        """Every second: see what the governor need not keep any more, and whether this node is cut off."""
        daemon, governor = self._daemon, self._daemon.instance.governor
        tell_dropped(daemon)
        self._follow()
        for key in governor.step(daemon.instance.state.staying(), daemon.instance.found, time.monotonic()):
            daemon.plan_soon(key, unsaved=True)
        if governor.isolated != self._isolated:
            self._isolated = governor.isolated
            why = ALONE if governor.alone else ISOLATED
            text, outcome = (why, "begin") if governor.isolated else (REJOINED, "end")
            daemon.record(EventKind.ALARM, text, outcome=outcome)
        self._tell_rulings()

    def _follow(self) -> None:
        """Take down what a reload has changed, and how things stand when the daemon has learned that."""
        daemon, plan = self._daemon, self._daemon.instance.current
        if plan is not None:
            daemon.recorder.services(plan, plan)
        over = self.learning.step(time.monotonic(), plan, daemon.instance.verdict)
        if over is not None:
            daemon.record(
                EventKind.DAEMON, over.message, outcome="learned", severity=over.severity, details=over.details
            )

    def started(self) -> dict[str, Any]:
        """Begin to learn how things stand, unless this goes on for another program; returns what to say of it."""
        daemon = self._daemon
        if daemon.inherited.program:
            return {}
        return self.learning.begin(time.monotonic(), daemon.instance.state.config.learn)

    def frozen(self) -> str:
        """Return why verdicts stand as they are; empty if they do not."""
        freeze = self._daemon.instance.governor.frozen
        return f"by {freeze.who} since {moment(freeze.since)}" if freeze else self.prober_gone

    async def freeze(self, request: Request) -> dict[str, Any]:
        """Keep what is in force, whatever checks say from now on."""
        instance, who = self._daemon.instance, who_asks(request)
        before = instance.governor.frozen
        if before is not None:
            raise RequestError(f"health is frozen already, {self.frozen()}")
        verdicts = {pair: instance.verdict(*pair) for pair in instance.health}
        known = {pair: one for pair, one in verdicts.items() if one is not Health.UNKNOWN}
        instance.governor.frozen = Freeze(who, round(time.time(), 3), known)
        return self._changed(before, f"health is frozen, by {who}", frozen=True)

    async def thaw(self, request: Request) -> dict[str, Any]:
        """Believe checks again."""
        governor = self._daemon.instance.governor
        before, governor.frozen = governor.frozen, None
        if before is None:
            raise RequestError("health is not frozen by an operator; nothing to take back")
        return self._changed(before, f"health is frozen no more, by {who_asks(request)}", frozen=False)

    def _changed(self, before: Freeze | None, text: str, *, frozen: bool) -> dict[str, Any]:
        try:
            self._daemon.changed()
        except BaseException:
            self._daemon.instance.governor.frozen = before
            raise
        self._daemon.record(EventKind.OPERATOR, text)
        return {"frozen": frozen, "message": text}

    def probed(self, result: ProbeResult) -> None:
        """Take a result."""
        daemon = self._daemon
        transition = daemon.instance.health.observe(result, time.time())
        daemon.recorder.probe(result)
        daemon.measuring.probed(result)
        if transition is not None:
            self._moved(transition)

    def _moved(self, transition: Transition) -> None:
        daemon = self._daemon
        assumed = daemon.instance.assumed.pop((transition.service, transition.backend), Health.UNKNOWN)
        before = transition.before if transition.before is not Health.UNKNOWN else assumed
        held = self._hear(transition, before)  # which may think otherwise of one that was assumed to be what it is
        if self._waits(transition.service):
            daemon.save_soon()
        else:
            daemon.plan_soon(transition.service, unsaved=True)
        if before is transition.after:
            return
        kept = self._kept(transition, held)
        daemon.record(
            EventKind.BACKEND,
            f"{before} -> {transition.after}: {transition.diagnostic}{kept}",
            service=transition.service,
            backend=transition.backend,
            outcome=str(transition.after),
            before=str(before),
            reason=f"{transition.diagnostic}{kept}",
        )

    def _waits(self, key: ServiceKey) -> bool:
        """Whether a service waits for more first verdicts before it has its first table (plan.py)."""
        instance = self._daemon.instance
        plan = instance.current
        if plan is None or key not in plan.places:
            return False
        return instance.openings.waits(plan.ordered[plan.places[key]], instance.verdict, time.monotonic())

    def _hear(self, transition: Transition, before: Health) -> Service | None:
        """Let the governor know; return the service if it holds the backend in it."""
        instance, key, address = self._daemon.instance, transition.service, transition.backend
        plan = instance.current
        if plan is None or key not in plan.places:
            return None
        leaving, service = instance.state.leaving, plan.ordered[plan.places[key]]
        if leaving:
            staying = tuple(one for one in service.backends if (key, one.address) not in leaving)
            service = replace(service, backends=staying)
        held = instance.governor.moved(service, address, before, transition.after, time.monotonic())
        return service if held else None

    def _kept(self, transition: Transition, holds: Service | None) -> str:
        """Return what is to be said if the verdict does not have its effect."""
        key, address, after = transition.service, transition.backend, transition.after
        if holds is not None:
            text = f"kept in service although {after}: max_removal is {holds.max_removal:.0%}"
            self._daemon.record(EventKind.ALARM, text, service=key, backend=address)
        self._tell_rulings()
        kept = self._daemon.instance.governor.kept_for(key, address, after)
        return f" (not acted on: {kept})" if kept else ""

    def prober_state(self, alive: bool, why: str) -> None:
        """Take note of whether the prober works."""
        self.prober_gone = "" if alive else why or "the prober is gone"
        self._daemon.tell_summary()
        if alive:
            self._daemon.record(EventKind.DAEMON, f"the prober works: {why}" if why else "the prober works")
            return
        self._daemon.record(EventKind.ALARM, f"health is frozen, all verdicts stand: {self.prober_gone}")
