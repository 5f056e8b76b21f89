"""What is simulated: the numbers of a site, all with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.dataplane.shape import slot_count
from appliance.errors import PlanError
from bench.simulate.lifetimes import DEFAULT, Kind, SimulationError

BALANCERS = 60_000
"""At most so many; slots of a memory are counted by 16 bits."""


@dataclass(frozen=True)
class Site:
    """One service, its backends, and the balancers that share it. Times are seconds, rates per second.

    Every default is a guess at a large site; docs/planning.md says how to give one's own.
    """

    balancers: int = field(default=1000, metadata={"help": "balancers at the start"})
    backends: int = field(default=2000, metadata={"help": "backends of the service, at most 2,047"})
    slots: int = field(default=0, metadata={"help": "slots of the service; 0: as many as the product gives it"})
    arrivals: float = field(default=20_000.0, metadata={"help": "new connections/s of the whole site"})
    duration: float = field(default=7200.0, metadata={"help": "seconds that are simulated"})
    sample: int = field(default=60, metadata={"help": "slots that are simulated, drawn from all"})
    idle: int = field(default=900, metadata={"help": "seconds after which a silent flow is forgotten"})
    detection: float = field(default=2.0, metadata={"help": "seconds within which all balancers see a death or return"})
    rollout: float = field(default=5.0, metadata={"help": "seconds within which all have a new configuration"})
    withdrawal: float = field(default=1.0, metadata={"help": "seconds until the router has noticed a balancer's death"})
    delay: float = field(default=0.02, metadata={"help": "seconds that a record of the exchange takes"})
    loss: float = field(default=0.01, metadata={"help": "share of datagrams that are lost and sent again"})
    repair: float = field(default=0.05, metadata={"help": "seconds that sending again takes"})
    lru: int = field(default=1_000_000, metadata={"help": "flows that a balancer holds at most where it tracks all"})
    kinds: tuple[Kind, ...] = DEFAULT
    seed: int = field(default=1, metadata={"help": "the same seed gives the same figures"})

    def __post_init__(self) -> None:
        """Raises SimulationError where a value makes no sense."""
        for name, least, most in (
            ("balancers", 2, BALANCERS),
            ("backends", 2, 2047),
            ("slots", 0, 131_071),
            ("arrivals", 1e-6, 1e9),
            ("duration", 60, 1e6),
            ("sample", 1, 131_071),
            ("idle", 10, 16_000),
            ("detection", 0, self.idle / 4),
            ("rollout", 0, self.idle / 4),
            ("withdrawal", 0, 3600),
            ("delay", 1e-6, self.idle / 4),
            ("loss", 0, 0.9),
            ("repair", 0, self.idle / 4),
            ("lru", 1, 10**10),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise SimulationError(f"{name}: {value:g}; wanted: from {least:g} to {most:g}")
        if self.slots and self.slots < self.backends:
            raise SimulationError(f"slots: {self.slots} are fewer than the {self.backends} backends")

    @property
    def table(self) -> int:
        """How many slots the service has."""
        try:
            return self.slots or slot_count(self.backends)
        except PlanError as error:
            raise SimulationError(f"backends: {error}") from None

    @property
    def open(self) -> float:
        """How many connections are open at a time."""
        return self.arrivals * sum(kind.share * kind.mean for kind in self.kinds)
