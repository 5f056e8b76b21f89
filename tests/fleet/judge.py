"""Which flows broke, which of them a living backend owned, and how many could have been lost: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tests.lab.flows import FlowRecord


class Name(NamedTuple):
    """A flow: its protocol, and its number within that."""

    protocol: str
    number: int


@dataclass(frozen=True)
class Death:
    """A backend died, at some time between these two; CLOCK_MONOTONIC, seconds."""

    backend: str
    began: float
    ended: float


@dataclass(frozen=True)
class Verdict:
    """What became of established flows."""

    established: int
    """All that a backend had greeted."""
    orphans: int
    """Those whose backend died; they may end."""
    broken: tuple[tuple[Name, FlowRecord], ...]
    """Those that broke although their backend lived."""
    at_stake: int
    """Those with a living backend that were in a tracked slot of any balancer when something happened to balancers."""
    moved: int
    """Those that the router sent another way at least once."""
    refused: int
    """Those that were never established."""
    longest_stall: float
    """Seconds, of those that are whole."""

    @property
    def living(self) -> int:
        """Those whose backend lived."""
        return self.established - self.orphans

    def text(self) -> str:
        """Return one line."""
        share = f"{self.at_stake / self.living:.0%}" if self.living else "-"
        reasons = sorted({flow.reason for _, flow in self.broken})
        return (
            f"{len(self.broken)} of {self.living} broke ({share} at stake, {self.moved} moved, "
            f"{self.orphans} orphans, {self.refused} refused, longest stall {self.longest_stall:.2f} s)"
            + (f": {'; '.join(reasons[:3])}" if reasons else "")
        )


def judge(
    flows: Mapping[str, Iterable[FlowRecord]],
    deaths: Collection[Death],
    at_stake: Collection[Name],
    moved: Collection[Name],
) -> Verdict:
    """Judge the final accounts, by protocol."""
    named = {Name(protocol, flow.number): flow for protocol, own in flows.items() for flow in own}
    established = {name: flow for name, flow in named.items() if flow.opened_at}
    orphans = {name for name, flow in established.items() if orphaned(flow, deaths)}
    living = {name: flow for name, flow in established.items() if name not in orphans}
    whole = [flow.longest_stall for flow in living.values() if flow.state != "broken"]
    return Verdict(
        established=len(established),
        orphans=len(orphans),
        broken=tuple((name, flow) for name, flow in living.items() if flow.state == "broken"),
        at_stake=len(living.keys() & set(at_stake)),
        moved=len(living.keys() & set(moved)),
        refused=len(named) - len(established),
        longest_stall=max(whole, default=0.0),
    )


def orphaned(flow: FlowRecord, deaths: Collection[Death]) -> bool:
    """Whether a flow's backend died while the flow was there and whole."""
    return any(
        death.backend == flow.backend
        and flow.opened_at <= death.ended
        and not (flow.state == "broken" and flow.broken_at < death.began)
        for death in deaths
    )
