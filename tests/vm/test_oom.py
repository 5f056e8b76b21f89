"""Out of memory, on Debian's own kernel, whose control groups systemd has to itself: the kernel kills the daemon, the
prober, and goes on doing so until somebody gives more. What the operator sees, and that no packet is lost by it.

    client - bridge - balancer (the machine itself), b1: each a network namespace but the balancer
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.patience import wait_for
from tests.systemd.booted import LAUNCHER
from tests.vm import ahead
from tests.vm.machine import Vm
from tests.vm.test_units import INSTALL, show

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow, pytest.mark.appliance]

CONFIGURATION = """\
interfaces: [balancer]
xdp: generic
services:
  - virtual: 203.0.113.10
    servers: [10.9.0.11]
    policy: {80/tcp: {checks: [{type: http, port: 80, path: /, interval: 1}]}}
"""
NETWORK = """\
set -e
ip -batch - <<END
netns add net
netns add client
netns add b1
END
ip -netns net link add br0 type bridge
ip -netns net link set br0 up
for name in balancer client b1; do
    ip -netns net link add $name type veth peer name x$name
    ip -netns net link set $name master br0
    ip -netns net link set $name up
done
ip -netns net link set xbalancer netns 1 name balancer
ip -netns net link set xclient netns client name eth0
ip -netns net link set xb1 netns b1 name eth0
ip address add 10.9.0.5/24 dev balancer
ip link set balancer up
ip -netns client address add 10.9.0.2/24 dev eth0
ip -netns b1 address add 10.9.0.11/24 dev eth0
for name in client b1; do
    ip netns exec $name ethtool -K eth0 tx off >/dev/null
    ip -netns $name link set eth0 up
    ip -netns $name link set lo up
done
ip netns exec b1 sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip -netns b1 address add 203.0.113.10/32 dev lo
ip -netns client route add 203.0.113.10 via 10.9.0.5
mkdir -p /srv/www && echo well >/srv/www/index.html
systemd-run --quiet --unit=web nsenter --net=/run/netns/b1 python3 -m http.server --directory /srv/www 80
"""
ASK = """\
while :; do
    curl -s -m 5 -o /dev/null -w '%{http_code}\\n' http://203.0.113.10/ >>/srv/answers
    sleep 0.2
done
"""
LIMIT = 150.0
"""Seconds; every instruction is emulated, and processes are started again and again."""
ENOUGH, LITTLE = "infinity", "12M"
NO_MEMORY = "killed by the OOM killer"


def limited(vm: Vm, unit: str, most: str) -> None:
    """Give a unit so much memory, until the next boot."""
    vm.run("systemctl", "set-property", "--runtime", unit, f"MemoryMax={most}", "MemorySwapMax=0")


def status(vm: Vm) -> dict[str, Any]:
    """Return the daemon's status; nothing while there is none."""
    done = vm.execute("vc5", "status", "--json")
    found: dict[str, Any] = json.loads(done.output) if done.status == 0 else {}
    return found


def well(vm: Vm) -> bool:
    body = status(vm)
    states = [row["state"] for service in body.get("services", ()) for row in service["backends"]]
    return bool(body) and not body["prober"]["frozen"] and states == ["available"]


def answers(vm: Vm) -> list[str]:
    return vm.get("/srv/answers").decode().split()


def more_answers(vm: Vm) -> None:
    """Wait for some, all of them good."""
    before = len(answers(vm))
    wait_for("answers", lambda: len(answers(vm)) > before + 3, LIMIT)
    assert set(answers(vm)) == {"200"}


def journal(vm: Vm, unit: str) -> str:
    return vm.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")


def test_without_memory(vm: Vm) -> None:
    ahead.send(vm, CONFIGURATION)
    vm.put(LAUNCHER.encode(), "/usr/bin/vc5")
    vm.run("sh", "-c", INSTALL)
    vm.put(CONFIGURATION.encode(), "/etc/vc5/config.yaml")
    vm.run("sh", "-c", NETWORK)
    vm.run("systemctl", "start", "vc5")
    wait_for("the backend", lambda: well(vm), LIMIT)
    vm.put(ASK.encode(), "/srv/ask")
    vm.run("systemd-run", "--quiet", "--unit=ask", "nsenter", "--net=/run/netns/client", "sh", "/srv/ask")
    wait_for("an answer", lambda: vm.execute("test", "-s", "/srv/answers").status == 0, LIMIT)
    more_answers(vm)

    # The prober first: health stands still, and says so.
    before = show(vm, "vc5-prober.service", "MainPID")
    limited(vm, "vc5-prober.service", LITTLE)
    wait_for("the kernel", lambda: NO_MEMORY in journal(vm, "vc5-prober"), LIMIT)
    wait_for("word of it", lambda: "HEALTH FROZEN" in show(vm, "vc5.service", "StatusText"), LIMIT)
    assert "oom-kill" in journal(vm, "vc5-prober")
    more_answers(vm)
    limited(vm, "vc5-prober.service", ENOUGH)
    wait_for("checks", lambda: well(vm), LIMIT)
    assert show(vm, "vc5-prober.service", "MainPID") != before

    # Then the daemon, which is started again and again, and never comes up.
    log = "/var/lib/vc5/log"
    limited(vm, "vc5.service", LITTLE)
    wait_for("the kernel", lambda: NO_MEMORY in journal(vm, "vc5"), LIMIT)
    wait_for("more than one try", lambda: int(show(vm, "vc5.service", "NRestarts")) > 1, LIMIT)
    # A child that is killed for its memory, such as the compiler, must not end the daemon (OOMPolicy=continue); so of
    # the daemon itself systemd tells the signal, and in a line of its own whose it was.
    assert "status=9/KILL" in journal(vm, "vc5")
    # Asked between two tries; asked during one, it has nothing to say.
    wait_for("the doctor", lambda: "for want of memory" in vm.execute("vc5", "doctor", "--json").output, LIMIT)
    more_answers(vm)
    limited(vm, "vc5.service", ENOUGH)
    wait_for("the daemon", lambda: well(vm), LIMIT)
    more_answers(vm)
    assert "went on with the running program" in journal(vm, "vc5")
    assert '"dead"' not in vm.run("sh", "-c", f"cat {log}/*"), "no verdict was lost or changed"
    assert "Traceback" not in journal(vm, "vc5*")
