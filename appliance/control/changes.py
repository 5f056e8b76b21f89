"""What has changed for services, VIPs and interfaces since that was last told: from plans to events. Pure.

Plans follow each other in small steps, of which each names the services that it looked at; where one is missing in
between, as a reload makes it, all are compared. What is new or gone with a configuration is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.control.plan import Plan
from appliance.control.trouble import some
from appliance.model import Address, Config, EventKind, Host, Service, ServiceKey, Severity
from appliance.model_address import differing
from appliance.model_logging import Priority

SEVERITY_OF = {
    Priority.CRITICAL: Severity.ERROR,
    Priority.HIGH: Severity.WARNING,
    Priority.MEDIUM: Severity.NOTICE,
    Priority.LOW: Severity.INFORMATIONAL,
}
"""How grave it is that a VIP changes, by its priority, which is that of its gravest service."""


@dataclass(frozen=True)
class Change:
    """An event to be recorded; `fields` are those of Event."""

    kind: EventKind
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


def word(up: bool) -> str:
    return "up" if up else "down"


def services_of(plan: Plan, vip: Address) -> list[Service]:
    """Return the services of a VIP."""
    return [plan.ordered[plan.places[key]] for key in plan.ways.sharers.get(vip, ()) if key in plan.places]


def severity_of(plan: Plan, vip: Address) -> Severity:
    """Return how grave it is that a VIP changes."""
    return min((SEVERITY_OF[one.priority] for one in services_of(plan, vip)), default=Severity.NOTICE)


def reason_of(plan: Plan, vip: Address) -> str:
    """Return why a VIP is up or down: by which of its services."""
    shared = services_of(plan, vip)
    counted = [one for one in shared if one.critical] or shared
    down = [one.key for one in counted if not plan.services[one.key].up]
    if not plan.desired.vips.get(vip):
        return f"{some(down)} {'is' if len(down) == 1 else 'are'} down" if down else "no verdict yet"
    return f"{len(counted) - len(down)} of {len(counted)} services up"


class Changes:
    """What was last told."""

    def __init__(self) -> None:
        self._last: Plan | None = None
        self._services: dict[ServiceKey, bool] = {}
        self._vips: Mapping[Address, bool] = {}
        self._interfaces: dict[str, str] = {}
        self._config: Config | None = None
        self._configured: frozenset[ServiceKey] = frozenset()

    def look(self, before: Plan, after: Plan) -> list[Change]:
        """Return what has changed up to the plan `after`, which follows `before`; at first, what has since that one."""
        if self._last is None:
            self._take(before, before.services)
        known = self._last or before
        if after is known:
            return []
        looks = after.looks if before is known else after.services
        found = [*self._of_services(after, looks), *self._of_vips(after)]
        if after.host.interfaces is not known.host.interfaces or after.ways is not known.ways:
            found += self._of_interfaces(after)
        self._take(after, looks)
        return found

    def _take(self, plan: Plan, looks: Iterable[ServiceKey]) -> None:
        if self._config is not plan.ways.config:
            self._config = plan.ways.config
            self._configured = frozenset(service.key for service in self._config.services)
        if looks is plan.services:
            self._services = {}
        for key in looks:
            if key in self._configured:
                self._services[key] = plan.services[key].up
        self._last, self._vips = plan, plan.desired.vips
        self._interfaces = _standing(plan.host, plan.ways.config.interfaces)

    def _of_services(self, plan: Plan, looks: Iterable[ServiceKey]) -> Iterable[Change]:
        for key in looks:
            up = plan.services[key].up
            if self._services.get(key, up) == up or not _belongs(plan, key):
                continue
            service = plan.ordered[plan.places[key]]
            reason = f"{plan.services[key].available} of {len(service.backends)} backends available"
            if service.need > 1:
                reason += f", {service.need} needed"
            fields = {"service": key, "outcome": word(up), "before": word(not up), "reason": reason}
            yield Change(EventKind.SERVICE, f"service {word(up)}", fields)

    def _of_vips(self, plan: Plan) -> Iterable[Change]:
        if plan.desired.vips is self._vips:
            return
        for vip in differing(self._vips, plan.desired.vips):
            if vip in self._vips and vip in plan.desired.vips and vip in plan.ways.sharers:
                up, reason = plan.desired.vips[vip], reason_of(plan, vip)
                fields: dict[str, Any] = {"vip": vip, "outcome": word(up), "before": word(not up), "reason": reason}
                fields["severity"] = severity_of(plan, vip)
                yield Change(EventKind.VIP, f"VIP {vip} {word(up)}: {reason}", fields)

    def _of_interfaces(self, plan: Plan) -> Iterable[Change]:
        for name, why in _standing(plan.host, plan.ways.config.interfaces).items():
            was = self._interfaces.get(name, why)
            if bool(was) != bool(why):
                fields = {"interface": name, "outcome": word(not why), "before": word(bool(why)), "reason": why}
                yield Change(
                    EventKind.INTERFACE, f"interface {name} {word(not why)}{f': {why}' if why else ''}", fields
                )


def _belongs(plan: Plan, key: ServiceKey) -> bool:
    """Whether a service is configured; those that leave go down because somebody wants it."""
    return key in plan.ways.sharers.get(key.vip, ())


def _standing(host: Host, names: Iterable[str]) -> dict[str, str]:
    """Return why each interface cannot be used; empty for those that can."""
    found = {one.name: "" if one.up else "no link, or switched off" for one in host.interfaces}
    return {name: found.get(name, "it does not exist") for name in names}
