"""IPVS with direct routing on the same machine, to the same backends, with the same traffic, as a baseline.

Every instruction is emulated, so the microseconds mean nothing; only how the two compare does, and that roughly: an
emulated machine weighs memory and jumps otherwise than a real one. A processor counts as busy as well while the
emulator or the machine underneath does something else in its time, and that differs from run to run; the time in
software interrupts is only sampled, and differs less. Nothing is asserted about the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import run
from tests.lab.patience import wait_for
from tests.netns.scenario_operator import backends, configuration
from tests.vm import ahead
from tests.vm.pace import BACKENDS, HOSTS, PORT, Cost, Range

pytestmark = pytest.mark.root

SECONDS = 8.0
ROUNDS = 3
SERVICE = f"{VIP}:{PORT}"
SERVERS = [HOSTS[name][1] for name in BACKENDS]


def written(xdp: str) -> str:
    return configuration("card1", xdp, servers=", ".join(SERVERS), port=f"{PORT}/udp", check="")


AHEAD = [written("native"), written("generic")]


@pytest.fixture
def hosts() -> Iterator[Range]:
    with Range() as standing:
        yield standing


def ipvs(hosts: Range) -> Cost:
    """Measure IPVS; it is gone afterwards."""
    run("modprobe", "--all", "ip_vs", "ip_vs_mh")
    lines = [f"-A -u {SERVICE} -s mh -b mh-port", *(f"-a -u {SERVICE} -r {server}:{PORT} -g" for server in SERVERS), ""]
    space = hosts.spaces["balancer"]
    space.run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
    space.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    space.run("ipvsadm", "-R", text="\n".join(lines))
    try:
        return hosts.measure(SECONDS)
    finally:
        space.run("ipvsadm", "-C")
        space.run("ip", "address", "delete", f"{VIP}/32", "dev", "lo")


def ours(hosts: Range, root: Path, xdp: str) -> Cost:
    """Measure our program in a mode of attaching."""
    root.mkdir()
    daemon = Daemon(hosts.spaces["balancer"], root, written(xdp))
    ahead.give(daemon.places)
    try:
        daemon.start()
        assert [row["attach"] for row in daemon.status()["interfaces"]] == [xdp]
        wait_for("the backends' MACs", lambda: all(row["mac"] for row in backends(daemon, f"{SERVICE}/udp")))
        cost = hosts.measure(SECONDS)
        assert daemon.stop() == 0
        return cost
    finally:
        daemon.close()


def test_processor_time_for_a_packet(hosts: Range, tmp_path: Path) -> None:
    rows: dict[str, list[Cost]] = {"IPVS": [], "native": [], "generic": []}
    for number in range(ROUNDS):
        rows["IPVS"].append(ipvs(hosts))
        for xdp in ("native", "generic"):
            rows[xdp].append(ours(hosts, tmp_path / f"{xdp}{number}", xdp))
    for name, costs in rows.items():
        for cost in costs:
            assert cost.packets > 0.9 * cost.sent, (name, cost)
            print(f"ipvs: {name:8} {cost}")
    for what in ("busy", "softirq"):
        least = {name: min(float(getattr(cost, what)) for cost in costs) for name, costs in rows.items()}
        for xdp in ("native", "generic"):
            print(
                f"ipvs: {what}: IPVS takes {least['IPVS'] / least[xdp]:.2f} times the time of {xdp} XDP for a packet "
                f"(least of {ROUNDS} each, since others only add; emulated: only the ratio means anything)"
            )
