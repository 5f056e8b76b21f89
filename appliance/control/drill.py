"""A drill as decisions: what is done when, what was seen, and what follows from it. Pure.

Flows stay open through every backend of a service while each of these is taken out of it and put back, and while the
configuration is reloaded and the program made anew. What is to be shown:

    a flow that is open goes on, with the backend that it has, whatever is done to the service
    a flow that is new never goes to a backend that is out of the service
    a change is in force at once

Times are seconds since the drill began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.health.drill import MOST_FLOWS, FlowState
from appliance.model import Address, Check, CheckKind, Forward, Protocol, Service, Tracking

LONGEST = 3600.0
"""Seconds that a drill may take."""
HOLD = 3.0
"""Seconds for which each step stands, unless the operator says how long the whole drill is to take."""
LEAST_HOLD = 1.0
SETTLE = 8.0
"""Seconds for the last step: time to notice that nobody answers any more (health/drilling.py)."""
USUAL = 4
"""Flows through each backend."""
NEW = 4
"""Flows that are opened while a backend is out of the service, in slots that were its own."""
IN_FORCE = 10.0
"""Seconds within which a change must be in force."""
RATE = 100.0
"""Questions a second on all flows together, at most."""


class Action(StrEnum):
    """What is done in a step."""

    OPEN = "open flows"
    DISABLE = "disable"
    ENABLE = "enable"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    RELOAD = "reload"
    RECOMPILE = "recompile"
    SETTLE = "settle"

    @property
    def withdraws(self) -> bool:
        """Whether it takes a backend out of the service."""
        return self in (Action.DISABLE, Action.DRAIN)

    @property
    def restores(self) -> bool:
        """Whether it puts that back."""
        return self in (Action.ENABLE, Action.UNDRAIN)


@dataclass(frozen=True)
class Step:
    """One thing that is done, and for how long it then stands."""

    action: Action
    backend: Address | None = None
    hold: float = HOLD

    def __str__(self) -> str:
        return f"{self.action} {self.backend}" if self.backend else str(self.action)


def course(backends: Sequence[Address], seconds: float | None = None) -> tuple[Step, ...]:
    """What is done with these backends, in order, within `seconds`. Raises ValueError that says what will do."""
    turns = [step for one in backends for step in ((Action.DISABLE, one), (Action.ENABLE, one))]
    turns += [(Action.DRAIN, backends[0]), (Action.UNDRAIN, backends[0])]
    wanted = [(Action.OPEN, None), *turns, (Action.RELOAD, None), (Action.RECOMPILE, None)]
    least, usual = len(wanted) * LEAST_HOLD + SETTLE, len(wanted) * HOLD + SETTLE
    if seconds is None:
        seconds = min(usual, LONGEST)
    if not least <= seconds <= LONGEST:
        raise ValueError(
            f"a drill with {len(backends)} backends takes {least:.0f} to {LONGEST:.0f} seconds, not {seconds:g}"
        )
    hold = (seconds - SETTLE) / len(wanted)
    return (*(Step(action, one, hold) for action, one in wanted), Step(Action.SETTLE, None, SETTLE))


def spread(flows: int | None, backends: int) -> list[int]:
    """How many flows go through each of so many backends. Raises ValueError that says what will do."""
    wanted = min(USUAL * backends, MOST_FLOWS) if flows is None else flows
    if not backends <= wanted <= MOST_FLOWS:
        raise ValueError(f"with {backends} backends a drill has {backends} to {MOST_FLOWS} flows, not {wanted}")
    share, rest = divmod(wanted, backends)
    return [share + (place < rest) for place in range(backends)]


def question(service: Service) -> Check | None:
    """The check that is asked on a flow; None: the connection is only kept. Raises ValueError for UDP without one."""
    ports = {service.key.port}
    if service.forward is Forward.NAT:
        ports |= {backend.port for backend in service.backends if backend.port}
    here = [check for check in service.checks if check.port in ports]
    if service.key.protocol is Protocol.TCP:
        return next((check for check in here if check.kind in (CheckKind.HTTP, CheckKind.HTTPS)), None)
    datagrams = (
        check
        for check in here
        if check.kind is CheckKind.UDP or (check.kind is CheckKind.DNS and check.transport is Protocol.UDP)
    )
    found = next(datagrams, None)
    if found is None:
        raise ValueError(
            "no check of it says which datagram may be sent to it: give it one of type dns or udp on its own port"
        )
    return found


def pace(flows: int) -> float:
    """Seconds from one question on a flow to the next."""
    return max(1.0, flows / RATE)


def proves(check: Check | None, protocol: Protocol, tracking: Tracking) -> tuple[str, ...]:
    """In words, what the flows of a drill prove and what they do not."""
    if protocol is Protocol.UDP:
        said = ["flows: the check's datagram, always from the same port; an answer proves that some server answered"]
        said.append("not judged: whether new flows reach a backend that is out; of UDP nobody can tell new from old")
        if tracking is Tracking.NONE:
            said.append("not judged: whether flows stay with their backend; `tracking` is none")
    elif check is None:
        said = ["flows: idle connections that TCP's keepalive probes watch; the backend's kernel answers, no server"]
    else:
        said = [f"flows: connections on which the check's {check.kind} request is answered again and again"]
    said.append("exercised: lookup, hash, slots and remembered flows as for clients, the way to the backends and back")
    said.append("not exercised: routers and networks between clients and this balancer, the NIC's way into the program")
    return tuple(said)


@dataclass
class Seen:
    """A flow as far as it is known. `backend` is what the slots said when it was opened."""

    number: int
    backend: Address
    port: int
    opened: float
    step: int
    """The step in which it was opened."""
    new: bool = False
    """Whether it was opened to see where new flows go."""
    state: FlowState | None = None
    """None: it is being opened."""
    words: str = ""
    answered: int = 0
    wrong: int = 0
    ended: float | None = None
    ended_step: int | None = None
    went: Address | None = None
    """Where the program sent its packets last."""
    first: Address | None = None
    """Where it sent them first."""
    moved: float | None = None
    """When that first changed."""
    closed: bool = False
    """Whether we have closed it."""

    @property
    def alive(self) -> bool:
        """Whether it is open, and is to be."""
        return self.state is FlowState.OPEN and not self.closed

    def sent_to(self, backend: Address, now: float) -> None:
        """Take note of where its packets go."""
        self.first = self.first or backend
        if backend != self.first and self.moved is None:
            self.moved = now
        self.went = backend


@dataclass
class Done:
    """A step, as it went."""

    step: Step
    at: float
    in_force: float | None = None
    """Seconds until it was in force; None: it was not, or there is nothing to be in force."""
    trouble: str = ""
    carried: int = 0
    """Flows of the step's backend that were open before it and at its end."""
    open: int = 0
    """Flows that were open at its end."""


@dataclass
class Evidence:
    """All that was seen."""

    protocol: Protocol
    tracking: Tracking
    backends: tuple[Address, ...]
    flows: dict[int, Seen] = field(default_factory=dict)
    steps: list[Done] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    """What checks said of the backends meanwhile."""
    cut_short: str = ""
    """Why it did not come to its end."""
    left: str = ""
    """What could not be put back."""

    def long(self, *states: FlowState) -> list[Seen]:
        """The flows that were to last, of these states."""
        return [flow for flow in self.flows.values() if not flow.new and flow.state in states]


def judge(seen: Evidence) -> tuple[str, ...]:
    """Why the drill has failed; nothing: it has passed."""
    return tuple(_reasons(seen))


def _reasons(seen: Evidence) -> Iterator[str]:
    if seen.left:
        yield seen.left
    if seen.cut_short:
        yield f"the drill was ended early: {seen.cut_short}"
    yield from seen.health
    yield from _troubles(seen.steps)
    yield from _flows_at_opening(seen)
    broken = seen.long(FlowState.BROKEN)
    for (backend, step), flows in _by(broken, seen).items():
        words = ", ".join(sorted({flow.words for flow in flows}))
        yield f"{_count(len(flows), 'flow')} through {backend} broke during `{step}`: {words}"
    if _stays(seen):
        moved = [flow for flow in seen.flows.values() if flow.moved is not None]
        for flow in moved[:3]:
            yield f"a flow of {flow.first} was sent to {flow.went}, {flow.moved:.1f} s after the beginning"
        if len(moved) > 3:
            yield f"so were {len(moved) - 3} other flows"
    yield from _new_flows(seen)
    if wrong := sum(flow.wrong for flow in seen.flows.values()):
        yield f"{_count(wrong, 'answer')} that the check would not take"
    yield from _nothing_shown(seen)


def _troubles(steps: Sequence[Done]) -> Iterator[str]:
    for done in steps:
        if done.trouble:
            yield f"`{done.step}`: {done.trouble}"


def _flows_at_opening(seen: Evidence) -> Iterator[str]:
    failed = seen.long(FlowState.FAILED, FlowState.UNSENT)
    for (backend, _), flows in _by(failed, seen).items():
        words = ", ".join(sorted({flow.words for flow in flows}))
        yield f"{_count(len(flows), 'flow')} through {backend} could not be opened: {words}"
    for flow in seen.flows.values() if seen.protocol is Protocol.TCP else ():
        if not flow.new and flow.first not in (None, flow.backend):
            yield f"a flow was sent to {flow.first}, and the slots said {flow.backend}"
            break


def _new_flows(seen: Evidence) -> Iterator[str]:
    new = [flow for flow in seen.flows.values() if flow.new]
    if seen.protocol is Protocol.TCP:
        for flow in new:
            out = seen.steps[flow.step].step.backend
            if out is not None and out in (flow.first, flow.went):
                yield f"a new flow went to {out} during `{seen.steps[flow.step].step}`"
    bad = [flow for flow in new if flow.state in (FlowState.BROKEN, FlowState.FAILED, FlowState.UNSENT)]
    if bad:
        words = ", ".join(sorted({flow.words for flow in bad}))
        yield f"{_count(len(bad), 'new flow')} of {len(new)} got no service while a backend was out: {words}"


def _nothing_shown(seen: Evidence) -> Iterator[str]:
    """A drill whose flows do not outlive the changes shows nothing."""
    if not _stays(seen):
        return
    for done in seen.steps:
        if done.step.action.withdraws and not done.carried and not _explained(seen, done.step.backend):
            yield (
                f"`{done.step}` shows nothing: no flow through it was open from before to after; its server closes "
                "connections by itself too soon (its limits on idle time or on requests), so try a longer --seconds "
                "with more --flows, or raise those limits"
            )


def _explained(seen: Evidence, backend: Address | None) -> bool:
    states = (FlowState.BROKEN, FlowState.FAILED, FlowState.UNSENT)
    return bool(seen.cut_short) or any(flow.backend == backend for flow in seen.long(*states))


def _stays(seen: Evidence) -> bool:
    """Whether flows are to stay with their backends."""
    return seen.protocol is Protocol.TCP or seen.tracking is not Tracking.NONE


def _by(flows: Collection[Seen], seen: Evidence) -> Mapping[tuple[Address, str], list[Seen]]:
    found: dict[tuple[Address, str], list[Seen]] = {}
    for flow in flows:
        step = flow.ended_step if flow.ended_step is not None else flow.step
        name = str(seen.steps[step].step) if step < len(seen.steps) else "the end"
        found.setdefault((flow.backend, name), []).append(flow)
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def report(seen: Evidence, service: Service, check: Check | None, seconds: float, who: str) -> dict[str, Any]:
    """All of it in JSON's terms."""
    reasons = judge(seen)
    new = [flow for flow in seen.flows.values() if flow.new]
    return {
        "service": str(service.key),
        "verdict": "FAIL" if reasons else "PASS",
        "reasons": list(reasons),
        "seconds": round(seconds, 1),
        "by": who,
        "asked": str(check.kind) if check else None,
        "notes": list(proves(check, seen.protocol, seen.tracking)),
        "backends": [_backend(seen, one) for one in seen.backends],
        "new_flows": {
            "opened": len(new),
            "refused": sum(flow.state in (FlowState.BROKEN, FlowState.FAILED, FlowState.UNSENT) for flow in new),
            "to_withdrawn": sum(_to_withdrawn(seen, flow) for flow in new) if seen.protocol is Protocol.TCP else None,
        },
        "steps": [
            {
                "action": str(done.step.action),
                "backend": str(done.step.backend) if done.step.backend else None,
                "at_s": round(done.at, 3),
                "in_force_ms": None if done.in_force is None else round(done.in_force * 1000, 1),
                "carried": done.carried if done.step.action.withdraws else None,
                "open": done.open,
                "trouble": done.trouble or None,
            }
            for done in seen.steps
        ],
    }


def _to_withdrawn(seen: Evidence, flow: Seen) -> bool:
    out = seen.steps[flow.step].step.backend
    return out is not None and out in (flow.first, flow.went)


def _backend(seen: Evidence, backend: Address) -> dict[str, Any]:
    flows = [flow for flow in seen.flows.values() if not flow.new and flow.backend == backend]
    states = Counter(flow.state for flow in flows)
    resets = sum("reset" in flow.words for flow in flows if flow.state in (FlowState.BROKEN, FlowState.FAILED))
    return {
        "address": str(backend),
        "flows": len(flows),
        "open": sum(flow.alive for flow in flows),
        "ended": states[FlowState.ENDED],
        "broken": states[FlowState.BROKEN],
        "resets": resets,
        "failed": states[FlowState.FAILED] + states[FlowState.UNSENT],
        "moved": sum(flow.moved is not None for flow in flows),
        "answered": sum(flow.answered for flow in flows),
        "wrong": sum(flow.wrong for flow in flows),
    }
