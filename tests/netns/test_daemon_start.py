"""Starting the daemon: what refuses it, in which words, and that nothing is left behind; and starts that go well."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.addresses import SECOND_VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.xdp_pass import XdpPass
from tests.netns.scenario_operator import (
    UNPRIVILEGED,
    assert_refused,
    configuration,
    fetch,
    links,
    prepared,
    second_interface,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]

REPOSITORY_CONFIGURATION = Path(__file__).resolve().parents[2] / "etc/vc5/config.yaml"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def _bare(lab: Lab, name: str) -> str:
    """Return the name of a device whose driver has no XDP, made if need be."""
    if name not in dict(links(lab.balancer)):
        lab.balancer.run("ip", "link", "add", name, "type", "bridge")
        lab.balancer.run("ip", "link", "set", name, "up")
    return name


def _unchanged(daemon: Daemon) -> None:
    return None


def _no_file(daemon: Daemon) -> None:
    daemon.configuration_file.unlink()


def _content(name: str, content: bytes) -> Callable[[Daemon], None]:
    def write(daemon: Daemon) -> None:
        (daemon.root / name).parent.mkdir(parents=True, exist_ok=True)
        (daemon.root / name).write_bytes(content)

    return write


def _file_in_place_of(name: str) -> Callable[[Daemon], None]:
    return _content(name, b"in the way\n")


def _directory_in_place_of(name: str) -> Callable[[Daemon], None]:
    return lambda daemon: (daemon.root / name).mkdir(parents=True)


def _mounts(script: str) -> tuple[str, ...]:
    """Run in a mount namespace of its own, after a script; the working directory is the daemon's root."""
    return ("unshare", "--mount", "sh", "-c", f'{script}; exec "$@"', "sh")


@dataclass(frozen=True)
class Refusal:
    """A start that fails: what is wrong, the exit status, and words that the message must have."""

    says: tuple[str, ...]
    status: int = 1
    text: str = configuration()
    before: Callable[[Daemon], None] = _unchanged
    wrapper: tuple[str, ...] = ()


MISTAKES = """\
interfaces: [eth0]
xdp: fast
services:
  - virtual: 300.1.1.1
    servers: [10.1.10.11 weight=300]
    policy: {80/tcp: {interval: 1x}}
"""
CAPABILITIES = "give the service these capabilities"
SEED = ("state/hash_seed", "does not hold 32 hexadecimal digits", "restore it, or remove it")
READ_ONLY = "mkdir -p state; mount --bind state state; mount -o remount,bind,ro state"

REFUSALS = {
    "no configuration file": Refusal(("lab.yaml: does not exist (name a configuration file)",), 78, before=_no_file),
    "many mistakes": Refusal(
        (
            "lab.yaml:2:6: xdp: must be native, generic or auto, not 'fast'",
            "lab.yaml:4:14: services[0].virtual: must be an IPv4 or IPv6 address, not '300.1.1.1' (",
            "lab.yaml:5:15: services[0].servers[0]: weight must be a whole number from 0 to 100",
            "lab.yaml:6:33: services[0].policy.80/tcp.interval: must be a time from 100ms to 1h, not '1x' (",
        ),
        78,
        MISTAKES,
    ),
    "a configuration of random bytes": Refusal(("lab.yaml",), 78, before=_content("lab.yaml", b"\xff\0\x80")),
    "missing interfaces": Refusal(
        ("interface eth7, eth8 does not exist", "correct `interfaces`, or create it"),
        text=configuration("[eth7, eth8]"),
    ),
    "no capabilities": Refusal(
        ("lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF", "run vc5 as root", CAPABILITIES),
        wrapper=("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
    ),
    "nobody": Refusal(("lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF", CAPABILITIES), wrapper=UNPRIVILEGED),
    "no CAP_NET_ADMIN": Refusal(
        ("lacks CAP_NET_ADMIN;", CAPABILITIES), wrapper=("setpriv", "--bounding-set=-net_admin")
    ),
    "no CAP_BPF": Refusal(("lacks CAP_BPF;", CAPABILITIES), wrapper=("setpriv", "--bounding-set=-bpf,-sys_admin")),
    "no CAP_SYS_ADMIN for the namespace": Refusal(
        ("needs CAP_SYS_ADMIN; run it as root",), wrapper=("setpriv", "--bounding-set=-sys_admin")
    ),
    "no bpffs": Refusal(
        ("/sys/fs/bpf is no BPF file system", "mount -t bpf bpf /sys/fs/bpf"),
        wrapper=_mounts("umount --lazy /sys/fs/bpf"),
    ),
    "a read-only state directory": Refusal(
        ("/state", "Read-only file system", "must be writable"), wrapper=_mounts(READ_ONLY)
    ),
    "a file in place of the state directory": Refusal(
        ("/state: cannot be made: File exists", "give --root DIR"), before=_file_in_place_of("state")
    ),
    "a file in place of the run directory": Refusal(
        ("/run: cannot be made: File exists", "give --root DIR"), before=_file_in_place_of("run")
    ),
    "a directory in place of the lock": Refusal(
        ("/run/lock: ", "Is a directory"), before=_directory_in_place_of("run/lock")
    ),
    "a directory in place of the control socket": Refusal(
        ("/run/control.sock: is in the way of the control socket", "move it away"),
        before=_directory_in_place_of("run/control.sock"),
    ),
    "a seed of random bytes": Refusal(SEED, before=_content("state/hash_seed", b"\xff\0garbage")),
    "half a seed": Refusal(SEED, before=_content("state/hash_seed", b"0123456789abcdef\n")),
    "an empty seed": Refusal(SEED, before=_content("state/hash_seed", b"")),
    "a directory in place of the seed": Refusal(
        ("state/hash_seed: cannot be read: Is a directory",), before=_directory_in_place_of("state/hash_seed")
    ),
    "a driver without XDP": Refusal(
        ("native XDP on bare", "Operation not supported", "`xdp: generic` or `auto`"),
        text=configuration("[eth0, bare]"),
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_start_is_refused(lab: Lab, refusal: Refusal, request: pytest.FixtureRequest) -> None:
    _bare(lab, "bare")
    before = links(lab.balancer)
    with prepared(lab, f"refused-{hash(request.node.name)}", refusal.text, refusal.wrapper) as daemon:
        refusal.before(daemon)
        done = daemon.vc5("run", "--config", str(daemon.configuration_file))
        assert_refused(done, refusal.status, *refusal.says)
        assert daemon.leftovers() == []
        assert not daemon.places.control_socket.is_socket()
    assert links(lab.balancer) == before


def test_a_foreign_program_is_named_and_left_alone(lab: Lab) -> None:
    lab.balancer.run("ip", "link", "add", "taken", "type", "veth", "peer", "name", "far")
    program = XdpPass(lab.balancer, "taken")
    before = links(lab.balancer)
    with prepared(lab, "foreign", configuration("[eth0, taken]")) as daemon:
        done = daemon.vc5("run", "--config", str(daemon.configuration_file))
        assert_refused(done, 1, "taken", "(lab_pass) of another owner", "xdp off", "out of `interfaces`")
        assert daemon.leftovers() == []
    assert links(lab.balancer) == before
    assert dict(before)["taken"] != 0
    program.close()
    lab.balancer.run("ip", "link", "delete", "taken")


def test_one_instance_for_each_root_and_two_roots_side_by_side(lab: Lab) -> None:
    frames = second_interface(lab, SECOND_VIP)
    first_text, second_text = configuration(), configuration("eth1", vip=SECOND_VIP)
    with Daemon(lab.balancer, lab.root("first"), first_text) as first:
        before = links(lab.balancer)
        with prepared(lab, "twin", first_text) as twin:
            done = twin.vc5("--root", str(first.root), "run", "--config", str(twin.configuration_file))
            assert_refused(
                done, 1, "/run/lock:", f"process {first.pid} already runs vc5", "stop it first", "--root DIR"
            )
        with prepared(lab, "rival", first_text) as rival:
            done = rival.vc5("run", "--config", str(rival.configuration_file))
            assert_refused(done, 1, "eth0", "(vc5_main) of another owner")
            assert rival.leftovers() == []
        assert links(lab.balancer) == before
        with Daemon(lab.balancer, lab.root("second"), second_text) as second:
            wait_states(first, b11="available", b12="available")
            wait_states(second, f"{SECOND_VIP}:80/tcp", b11="available", b12="available")
            assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
            assert {fetch(lab, SECOND_VIP) for _ in range(12)} == {"b1", "b2"}
            assert second.stop() == 0
            assert second.leftovers() == []
        assert fetch(lab)
        assert links(lab.balancer) == before
        assert first.stop() == 0
        assert first.leftovers() == []
    frames.close()


def test_auto_takes_what_the_driver_has_and_says_so(lab: Lab) -> None:
    name = _bare(lab, "bare")
    with Daemon(lab.balancer, lab.root("auto"), configuration(f"[eth0, {name}]", "auto")) as daemon:
        found = {row["name"]: row["attach"] for row in daemon.status()["interfaces"]}
        assert found == {"eth0": "native", name: "generic"}
        assert "generic" in daemon.vc5("status").stdout
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_the_configuration_of_the_package_starts_and_forwards_nothing(lab: Lab) -> None:
    before = links(lab.balancer)
    with Daemon(lab.balancer, lab.root("empty"), REPOSITORY_CONFIGURATION.read_text()) as daemon:
        status = daemon.status()
        assert (status["services"], status["vips"], status["interfaces"]) == ([], [], [])
        assert [link for link in links(lab.balancer) if link[0] == "eth0"] == [("eth0", 0)]
        assert daemon.reload(configuration()).returncode == 0
        wait_states(daemon, b11="available", b12="available")
        assert fetch(lab)
        assert daemon.reload(REPOSITORY_CONFIGURATION.read_text()).returncode == 0
        assert dict(links(lab.balancer))["eth0"] == 0
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
    assert links(lab.balancer) == before


DIALECT = """\
defcon: 5
webroot: /srv
address: 10.1.10.5
learn: 1
listen: yes
webserver: 127.0.0.1:9090
multicast: 224.0.0.1:9999
prefixes: {site: [203.0.113.0/24]}
bgp: {as_number: 65001, peers: [10.1.10.252, '2001:db8::1'], accept: [site], reject: any, password: hush}
logging: {alert: 4, slack: 'https://hooks.example.com/hush', syslog: yes}
"""


def test_what_is_not_acted_on_yet_is_no_obstacle(lab: Lab) -> None:
    with Daemon(lab.balancer, lab.root("dialect"), configuration(top=DIALECT)) as daemon:
        wait_states(daemon, b11="available", b12="available")
        assert fetch(lab)
        status = daemon.vc5("status", "--json").stdout
        assert "'defcon' is accepted, but has no effect any more" in status
        assert "hush" not in status + daemon.errors
        answer = daemon.reload(configuration(top=DIALECT.replace("defcon: 5", "persist: 5")))
        assert answer.returncode == 78
        assert daemon.reload(configuration(top=DIALECT.replace("65001", "65002"))).returncode == 0
        assert fetch(lab)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


STATES = {
    "random bytes": b"\xff\xfe{",
    "empty": b"",
    "cut off": b'{"drains":[["203.0.113.10:80/tcp","10.1',
    "a list": b"[1,2,3]",
    "nested without end": b"[" * 100_000,
    "wrong kinds everywhere": b'{"drains":[7,["x"],["a","b","c"]],"leaving":[{}],"health":{"version":1,"services":7}}',
}


@pytest.mark.parametrize("content", STATES.values(), ids=STATES)
def test_a_damaged_state_file_is_an_alarm_and_no_obstacle(
    lab: Lab, content: bytes, request: pytest.FixtureRequest
) -> None:
    with prepared(lab, f"damaged-{hash(request.node.name)}", configuration()) as daemon:
        _content("state/state.json", content)(daemon)
        daemon.start()
        assert "state.json: " in daemon.errors
        assert "Traceback" not in daemon.errors
        wait_states(daemon, b11="available", b12="available")
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        daemon.start()
        assert daemon.errors.count("state.json: ") == 1, "the second start found a good file"
        assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_ended_while_compiling(lab: Lab, number: signal.Signals) -> None:
    before = links(lab.balancer)
    with prepared(lab, f"early-{number}", configuration(), compiles=True) as daemon:
        starting = _start(daemon)
        daemon.signal(number)
        starting.join()
        assert daemon.exit_status == 0, daemon.errors
        assert "Traceback" not in daemon.errors
        assert daemon.leftovers() == []
    assert links(lab.balancer) == before


def test_a_reload_asked_for_while_compiling_comes_afterwards(lab: Lab) -> None:
    with prepared(lab, "early-reload", configuration(servers="10.1.10.11"), compiles=True) as daemon:
        starting = _start(daemon)
        daemon.configuration_file.write_text(configuration())
        daemon.signal(signal.SIGHUP)
        starting.join()
        wait_for("both backends", lambda: states(daemon) == {"11": "available", "12": "available"})
        assert daemon.stop() == 0


def _start(daemon: Daemon) -> threading.Thread:
    """Start a daemon whose end before it is ready is no mistake; return when it compiles."""

    def start() -> None:
        try:
            daemon.start()
        except LabError:
            assert not daemon.running

    thread = threading.Thread(target=start)
    began = time.monotonic()
    thread.start()
    wait_for("the compiler", lambda: any(n.value.startswith("compiling") for n in tuple(daemon.notifications)), 20)
    assert time.monotonic() - began < 20
    return thread
