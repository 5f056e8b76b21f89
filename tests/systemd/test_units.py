"""The units under a booted systemd: start, what is told, reload, watchdog, boot before the network, stop."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.traffic import Requests
from tests.netns.scenario_operator import configuration, fetch, links
from tests.systemd.booted import Booted
from tests.systemd.conftest import Site

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]

HELD = {
    "vc5.service": {"cap_net_admin", "cap_perfmon", "cap_bpf", "cap_net_bind_service"},
    "vc5-prober.service": {"cap_net_raw"},
}
BITS = {10: "cap_net_bind_service", 12: "cap_net_admin", 13: "cap_net_raw", 38: "cap_perfmon", 39: "cap_bpf"}


def status(system: Booted) -> Any:
    """Return the daemon's status; nothing while there is none."""
    done = system.attempt("vc5", "status", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def available(system: Booted) -> list[str]:
    return sorted(
        row["address"]
        for services in status(system).get("services", {}).values()
        for service in services
        for row in service["destinations"]
        if row["state"] == "available"
    )


def wait_serving(site: Site, seconds: float = 20) -> None:
    """Wait until both backends are available and health is live."""

    def look() -> bool:
        body = status(site.system)
        return bool(body) and not body["prober"]["frozen"] and len(available(site.system)) == 2

    try:
        wait_for("both backends", look, seconds)
    except LabError as error:
        raise AssertionError(f"{error}\n{site.system.journal('vc5*')}") from None
    assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}


def started(site: Site) -> None:
    site.system.run("systemctl", "start", "vc5")
    wait_serving(site)


def pid(system: Booted, unit: str = "vc5.service") -> int:
    return int(system.show(unit, "MainPID"))


def capabilities(system: Booted, unit: str, kind: str) -> set[str]:
    text = system.run("cat", f"/proc/{pid(system, unit)}/status")
    mask = int(next(line for line in text.splitlines() if line.startswith(kind)).split()[1], 16)
    return {BITS.get(bit, str(bit)) for bit in range(64) if mask >> bit & 1}


def text_of(system: Booted) -> str:
    """Return what an operator sees in `systemctl status`."""
    return system.attempt("systemctl", "status", "--no-pager", "--lines=0", "vc5").stdout


def test_the_web_process_runs_beside_it_and_holds_nothing(site: Site) -> None:
    system = site.system
    started(site)

    def look() -> str:
        return system.attempt("curl", "-sS", "http://127.0.0.1:9090/metrics").stdout

    try:
        text = wait_for("metrics", look, 30)
    except LabError as error:
        raise AssertionError(f"{error}\n{system.journal('vc5*')}") from None
    assert "vc5_service_up{" in text
    child = system.run("pgrep", "-P", str(pid(system)), "-f", "appliance.web.process").strip()
    lines = system.run("cat", f"/proc/{child}/status").splitlines()
    held = {name: int(value, 16) for name, _, value in (line.partition(":\t") for line in lines) if name[:3] == "Cap"}
    assert (held["CapEff"], held["CapPrm"], held["CapAmb"]) == (0, 0, 0)
    assert system.run("ps", "-o", "user=", "-p", child).strip() == "vc5"
    assert [one for one in status(system)["warnings"] if "web process" in one["message"]] == []


def test_it_starts_serves_and_leaves_nothing(site: Site) -> None:
    system, before = site.system, links(site.lab.balancer)
    started(site)
    for unit, held in HELD.items():
        assert system.show(unit, "ActiveState") == "active"
        for kind in ("CapEff:", "CapPrm:", "CapBnd:"):
            assert capabilities(system, unit, kind) == held, (unit, kind)
        assert system.run("ps", "-o", "user=", "-p", str(pid(system, unit))).strip() == unit.removesuffix(".service")
    assert "1 of 1 services up" in text_of(system)
    inside = system.run("readlink", f"/proc/{pid(system, 'vc5-prober.service')}/ns/net")
    assert inside != system.run("readlink", "/proc/1/ns/net")
    assert system.run("vc5", "explain", "--flow", "tcp 198.51.100.10:4242 203.0.113.10:80")
    system.run("systemctl", "stop", "vc5")
    wait_for("the ground to be cleared", lambda: system.show("vc5-netns.service", "ActiveState") == "inactive")
    assert links(site.lab.balancer) == before
    for place in ("/sys/fs/bpf/vc5", "/run/netns/vc5", "/run/vc5"):
        assert system.attempt("test", "-e", place).returncode == 1, place
    assert [line for line in system.journal("vc5").splitlines() if "frozen" in line] == []
    assert system.show("vc5.service", "Result") == "success"
    assert "Traceback" not in system.journal("vc5*")


def test_reload_comes_back_with_the_result(site: Site) -> None:
    system = site.system
    started(site)
    before = pid(system)
    system.configure(configuration(servers="10.1.10.11"))
    system.run("systemctl", "reload", "vc5")
    assert available(system) == ["10.1.10.11"]
    system.configure("services: 7\n")
    refused = system.attempt("systemctl", "reload", "vc5")
    assert refused.returncode != 0
    assert "Job for vc5.service failed" in refused.stderr
    assert "config.yaml:1:11: services: must be a list" in system.journal("vc5")
    for _ in range(2):
        shown = text_of(system)
        assert "reload refused, the old configuration is in force: /etc/vc5/config.yaml:1:11" in shown
        time.sleep(1.2)  # it stays there: longer than the daemon's own round of looks
    assert system.show("vc5.service", "ActiveState") == "active"
    assert available(system) == ["10.1.10.11"]
    system.configure(configuration())
    system.run("systemctl", "reload", "vc5")
    wait_serving(site)
    assert "refused" not in text_of(system)
    assert pid(system) == before


def test_a_configuration_that_is_wrong_is_not_tried_again(site: Site) -> None:
    system = site.system
    system.configure("services: 7\n")
    assert system.attempt("systemctl", "start", "vc5").returncode != 0
    assert system.show("vc5.service", "ExecMainStatus") == "78"
    assert system.show("vc5.service", "ActiveState") == "failed"
    assert system.show("vc5.service", "NRestarts") == "0"
    assert "config.yaml:1:11: services: must be a list" in system.journal("vc5")
    assert system.show("vc5-prober.service", "ActiveState") == "inactive"
    system.configure(configuration())
    started(site)


def test_a_daemon_that_hangs_is_replaced_and_packets_go_on(site: Site) -> None:
    system = site.system
    system.file("/etc/systemd/system/vc5.service.d").mkdir(parents=True, exist_ok=True)
    system.file("/etc/systemd/system/vc5.service.d/test.conf").write_text("[Service]\nWatchdogSec=2\n")
    system.run("systemctl", "daemon-reload")
    try:
        started(site)
        before = pid(system)
        restarts = int(system.show("vc5.service", "NRestarts"))
        system.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vc5")
        wait_for("the watchdog", lambda: int(system.show("vc5.service", "NRestarts")) > restarts, 30)
        assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}
        wait_serving(site)
        assert pid(system) != before
        assert "went on with the running program" in system.journal("vc5")
    finally:
        system.file("/etc/systemd/system/vc5.service.d/test.conf").unlink()
        system.run("systemctl", "daemon-reload")


def test_a_restart_that_no_packet_notices(site: Site) -> None:
    system = site.system
    started(site)
    before = pid(system)
    with Requests(site.lab.client, rate=100) as requests:
        system.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", "vc5")
        wait_for("another process", lambda: pid(system) not in (0, before), 20)
        wait_serving(site)
        assert [request.failure for request in requests.stop().failed] == []
    assert "went on with the running program" in system.journal("vc5")


@pytest.mark.parametrize("unit", ["vc5.service", "vc5-prober.service"])
def test_what_is_killed_comes_back(site: Site, unit: str) -> None:
    system = site.system
    started(site)
    before, ground = pid(system, unit), system.show("vc5-netns.service", "InvocationID")
    system.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
    assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}
    wait_for("another process", lambda: pid(system, unit) not in (0, before), 20)
    wait_serving(site)
    assert system.show("vc5-netns.service", "InvocationID") == ground, "nobody took the ground away meanwhile"


def test_a_prober_that_hangs_is_replaced(site: Site) -> None:
    system = site.system
    started(site)
    before = pid(system, "vc5-prober.service")
    system.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vc5-prober")
    wait_for("frozen health", lambda: status(system)["prober"]["frozen"], 15)
    assert "HEALTH FROZEN: prober" in text_of(system)
    assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}
    wait_for("another process", lambda: pid(system, "vc5-prober.service") not in (0, before), 30)
    wait_serving(site)
    assert "HEALTH FROZEN" not in text_of(system)


def test_it_starts_before_the_network_and_serves_when_that_comes(site: Site) -> None:
    system, balancer = site.system, site.lab.balancer
    balancer.run("ip", "link", "set", "eth0", "down")
    balancer.run("ip", "link", "set", "eth0", "name", "later")
    try:
        system.run("systemctl", "start", "vc5")
        assert system.show("vc5.service", "ActiveState") == "active"
        assert "waiting for interface eth0 (does not exist)" in text_of(system)
        assert "waiting for interface eth0 (does not exist)" in system.run("vc5", "status")
        before = pid(system)
        balancer.run("ip", "link", "set", "later", "name", "eth0")
        wait_for("word of it", lambda: "waiting for interface eth0 (down)" in text_of(system))
        balancer.run("ip", "link", "set", "eth0", "up")
        began = time.monotonic()
        wait_for("the first answer", lambda: fetch(site.lab, seconds=0.5))
        assert time.monotonic() - began < 8
        wait_serving(site)
        assert pid(system) == before
        assert "waiting" not in text_of(system)
    finally:
        if "later" in dict(links(balancer)):
            balancer.run("ip", "link", "set", "later", "name", "eth0")
        balancer.run("ip", "link", "set", "eth0", "up")


def test_a_lost_capability_is_named_with_its_line(site: Site) -> None:
    system = site.system
    override = system.file("/etc/systemd/system/vc5.service.d/test.conf")
    override.parent.mkdir(parents=True, exist_ok=True)
    override.write_text("[Service]\nAmbientCapabilities=\nAmbientCapabilities=CAP_BPF CAP_NET_ADMIN\n")
    system.run("systemctl", "daemon-reload")
    try:
        assert system.attempt("systemctl", "start", "vc5").returncode != 0
        assert "lacks CAP_PERFMON; run vc5 as root, or give the service" in system.journal("vc5")
        assert "AmbientCapabilities=CAP_NET_ADMIN CAP_PERFMON CAP_BPF in vc5.service" in system.journal("vc5")
        # It goes on trying, so that it is there when the cause is gone.
        override.unlink()
        system.run("systemctl", "daemon-reload")
        wait_serving(site, 30)
    finally:
        override.unlink(missing_ok=True)
        system.run("systemctl", "daemon-reload")


def test_the_ground_is_repaired_by_its_reload(site: Site) -> None:
    system = site.system
    started(site)
    system.run("ip", "netns", "exec", "vc5", "ip", "link", "set", "vc5_", "down")
    wait_for("checks to fail", lambda: status(system)["prober"]["frozen"] or not available(system), 20)
    system.run("systemctl", "reload", "vc5-netns")
    wait_serving(site)


def test_nobody_takes_the_ground_from_under_a_daemon(site: Site) -> None:
    system = site.system
    started(site)
    before = pid(system)
    system.attempt("systemctl", "stop", "vc5-netns")
    assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}
    wait_serving(site)
    assert pid(system) == before
    wait_for("the unit to be upheld", lambda: system.show("vc5-netns.service", "ActiveState") == "active")
    system.run("systemctl", "stop", "vc5")
    wait_for("the ground to be cleared", lambda: system.show("vc5-netns.service", "ActiveState") == "inactive")
    assert system.attempt("test", "-e", "/run/netns/vc5").returncode == 1
    assert f"process {before} already runs vc5" in system.journal("vc5-netns")
