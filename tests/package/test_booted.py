"""The life of the package in a booted system: installed, configured, reloaded, upgraded, removed and purged."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance import __version__
from tests.lab.namespace import Namespace, run
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.package.archive import Package
from tests.package.building import another, missing_tools
from tests.package.debian import Debian
from tests.systemd.booted import Booted

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]

CONFIGURATION = """
interfaces: [eth0]
services:
  - name: shop
    virtual: 203.0.113.10
    servers: [10.1.1.5]
    policy:
      http:
"""
PLACES = ("/etc/vc5", "/run/netns/vc5", "/run/vc5", "/sys/fs/bpf/vc5", "/usr/share/vc5-appliance", "/var/lib/vc5")
FORWARDS = "prog/xdp"
"""What iproute2 shows of an interface that has a program."""


@contextmanager
def with_interface() -> Iterator[Namespace]:
    """Yield a network namespace that has an interface eth0, whose other end is up as well."""
    namespace = Namespace(f"vc5deb-{os.getpid()}")
    run("ip", "netns", "add", namespace.name)
    try:
        namespace.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
        for words in (("address", "add", "10.1.1.1/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            namespace.run("ip", *words)
        namespace.run("ip", "link", "set", "far", "up")
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace
    finally:
        run("ip", "netns", "del", namespace.name)


@pytest.fixture
def system(pristine: Debian, tmp_path: Path) -> Iterator[Booted]:
    if missing := missing_tools("systemd-nspawn"):
        pytest.skip(f"no system can be booted: there is no {', '.join(missing)} (sh tests/setup.sh package)")
    directory = tmp_path / "booted"
    directory.mkdir()
    with with_interface() as namespace, Booted(pristine.below[-1], namespace, directory) as booted:
        yield booted


def eth0(system: Booted) -> str:
    return system.run("ip", "-details", "link", "show", "eth0")


def test_a_life(deb: Package, system: Booted, tmp_path: Path) -> None:
    said = system.bring(deb.file)
    assert re.search("error|fail|warn", said, re.IGNORECASE) is None, said
    assert system.show("vc5", "ActiveState") == "active"
    assert system.show("vc5", "UnitFileState") == "enabled"
    assert system.run("vc5", "--version") == f"vc5 {__version__}\n"
    assert system.run("systemctl", "list-units", "--failed", "--no-legend", "vc5*") == ""
    process = system.show("vc5", "MainPID")

    system.file("/etc/vc5/conf.d/shop.yaml").write_text("servers: 1\n")
    refused = system.attempt("systemctl", "reload", "vc5")
    assert refused.returncode != 0
    assert "conf.d/shop.yaml:1" in system.journal("vc5")
    assert system.show("vc5", "ActiveState") == "active"

    system.file("/etc/vc5/conf.d/shop.yaml").write_text(CONFIGURATION)
    system.run("systemctl", "reload", "vc5")
    assert FORWARDS in eth0(system)
    assert json.loads(system.run("vc5", "status", "--json"))["services"]
    assert system.show("vc5", "MainPID") == process
    wait_for("the prober", lambda: system.show("vc5-prober", "ActiveState") == "active", 20)

    said = system.bring(another(deb.file, tmp_path / "newer", f"{__version__}+1"))
    assert "runs in place of" in said
    assert system.run("vc5", "--version") == f"vc5 {__version__}+1\n"
    assert system.show("vc5", "ActiveState") == "active"
    assert (system.show("vc5", "MainPID"), system.show("vc5", "NRestarts")) == (process, "0")
    assert FORWARDS in eth0(system)

    system.apt("remove", "vc5-appliance")
    wait_for("the units to end", lambda: system.attempt("systemctl", "is-active", "vc5*").returncode != 0, 20)
    assert FORWARDS not in eth0(system)
    left = [place for place in PLACES if system.attempt("test", "-e", place).returncode == 0]
    assert left == ["/etc/vc5", "/var/lib/vc5"]

    system.file("/etc/vc5/conf.d/shop.yaml").unlink()
    system.apt("purge", "vc5-appliance")
    assert [place for place in PLACES if system.attempt("test", "-e", place).returncode == 0] == []
    assert "vc5" not in system.run("ip", "link")
    assert "vc5" not in system.run("systemctl", "list-unit-files")


@pytest.mark.appliance
def test_a_program_that_a_dead_daemon_left_goes_with_the_package(deb: Package, system: Booted) -> None:
    system.bring(deb.file)
    system.file("/etc/vc5/conf.d/shop.yaml").write_text(CONFIGURATION)
    system.run("systemctl", "reload", "vc5")
    system.run("sh", "-c", "systemctl mask --runtime vc5; systemctl kill --signal=KILL vc5")
    wait_for("the daemon to be dead", lambda: system.show("vc5", "ActiveState") == "failed", 20)
    assert FORWARDS in eth0(system)
    system.apt("remove", "vc5-appliance")
    assert FORWARDS not in eth0(system)
    assert system.attempt("test", "-e", "/sys/fs/bpf/vc5").returncode != 0


@pytest.mark.appliance
def test_a_version_that_does_not_work_leaves_the_old_one_running(deb: Package, system: Booted, tmp_path: Path) -> None:
    system.bring(deb.file)
    system.file("/etc/vc5/conf.d/shop.yaml").write_text(CONFIGURATION)
    system.run("systemctl", "reload", "vc5")
    process = system.show("vc5", "MainPID")
    broken = {"appliance/control/daemon.py": "raise RuntimeError('this version is broken')\n"}
    said = system.bring(another(deb.file, tmp_path / "broken", f"{__version__}+1", broken))
    assert "could not change over" in said
    assert system.run("dpkg-query", "--show", "--showformat=${Version} ${Status}", "vc5-appliance") == (
        f"{__version__}+1 install ok installed"
    )
    assert (system.show("vc5", "ActiveState"), system.show("vc5", "MainPID")) == ("active", process)
    assert json.loads(system.run("vc5", "status", "--json"))["services"]
    assert FORWARDS in eth0(system)
    system.bring(deb.file, "--allow-downgrades")
    assert (system.show("vc5", "ActiveState"), system.show("vc5", "MainPID")) == ("active", process)


NEIGHBOUR = "10.1.1.9"
ROUTED = f"""
router_id: 10.1.1.1
learn: 0
hold_down: 0
bgp:
  as_number: 65001
  groups:
    - {{name: router, peers: [{NEIGHBOUR}], remote_as: 65000, on_vip_down: demote, bfd: yes}}
{CONFIGURATION}"""


@pytest.mark.appliance
def test_an_upgrade_that_no_router_notices(deb: Package, system: Booted, tmp_path: Path) -> None:
    if missing := missing_daemons([Bird]):
        pytest.skip(missing)
    outside, vip = Namespace(f"vc5deb-{os.getpid()}-router"), "203.0.113.10/32"
    run("ip", "netns", "add", outside.name)
    try:
        run("ip", "-netns", f"vc5deb-{os.getpid()}", "link", "set", "far", "netns", outside.name)
        lines = [f"address add {NEIGHBOUR}/24 dev far", "link set far up", "link set lo up"]
        outside.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        setup = Setup(65000, NEIGHBOUR, (Neighbour("10.1.1.1", 65001, bfd=0.3, passive=True),))
        with Bird(outside, tmp_path / "bird", setup) as bird:
            system.bring(deb.file)
            system.file("/etc/vc5/conf.d/shop.yaml").write_text(ROUTED)
            system.run("systemctl", "reload", "vc5")
            bird.wait_established(seconds=30)
            bird.wait_route(vip)
            bird.wait("BFD", lambda: bird.bfd("10.1.1.1") == "up")
            before = (bird.neighbour("10.1.1.1"), bird.changes(vip))
            said = system.bring(another(deb.file, tmp_path / "newer", f"{__version__}+1"))
            assert "runs in place of" in said
            assert system.run("vc5", "--version") == f"vc5 {__version__}+1\n"
            assert (bird.neighbour("10.1.1.1"), bird.changes(vip)) == before
            assert "BFD session down" not in bird.log
            system.apt("remove", "vc5-appliance")
            bird.wait_no_route(vip)
            assert "the load balancer was stopped" in bird.log
    finally:
        run("ip", "netns", "del", outside.name)
