"""The units on Debian's own kernel and from the boot on: the bond that they are to serve on assembles only later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.patience import wait_for
from tests.systemd.booted import CODE, LAUNCHER
from tests.vm import ahead, worktree
from tests.vm.machine import Vm

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]

CONFIGURATION = """\
interfaces: [bond0]
xdp: auto
services:
  - virtual: 203.0.113.10
    servers: [10.9.0.11]
    policy: {80/tcp: {checks: [{type: syn, port: 80}]}}
"""
INSTALL = f"""\
set -e
mkdir -p /{CODE} /etc/vc5/conf.d /var/lib/vc5
cp -r {worktree.PLACE}/appliance {worktree.PLACE}/templates /{CODE}
chmod -R a+rX /{CODE}
chmod 755 /usr/bin/vc5
cp {worktree.PLACE}/packaging/systemd/*.service /usr/lib/systemd/system
cp {worktree.PLACE}/packaging/systemd/vc5.sysusers /usr/lib/sysusers.d/vc5.conf
cp -r {ahead.PLACE} /var/lib/vc5/programs
systemd-sysusers
systemctl enable vc5.service
"""
CAPABILITIES = {"vc5.service": 1 << 10 | 1 << 12 | 1 << 38 | 1 << 39, "vc5-prober.service": 1 << 13}
BOND = """\
link add bond0 type bond mode active-backup miimon 100
link set card0 master bond0
link set card1 master bond0
"""
LIMIT = 60.0
"""Seconds; every instruction is emulated."""


def show(vm: Vm, unit: str, name: str) -> str:
    return vm.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def status(vm: Vm) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(vm.run("vc5", "status", "--json"))
    return found


def wait_told(vm: Vm, words: str) -> None:
    """Wait until systemctl tells so much of the daemon."""
    wait_for(words, lambda: words in show(vm, "vc5.service", "StatusText"), LIMIT)


@pytest.mark.appliance
def test_it_boots_before_the_bond_has_assembled(vm: Vm) -> None:
    ahead.send(vm, CONFIGURATION)
    vm.put(LAUNCHER.encode(), "/usr/bin/vc5")
    vm.run("sh", "-c", INSTALL)
    vm.put(CONFIGURATION.encode(), "/etc/vc5/config.yaml")
    vm.reboot()

    assert show(vm, "vc5.service", "ActiveState") == "active"
    wait_told(vm, "0 of 1 services up; waiting for interface bond0 (does not exist)")
    first = show(vm, "vc5.service", "MainPID")
    for unit, held in CAPABILITIES.items():
        wait_for(unit, lambda unit=unit: show(vm, unit, "ActiveState") == "active", LIMIT)  # type: ignore[misc]
        text = vm.run("cat", f"/proc/{show(vm, unit, 'MainPID')}/status")
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == held, unit
    assert vm.run("stat", "-c", "%a", "/sys/fs/bpf").strip() == "1711"

    vm.run("ip", "-batch", "-", text=BOND)
    wait_told(vm, "waiting for interface bond0 (down)")
    vm.run("ip", "-batch", "-", text="link set bond0 up\naddress add 10.9.0.5/24 dev bond0\n")
    wait_told(vm, "0 of 1 services up; waiting for the MAC address of 10.9.0.11")
    assert [(row["name"], row["attach"] != "missing", row["up"]) for row in status(vm)["interfaces"]] == [
        ("bond0", True, True)
    ]
    vm.run("ip", "neighbour", "replace", "10.9.0.11", "lladdr", "02:00:00:00:09:11", "dev", "bond0")
    wait_for("its end", lambda: "waiting" not in show(vm, "vc5.service", "StatusText"), LIMIT)
    sent = lambda: status(vm)["reasons"].get("probe-sent", 0)  # noqa: E731
    wait_for("probes to leave by the bond", sent, LIMIT)
    assert show(vm, "vc5.service", "MainPID") == first

    vm.run("systemctl", "stop", "vc5.service")
    wait_for("the ground", lambda: show(vm, "vc5-netns.service", "ActiveState") == "inactive", LIMIT)
    left = vm.run("sh", "-c", "ls /run/netns /sys/fs/bpf; ip -br link show type veth; test ! -e /run/vc5")
    assert [line for line in left.split() if "vc5" in line and not line.startswith("/")] == []
    assert "Traceback" not in vm.run("journalctl", "--no-pager", "--unit=vc5*")
