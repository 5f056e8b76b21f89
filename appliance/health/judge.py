"""Who is alive: the health of every backend of every service, from probe results alone.

Each check of each backend has a state machine of its own (verdict.py, with the theory of operation). A backend is as
healthy as its worst check; here a change of that is noticed, and verdicts are carried over reloads and restarts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.health.diagnostic import printable
from appliance.health.verdict import BADNESS, CheckStanding, CheckState, named, worst
from appliance.model import Address, Check, Health, ProbeResult, Service, ServiceKey

VERSION = 1
"""Of the form in which verdicts are kept."""


@dataclass(frozen=True)
class Transition:
    """The health of one backend of one service has changed."""

    service: ServiceKey
    backend: Address
    before: Health
    after: Health
    diagnostic: str
    """What the deciding check saw: `http 80: connection refused`."""
    since: float
    """Wall-clock seconds at which `after` began."""


@dataclass(frozen=True)
class Standing:
    """Where one backend of one service stands; the last-result fields are those of the check that decides."""

    health: Health
    since: float
    diagnostic: str
    last_at: float
    last_ns: int
    streak: int
    checks: tuple[CheckStanding, ...]


@dataclass
class _BackendState:
    """The checks of one backend, and the verdict that was last reported for it."""

    checks: list[CheckState]
    health: Health
    since: float
    transitions: int = 0
    """How often the verdict has changed; the first one is no change."""

    def deciding(self) -> CheckState | None:
        """Return the first of the worst checks: the one whose words explain the verdict."""
        return max(self.checks, key=lambda check: BADNESS[check.health], default=None)

    def settle(self, service: ServiceKey, backend: Address, now: float) -> Transition | None:
        """Take the verdict of the checks; return the transition if it differs from the one reported last."""
        after = worst([check.health for check in self.checks])
        if after is self.health:
            return None
        before, self.health, self.since = self.health, after, now
        self.transitions += before is not Health.UNKNOWN
        deciding = self.deciding()
        return Transition(service, backend, before, after, deciding.diagnostic if deciding else "no checks", now)


class HealthTable:
    """The health of every backend of every configured service."""

    def __init__(self) -> None:
        self._backends: dict[tuple[ServiceKey, Address], _BackendState] = {}
        self.ignored = 0
        """Results of backends or checks that are not configured, since the start."""

    def configure(self, services: Sequence[Service], now: float) -> tuple[Transition, ...]:
        """Take the services of a new configuration; return what that alone changed for backends that stay.

        A check that stays (same kind, port, host, path, method, expect) keeps its standing; new values of rise, fall,
        interval and timeout apply from the next result on. A check that is new to a known backend inherits the
        backend's verdict. New backends are UNKNOWN, or UP where the service has no checks.
        """
        transitions: list[Transition] = []
        backends: dict[tuple[ServiceKey, Address], _BackendState] = {}
        for service in services:
            for backend in service.backends:
                key = (service.key, backend.address)
                known = self._backends.get(key)
                if known is None:
                    checks = [CheckState(check, since=now) for check in service.checks]
                    backends[key] = _BackendState(checks, worst([check.health for check in checks]), now)
                    continue
                known.checks = _carried_over(known, service.checks, now)
                backends[key] = known
                transition = known.settle(service.key, backend.address, now)
                if transition:
                    transitions.append(transition)
        self._backends = backends
        return tuple(transitions)

    def observe(self, result: ProbeResult, now: float) -> Transition | None:
        """Take one probe result; return the transition of the backend if there is one.

        A result of an unknown backend or check (late, after a reload) is ignored and counted in `ignored`.
        """
        known = self._backends.get((result.service, result.backend))
        if known is None or not 0 <= result.check < len(known.checks):
            self.ignored += 1
            return None
        known.checks[result.check].observe(result, now)
        return known.settle(result.service, result.backend, now)

    def health(self, service: ServiceKey, address: Address) -> Health:
        """Return the verdict on a backend; UNKNOWN for one that is not configured."""
        known = self._backends.get((service, address))
        return known.health if known else Health.UNKNOWN

    def check(self, result: ProbeResult) -> Check | None:
        """Return the check that a result is of; None for one that is not configured."""
        known = self._backends.get((result.service, result.backend))
        return known.checks[result.check].check if known and 0 <= result.check < len(known.checks) else None

    def changes(self, service: ServiceKey, address: Address) -> tuple[int, float | None]:
        """Return how often the verdict on a backend has changed, and since when it is what it is, wall clock."""
        known = self._backends.get((service, address))
        return (known.transitions, known.since) if known else (0, None)

    def standing(self, service: ServiceKey, address: Address) -> Standing | None:
        """Return all that is known of a backend; None for one that is not configured."""
        known = self._backends.get((service, address))
        if known is None:
            return None
        checks = tuple(check.standing() for check in known.checks)
        deciding = known.deciding()
        if deciding is None:
            return Standing(known.health, known.since, "no checks", 0.0, 0, 0, checks)
        return Standing(
            known.health,
            known.since,
            deciding.diagnostic,
            deciding.last_at,
            deciding.last_ns,
            deciding.streak,
            checks,
        )

    def __iter__(self) -> Iterator[tuple[ServiceKey, Address]]:
        """Iterate over (service, backend) of every backend in the table, in the order of the configuration."""
        return iter(self._backends)

    def snapshot(self) -> dict[str, object]:
        """Return the verdicts in a form that JSON can hold, for `restore`. What is UNKNOWN is left out."""
        services: dict[str, dict[str, object]] = {}
        for piece in self.pieces(len(self._backends) + 1):
            services |= piece
        return {"version": VERSION, "services": services}

    def pieces(self, backends: int) -> Iterator[dict[str, dict[str, object]]]:
        """Yield the services of a snapshot, those of about so many backends at a time; they may change in between.

        After a `configure` in between, those of the former configuration go on to come.
        """
        services: dict[str, dict[str, object]] = {}
        seen, last = 0, None
        for (service, address), known in self._backends.items():
            if seen >= backends and service is not last:
                yield services
                services, seen = {}, 0
            seen, last = seen + 1, service
            if known.health is Health.UNKNOWN or not known.checks:
                continue
            checks = {
                name: {"health": str(check.health), "since": check.since, "diagnostic": check.diagnostic}
                for name, check in named(known.checks)
                if check.health is not Health.UNKNOWN
            }
            services.setdefault(str(service), {})[str(address)] = {
                "health": str(known.health),
                "since": known.since,
                "checks": checks,
            } | ({"transitions": known.transitions} if known.transitions else {})
        yield services

    def restore(self, saved: object) -> int:
        """Take back the verdicts of a snapshot, for the configured backends; return how many entries were unusable.

        Only checks that are still UNKNOWN take a saved verdict. A check that the snapshot lacks inherits the saved
        verdict of its backend. Entries for backends that are no longer configured are unusable as well; anything that
        is not a snapshot at all counts as one.
        """
        if not isinstance(saved, dict) or not of_our_form(saved):
            return 1
        unusable = 0
        configured = {(str(service), str(address)): known for (service, address), known in self._backends.items()}
        for service, backends in saved["services"].items():
            if not isinstance(backends, dict):
                unusable += 1
                continue
            for address, entry in backends.items():
                known = configured.get((service, address))
                if known is None or not _restore_backend(known, entry):
                    unusable += 1
        return unusable

    def progress(self) -> list[list[Any]]:
        """Return how far the runs of all checks have come, in JSON's terms, for `proceed`."""
        return [
            [str(service), str(address), name, check.progress()]
            for (service, address), known in self._backends.items()
            for name, check in named(known.checks)
            if check.last_outcome is not None
        ]

    def proceed(self, saved: object) -> int:
        """Go on with the runs of the program before, after `restore`; return how many entries made no sense.

        A check whose verdict is not known, or that is not there any more, begins anew.
        """
        states = {
            (str(service), str(address), name): check
            for (service, address), known in self._backends.items()
            for name, check in named(known.checks)
            if check.health is not Health.UNKNOWN
        }
        unusable = 0
        for entry in _entries(saved):
            try:
                service, address, name, progress = entry
                state = states.get((service, address, name))
                if state is not None:
                    state.proceed(progress)
            except (TypeError, ValueError, KeyError, AttributeError):
                unusable += 1
        return unusable


def of_our_form(saved: object) -> bool:
    """Whether this is a snapshot that `restore` can read, by its version."""
    return isinstance(saved, dict) and saved.get("version") == VERSION and isinstance(saved.get("services"), dict)


def _entries(saved: object) -> list[Any]:
    return saved if isinstance(saved, list) else []


def _carried_over(known: _BackendState, checks: Sequence[Check], now: float) -> list[CheckState]:
    """Return the states of `checks` for a backend that stays: its own where there are, else its verdict."""
    before = dict(named(known.checks))
    after = [CheckState(check, health=known.health, since=now, diagnostic="not checked yet") for check in checks]
    for index, (name, _) in enumerate(list(named(after))):
        if name in before:
            before[name].check = checks[index]
            after[index] = before[name]
    return after


def _verdict(entry: object) -> tuple[Health, float, str] | None:
    """Read one saved verdict; None if it is not one."""
    if not isinstance(entry, dict):
        return None
    health, since, diagnostic = entry.get("health"), entry.get("since"), entry.get("diagnostic", "")
    if health not in (Health.UP, Health.WRONG, Health.DEAD) or not isinstance(diagnostic, str):
        return None
    if isinstance(since, bool) or not isinstance(since, int | float) or not 0 <= since < 1e12:
        return None
    return Health(health), float(since), printable(diagnostic)


def _restore_backend(known: _BackendState, entry: object) -> bool:
    """Give a backend its saved verdicts; False if the entry is unusable, and then nothing has changed."""
    whole = _verdict(entry)
    if whole is None or not isinstance(entry, dict) or not isinstance(entry.get("checks"), dict):
        return False
    health, since, _ = whole
    saved = {name: _verdict(value) for name, value in entry["checks"].items()}
    if None in saved.values():
        return False
    for name, check in named(known.checks):
        if check.health is Health.UNKNOWN:
            verdict = saved.get(name)
            check.health, check.since, check.diagnostic = verdict or (health, since, "not checked yet")
    after = worst([check.health for check in known.checks])
    if after is not known.health:
        known.health, known.since = after, since
    transitions = entry.get("transitions", 0)
    if type(transitions) is int and 0 < transitions < 1 << 53:
        known.transitions = max(known.transitions, transitions)
    return True
