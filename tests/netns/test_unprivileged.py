"""The daemon without root: a user with the capabilities of its unit, and the prober as a user of its own."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.apart import CAPABILITIES, PROBER, USER, Apart, as_user
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.netns.scenario_operator import (
    assert_refused,
    configuration,
    events,
    fetch,
    links,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]

NUMBERS = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13, "perfmon": 38, "bpf": 39}
BOTH = {"11": "available", "12": "available"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@contextmanager
def serving(lab: Lab, name: str, text: str = configuration()) -> Iterator[Apart]:
    """Yield a daemon that works, with both backends available."""
    with Apart(lab, name, text) as apart:
        wait_states(apart.daemon, b11="available", b12="available")
        yield apart
        assert "Traceback" not in apart.daemon.errors


def held(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def mask(*names: str) -> int:
    return sum(1 << NUMBERS[name] for name in names)


def alarms(daemon: Daemon, since: float, words: str) -> list[str]:
    return [event["message"] for event in events(daemon, "alarm", since) if words in event["message"]]


def frozen(apart: Apart) -> bool:
    return bool(apart.daemon.status()["prober"]["frozen"])


def test_it_serves_with_four_capabilities_and_leaves_nothing(lab: Lab) -> None:
    before = links(lab.balancer)
    with serving(lab, "serves") as apart:
        daemon = apart.daemon
        with pytest.raises(LabError, match=f"process {daemon.pid} already runs vc5 with this root; stop it first"):
            apart.ground("down")
        found = held(daemon.pid)
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(found[name], 16) == mask(*CAPABILITIES), name
        assert "0" not in found["Uid"].split()
        assert apart.unit is not None
        assert int(held(apart.unit.pid)["CapEff"], 16) == mask("net_raw")
        assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
        assert daemon.reload(configuration(servers="10.1.10.11, 10.1.10.12 weight=0")).returncode == 0
        wait_states(daemon, b11="available", b12="draining")
        # Another program: compiled, verified and put in the place of the running one.
        done = daemon.reload(configuration(service="sticky: yes", top="udp_grace: 3s"))
        assert done.returncode == 0, done.stderr
        refused = daemon.reload("services: 7\n")
        assert_refused(refused, 78, "lab.yaml:1:11: services: must be a list")
        wait_states(daemon, b11="available", b12="available")
        assert daemon.vc5("explain", "--flow", "tcp 198.51.100.10:4242 203.0.113.10:80").returncode == 0
        assert daemon.vc5("reattach", "eth0").returncode == 0
        assert daemon.stop() == 0
        assert links(lab.balancer) == sorted([*before, (apart.places.veth, 0)])
        assert list(apart.places.pins.iterdir()) == []
        apart.unit.close()
        apart.ground("down")
        assert daemon.leftovers() == []
    assert links(lab.balancer) == before


KINDS = {
    "nat": configuration(service="forward: nat\nclamp_mss: 1200"),
    "a tunnel": configuration(service="tunnel-type: ipip"),
    "all flows remembered": configuration(service="tracking: all"),
}


@pytest.mark.appliance
def test_every_kind_of_program_is_taken(lab: Lab) -> None:
    """What needs other maps and other helpers needs no other rights; frames of several buffers neither."""
    with serving(lab, "kinds") as apart:
        daemon = apart.daemon
        for what, text in KINDS.items():
            done = daemon.reload(text)
            assert done.returncode == 0, (what, done.stderr)
        done = daemon.vc5("block", "add", "198.51.100.200/32")
        assert done.returncode == 0, done.stderr
        assert daemon.reload(configuration()).returncode == 0
        lab.balancer.run("ip", "link", "set", "eth0", "mtu", "9000")
        try:
            wait_for("it", lambda: "the program was made anew, for an MTU of 9000" in daemon.errors, 30)
        finally:
            lab.balancer.run("ip", "link", "set", "eth0", "mtu", "1500")
        wait_states(daemon, b11="available", b12="available")
        assert fetch(lab)
        assert daemon.stop() == 0


def test_a_killed_daemon_is_followed_by_one_that_goes_on(lab: Lab) -> None:
    with serving(lab, "killed") as apart:
        daemon = apart.daemon
        with Requests(lab.client, rate=100) as requests:
            daemon.kill9()
            apart.ground("up", "--user", USER)  # as often as systemd likes
            daemon.start()
            assert states(daemon) == BOTH
            wait_for("the prober", lambda: daemon.status()["prober"]["alive"] and not frozen(apart))
            assert [request.failure for request in requests.stop().failed] == []
        assert "went on with the running program" in daemon.errors
        daemon.kill9()
        assert "stays, since a daemon that did not end by itself" in apart.ground("down")
        assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
        apart.start()
        wait_states(daemon, b11="available", b12="available")
        wait_for("the prober", lambda: not frozen(apart))
        assert daemon.stop() == 0


def test_a_killed_prober_freezes_health_until_its_unit_brings_the_next(lab: Lab) -> None:
    with serving(lab, "prober") as apart:
        daemon = apart.daemon
        assert apart.unit is not None
        first = apart.unit.pid
        since = time.time()
        apart.unit.signal(signal.SIGKILL)
        wait_for("the next prober", lambda: apart.unit is not None and apart.unit.pid != first)
        wait_for("health to be live", lambda: daemon.status()["prober"]["restarts"] == 1 and not frozen(apart))
        wait_for("the alarm", lambda: alarms(daemon, since, f"frozen, all verdicts stand: prober {first}: the socket"))
        assert states(daemon) == BOTH
        lab.backends["b2"].kill_servers()
        try:
            wait_states(daemon, b11="available", b12="dead")
        finally:
            lab.backends["b2"].start_servers(lab.content)
            lab.backends["b2"].wait_ready()
        wait_states(daemon, b11="available", b12="available")
        assert daemon.stop() == 0


def test_a_silent_prober_is_hung_up_on(lab: Lab) -> None:
    with serving(lab, "silent") as apart:
        assert apart.unit is not None
        first = apart.unit.pid
        apart.unit.signal(signal.SIGSTOP)
        wait_for("health to be frozen", lambda: frozen(apart), 10)
        assert "it has been silent for 5 s" in apart.daemon.status()["prober"]["reason"]
        assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
        wait_for("a note", lambda: "no prober has come" in apart.daemon.errors, 10)
        apart.unit.signal(signal.SIGCONT)  # it finds the socket closed, and ends
        wait_for("the next prober", lambda: not frozen(apart), 10)
        assert (apart.unit.statuses, apart.unit.pid != first) == ([0], True)
        assert apart.daemon.stop() == 0


def test_only_the_prober_gets_in(lab: Lab) -> None:
    """Neither may others connect, nor is what they say believed where they are root and may."""
    talk = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);"
        "s.sendall(b'[1]\\n'); print(s.recv(1))"
    )
    with serving(lab, "others") as apart:
        path = apart.places.prober_socket
        entry = path.stat()
        assert (oct(entry.st_mode & 0o777), entry.st_gid) == ("0o660", pwd.getpwnam(PROBER).pw_gid)
        other = subprocess.run(
            [*as_user("games", ()), "/usr/bin/python3", "-c", talk, str(path)], capture_output=True, text=True, cwd="/"
        )
        assert "PermissionError" in other.stderr
        assert apart.unit is not None
        apart.unit.signal(signal.SIGSTOP)  # so that the daemon looks at who else has come
        done = subprocess.Popen(["/usr/bin/python3", "-c", talk, str(path)], stdout=subprocess.PIPE, text=True, cwd="/")
        wait_for("a note", lambda: f"hung up on uid 0 (pid {done.pid}): only user {PROBER}" in apart.daemon.errors, 12)
        assert done.communicate()[0] in ("b''\n", "")
        apart.unit.signal(signal.SIGCONT)
        wait_for("the next prober", lambda: not frozen(apart), 10)
        assert apart.daemon.stop() == 0


def test_it_waits_for_interfaces_that_come_later(lab: Lab) -> None:
    """Neither interface is there: it is ready, says what it waits for, and serves when they come, without a restart."""
    text = configuration()
    lab.balancer.run("ip", "link", "set", "eth0", "down")
    lab.balancer.run("ip", "link", "set", "eth0", "name", "later")
    try:
        with Apart(lab, "later", text) as apart:
            daemon = apart.daemon
            said = [n.value for n in daemon.notifications if n.name == "STATUS"]
            assert said[-1].startswith("0 of 1 services up; waiting for interface eth0 (does not exist)"), said
            assert daemon.status()["waiting_for"] == ["interface eth0 (does not exist)"]
            assert "waiting for interface eth0 (does not exist)" in daemon.vc5("status").stdout
            pid = daemon.pid
            lab.balancer.run("ip", "link", "set", "later", "name", "eth0")
            wait_for("word of it", lambda: daemon.status()["waiting_for"][:1] == ["interface eth0 (down)"])
            lab.balancer.run("ip", "link", "set", "eth0", "up")
            began = time.monotonic()
            wait_states(daemon, b11="available", b12="available")
            assert fetch(lab)
            assert time.monotonic() - began < 10
            assert (daemon.pid, daemon.running) == (pid, True)
            wait_for("word of it", lambda: [n.value for n in daemon.notifications][-1] == "1 of 1 services up")
            assert daemon.stop() == 0
    finally:
        if "later" in dict(links(lab.balancer)):
            lab.balancer.run("ip", "link", "set", "later", "name", "eth0")
        lab.balancer.run("ip", "link", "set", "eth0", "up")


@pytest.mark.parametrize(
    ("ground", "capabilities", "says"),
    [
        (False, CAPABILITIES, ("interface vc5-", "is missing; start vc5-netns.service")),
        (True, ("bpf", "perfmon"), ("lacks CAP_NET_ADMIN;", "AmbientCapabilities=", "in vc5.service")),
        (True, ("bpf", "net_admin"), ("lacks CAP_PERFMON;", "AmbientCapabilities=")),
        (True, ("perfmon", "net_admin"), ("lacks CAP_BPF;", "AmbientCapabilities=")),
    ],
    ids=["no netns up", "no CAP_NET_ADMIN", "no CAP_PERFMON", "no CAP_BPF"],
)
def test_what_is_missing_is_named(
    lab: Lab, ground: bool, capabilities: tuple[str, ...], says: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    apart = Apart(lab, f"lacks-{hash(request.node.name)}", configuration())
    try:
        if ground:
            apart.ground("up", "--user", USER)
        done = subprocess.run(
            lab.balancer.command(
                *as_user(USER, capabilities, [pwd.getpwnam(PROBER).pw_gid]),
                *("/usr/bin/python3", "-m", "appliance", "--root", str(apart.root), "run"),
                *("--config", str(apart.daemon.configuration_file), "--prober-user", PROBER),
            ),
            capture_output=True,
            text=True,
            cwd="/",
            env={"PYTHONPATH": str(apart.code), "PATH": os.defpath},
        )
        assert_refused(done, 1, *says)
    finally:
        apart.close()
        apart.ground("down")


LISTENS = "listen: yes\nrouter_id: 10.1.10.5\nbgp: {as_number: 65001, peers: [10.1.10.1]}"
REFUSED = (
    "port 179: Permission denied; this process lacks CAP_NET_BIND_SERVICE; run vc5 as root, or give the service this "
    "capability (AmbientCapabilities= and CapabilityBoundingSet= in vc5.service), or remove `listen`"
)


@pytest.mark.parametrize("less", [(), ("net_bind_service",)], ids=["all", "no CAP_NET_BIND_SERVICE"])
def test_without_its_capability_nobody_can_connect_and_all_else_works(lab: Lab, less: tuple[str, ...]) -> None:
    capabilities = [name for name in CAPABILITIES if name not in less]
    with Apart(lab, f"listens-{len(less)}", configuration(top=LISTENS), capabilities=capabilities) as apart:
        wait_states(apart.daemon, b11="available", b12="available")
        assert apart.daemon.ask("bgp")["listening"] is not bool(less)
        assert alarms(apart.daemon, 0, "port 179") == [f"bgp: {REFUSED}"] * len(less)
        listening = lab.balancer.run("ss", "-tln")
        assert (":179 " in listening) is not bool(less)
        assert apart.daemon.stop() == 0


def test_a_daemon_goes_on_with_ground_that_was_repaired(lab: Lab) -> None:
    """Somebody deletes the veth: health does not follow from that, once it is there again."""
    with serving(lab, "renewed") as apart:
        daemon = apart.daemon
        lab.balancer.run("ip", "link", "delete", apart.places.veth)
        wait_for("checks to fail", lambda: frozen(apart) or states(daemon) != BOTH)
        apart.ground("up", "--user", USER)
        wait_states(daemon, b11="available", b12="available")
        wait_for("health to be live", lambda: not frozen(apart))
        wait_for("word of it", lambda: "the way to the prober was made anew" in daemon.errors)
        assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
        assert daemon.stop() == 0


def test_the_ground_is_repaired(lab: Lab) -> None:
    apart = Apart(lab, "repaired", configuration())
    try:
        apart.ground("up", "--user", USER)
        apart.inside().run("ip", "link", "delete", apart.places.veth_peer)
        apart.places.pins.rmdir()
        assert "are ready" in apart.ground("up", "--user", USER)
        found = dict(links(apart.inside()))
        assert found[apart.places.veth_peer] != 0, "frames redirected into the namespace need a program there"
        assert apart.places.pins.owner() == USER
        assert apart.ground("up", "--user", USER)
        assert dict(links(apart.inside())) == found
        apart.ground("down")
        assert apart.daemon.leftovers() == []
        assert "are gone" in apart.ground("down")
    finally:
        apart.close()


def test_a_user_that_does_not_exist_is_named(lab: Lab) -> None:
    apart = Apart(lab, "no-user", configuration())
    try:
        done = apart.daemon.vc5(
            "run", "--config", str(apart.daemon.configuration_file), "--prober-user", "vc5-lab-nobody"
        )
        assert_refused(done, 1, "there is no user 'vc5-lab-nobody' on this host", "systemd-sysusers")
    finally:
        apart.close()
