"""The package in a machine that is the appliance: put there by apt, asked by its commands, with its surroundings."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Final

from appliance import __version__
from tests.lab.backend import REPOSITORY
from tests.lab.patience import wait_for
from tests.package.building import another
from tests.vm import ahead, surroundings, worktree
from tests.vm.machine import Vm

LIMIT: Final = 90.0
"""Seconds for anything that starts; every instruction is emulated."""
CONFIGURATION: Final = f"""\
interfaces: [card1]
interval: 3s
timeout: 3s
rise: 1
fall: 3
services:
  - name: shop
    virtual: {surroundings.CHECKED}
    servers: [10.1.10.11, 10.1.10.12]
    policy: {{http: {{path: /}}}}
  - name: quick
    virtual: {surroundings.UNCHECKED}
    servers: [10.1.10.11, 10.1.10.12]
    policy: {{80/tcp: {{checks: []}}}}
"""
FILES: Final = {
    # As an administrator sets an address up, so that it is there again after a boot.
    "/etc/systemd/network/20-card1.network": f"""\
[Match]
Name=card1
[Network]
Address={surroundings.APPLIANCE}/24
LinkLocalAddressing=no
IPv6AcceptRA=no
""",
    # What the units allow a real machine, eight times over: else a busy emulated one has its watchdogs bite.
    **{
        f"/etc/systemd/system/{unit}.service.d/emulated.conf": f"[Service]\n{lines}\n"
        for unit, lines in (
            ("vc5", "WatchdogSec=240\nTimeoutStartSec=720"),
            ("vc5-prober", "WatchdogSec=80"),
            ("vc5-netns", "TimeoutStartSec=240"),
        )
    },
    "/etc/systemd/system/surroundings.service": f"""\
[Unit]
Description=A client and backends
[Service]
Environment={worktree.SLOWNESS}
WorkingDirectory={worktree.PLACE}
ExecStart=/usr/bin/python3 -m tests.vm.surroundings serve
[Install]
WantedBy=multi-user.target
""",
}
PROGRAMS: Final = "/var/lib/vc5/programs"
CONFIG: Final = "/etc/vc5/config.yaml"
SITE: Final = "/etc/vc5/conf.d/site.yaml"
TALK: Final = "/run/talk.json"
SITES_OWN: Final = "# A line of the site.\n"


def surround(vm: Vm) -> None:
    """Give the machine its address on card1, and start what is around it."""
    vm.run("mkdir", "-p", *(str(Path(name).parent) for name in FILES))
    for name, text in FILES.items():
        vm.put(text.encode(), name)
    vm.run("systemctl", "daemon-reload")
    vm.run("systemctl", "enable", "--now", "systemd-networkd.service", "surroundings.service", limit=LIMIT)


def variant(package: Path, directory: Path, version: str, line: str = "") -> Path:
    """Return the package as one of another version; with `line`, its config.yaml has that one more."""
    files = {}
    if line:
        name = Path("../../..", CONFIG.lstrip("/"))  # from the private directory
        files[str(name)] = Path(REPOSITORY, "etc/vc5/config.yaml").read_text("utf-8") + line
    return another(package, directory, version, files)


def on_terminal(vm: Vm, *argv: str, answers: dict[str, str] | None = None, limit: float = 200) -> str:
    """Run a command on a terminal, and return what an operator sees there. Raises LabError."""
    command = ("python3", "-m", "tests.vm.terminal", json.dumps(answers or {}), *argv)
    said = vm.run("env", "-C", worktree.PLACE, *command, limit=limit)
    # Of a line that was written several times over, the last.
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in said.split("\n"))


def bring(vm: Vm, package: Path, *options: str, answers: dict[str, str] | None = None) -> str:
    """Install a package file as an operator does, and return what the terminal showed."""
    vm.put(package.read_bytes(), f"/srv/{package.name}")
    line = shlex.join(["apt", "install", *options, f"./{package.name}"])
    return on_terminal(vm, "sh", "-c", f"cd /srv && exec {line}", answers=answers)


def send_program(vm: Vm) -> None:
    """Give the daemon the program of CONFIGURATION: it compiles one at its first start, which takes a minute."""
    ahead.send(vm, CONFIGURATION)
    vm.run("sh", "-ec", f"cp -rT {ahead.PLACE} {PROGRAMS}; chown -R --reference={PROGRAMS}/.. {PROGRAMS}")


def version(vm: Vm) -> str:
    """Return the version that dpkg has, and how it is installed."""
    return vm.run("dpkg-query", "--show", "--showformat=${Version} ${Status}", "vc5-appliance")


def show(vm: Vm, unit: str, name: str) -> str:
    return vm.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def status(vm: Vm) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(vm.run("vc5", "status", "--json"))
    return found


def journal(vm: Vm, unit: str = "vc5*") -> str:
    return vm.run("journalctl", "--boot", "--no-pager", "--output=cat", f"--unit={unit}")


def ask(vm: Vm, vip: str = surroundings.CHECKED) -> str:
    """Return the name of the backend that answers the client by HTTP, or nothing."""
    url = f"http://{vip}/"
    return vm.execute("ip", "netns", "exec", "client", "curl", "--silent", "--max-time", "5", url).output


def wait_serving(vm: Vm) -> None:
    """Wait until every service is up, and the client is answered."""

    def up() -> bool:
        services = [service for listed in status(vm)["services"].values() for service in listed]
        states = {backend["state"] for service in services for backend in service["destinations"]}
        return len(services) == 2 and states == {"available"}

    wait_for("all backends of all services", up, LIMIT)
    wait_for("an answer", lambda: ask(vm), LIMIT)


def start_talking(vm: Vm, count: int = 12) -> None:
    """Begin conversations of the client that go on until the machine ends."""
    command = ("python3", "-m", "tests.vm.surroundings", "talk", str(count), TALK)
    vm.run("systemd-run", "--quiet", "--unit=talk", f"--working-directory={worktree.PLACE}", *command)
    still_talking(vm)


def still_talking(vm: Vm, rounds: int = 3) -> None:
    """Assert that no conversation is broken, and that each goes on."""

    def report() -> dict[str, Any]:
        done = vm.execute("cat", TALK)
        found: dict[str, Any] = json.loads(done.output) if done.status == 0 else {"rounds": 0, "broken": []}
        return found

    wanted = report()["rounds"] + rounds
    seen = wait_for("the conversations", lambda: (found := report())["rounds"] >= wanted and found, LIMIT)
    assert seen["broken"] == []
    assert seen["backends"] == ["b1", "b2"]


NEWER, NEWEST = f"{__version__}+1", f"{__version__}+2"
