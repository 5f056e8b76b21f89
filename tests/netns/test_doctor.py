"""Faults of backends, made for real in both families: `vc5 doctor` names each, and what it says to do mends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.lab.backend import Server
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.netns.doctor_scene import PATIENCE, configuration, no_rules, only, restart, rules, told, wait_health
from tests.netns.scenario_site import UNTAGGED, VIPS

pytestmark = [pytest.mark.root, pytest.mark.slow]

SICK = "b2"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(UNTAGGED, 2) as standing:
        yield standing


@pytest.fixture(scope="module")
def daemon(site: Site) -> Iterator[Daemon]:
    with Daemon(site.balancer, site.root(), configuration(site)) as running:
        for name in site.backends:
            wait_health(running, site, name, "up")
        yield running
        assert "Traceback" not in running.errors


Doing = Callable[[Site], None]


def reject_with_reset(site: Site) -> None:
    rules(site.backends[SICK].namespace, "tcp dport 80 reject with tcp reset")


def reject_with_icmp(site: Site) -> None:
    rules(site.backends[SICK].namespace, "tcp dport 80 reject with icmpx admin-prohibited")


def drop(site: Site) -> None:
    rules(site.backends[SICK].namespace, "tcp dport 80 drop")


def drop_everything(site: Site) -> None:
    """But neighbour discovery."""
    neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    rules(site.backends[SICK].namespace, neighbours, "drop")


def rewrite(site: Site) -> None:
    """Have answers leave from the backend's own address."""
    each = [
        f"{family} saddr {VIPS[version]} tcp sport 80 {family} saddr set {site.address(SICK, version)}"
        for version, family in ((4, "ip"), (6, "ip6"))
    ]
    rules(site.backends[SICK].namespace, *each, hook="output", priority=-300)


def allow(site: Site) -> None:
    no_rules(site.backends[SICK].namespace)


def silence(site: Site) -> None:
    site.backends[SICK].kill_servers(Server.NGINX)


def speak(site: Site) -> None:
    restart(site, SICK)


# What is done, what is undone -> words of the finding in either family, words of what mends it.
FAULTS: dict[str, tuple[Doing, Doing, str, str]] = {
    "nobody listens": (silence, speak, "RST from the VIP: port 80 is refused", "nothing shown: start the service"),
    "rejected with RST": (reject_with_reset, allow, "RST from the VIP: port 80 is refused", "grep reject"),
    "rejected with ICMP": (reject_with_icmp, allow, "the VIP is answered with ICMP: ", "accept tcp port 80"),
    "dropped": (drop, allow, "port 80 of the VIP is silent", "grep drop"),
    "everything dropped": (drop_everything, allow, "it answers nothing at all", "ping -c 1"),
    "wrong source": (rewrite, allow, "reply with wrong source: ", "masquerade"),
}


@pytest.mark.parametrize(("do", "undo", "what", "remedy"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named(site: Site, daemon: Daemon, do: Doing, undo: Doing, what: str, remedy: str) -> None:
    do(site)
    try:
        wait_health(daemon, site, SICK, "dead")
        for version, one in only(daemon, site, SICK).items():
            assert what in one["what"], version
            assert remedy in one["remedy"], version
    finally:
        undo(site)
    wait_health(daemon, site, SICK, "up")
    assert told(daemon, "--all") == {}


def test_who_answers_in_place_of_the_vip_is_named(site: Site, daemon: Daemon) -> None:
    rewrite(site)
    try:
        wait_health(daemon, site, SICK, "dead")
        # More than once: what an examination has begun is half open there, for its reset goes astray, too.
        for _ in range(3):
            for version, one in only(daemon, site, SICK).items():
                own = site.address(SICK, version)
                assert one["what"] == f"reply with wrong source: {own} answers in place of {VIPS[version]}"
    finally:
        allow(site)
    wait_health(daemon, site, SICK, "up")


def test_a_vip_that_is_not_on_the_loopback_is_put_there_by_the_command_that_is_told(site: Site, daemon: Daemon) -> None:
    host = site.backends[SICK].namespace
    for version, vip in VIPS.items():
        host.run("ip", "address", "delete", f"{vip}/{32 if version == 4 else 128}", "dev", "lo")
    wait_health(daemon, site, SICK, "dead")
    found = only(daemon, site, SICK)
    for version, one in found.items():
        assert one["what"] == f"VIP missing on its loopback: nothing answers for {VIPS[version]}"
        where, _, command = one["remedy"].partition(": ")
        assert where == f"on {site.address(SICK, version)}"
        host.run("sh", "-c", command.partition(" (")[0])
    wait_health(daemon, site, SICK, "up")


def test_a_service_that_is_bound_to_the_own_address(site: Site, daemon: Daemon) -> None:
    silence(site)
    text = "import socket, sys, time\nlisteners = [socket.create_server((h, 80), family=f) for h, f in "
    text += "((sys.argv[1], socket.AF_INET), (sys.argv[2], socket.AF_INET6))]\nprint(flush=True)\ntime.sleep(600)"
    own = [str(site.address(SICK, version)) for version in VIPS]
    server = site.backends[SICK].namespace.spawn("/usr/bin/python3", "-c", text, *own, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "\n"
        wait_health(daemon, site, SICK, "dead")
        for version, one in only(daemon, site, SICK).items():
            host = f"[{VIPS[version]}]" if version == 6 else str(VIPS[version])
            assert "RST from the VIP" in one["what"]
            assert f"have it listen on {host}:80 or on all addresses" in one["remedy"]
    finally:
        server.kill()
        server.communicate()
        speak(site)
    wait_health(daemon, site, SICK, "up")


def test_a_service_that_is_unwell(site: Site, daemon: Daemon) -> None:
    site.backends[SICK].set_alive(False)
    try:
        wait_health(daemon, site, SICK, "wrong")
        for one in only(daemon, site, SICK).values():
            assert one["what"] == "it answers, and its check fails: http 80: HTTP 503, expected 200"
    finally:
        site.backends[SICK].set_alive(True)
    wait_health(daemon, site, SICK, "up")


def test_a_way_that_swallows_long_packets(site: Site, daemon: Daemon) -> None:
    """Checks pass, and transfers hang: only a look at every backend finds it."""
    cable = ("ip", "link", "set", "eth0", "mtu")
    site.backends[SICK].namespace.run(*cable, "1400")
    try:
        assert told(daemon) == {}
        for version, one in only(daemon, site, SICK, "--all").items():
            assert one["what"] == "path MTU too small: 1500 bytes do not arrive, 1400 do"
            assert f"advmss {1360 if version == 4 else 1340}" in one["remedy"]
    finally:
        site.backends[SICK].namespace.run(*cable, "1500")
    assert told(daemon, "--all") == {}


def test_a_neighbour_that_does_not_resolve(site: Site, daemon: Daemon) -> None:
    host = site.backends[SICK].namespace
    host.run("ip", "link", "set", "eth0", "down")
    try:
        for version in VIPS:
            site.balancer.run("ip", "neighbour", "flush", "to", str(site.address(SICK, version)))
        wait_for("no MAC address of b2", lambda: _unresolved(daemon, site), PATIENCE)
        for version, one in only(daemon, site, SICK).items():
            own = site.address(SICK, version)
            assert one["what"] == f"neighbour unresolved: nobody answers for {own} on eth0"
            assert f"ip neighbour show {own}" in one["remedy"]
    finally:
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "address", "replace", f"{site.address(SICK, 6)}/64", "dev", "eth0", "nodad")
    wait_health(daemon, site, SICK, "up")


def _unresolved(daemon: Daemon, site: Site) -> bool:
    own = {str(site.address(SICK, version)) for version in VIPS}
    rows = [row for service in daemon.status()["services"] for row in service["backends"] if row["address"] in own]
    return all(any(one["reason"] == "unresolved" for one in row["troubles"]) for row in rows)


def test_what_people_read(site: Site, daemon: Daemon) -> None:
    drop(site)
    try:
        wait_health(daemon, site, SICK, "dead")
        done = daemon.vc5("doctor", str(daemon.configuration_file))
    finally:
        allow(site)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.isupper()] == ["HOST", "INTERFACES", "BACKENDS"]
    problems = [line for line in lines if " problem " in line]
    assert all(str(site.address(SICK, version)) in line for line, version in zip(problems, VIPS, strict=True))
    assert lines[-1] == "2 problems, 1 warning"
    wait_health(daemon, site, SICK, "up")
    assert "all are up, as far as their checks tell" in daemon.vc5("doctor", str(daemon.configuration_file)).stdout


def test_without_rights(site: Site, daemon: Daemon) -> None:
    """Who may not ask the daemon is told so, and learns of the host what everybody may."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    command = ("/usr/bin/python3", "-m", "appliance", "--root", str(daemon.root), "doctor")
    done = subprocess.run(
        site.balancer.command(*nobody, *command, str(daemon.configuration_file)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "backends were not examined" in done.stdout or "ermission denied" in done.stdout + done.stderr
