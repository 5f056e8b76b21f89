"""What each backend of a service may receive. Pure.

A backend is, in this order of precedence:

  none       its first check has not finished, and nothing is remembered of it;
  dead       it does not answer, or it answers wrongly and `on_down` is `cut`;
  draining   the operator or the configuration says so (drain, disabled, weight 0, removed), or it answers wrongly;
  available  otherwise.

Those of `fallback` are draining on top of that while `need` others are available, or may be once they are judged.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.control.state import State
from appliance.dataplane.enums import State as Receives
from appliance.model import Address, Backend, Health, OnDown, Service, ServiceKey

HealthOf = Callable[[ServiceKey, Address], Health]


def receives(service: Service, backend: Backend, health: Health, state: State) -> Receives:
    """What a backend may receive, whatever the others do."""
    if health is Health.UNKNOWN:
        return Receives.NONE
    if health is Health.DEAD or (health is Health.WRONG and service.on_down is OnDown.CUT):
        return Receives.DEAD
    leaves = False
    drains = state.overrides.drains
    if drains or state.leaving:
        pair = (service.key, backend.address)
        leaves = pair in drains or pair in state.leaving
    if leaves or not backend.enabled or backend.weight == 0 or health is Health.WRONG:
        return Receives.DRAINING
    return Receives.AVAILABLE


def receivers(service: Service, health: HealthOf, state: State) -> tuple[list[Receives], int]:
    """Return what the backends receive, in their order, and how many more may become available once they are judged."""
    found = [receives(service, one, health(service.key, one.address), state) for one in service.backends]
    open_ = 0
    if Receives.NONE in found:
        drains = state.overrides.drains
        for gets, one in zip(found, service.backends, strict=True):
            wanted = one.enabled and one.weight > 0 and not one.fallback and (service.key, one.address) not in drains
            open_ += gets is Receives.NONE and wanted
    if any(backend.fallback for backend in service.backends):
        mine = zip(found, service.backends, strict=True)
        good = sum(gets is Receives.AVAILABLE and not one.fallback for gets, one in mine)
        if good + open_ >= max(1, service.need):
            found = [
                Receives.DRAINING if one.fallback and gets is Receives.AVAILABLE else gets
                for gets, one in zip(found, service.backends, strict=True)
            ]
    return found, open_
