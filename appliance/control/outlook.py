"""The whole outlook on a reload: what differs, which slots move, what becomes of the VIPs. Pure.

A `Scene` is all that it depends on, taken apart from the running daemon, so that another thread can look at it while
the daemon goes on. The plan itself is made by `plan`, as the reload makes it.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.control.announcing import withheld
from appliance.control.differences import Change, Differences, ServiceDifference, differences
from appliance.control.disruption import Disruption, disruptions
from appliance.control.forecast import Move, Seat, Verdicts, VipChanges, moves, pairs, unchecked, vips
from appliance.control.plan import Openings, Plan, plan
from appliance.control.receivers import HealthOf
from appliance.control.shares import Shares
from appliance.control.state import State
from appliance.dataplane import maglev
from appliance.dataplane.desired import DesiredService
from appliance.dataplane.hashchange import slot_counts
from appliance.dataplane.lookup import Entry
from appliance.model import Address, Config, Health, Host, ServiceKey

SEED = bytes(16)
"""In the place of a generated seed where there is no daemon: what counts is whether it changes."""


@dataclass(frozen=True)
class Scene:
    """What is in force, and what is wanted instead. `at` in monotonic seconds, `time` in coarse ones."""

    state: State
    wanted: Config
    seats: Mapping[ServiceKey, Seat]
    verdict: HealthOf
    host: Host
    seed: bytes = SEED
    reseeded: bool = False
    openings: Openings = field(default_factory=Openings)
    shares: Shares = field(default_factory=Shares)
    now: Mapping[ServiceKey, DesiredService] = field(default_factory=dict)
    """What the tables have been brought to."""
    vips: Mapping[Address, bool] = field(default_factory=dict)
    at: float = 0.0
    time: int = 1
    new_are: Health = Health.UNKNOWN
    """What a new backend is before its checks have finished."""


@dataclass(frozen=True)
class Outlook:
    """What a reload would do."""

    differences: Differences
    moves: Mapping[ServiceKey, Move]
    vips: VipChanges
    lost: Mapping[ServiceKey, Disruption] = field(default_factory=dict)
    """What is disturbed, of services that lose anything."""


def apart(state: State) -> State:
    """A copy of the state that can be reconfigured, while the daemon goes on with its own."""
    trial = copy.copy(state)
    for name, value in vars(state).items():
        if isinstance(value, dict | set | list):
            setattr(trial, name, value.copy())
    trial.blocks = copy.copy(state.blocks)  # which never edits its map, but makes another one
    return trial


def look(scene: Scene) -> Outlook:
    """Look ahead. Raises PlanError where more is asked than the data plane can hold."""
    before, wanted = scene.state.config, scene.wanted
    trial = apart(scene.state)
    known = pairs(trial.services())
    trial.reconfigure(wanted, scene.time)
    services = trial.services()
    verdicts = Verdicts(scene.verdict, known, unchecked(services), Health.UP)
    new = pairs(services) - known
    if scene.new_are is not Health.UP and new:
        at_once = _plan(scene, trial, replace(verdicts, assumed=scene.new_are), scene.vips)
        later = _plan(scene, trial, verdicts, at_once.desired.vips, full=new)
    else:
        at_once = later = _plan(scene, trial, verdicts, scene.vips, full=new)
    found = moves(scene.seats, later.desired.services, at_once.desired.services, scene.now, reseeded=scene.reseeded)
    out = withheld(wanted)
    changes = vips(
        _announced(scene.vips, withheld(before)),
        _announced(at_once.desired.vips, out),
        _announced(later.desired.vips, out),
    )
    differ = differences(before, wanted)
    return Outlook(differ, found, changes, disruptions(found, differ.services, changes.withdrawn))


def _announced(vips: Mapping[Address, bool], out: Container[Address]) -> dict[Address, bool]:
    return {vip: up and vip not in out for vip, up in vips.items()}


def _plan(
    scene: Scene,
    trial: State,
    verdicts: Verdicts,
    vips: Mapping[Address, bool],
    full: frozenset[tuple[ServiceKey, Address]] = frozenset(),
) -> Plan:
    """The plan of the reload; backends in `full` have their whole share, their slow start being over.

    `vips` were up before: they stay so as long as only services that nobody has judged yet are in the way.
    """
    shares = scene.shares.apart()
    shares.ramps.first |= full
    return plan(
        trial,
        verdicts,
        scene.host,
        seed=scene.seed,
        now=scene.at,
        openings=scene.openings.apart(),
        shares=shares,
        time=scene.time,
        vips=vips,
    )


def without_daemon(before: Config, wanted: Config) -> Outlook:
    """The outlook on going from one configuration to another, all backends of both being up and settled."""
    state = State(before)
    now = plan(state, _up, Host(), seed=SEED, now=0.0, openings=Openings())
    services = now.desired.services
    counts = slot_counts({}, ((one.key, len(one.members), one.sticky) for one in services))
    seats = {one.key: _seat(one, counts[one.key]) for one in services}
    scene = Scene(
        state,
        wanted,
        seats,
        _up,
        Host(),
        reseeded=before.hash_seed != wanted.hash_seed,
        now={one.key: one for one in services},
        vips=now.desired.vips,
        new_are=Health.UP,
    )
    return look(scene)


def _up(key: ServiceKey, address: Address) -> Health:
    return Health.UP


def _seat(service: DesiredService, count: int) -> Seat:
    members = [(member.address, member.weight) for member in service.members if member.weight > 0]
    words = [owner + 1 for owner in maglev.table(members, count)]
    entry = Entry(service.key, 0, count, 0, 0, 0, sticky=service.sticky)
    return Seat(entry, words, 0xFFFF, {at: address for at, (address, _) in enumerate(members, 1)})


@dataclass(frozen=True)
class Flows:
    """An estimate of the flows that are disturbed: those in the slots that move, or all where the service goes.

    `counted`: the service remembers every flow, so it is known how many there are. Else it is the number of SYNs
    that have come since the counters began, an upper bound; None: not even that is known.
    """

    number: int | None
    counted: bool = False


def told(outlook: Outlook, flows: Mapping[ServiceKey, Flows]) -> Iterator[dict[str, Any]]:
    """What there is to say of each service, in JSON's terms; in the order of the services."""
    for key in sorted(outlook.moves.keys() | outlook.differences.services.keys()):
        difference = outlook.differences.services.get(key) or ServiceDifference(Change.SAME)
        move, estimate = outlook.moves.get(key, Move(0)), flows.get(key, Flows(None))
        lost = outlook.lost.get(key, Disruption())
        yield {
            "service": str(key),
            "change": str(difference.change),
            "fields": list(difference.fields),
            "backends": {
                "added": [str(address) for address in difference.backends.added],
                "removed": [str(address) for address in difference.backends.removed],
                "changed": {str(who): list(names) for who, names in difference.backends.changed.items()},
            },
            "slots": move.slots,
            "moved_slots": move.moved,
            "share": round(move.share, 6),
            "moved_at_once": move.at_once,
            "cause": str(move.cause),
            "disruption": round(lost.share, 6),
            "disrupted_by": str(lost.loss),
            "flows": estimate.number if move.moved or lost.total else 0,
            "flows_counted": estimate.counted,
        }


def overview(outlook: Outlook) -> dict[str, Any]:
    """What there is to say of the whole, in JSON's terms."""
    changes = [difference.change for difference in outlook.differences.services.values()]
    backends = [difference.backends for difference in outlook.differences.services.values()]
    moved, slots = _sums(outlook.moves)
    return {
        "services_added": changes.count(Change.ADDED),
        "services_removed": changes.count(Change.REMOVED),
        "services_changed": changes.count(Change.CHANGED),
        "backends_added": sum(len(one.added) for one in backends),
        "backends_removed": sum(len(one.removed) for one in backends),
        "backends_changed": sum(len(one.changed) for one in backends),
        "settings": list(outlook.differences.settings),
        "slots": slots,
        "moved_slots": moved,
        "largest_share": round(max((move.share for move in outlook.moves.values()), default=0.0), 6),
        "largest_disruption": round(max((lost.share for lost in outlook.lost.values()), default=0.0), 6),
        "vips": {
            "announce": [str(vip) for vip in outlook.vips.announced],
            "withdraw": [str(vip) for vip in outlook.vips.withdrawn],
        },
    }


def _sums(found: Mapping[ServiceKey, Move]) -> tuple[int, int]:
    return sum(move.moved for move in found.values()), sum(move.slots for move in found.values())
