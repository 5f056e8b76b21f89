"""How a service's packets are shared out and how they travel: each policy's values in force, and what does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config.checks import effective, given_at
from appliance.config.findings import Findings
from appliance.config.nodes import Scalar
from appliance.config.policy import Form
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of
from appliance.model import Forward, Protocol, Scheduler, Tracking, Tunnel, TunnelKind

DNS_PORT = 53

_UDP = (TunnelKind.FOU, TunnelKind.GUE)
_OPTIONS: dict[str, tuple[TunnelKind, ...]] = {
    "tunnel-port": _UDP,
    "tunnel-checksum": _UDP,
    "tunnel-no-checksum": _UDP,
    "dscp": (TunnelKind.DSCP,),
}
"""The settings that mean something to some tunnels only."""

_NEEDS = {TunnelKind.FOU: "tunnel-port", TunnelKind.GUE: "tunnel-port", TunnelKind.DSCP: "dscp"}
_EXAMPLES = {"tunnel-port": "5555", "dscp": "46"}


@dataclass(frozen=True, slots=True)
class Travel:
    """The values in force of one policy. `port` is what the backends listen on; None: the service's own."""

    forward: Forward
    port: int | None
    clamp_mss: int
    tunnel: Tunnel | None
    sticky: bool
    scheduler: Scheduler
    eject_most_loaded: bool
    slow_start: float
    levels: tuple[Fields, Fields, Fields]

    def tracking(self, port: int, protocol: Protocol) -> Tracking:
        """Return which flows of a service on that port are remembered."""
        given = given_at("tracking", *self.levels)
        if self.scheduler is Scheduler.LEAST_CONNECTIONS:
            return Tracking.ALL
        if given:
            tracking: Tracking = given.value
            return tracking
        return Tracking.NONE if (port, protocol) == (DNS_PORT, Protocol.UDP) else Tracking.AUTO


class Forwarding:
    """Resolves policies. A setting that no service it applies to can use is reported by `report_unused`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._used: set[int] = set()
        """By identity of the Given."""
        self._unused: dict[int, tuple[Given, str, str]] = {}

    def resolve(self, form: Form, value: Given, levels: tuple[Fields, Fields, Fields]) -> Travel:
        """Return the values of a policy's key in force; `levels` are policy, service and top level."""
        forward: Forward = effective("forward", *levels)
        tunnel = self._tunnel(levels)
        self._nat(forward, tunnel, levels)
        self._scheduling(levels)
        return Travel(
            forward,
            self._port(form, value, forward, levels),
            self._clamp(forward, levels),
            tunnel,
            effective("sticky", *levels),
            effective("scheduler", *levels),
            self._eject(levels),
            effective("slow_start", *levels),
            levels,
        )

    def report_unused(self) -> None:
        """Report the settings that mean nothing anywhere, once each."""
        for identity, (given, message, hint) in self._unused.items():
            if identity not in self._used:
                self._findings.error(given.node, given.path, "conflict", message, hint)

    def _use(self, given: Given, fits: bool, message: str, hint: str) -> None:
        if fits:
            self._used.add(id(given))
        else:
            self._unused.setdefault(id(given), (given, message, hint))

    def _tunnel(self, levels: tuple[Fields, ...]) -> Tunnel | None:
        undecided = _refused("tunnel-type", levels)
        kind: TunnelKind | None = effective("tunnel-type", *levels)
        for name, kinds in _OPTIONS.items():
            given = given_at(name, *levels)
            if given:
                known = " and ".join(kinds)
                message = f"`{name}` means nothing to `tunnel-type: {kind or 'none'}`"
                self._use(given, undecided or kind in kinds, message, f"remove it; it is for {known}")
        if undecided:
            # Any tunnel will do for a file that is refused: without one, backends in other networks were wrong too.
            return Tunnel(TunnelKind.IPIP)
        if kind is None:
            return None
        type_at = given_at("tunnel-type", *levels)
        need = _NEEDS.get(kind)
        if need and not given_at(need, *levels) and not _refused(need, levels):
            assert type_at is not None, "the default needs nothing"
            hint = f"for example {need}: {_EXAMPLES[need]}"
            self._findings.error(type_at.node, type_at.path, "missing", f"`tunnel-type: {kind}` needs `{need}`", hint)
        port, code = given_at("tunnel-port", *levels), given_at("dscp", *levels)
        return Tunnel(
            kind,
            port=port.value if port and kind in _UDP else 0,
            checksum=self._checksum(levels) if kind in _UDP else default_of("tunnel-checksum"),
            code=code.value if code and kind is TunnelKind.DSCP else 0,
        )

    def _checksum(self, levels: tuple[Fields, ...]) -> bool:
        for level in levels:
            plain, opposite = level.get("tunnel-checksum"), level.get("tunnel-no-checksum")
            if plain and opposite:
                message = "`tunnel-checksum` and `tunnel-no-checksum` are both given"
                self._findings.error(opposite.node, opposite.path, "conflict", message, "keep one of them")
            if plain or opposite:
                return bool(plain.value) if plain else not (opposite and opposite.value)
        return bool(default_of("tunnel-checksum"))

    def _nat(self, forward: Forward, tunnel: Tunnel | None, levels: tuple[Fields, ...]) -> None:
        if forward is not Forward.NAT or tunnel is None or _refused("tunnel-type", levels):
            return
        at = given_at("forward", *levels)
        assert at is not None, "the default is not nat"
        message = f"`forward: nat` does not go with `tunnel-type: {tunnel.kind}`: answers have no way back"
        self._findings.error(at.node, at.path, "conflict", message, "write `tunnel-type: none` or `forward: dsr`")

    def _clamp(self, forward: Forward, levels: tuple[Fields, ...]) -> int:
        given = given_at("clamp_mss", *levels)
        if given is None or not given.value:
            return 0
        fits = forward is Forward.NAT or _refused("forward", levels)
        message = "`clamp_mss` needs `forward: nat`: the backend's answers do not pass here"
        self._use(given, fits, message, "remove it, and set `advmss` on the backend's route")
        return int(given.value) if forward is Forward.NAT else 0

    def _port(self, form: Form, value: Given, forward: Forward, levels: tuple[Fields, ...]) -> int | None:
        """Return the port that the service's is mapped to; None where they are the same."""
        given = value if isinstance(value.value, int) else levels[0].get("bind")
        if given is None or given.value == form.port:
            return None
        if forward is Forward.DSR and not _refused("forward", levels):
            message = f"sending port {form.port} to port {given.value} needs `forward: nat`"
            hint = f"write `forward: nat`, or let the backends listen on port {form.port} of the VIP"
            self._findings.error(given.node, given.path, "port", message, hint)
        return int(given.value)

    def _eject(self, levels: tuple[Fields, ...]) -> bool:
        given = given_at("eject_most_loaded", *levels)
        if given is None or not given.value:
            return False
        fits = effective("scheduler", *levels) is Scheduler.LEAST_CONNECTIONS
        message = "`eject_most_loaded` needs `scheduler: least-connections`: maglev does not look at loads"
        self._use(given, fits or _refused("scheduler", levels), message, "remove it, or change the scheduler")
        return fits

    def _scheduling(self, levels: tuple[Fields, ...]) -> None:
        scheduler = given_at("scheduler", *levels)
        if scheduler is None:
            return
        if isinstance(scheduler.node, Scalar) and scheduler.node.text == "roundrobin":
            message = "there is no round robin here; new flows are shared out by maglev, evenly but by their addresses"
            self._findings.warning(scheduler.node, scheduler.path, "scheduler", message, "write maglev")
        if scheduler.value is not Scheduler.LEAST_CONNECTIONS:
            return
        sticky, tracking = given_at("sticky", *levels), given_at("tracking", *levels)
        if sticky and sticky.value:
            message = "sticky does not go with least-connections: the same addresses would meet another backend"
            hint = "write `scheduler: maglev`, or remove `sticky`"
            self._findings.error(sticky.node, sticky.path, "conflict", message, hint)
        if tracking and tracking.value is Tracking.NONE:
            message = "least-connections remembers every flow"
            hint = "write `tracking: all`, or `scheduler: maglev`"
            self._findings.error(tracking.node, tracking.path, "conflict", message, hint)


def _refused(name: str, levels: tuple[Fields, ...]) -> bool:
    return any(name in level.refused for level in levels)
