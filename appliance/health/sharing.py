"""Which checks are one probe, and which of the others may lean on each other. Pure.

Theory of operation. Two checks of the configuration are *one* probe where neither what is sent nor what is made of the
answer differs:

  the way    the same backend, reached alike (tunnel, translation, clamped segments), and packets that arrive alike: at
             the same VIP, or, behind NAT, at the same port of the backend
  the check  all its values but `rise`, `fall` and `window`, which the judge alone looks at, and the port of an echo
             request, which has none; `interval` and `timeout` count, and what is in its file of certificates

The probe has one number, goes to the private address of one of its services, and its result is for all of them. While
it is outstanding it belongs to that address: where the address goes, another number takes its place.

Probes for different VIPs of one backend differ in the way alone if the check does not name the VIP. A whole
conversation (http, https, grpc, dns over TCP) says much more about the server than about the way. One of such probes
leads: it always asks. The others follow: after a good answer to the leader each only makes sure that its own VIP
accepts connections, by half a handshake; after anything else, each asks for itself. So good news is shared, and bad
news is each VIP's own. A check of full-size packets (`mtu`) is about the way, and neither leads nor follows; nor do
tcp, syn, udp and icmp, which cost no more than what would take their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from appliance.health.answer import Answer
from appliance.health.diagnostic import printable
from appliance.health.messages import Probe
from appliance.model import Address, Check, CheckKind, Outcome, Protocol, ServiceKey, Tunnel

NAMING = (CheckKind.HTTP, CheckKind.HTTPS, CheckKind.GRPC)
"""Kinds that name the VIP in what they send, where no host is given."""


@dataclass(frozen=True)
class Target:
    """What to probe for one backend of one service: every check, at the backend's NAT address."""

    service: ServiceKey
    backend: Address
    nat: Address
    checks: tuple[Check, ...]
    mapped: int | None = None
    """With `forward: nat` the backend's port that stands for the service's; None: packets arrive at the VIP."""
    tunnel: Tunnel | None = None
    clamp_mss: int = 0

    def arrival(self, check: Check) -> tuple[Address, int] | None:
        """Address and port of the backend at which probes of a check arrive, None where that is the VIP."""
        if self.mapped is None:
            return None
        of_service = (check.port, check.protocol) == (self.service.port, self.service.protocol)
        return self.backend, self.mapped if of_service else check.port


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One check, by its index, of one backend of one service."""

    service: ServiceKey
    backend: Address
    check: int


_Wire = tuple[int, int, Tunnel | None, int, int | None, int, int, str]
"""What makes probes one: family of the VIP, backend, way, VIP (None: nothing names it), port behind NAT, the check as
`Sharing._sent` numbers it, certificates. Addresses are integers here: to hash them as they are takes long."""


@dataclass(slots=True)
class _Group:
    """The checks that are one probe: whom it is for, and the private addresses that it can go to."""

    subscribers: list[Subscriber]
    targets: list[Target]
    arrival: tuple[Address, int] | None
    rise: int
    fall: int


@dataclass
class Sharing:
    """The numbers of probes, over reloads. A number that has meant something never means anything else."""

    subscribers: dict[int, list[Subscriber]] = field(default_factory=dict)
    """For whom the result of each probe is."""
    _next: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _checks: dict[Check, int] = field(default_factory=dict)
    _next_check: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _numbers: dict[_Wire, tuple[int, int]] = field(default_factory=dict)
    """The private address, as an integer, and the number of each probe."""

    def probes(self, targets: Sequence[Target], authority: Callable[[str], str]) -> tuple[Probe, ...]:
        """Take all that is to be probed from now on; return the probes in the order of the targets.

        `authority` returns what is in a file of certificates.
        """
        texts: dict[str, str] = {"": ""}
        sent: dict[int, tuple[int, Check]] = {}
        used: dict[Check, int] = {}
        groups: dict[_Wire, _Group] = {}
        for target in targets:
            vip, backend = int(target.service.vip), int(target.backend)
            for index, check in enumerate(target.checks):
                if id(check) not in sent:
                    sent[id(check)] = self._sent(check, used)
                if check.ca not in texts:
                    texts[check.ca] = authority(check.ca)
                arrival = target.arrival(check)
                named = arrival is None or names_vip(check)
                port = 0 if arrival is None or check.kind is CheckKind.ICMP else arrival[1]
                way = (target.nat.version, backend, target.tunnel, target.clamp_mss)
                wire = (*way, vip if named else None, port, sent[id(check)][0], texts[check.ca])
                group = groups.get(wire)
                if group is None:
                    group = groups[wire] = _Group([], [], arrival, check.rise, check.fall)
                group.subscribers.append(Subscriber(target.service, target.backend, index))
                group.targets.append(target)
                group.rise, group.fall = max(group.rise, check.rise), max(group.fall, check.fall)
        self._checks = used
        return self._numbered(groups, dict(sent.values()))

    def _sent(self, check: Check, used: dict[Check, int]) -> tuple[int, Check]:
        """Number a check by what the prober sees of it."""
        seen = replace(check, rise=1, fall=1, window=None)
        if check.kind is CheckKind.ICMP:
            seen = replace(seen, port=1)
        number = used.get(seen) or self._checks.get(seen) or next(self._next_check)
        used[seen] = number
        return number, check

    def _numbered(self, groups: dict[_Wire, _Group], checks: dict[int, Check]) -> tuple[Probe, ...]:
        numbers: dict[_Wire, tuple[int, int]] = {}
        conversations: dict[tuple[object, ...], list[int]] = {}
        backends: dict[tuple[int, int], int] = {}
        judged: dict[tuple[int, int, int], Check] = {}
        made: list[Probe] = []
        for wire, group in groups.items():
            version, backend, tunnel, clamp, _, port, sent, authority = wire
            target, number = self._place(wire, group)
            numbers[wire] = int(target.nat), number
            check = judged.get((sent, group.rise, group.fall))
            if check is None:
                check = replace(checks[sent], rise=group.rise, fall=group.fall, window=None)
                judged[(sent, group.rise, group.fall)] = check
            place = backends.setdefault((version, backend), len(backends) + 1)
            made.append(Probe(number, target.service.vip, target.nat, check, group.arrival, authority, place))
            if group.arrival is None and converses(check):
                asked = (version, backend, tunnel, clamp, port, sent, authority)
                conversations.setdefault(asked, []).append(number)
        self._numbers = numbers
        self.subscribers = {numbers[wire][1]: group.subscribers for wire, group in groups.items()}
        leaders: dict[int, int] = {}
        for among in conversations.values():
            if len(among) > 1:
                leader = min(among)  # the oldest: who leads goes on to lead
                leaders |= {number: leader for number in among if number != leader}
        return tuple(
            replace(probe, leader=leaders[probe.number]) if probe.number in leaders else probe for probe in made
        )

    def _place(self, wire: _Wire, group: _Group) -> tuple[Target, int]:
        """Return at whose private address a probe is made, and its number: those of before where that is possible."""
        nat, number = self._numbers.get(wire, (0, 0))
        for target in group.targets if number else ():
            if int(target.nat) == nat:
                return target, number
        return group.targets[0], next(self._next)


def names_vip(check: Check) -> bool:
    """Whether the VIP is part of what a check sends."""
    return check.kind in NAMING and not check.host


def converses(check: Check) -> bool:
    """Whether a check is a conversation whose good outcome says the same about a server for every VIP."""
    if check.kind is CheckKind.DNS:
        return check.transport is Protocol.TCP
    return check.kind in NAMING and not names_vip(check) and not check.mtu


def path_check(check: Check) -> Check:
    """Return what takes the place of a check after a good answer to its leader."""
    return Check(CheckKind.SYN, check.port, interval=check.interval, timeout=check.timeout)


def leaning(answer: Answer, leader: Address, path: Answer, vip: Address) -> Answer:
    """Return the answer of a probe that looked at its own way to `vip`, after the good one to its leader.

    Durations are those of its own probe: what it did not do took no time.
    """
    if path.outcome is not Outcome.OK:
        return replace(path, diagnostic=printable(f"path {vip}: {path.diagnostic}"))
    return replace(
        path,
        diagnostic=printable(f"{answer.diagnostic} at {leader}, path {vip}: {path.diagnostic}"),
        http_status=answer.http_status,
        tls_version=answer.tls_version,
        certificate_expires=answer.certificate_expires,
    )
