"""What is said of the units: of systemd 252's own words, recorded under a booted systemd, and of changes to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.doctor_view import UNITS as TITLE
from appliance.cli.doctor_view import lines
from appliance.cli.tables import Screen
from appliance.control import systemd, units
from appliance.control.nic import Severity
from appliance.control.units import BFD, DAEMON, GROUND, PROBER, UNITS, findings, parsed

RECORDED = Path(__file__).parents[2] / "golden" / "systemctl"
PROBLEM, WARNING, NOTE = "problem", "warning", "note"


def recorded(name: str) -> dict[str, dict[str, str]]:
    return parsed((RECORDED / f"{name}.txt").read_text())


def told(shown: dict[str, dict[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """What is said of each unit that is not in order."""
    return {name: [(str(one.severity), one.what) for one in each] for name, each in findings(shown).items() if each}


LOOSE = [
    (WARNING, "it may hold CAP_SYS_ADMIN"),
    (WARNING, "it runs with User=, and not vc5"),
    (WARNING, "it runs with NoNewPrivileges=no, and not yes"),
]
DISABLED = (WARNING, "it is disabled")
# As it was recorded -> what is said of each unit.
CASES: dict[str, dict[str, list[tuple[str, str]]]] = {
    "none": {DAEMON: [(NOTE, "vc5 is no service here")]},
    "installed": {DAEMON: [(WARNING, "it is not running"), DISABLED]},
    "running": {},
    "loose": {DAEMON: LOOSE},
    "masked": {PROBER: [(PROBLEM, "it is masked")]},
    "failed": {DAEMON: [(PROBLEM, "it has failed (exit status 78)")]},
    "restarting": {
        DAEMON: [
            (PROBLEM, "it ends and is started again, 0 times so far (exit status 1)"),
            (PROBLEM, "it lacks CAP_PERFMON"),
        ]
    },
}


@pytest.mark.parametrize(("name", "expected"), CASES.items(), ids=CASES)
def test_recorded(name: str, expected: dict[str, list[tuple[str, str]]]) -> None:
    assert told(recorded(name)) == expected


# A unit of the running ones, what is changed of it -> what is said.
CHANGES: list[tuple[str, dict[str, str], list[tuple[str, str]]]] = [
    (GROUND, {"LoadState": "not-found"}, [(PROBLEM, "it is not installed")]),
    (PROBER, {"LoadState": "bad-setting"}, [(PROBLEM, "its file cannot be used (bad-setting)")]),
    (GROUND, {"ActiveState": "inactive"}, [(PROBLEM, "it is not running")]),
    (GROUND, {"ActiveState": "failed", "Result": "timeout"}, [(PROBLEM, "it has failed (timeout)")]),
    (PROBER, {"ActiveState": "inactive"}, [(PROBLEM, "it is not running")]),
    (
        PROBER,
        {"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog", "NRestarts": "3"},
        [(PROBLEM, "it ends and is started again, 3 times so far (watchdog)")],
    ),
    (
        DAEMON,
        {"ActiveState": "failed", "Result": "oom-kill"},
        [(PROBLEM, f"it has failed ({units.NO_MEMORY})")],
    ),
    (
        DAEMON,
        {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "6"},
        [(PROBLEM, "it has failed (signal 6)")],
    ),
    (
        DAEMON,
        {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"},
        [(PROBLEM, "it has failed (killed with signal 9, by somebody or by the kernel for want of memory)")],
    ),
    (DAEMON, {"ActiveState": "reloading", "SubState": "reload"}, []),
    (DAEMON, {"ActiveState": "activating", "SubState": "start"}, []),
    (DAEMON, {"ActiveState": "activating", "SubState": "start", "NRestarts": "1"}, []),
    (
        DAEMON,
        {"ActiveState": "activating", "SubState": "start", "NRestarts": "7", "Result": "success"},
        [(PROBLEM, "it ends and is started again, 7 times so far")],
    ),
    (
        DAEMON,
        {"NeedDaemonReload": "yes", "UnitFileState": "disabled"},
        [DISABLED, (WARNING, "its files have changed since systemd read them")],
    ),
    (DAEMON, {"CapabilityBoundingSet": "cap_net_admin cap_perfmon cap_bpf cap_net_bind_service"}, []),
    (DAEMON, {"CapabilityBoundingSet": "cap_net_admin cap_bpf"}, [(PROBLEM, "it lacks CAP_PERFMON")]),
    (
        PROBER,
        {"CapabilityBoundingSet": "cap_net_raw cap_net_admin cap_bpf cap_chown cap_kill cap_sys_admin"},
        [(WARNING, "it may hold CAP_BPF, CAP_CHOWN, CAP_KILL, CAP_NET_ADMIN and 1 more")],
    ),
    (BFD, {"ActiveState": "active", "SubState": "running"}, []),
    (BFD, {"ActiveState": "failed", "Result": "watchdog"}, [(PROBLEM, "it has failed (watchdog)")]),
    (BFD, {"CapabilityBoundingSet": "cap_net_raw"}, [(WARNING, "it may hold CAP_NET_RAW")]),
    (PROBER, {"ProtectSystem": "full"}, [(WARNING, "it runs with ProtectSystem=full, and not strict")]),
]


@pytest.mark.parametrize(("unit", "change", "expected"), CHANGES)
def test_changed(unit: str, change: dict[str, str], expected: list[tuple[str, str]]) -> None:
    shown = recorded("running")
    shown[unit] |= change
    assert told(shown) == ({unit: expected} if expected else {})


def test_while_the_daemon_rests_the_others_may() -> None:
    shown = recorded("running")
    for unit in UNITS:
        shown[unit.name]["ActiveState"] = "inactive"
    assert told(shown) == {DAEMON: [(WARNING, "it is not running")]}


def test_the_file_to_look_into_is_named() -> None:
    [loose, *_] = findings(recorded("loose"))[DAEMON]
    assert "/etc/systemd/system/vc5.service.d/loose.conf" in loose.remedy
    shown = recorded("running")
    shown[PROBER]["NoNewPrivileges"] = "no"
    [own] = findings(shown)[PROBER]
    assert "systemctl revert vc5-prober.service" in own.remedy


def test_a_mistaken_configuration_has_a_remedy_of_its_own() -> None:
    [failed] = findings(recorded("failed"))[DAEMON]
    assert "vc5 check" in failed.remedy


@given(st.text() | st.lists(st.sampled_from(["Id=vc5.service", "LoadState=loaded", "=", "", "x"])).map("\n".join))
def test_any_text_is_read(text: str) -> None:
    for each in findings(parsed(text)).values():
        assert all(isinstance(one.severity, Severity) for one in each)


def test_in_a_table() -> None:
    text = lines({TITLE: findings(recorded("installed"))}, Screen())
    assert text[0] == TITLE
    assert [line.split()[:2] for line in text if line.startswith("  vc5")] == [
        [DAEMON, "warning"],
        [DAEMON, "warning"],
        [GROUND, "fine"],
        [PROBER, "fine"],
        [BFD, "fine"],
    ]


SCRIPTS = {
    "exec sleep 60": "has not answered within 0.2 s",
    "echo 'Failed to connect to bus' >&2; exit 1": "Failed to connect to bus",
    "exit 4": "exit status 4",
}


@pytest.mark.parametrize(("script", "says"), SCRIPTS.items(), ids=SCRIPTS)
def test_a_systemd_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tool = tmp_path / "systemctl"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    [(name, [one])] = systemd.examine(0.2 if "sleep" in script else 10.0).items()
    assert (name, one.severity) == (DAEMON, Severity.WARNING)
    assert says in one.why


def test_without_systemd_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "nowhere")
    assert systemd.examine() == {}
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    [(_, [one])] = systemd.examine().items()
    assert "No such file" in one.why
