"""The first seconds after a start, in which everything changes from unknown to something, and how they end. Pure.

They are over when `learn` says so; where that is not set, as soon as there is a first verdict on every backend, or when
`GRACE` is. Who is told of changes (telemetry/alerts) is told nothing of them meanwhile, and of how things stand then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from appliance.control.changes import reason_of, severity_of
from appliance.control.plan import Plan
from appliance.control.receivers import HealthOf
from appliance.control.trouble import some
from appliance.dataplane.enums import State as Receives
from appliance.model import Health, Service, Severity

GRACE = 15.0
"""Seconds. A backend that says nothing is dead after the first check's timeout, by default after 2."""
TURN = 2000
"""How many verdicts are looked at in one step."""
LISTED = 100
"""How many of a kind the details list."""
DOWN = frozenset({Health.WRONG, Health.DEAD})


@dataclass(frozen=True)
class Learned:
    """How things stand when the learning is over. `details` is JSON-ready."""

    severity: Severity
    message: str
    details: dict[str, Any]


class Learning:
    """Whether the daemon learns. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.on = False
        self._until = 0.0
        self._fixed = False
        self._unknown: Iterator[None] | None = None
        self._known = False

    def begin(self, now: float, learn: float | None) -> dict[str, Any]:
        """Begin, with the setting `learn`; return the details of the event that tells of the start."""
        self._fixed = learn is not None
        seconds = GRACE if learn is None else learn
        self.on, self._until = seconds > 0, now + seconds
        return {"learn_s": seconds}

    def step(self, now: float, plan: Plan | None, verdict: HealthOf) -> Learned | None:
        """Return how things stand if the learning has ended just now; to be called every second."""
        if not self.on or plan is None:
            return None
        if now < self._until:
            if self._fixed:
                return None
            if not self._known:
                # The plan that follows from the last verdict has until the next step to be made.
                self._known = self._all_known(plan.ordered, verdict)
                return None
            if plan.left or any(service.pending for service in plan.services.values()):
                return None
        self.on, self._unknown = False, None
        return learned(plan, verdict)

    def _all_known(self, services: tuple[Service, ...], verdict: HealthOf) -> bool:
        """Go on from the first backend without a verdict. Who comes later, by a reload, is not waited for."""
        if self._unknown is None:
            self._unknown = _unknown(services, verdict)
        return next(self._unknown, True) is True


def _unknown(services: Iterable[Service], verdict: HealthOf) -> Iterator[None]:
    """Come back with every step until a backend has its first verdict, and after some that have one."""
    looked = 0
    for service in services:
        for backend in service.backends if service.checks else ():
            looked += 1
            if looked % TURN == 0:
                yield
            while backend.enabled and verdict(service.key, backend.address) is Health.UNKNOWN:
                yield


def learned(plan: Plan, verdict: HealthOf) -> Learned:
    """Return how things stand."""
    configured = {service.key for service in plan.ways.config.services}  # what leaves need not be up
    shown = {vip: up for vip, up in plan.desired.vips.items() if vip in plan.ways.sharers}
    states = {key: state for key, state in plan.services.items() if key in configured}
    desired = [one for one in plan.desired.services if one.key in configured]
    vips = [vip for vip, up in shown.items() if not up]
    services = [key for key, state in states.items() if not state.up]
    backends = [
        f"{member.address} of {one.key}"
        for one in desired
        for member in one.members
        if member.state is not Receives.AVAILABLE and verdict(one.key, member.address) in DOWN
    ]
    total = {"vips": len(shown), "services": len(states), "backends": sum(len(one.members) for one in desired)}
    severity = min((severity_of(plan, vip) for vip in vips), default=Severity.NOTICE)
    parts, everything = [], []
    for noun, down in (("VIP", vips), ("service", services), ("backend", backends)):
        count = total[f"{noun.lower()}s"]
        everything.append(f"{count} {noun}{'s' if count != 1 else ''}")
        if down:
            parts.append(f"{len(down)} of {everything[-1]} down: {some(down)}")
    if vips:
        parts[0] += f" ({reason_of(plan, vips[0])})"
    text = "; ".join(parts) or f"everything is up: {', '.join(everything)}"
    details: dict[str, Any] = {"vips_down": [str(one) for one in vips[:LISTED]]}
    details["services_down"] = [str(one) for one in services[:LISTED]]
    details["backends_down"] = backends[:LISTED]
    details["down"] = {"vips": len(vips), "services": len(services), "backends": len(backends)}
    return Learned(severity if parts else Severity.INFORMATIONAL, f"after the start {text}", details)
