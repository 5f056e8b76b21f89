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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

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


class Subscriber(NamedTuple):
    """One check, by its index, of one backend of one service."""

    service: ServiceKey
    backend: Address
    check: int
    kind: CheckKind


_Wire = tuple[int, int, Tunnel | None, int, int, int, int, str]
"""What makes probes one: families of VIP and backend, backend, way, VIP (-1: nothing names it), port behind NAT, the
check as `Sharing._sent` numbers it, certificates. Addresses are integers here: to hash them as they are takes long."""


class _Sent(NamedTuple):
    """A check as the prober sees it: its number, and what follows from it."""

    number: int
    check: Check
    names_vip: bool
    converses: bool
    authority: str


@dataclass(slots=True)
class _Group:
    """The checks that are one probe: whom it is for, the private addresses that it can go to, and its number."""

    sent: _Sent
    arrival: tuple[Address, int] | None
    subscribers: list[Subscriber]
    targets: list[Target]
    number: int = 0
    target: Target | None = None
    """The one to whose private address the probe goes."""
    backend: int = 0
    leader: int = 0


@dataclass
class Sharing:
    """The numbers of probes, over reloads. A number that has meant something never means anything else."""

    subscribers: dict[int, list[Subscriber]] = field(default_factory=dict)
    """For whom the result of each probe is."""
    _of: dict[tuple[ServiceKey, Address], set[int]] = field(default_factory=dict)
    """The probes of each backend of a service, with those that they lean on; made when it is first asked for."""
    _next: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _checks: dict[Check, int] = field(default_factory=dict)
    _next_check: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _groups: dict[_Wire, _Group] = field(default_factory=dict)

    def take(self, targets: Sequence[Target], authority: Callable[[str], str]) -> None:
        """Take all that is to be probed from now on.

        `authority` returns what is in a file of certificates.
        """
        texts: dict[str, str] = {"": ""}
        sent: dict[int, _Sent] = {}  # many targets share one check, and to compare checks takes long
        used: dict[Check, int] = {}
        groups: dict[_Wire, _Group] = {}
        for target in targets:
            vip, backend = int(target.service.vip), int(target.backend)
            families = target.nat.version << 4 | target.backend.version
            for index, check in enumerate(target.checks):
                seen = sent.get(id(check))
                if seen is None:
                    if check.ca not in texts:
                        texts[check.ca] = authority(check.ca)
                    seen = sent[id(check)] = self._sent(check, used, texts[check.ca])
                arrival, port = None, 0
                if target.mapped is not None:
                    arrival = target.arrival(check)
                    port = arrival[1] if arrival and check.kind is not CheckKind.ICMP else 0
                    vip = int(target.service.vip) if seen.names_vip else -1
                wire = (families, backend, target.tunnel, target.clamp_mss, vip, port, seen.number, seen.authority)
                group = groups.get(wire)
                if group is None:
                    group = groups[wire] = _Group(seen, arrival, [], [])
                group.subscribers.append(Subscriber(target.service, target.backend, index, check.kind))
                group.targets.append(target)
        self._checks, self._of = used, {}
        self._number(groups)

    def numbers(self, pairs: Iterable[tuple[ServiceKey, Address]]) -> set[int]:
        """Return the probes of these backends of services, and those that they lean on."""
        if not self._of:
            for group in self._groups.values():
                mine = {group.number, group.leader} - {0}
                for one in group.subscribers:
                    self._of.setdefault((one.service, one.backend), set()).update(mine)
        return set[int]().union(*(self._of.get(pair, ()) for pair in pairs))

    def probes(self) -> Iterator[Probe]:
        """Yield the probes, in the order of the targets."""
        judged: dict[tuple[int, ...], Check] = {}
        for group in list(self._groups.values()):
            target = group.target
            assert target is not None
            checks = {id(one): one for one in map(_asked, group.subscribers, group.targets)}
            check = judged.get(tuple(checks))
            if check is None:
                check = judged[tuple(checks)] = _paced(tuple(checks.values()))
            yield Probe(
                *(group.number, target.service.vip, target.nat, check, group.arrival, group.sent.authority),
                backend=group.backend,
                leader=group.leader,
            )

    def _sent(self, check: Check, used: dict[Check, int], authority: str) -> _Sent:
        """Number a check by what the prober sees of it."""
        seen = replace(check, rise=1, fall=1, window=None)
        if check.kind is CheckKind.ICMP:
            seen = replace(seen, port=1)
        number = used.get(seen) or self._checks.get(seen) or next(self._next_check)
        used[seen] = number
        return _Sent(number, check, names_vip(check), converses(check), authority)

    def _number(self, groups: dict[_Wire, _Group]) -> None:
        before = self._groups
        conversations: dict[tuple[object, ...], list[_Group]] = {}
        backends: dict[tuple[int, int], int] = {}
        for wire, group in groups.items():
            self._place(group, before.get(wire))
            group.backend = backends.setdefault((wire[0] & 15, wire[1]), len(backends) + 1)
            if group.arrival is None and group.sent.converses:
                conversations.setdefault((*wire[:4], *wire[5:]), []).append(group)
        for among in conversations.values():
            leader = min(group.number for group in among)  # the oldest: who leads goes on to lead
            for group in among:
                group.leader = leader if group.number != leader else 0
        self._groups = groups
        self.subscribers = {group.number: group.subscribers for group in groups.values()}

    def _place(self, group: _Group, before: _Group | None) -> None:
        """Choose at whose private address a probe is made, and its number: those of before where that is possible."""
        if before is not None and before.target is not None:
            nat = int(before.target.nat)
            for target in group.targets:
                if int(target.nat) == nat:
                    group.target, group.number = target, before.number
                    return
        group.target, group.number = group.targets[0], next(self._next)


def _asked(subscriber: Subscriber, target: Target) -> Check:
    return target.checks[subscriber.check]


def _paced(checks: Sequence[Check]) -> Check:
    """Return the check of a probe that is for all of these: as demanding as the most demanding of them."""
    return replace(checks[0], rise=max(one.rise for one in checks), fall=max(one.fall for one in checks), window=None)


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
