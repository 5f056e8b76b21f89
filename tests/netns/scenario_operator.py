"""What an operator meets: commands that are refused, and what must not be left behind by them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

from appliance.telemetry import spool_reader
from tests.lab.addresses import VIP
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.xdp_pass import XdpPass

SERVICE = f"{VIP}:80/tcp"
ECHO_SERVICE = f"{VIP}:7000/tcp"
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def configuration(
    interfaces: str = "eth0",
    xdp: str = "native",
    *,
    vip: IPv4Address = VIP,
    servers: str = "10.1.10.11, 10.1.10.12",
    service: str = "",
    top: str = "",
    port: str = "80/tcp",
    check: str = "{type: http, port: 80, path: /alive}",
) -> str:
    """Return a file with one service whose checks are quick; `service` and `top` are lines of YAML to add."""
    lines = [
        f"interfaces: {interfaces}",
        f"xdp: {xdp}",
        "interval: 100ms",
        "timeout: 2s",
        "rise: 1",
        "fall: 2",
        *top.splitlines(),
        "services:",
        f"  - virtual: {vip}",
        f"    servers: [{servers}]",
        *(f"    {line}" for line in service.splitlines()),
        f"    policy: {{{port}: {{checks: [{check}]}}}}",
    ]
    return "\n".join([*lines, ""])


@contextmanager
def prepared(
    lab: Lab,
    name: str,
    text: str,
    wrapper: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    *,
    compiles: bool = False,
) -> Iterator[Daemon]:
    """Yield a daemon of its own root that is not started; `wrapper` is the command line that it is to run under."""
    program = (*wrapper, *PROGRAM)
    daemon = Daemon(lab.balancer, lab.root(name), text, program=program, environment=environment, compiles=compiles)
    try:
        yield daemon
    finally:
        daemon.close()
        shutil.rmtree(daemon.places.pins, ignore_errors=True)  # or a test that failed would hold the interfaces


def links(namespace: Namespace) -> list[tuple[str, int]]:
    """Return the links of a namespace with the number of the XDP program on each, 0 for none."""
    found = json.loads(namespace.run("ip", "-j", "-d", "link"))
    return sorted((link["ifname"], int(link.get("xdp", {}).get("prog", {}).get("id", 0))) for link in found)


def assert_refused(done: subprocess.CompletedProcess[str], status: int, *says: str) -> None:
    """Assert the exit status, that each of these is said, and that it is said to people: few lines, no traceback."""
    text = done.stdout + done.stderr
    assert done.returncode == status, text
    assert [words for words in says if words not in text] == [], text
    assert "Traceback" not in text
    assert "defect" not in text
    assert len(text.splitlines()) <= 8, text


def states(daemon: Daemon, service: str = SERVICE) -> dict[str, str]:
    """Return the states of the backends of a service, by the last number of their addresses: {"11": "available"}."""
    return {backend["address"].rpartition(".")[2]: backend["state"] for backend in backends(daemon, service)}


def backends(daemon: Daemon, service: str = SERVICE) -> list[dict[str, Any]]:
    """Return the rows of a service's backends in the status."""
    [found] = [row for row in daemon.status()["services"] if row["service"] == service]
    rows: list[dict[str, Any]] = found["backends"]
    return rows


def wait_states(daemon: Daemon, service: str = SERVICE, seconds: float = 10.0, **wanted: str) -> None:
    """Wait until the backends are in these states; `b11="available"` is that of the address that ends so."""
    expected = {name.removeprefix("b"): state for name, state in wanted.items()}
    wait_for(f"{service} to be {expected}", lambda: states(daemon, service) == expected, seconds)


def events(daemon: Daemon, kind: str, since: float = 0.0) -> list[dict[str, Any]]:
    """Return the events of a kind from the log store; `since` is wall-clock seconds."""
    found = spool_reader.read(daemon.places.log)
    return [event for event in found if event["kind"] == kind and event["at"] >= since]


def probes(daemon: Daemon, since: float) -> int:
    """Return how many probes are in the log store since then."""
    return len(events(daemon, "probe", since))


def fetch(lab: Lab, vip: IPv4Address = VIP, seconds: float = 2.0) -> str:
    """Return the name of the backend that answers one request, empty if none does."""
    command = lab.client.command("curl", "-s", "-m", str(seconds), f"http://{vip}/")
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def second_interface(lab: Lab, vip: IPv4Address) -> XdpPass:
    """Plug in the balancer's eth1, 10.1.10.6, and let the router send a VIP there. Close what is returned."""
    balancer, switch = lab.balancer, lab.switch
    line = f"link add eth1 netns {balancer.name} address 02:00:0a:01:0a:06 type veth peer name second"
    switch.run("ip", "-batch", "-", text=f"{line}\nlink set second master br0 up\n")
    for name, value in (("arp_ignore", "1"), ("arp_announce", "2"), ("rp_filter", "0")):
        balancer.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/conf/all/{name}")
    balancer.run("ethtool", "-K", "eth1", "tx", "off")
    balancer.run("ip", "-batch", "-", text="address add 10.1.10.6/24 dev eth1\nlink set eth1 up\n")
    lab.add_vip(vip)
    lab.route_vip(vip, IPv4Address("10.1.10.6"))
    return XdpPass(switch, "second")


@contextmanager
def running(lab: Lab, name: str, text: str = configuration(), **environment: str) -> Iterator[Daemon]:
    """Yield a daemon that works, with both backends of its service available."""
    with prepared(lab, name, text, environment=environment) as daemon:
        daemon.start()
        wait_for("both backends", lambda: [row["state"] for row in _rows(daemon)] == ["available"] * 2)
        yield daemon
        assert "Traceback" not in daemon.errors, daemon.errors[-4000:]


def _rows(daemon: Daemon) -> list[dict[str, Any]]:
    return [row for service in daemon.status()["services"] for row in service["backends"]]


def settled(daemon: Daemon) -> list[tuple[Any, ...]]:
    names = ("address", "state", "weight", "mac", "slots")
    return [tuple(row[name] for name in names) for row in backends(daemon)]


def change_mac(lab: Lab, name: str, mac: str) -> None:
    """As a replaced host does: it has another address, and says so (arp_notify in ip-sysctl)."""
    space = lab.backends[name].namespace
    space.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify; ip link set eth0 address " + mac)
