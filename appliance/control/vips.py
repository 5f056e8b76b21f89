"""Which VIPs are up, from the services that share them. Pure.

A VIP is up when all its services are, or with `vip_up: any` when one of them is; services with `critical: no` are not
asked, unless the VIP has no others, and then one of them is enough.

A service that is `pending` has not been judged: it is not up, but its backends whose first checks have not finished
could make it so. As long as only such services are in the way, the VIP stays what it was: a port that is added to a VIP
in service does not withdraw it before its first verdict, and a VIP that was down does not come up for it either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from appliance.model import Address, Service

Combine = Callable[[Iterable[bool]], bool]


@dataclass(frozen=True)
class ServiceState:
    """A service as seen from outside."""

    up: bool
    available: int
    pending: bool = False
    """It is not up, and might be: first verdicts are missing."""

    @property
    def told(self) -> tuple[bool, bool]:
        """What decides about the VIP."""
        return self.up, self.pending


def vip_up(services: Iterable[tuple[Service, ServiceState]], before: bool) -> bool:
    """Return whether a VIP with these services is up; `before`, whether it was."""
    shared = tuple(services)
    critical = [pair for pair in shared if pair[0].critical]
    enough = not critical or any(service.vip_any for service, _ in shared)
    combine: Combine = any if enough else all
    counted = critical or shared
    if combine(state.up for _, state in counted):
        return True
    return before and combine(state.up or state.pending for _, state in counted)


def vips_up(
    shared: Mapping[Address, Iterable[tuple[Service, ServiceState]]], before: Mapping[Address, bool]
) -> dict[Address, bool]:
    """Return which VIPs are up; `before`, which ones were."""
    return {vip: vip_up(services, before.get(vip, False)) for vip, services in shared.items()}
