"""`vc5 doctor` under a booted systemd: what an operator has done to the units, told with what to do about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.systemd.booted import Booted
from tests.systemd.conftest import Site
from tests.systemd.test_units import started

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]

OVERRIDE = "/etc/systemd/system/vc5.service.d/loose.conf"
LOOSE = "[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN\nNoNewPrivileges=no\n"


def told(system: Booted) -> dict[str, list[tuple[str, str]]]:
    """What is said of each unit that is not in order: severity and finding."""
    found: dict[str, list[dict[str, Any]]] = json.loads(system.attempt("vc5", "doctor", "--json").stdout)
    units = {name: each for name, each in found.items() if name.endswith(".service")}
    return {name: [(one["severity"], one["what"]) for one in each] for name, each in units.items() if each}


def test_what_was_done_to_the_units_is_told(site: Site) -> None:
    system = site.system
    disabled = ("warning", "it is disabled")
    assert told(system) == {"vc5.service": [("warning", "it is not running"), disabled]}
    system.run("systemctl", "enable", "vc5")
    started(site)
    assert told(system) == {}
    assert "nothing speaks against it" in system.run("vc5", "doctor")

    system.file(OVERRIDE).parent.mkdir(parents=True, exist_ok=True)
    system.file(OVERRIDE).write_text(LOOSE)
    try:
        system.run("systemctl", "daemon-reload")
        loose = [("warning", "it may hold CAP_SYS_ADMIN"), ("warning", "it runs with NoNewPrivileges=no, and not yes")]
        assert told(system) == {"vc5.service": loose}
        assert OVERRIDE in system.run("vc5", "doctor", "--json")
        system.file(OVERRIDE).write_text("")
        stale = ("warning", "its files have changed since systemd read them")
        assert told(system) == {"vc5.service": [stale, *loose]}
    finally:
        system.file(OVERRIDE).unlink()
        system.run("systemctl", "daemon-reload")

    system.run("systemctl", "mask", "--runtime", "vc5-prober")
    system.run("systemctl", "stop", "vc5-prober")
    assert system.attempt("vc5", "doctor").returncode == 1
    assert told(system) == {"vc5-prober.service": [("problem", "it is masked")]}
    system.run("systemctl", "unmask", "--runtime", "vc5-prober")
    system.configure("services: 7\n")
    system.attempt("systemctl", "restart", "vc5")
    system.configure("interfaces: []\n")
    assert told(system) == {"vc5.service": [("problem", "it has failed (exit status 78)")]}
    system.run("systemctl", "disable", "vc5")
