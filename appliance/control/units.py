"""What is wrong with the units that systemd has for the balancer. Pure; `systemd` asks for what is judged here.

An operator may change units by files of their own (drop-ins). What those loosen is said, since nothing else tells of it
for as long as all goes well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from appliance.control.nic import Finding, Severity

DAEMON, GROUND, PROBER = "vc5.service", "vc5-netns.service", "vc5-prober.service"
BFD = "vc5-bfd.service"
BAD_CONFIGURATION = "78"
"""The daemon's exit status for a configuration that it refuses."""
NO_MEMORY = "killed for want of memory: a MemoryMax= is too low, or the machine is too full"
BIND_SERVICE = "cap_net_bind_service"


@dataclass(frozen=True)
class Unit:
    """A unit as it comes with the package. `needs` are capabilities that it must have as ambient ones."""

    name: str
    purpose: str
    most: frozenset[str]
    """Capabilities that it may have at most."""
    needs: frozenset[str] = frozenset()
    settings: tuple[tuple[str, str], ...] = (("NoNewPrivileges", "yes"),)
    """Of those that hold it in, as `systemctl show` tells them."""
    on_demand: bool = False
    """Whether it runs only while somebody needs it."""


_DAEMONS = frozenset({"cap_bpf", "cap_net_admin", "cap_perfmon"})
_PROBERS = frozenset({"cap_net_raw"})
_SHUT_IN = (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("PrivateDevices", "yes"))
UNITS = (
    Unit(
        GROUND,
        "it makes the network namespace of the checks and the directory for pins",
        _DAEMONS | {"cap_sys_admin", "cap_chown", "cap_fowner", "cap_dac_override"},
    ),
    Unit(DAEMON, "it is the daemon", _DAEMONS | {BIND_SERVICE}, _DAEMONS, (("User", "vc5"), *_SHUT_IN)),
    Unit(PROBER, "it runs the health checks", _PROBERS, _PROBERS, (("User", "vc5-prober"), *_SHUT_IN)),
    Unit(
        BFD,
        "it holds the BFD sessions with routers",
        frozenset(),
        settings=(("User", "vc5-bfd"), *_SHUT_IN),
        on_demand=True,
    ),
)
PROPERTIES = (
    *("Id", "LoadState", "LoadError", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainCode"),
    *("ExecMainStatus", "NRestarts", "NeedDaemonReload", "DropInPaths", "CapabilityBoundingSet", "AmbientCapabilities"),
    *dict.fromkeys(name for unit in UNITS for name, _ in unit.settings),
)
Shown = Mapping[str, str]


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Read what `systemctl show UNIT ...` prints: a block for each, lines of NAME=VALUE; returned by their Id."""
    found = {}
    for block in text.split("\n\n"):
        shown = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if name := shown.get("Id", ""):
            found[name] = shown
    return found


def findings(shown: Mapping[str, Shown]) -> dict[str, tuple[Finding, ...]]:
    """Everything to say of each unit, the worst first. Without any of them there, that alone is said."""
    if all(shown.get(unit.name, {}).get("LoadState") in (None, "not-found") for unit in UNITS):
        why = "systemd knows none of its units, so nothing starts it at boot, and nothing again when it fails"
        one = Finding(Severity.NOTE, "vc5 is no service here", why, "install the package vc5-appliance")
        return {DAEMON: (one,)}
    runs = shown.get(DAEMON, {}).get("ActiveState") in ("active", "reloading")
    order = list(Severity)
    return {
        unit.name: tuple(
            sorted(_unit(unit, shown.get(unit.name, {}), runs=runs), key=lambda one: order.index(one.severity))
        )
        for unit in UNITS
    }


def _unit(unit: Unit, shown: Shown, *, runs: bool) -> Iterator[Finding]:
    loaded = shown.get("LoadState", "not-found")
    if loaded == "masked":
        remedy = f"systemctl unmask {unit.name}, then systemctl start vc5"
        yield Finding(Severity.PROBLEM, "it is masked", f"{unit.purpose}, and cannot be started", remedy)
        return
    if loaded != "loaded":
        what = "it is not installed" if loaded == "not-found" else f"its file cannot be used ({loaded})"
        why = f"{unit.purpose}; {shown['LoadError']}" if shown.get("LoadError") else unit.purpose
        yield Finding(
            Severity.PROBLEM, what, why, "apt install --reinstall vc5-appliance, then systemctl daemon-reload"
        )
        return
    yield from _state(unit, shown, runs=runs)
    if shown.get("UnitFileState") == "disabled":
        why = "after the next boot nothing forwards"
        yield Finding(Severity.WARNING, "it is disabled", why, f"systemctl enable {unit.name}")
    if shown.get("NeedDaemonReload") == "yes":
        why = "what systemd goes by is not what is in its files"
        remedy = "systemctl daemon-reload, then systemctl restart vc5 when that suits"
        yield Finding(Severity.WARNING, "its files have changed since systemd read them", why, remedy)
    yield from _rights(unit, shown)


def _state(unit: Unit, shown: Shown, *, runs: bool) -> Iterator[Finding]:
    state = shown.get("ActiveState", "")
    ended = _ended(shown)
    log = f"journalctl -u {unit.name} tells why"
    if state == "failed":
        remedy = f"{log}; then systemctl start vc5"
        if unit.name == DAEMON and shown.get("ExecMainStatus") == BAD_CONFIGURATION:
            remedy = "vc5 check names every mistake; then systemctl start vc5"
        yield Finding(Severity.PROBLEM, f"it has failed ({ended})", unit.purpose, remedy)
    elif state == "activating" and (shown.get("SubState") == "auto-restart" or _again(shown)):
        count = shown.get("NRestarts", "?")
        # While it is being started systemd does not tell any more how it ended.
        how = f" ({ended})" if shown.get("SubState") == "auto-restart" else ""
        yield Finding(Severity.PROBLEM, f"it ends and is started again, {count} times so far{how}", unit.purpose, log)
    elif state == "inactive" and unit.name == DAEMON:
        yield Finding(Severity.WARNING, "it is not running", unit.purpose, "systemctl start vc5")
    elif state == "inactive" and runs and not unit.on_demand:
        why = f"{unit.purpose}, and {DAEMON} runs"
        yield Finding(Severity.PROBLEM, "it is not running", why, f"systemctl start {unit.name}; {log}")


def _again(shown: Shown) -> bool:
    """Whether it has been started again more than once."""
    count = shown.get("NRestarts", "")
    return count.isdecimal() and int(count) > 1


def _ended(shown: Shown) -> str:
    """How it ended last, in systemd's words."""
    result, status = shown.get("Result", ""), shown.get("ExecMainStatus", "")
    if result == "oom-kill":
        return NO_MEMORY
    if result == "signal" and status == "9":
        return "killed with signal 9, by somebody or by the kernel for want of memory"
    how = {"exit-code": f"exit status {status}", "signal": f"signal {status}", "core-dump": f"signal {status}"}
    return how.get(result, result or "it is not told how")


def _rights(unit: Unit, shown: Shown) -> Iterator[Finding]:
    drop_ins = shown.get("DropInPaths", "")
    where = drop_ins or f"its own file (apt install --reinstall vc5-appliance, or systemctl revert {unit.name})"
    remedy = f"look into {where}; then systemctl daemon-reload and systemctl restart vc5"
    held = frozenset(shown.get("CapabilityBoundingSet", "").split())
    if "CapabilityBoundingSet" in shown and (more := held - unit.most):
        why = "whoever takes it over has them, too, and it needs none of them"
        yield Finding(Severity.WARNING, f"it may hold {_names(more)}", why, remedy)
    ambient = frozenset(shown.get("AmbientCapabilities", "").split())
    if "AmbientCapabilities" in shown and (less := unit.needs - (ambient & held)):
        yield Finding(Severity.PROBLEM, f"it lacks {_names(less)}", "it cannot work without", remedy)
    for name, wanted in unit.settings:
        have = shown.get(name, wanted)
        if have != wanted:
            what = f"it runs with {name}={have}, and not {wanted}"
            yield Finding(Severity.WARNING, what, "that holds it in where it is taken over", remedy)


def _names(capabilities: Sequence[str] | frozenset[str]) -> str:
    """Their names as in a unit; of a set that is nearly everything, the first ones."""
    names = sorted(name.upper() for name in capabilities)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
