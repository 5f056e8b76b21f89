"""What a drill is asked to do, and when there must be none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.control.drill import Step, course, question, spread
from appliance.control.overrides import word
from appliance.dataplane.enums import State
from appliance.errors import ControlError
from appliance.model import Address, Check, Config, Service, ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon


@dataclass(frozen=True)
class Asked:
    """The arguments of a request, in their types; None: the usual."""

    service: Service
    seconds: float | None
    flows: int | None
    backends: int | None
    """How many backends are to be taken out, one after the other."""


@dataclass(frozen=True)
class Wish:
    """A drill as it is going to be."""

    service: Service
    check: Check | None
    course: tuple[Step, ...]
    flows: Mapping[Address, int]
    """Through each backend that is available."""

    @property
    def absent(self) -> frozenset[Address]:
        """Backends that were not available when it began."""
        return frozenset(backend.address for backend in self.service.backends) - self.flows.keys()


def asked(arguments: Mapping[str, Any], services: Iterable[Service]) -> Asked:
    """Read the arguments of a request. Raises ControlError."""
    try:
        key = ServiceKey.parse(str(arguments["service"]))
    except KeyError:
        raise ControlError("the request names no service") from None
    except ValueError as error:
        raise ControlError(str(error)) from None
    service = next((service for service in services if service.key == key), None)
    if service is None:
        raise ControlError(f"{key}: no service of the running configuration; `vc5 status` lists them")
    seconds = arguments.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        raise ControlError("seconds: must be a number")
    numbers = {name: arguments.get(name) for name in ("flows", "backends")}
    for name, value in numbers.items():
        if value is not None and (type(value) is not int or value < 1):
            raise ControlError(f"{name}: must be a whole number above 0")
    return Asked(service, None if seconds is None else float(seconds), numbers["flows"], numbers["backends"])


def wish(daemon: Daemon, given: Asked, file: Config) -> Wish:
    """What is to be done. Raises ControlError that says what is in the way, and what to do; `file` is on the disk."""
    service, key = given.service, given.service.key
    _refuse_state(daemon, key, file)
    if service.sticky:
        raise ControlError(
            f"{key} is sticky: its backend follows from the client's address, and a drill's flows all have the same, "
            "so they would meet one backend only; nothing was done"
        )
    members = members_of(daemon, key)
    here = [backend for backend in service.backends if members.get(backend.address) is State.AVAILABLE]
    available = [backend.address for backend in here if backend.weight]
    if len(available) < least(service):
        names = ", ".join(map(str, available)) or "none"
        raise ControlError(
            f"{key} has fewer than {least(service)} available backends ({names}): to take one out would be an outage; "
            "nothing was done; `vc5 status` says what is wrong with the others"
        )
    try:
        check = question(service)
        steps = course(available[: given.backends], given.seconds)
        flows = dict(zip(available, spread(given.flows, len(available)), strict=True))
    except ValueError as error:
        raise ControlError(f"{key}: {error}; nothing was done") from None
    return Wish(service, check, steps, flows)


def _refuse_state(daemon: Daemon, key: ServiceKey, file: Config) -> None:
    instance = daemon.instance
    said = [
        f"{word(what, one)} of {address} by {one.who}"
        for (of, address), found in instance.state.overrides.entries.items()
        for what, one in found.items()
        if of == key
    ]
    if said:
        raise ControlError(
            f"{key}: operators overrule its configuration ({'; '.join(said[:3])}), and a drill would meddle with that; "
            "nothing was done; take it back first, or drill when it is over (`vc5 overrides` lists all)"
        )
    if frozen := daemon.judging.frozen():
        raise ControlError(
            f"health is frozen ({frozen}): a backend that dies meanwhile would not be noticed; nothing was done; see "
            "`vc5 status`, and `vc5 health thaw`"
        )
    if instance.governor.isolated:
        raise ControlError("this node takes itself for cut off from its backends; nothing was done; see `vc5 status`")
    if daemon.trials.waiting:
        raise ControlError(
            "a configuration waits to be confirmed, and a drill reloads; nothing was done; `vc5 confirm` it first, or "
            "let it go back"
        )
    if file != instance.state.config:
        raise ControlError(
            f"{daemon.file} says something else than what is in force, and a drill reloads it; nothing was done; "
            "`vc5 plan` shows the difference, `vc5 reload` puts it in force"
        )


def least(service: Service) -> int:
    """How many backends must be available for one of them to be taken out."""
    return max(1, service.need) + 1


def members_of(daemon: Daemon, key: ServiceKey) -> dict[Address, State]:
    """What the backends of a service receive, as planned."""
    plan = daemon.instance.current
    if plan is None or key not in plan.places:
        return {}
    return {one.address: one.state for one in plan.desired.services[plan.places[key]].members}
