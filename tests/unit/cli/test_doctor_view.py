"""The text of `vc5 doctor`: sections, the worst first, and commands whole, on any terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.doctor_view import BACKENDS, HOST, INTERFACES, lines, steps
from appliance.cli.tables import Screen, printable, width
from appliance.control.nic import Finding, Severity

COMMAND = "on 10.1.10.11: ip address add 203.0.113.10/32 dev lo (ip address show tells whether it is there)"
NOTE = Finding(Severity.NOTE, "a note", "a reason", "nothing")
BAD = Finding(Severity.PROBLEM, "VIP missing", "nobody answers", COMMAND)
SECTIONS: dict[str, dict[str, tuple[Finding, ...]]] = {
    HOST: {"host": (NOTE,)},
    INTERFACES: {"eth0": (), "enp65s0f1": (NOTE, BAD)},
    BACKENDS: {"10.1.10.11 of 203.0.113.10:80/tcp": (BAD,)},
}


def test_a_wide_terminal() -> None:
    assert lines(SECTIONS, Screen(200)) == [
        "HOST",
        "  host  note     a note",
        "                 a reason",
        "                 > nothing",
        "",
        "INTERFACES",
        "  enp65s0f1  problem  VIP missing",
        "                      nobody answers",
        f"                      > {COMMAND}",
        "  enp65s0f1  note     a note",
        "                      a reason",
        "                      > nothing",
        "  eth0       fine     nothing speaks against XDP",
        "",
        "BACKENDS",
        "  10.1.10.11 of 203.0.113.10:80/tcp  problem  VIP missing",
        "                                              nobody answers",
        f"                                              > {COMMAND}",
        "",
        "2 problems, 2 notes",
    ]


def test_a_narrow_terminal() -> None:
    text = lines({BACKENDS: SECTIONS[BACKENDS]}, Screen(60))
    assert text[:8] == [
        "BACKENDS",
        "  10.1.10.11 of 203.0.113.10:80/tcp",
        "    problem  VIP missing",
        "             nobody answers",
        "             > on 10.1.10.11: ip address add 203.0.113.10/32",
        "               dev lo (ip address show tells whether it is",
        "               there)",
        "",
    ]


STEPS = {
    "ethtool -K eth0 lro off": ["ethtool -K eth0 lro off"],
    "modprobe ipip; ip link set tunl0 up": ["modprobe ipip", "ip link set tunl0 up"],
    "nft add chain c '{ type filter; }'; nft list": ["nft add chain c '{ type filter; }'", "nft list"],
    "pin each queue's interrupt; then look": ["pin each queue's interrupt; then look"],
    "": [""],
}


@pytest.mark.parametrize(("remedy", "expected"), STEPS.items())
def test_steps_stand_under_each_other(remedy: str, expected: list[str]) -> None:
    assert steps(remedy) == expected


@given(st.text("ab ;'"))
def test_no_step_is_lost(remedy: str) -> None:
    assert "; ".join(steps(remedy)) == remedy


def test_nothing_to_tell() -> None:
    text = lines({HOST: {"host": ()}, INTERFACES: {}, BACKENDS: {}}, Screen())
    assert text == [
        "HOST",
        "  host  fine     nothing speaks against this host",
        "",
        "INTERFACES",
        "  no interfaces are configured",
        "",
        "BACKENDS",
        "  all are up, as far as their checks tell",
        "",
        "nothing found",
    ]


def test_without_a_daemon() -> None:
    text = lines({}, Screen(40), unasked="/run/vc5/control.sock: no vc5 daemon answers here; start it")
    assert text[:2] == ["backends were not examined:", "/run/vc5/control.sock: no vc5 daemon"]


@given(st.text(), st.text(), st.integers(20, 200))
def test_no_text_reaches_the_terminal_as_a_command(name: str, said: str, columns: int) -> None:
    text = lines({BACKENDS: {name: (Finding(Severity.PROBLEM, said, said, said),)}}, Screen(columns))
    assert [printable(line) for line in text] == text


@given(st.integers(40, 200))
def test_no_line_is_longer_than_the_terminal(columns: int) -> None:
    words = "a b " * 60
    text = lines({HOST: {"host": (Finding(Severity.NOTE, words, words, words),)}}, Screen(columns))
    assert max(map(width, text)) <= max(columns, 56)
