"""The weights in force: those of the configuration, slow start, and the load where the scheduler looks at it. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from appliance.control.balance import SCALE, Balance
from appliance.control.ramps import STEPS, Ramps
from appliance.dataplane.desired import Member
from appliance.dataplane.enums import State as Receives
from appliance.model import Address, Scheduler, Service, ServiceKey


@dataclass
class Shares:
    """What makes weights differ from the configured ones."""

    ramps: Ramps = field(default_factory=Ramps)
    balance: Balance = field(default_factory=Balance)

    def apart(self) -> Shares:
        """A copy that can go its own way; what the maps hold is replaced, and never edited."""
        ramps, balance = copy.copy(self.ramps), copy.copy(self.balance)
        for part in (ramps, balance):
            for name, value in vars(part).items():
                if isinstance(value, dict | set):
                    setattr(part, name, value.copy())
        return Shares(ramps, balance)

    def weigh(self, service: Service, members: list[Member], time: int) -> list[Member]:
        """The members of a service with the weights that they are to have at that coarse time.

        Weights are only multiplied where somebody's share differs, so that balancers which see the same have the same.
        """
        loaded = service.scheduler is Scheduler.LEAST_CONNECTIONS
        if not loaded and not service.slow_start:
            return members
        states = {member.address: member.state for member in members}
        self.ramps.look(service, states, time)
        steps = self.ramps.steps(service, states, time)
        available = [address for address, state in states.items() if state is Receives.AVAILABLE]
        multiples = self.balance.multiples(service.key, available) if loaded else {}
        if not steps and not any(multiple != SCALE for multiple in multiples.values()):
            return members
        whole = STEPS if steps else 1
        return [
            replace(member, weight=member.weight * steps.get(member.address, whole) * multiples.get(member.address, 1))
            for member in members
        ]

    def observe(
        self,
        services: Iterable[Service],
        members: Mapping[ServiceKey, Iterable[Member]],
        flows: Callable[[ServiceKey], Mapping[Address, int]],
    ) -> set[ServiceKey]:
        """Take note of how many flows each backend has; returns the services whose shares should change."""
        due = set()
        looked = [service for service in services if service.scheduler is Scheduler.LEAST_CONNECTIONS]
        self.balance.keep({service.key for service in looked})
        for service in looked:
            counted = flows(service.key)
            weights = {backend.address: backend.weight for backend in service.backends}
            loads = {
                member.address: (weights[member.address], counted.get(member.address, 0))
                for member in members.get(service.key, ())
                if member.state is Receives.AVAILABLE and weights.get(member.address)
            }
            if self.balance.observe(service.key, loads, eject=service.eject_most_loaded):
                due.add(service.key)
        return due
