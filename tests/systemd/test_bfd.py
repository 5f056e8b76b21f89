"""The unit of BFD under a booted systemd: started when somebody asks, and outliving who asked. BIRD is the judge."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.addresses import BALANCER, ROUTER
from tests.lab.namespace import run
from tests.lab.patience import wait_for
from tests.netns.bfd_scene import BIRD
from tests.systemd.booted import Booted
from tests.systemd.conftest import Site
from tests.systemd.test_units import pid, started

pytestmark = [
    *(pytest.mark.root, pytest.mark.slow, pytest.mark.appliance),
    pytest.mark.skipif(not Path(BIRD).exists(), reason=f"there is no {BIRD}: install bird2"),
]
UNIT, SOCKET = "vc5-bfd.service", "vc5-bfd.socket"
GRACE = 6.0
DETECTION = 0.9
CONFIGURATION = f"""
router id {ROUTER};
timeformat protocol iso long us;
protocol device {{ scan time 1; }}
protocol bfd {{
  interface "lan" {{ interval 300 ms; multiplier 3; }};
  neighbor {BALANCER} dev "lan";
}}
"""
# What the daemon does of BFD, as the daemon's user.
DRIVER = f"""
import asyncio, sys
from ipaddress import ip_address
from appliance import paths
from appliance.routing.bfd.client import BfdClient
from appliance.routing.bfd.messages import BfdSession

async def main():
    client = BfdClient(paths.root(), print, starts=False, version=sys.argv[1])
    client.follow([BfdSession(ip_address("{ROUTER}"))], {GRACE})
    while True:
        await asyncio.sleep(0.1)
        if client.hello is not None:
            print("gap", client.hello.gap, flush=True)

asyncio.run(main())
"""


class Judge:
    """BIRD in the lab's router."""

    def __init__(self, site: Site, directory: Path) -> None:
        (directory / "bird.conf").write_text(CONFIGURATION)
        self._control = directory / "ctl"
        files = ("-c", f"{directory}/bird.conf", "-s", str(self._control), "-P", f"{directory}/pid")
        self.process = site.lab.router.spawn(BIRD, "-f", *files)
        wait_for("bird to answer", lambda: self._control.exists() and self.state())

    def _row(self) -> list[str]:
        text = run("/usr/sbin/birdc", "-s", str(self._control), "show", "bfd", "sessions")
        row = re.search(rf"^{re.escape(str(BALANCER))} +\S+ +(\w+) +(\S+ \S+)", text, re.M)
        return [row[1], row[2][:-4]] if row else ["", ""]

    def state(self) -> str:
        return self._row()[0]

    def since(self) -> str:
        """To a hundredth of a second: it tells another microsecond each time."""
        return self._row()[1]


@pytest.fixture
def judge(site: Site, tmp_path: Path) -> Iterator[Judge]:
    made = Judge(site, tmp_path)
    yield made
    made.process.kill()
    made.process.wait()
    site.system.attempt("systemctl", "stop", "driver.service", SOCKET, UNIT)


def drive(system: Booted, version: str = "0.0.0-other") -> None:
    """Be the daemon."""
    system.attempt("systemctl", "reset-failed", "driver.service")
    system.file("/usr/local/lib/driver.py").write_text(DRIVER)
    environment = ("--setenv=PYTHONPATH=/usr/share/vc5-appliance", "--property=NoNewPrivileges=yes")
    command = ("/usr/bin/python3", "-PsB", "/usr/local/lib/driver.py", version)
    system.run("systemd-run", "--quiet", "--unit=driver", "--uid=vc5", "--gid=vc5", *environment, *command)


def test_it_runs_while_somebody_wants_it_and_outlives_the_daemon(site: Site, judge: Judge) -> None:
    system = site.system
    started(site)
    assert system.show(SOCKET, "ActiveState") == "active"
    assert system.show(UNIT, "ActiveState") == "inactive"

    drive(system)
    try:
        wait_for("the session", lambda: judge.state() == "Up", 20)
    except Exception as error:
        raise AssertionError(f"{error}\n{system.journal(UNIT)}\n{system.journal('driver')}") from None
    # It has become another program by now: of another version than its daemon it was.
    wait_for("another program", lambda: re.search(r"^gap 0\.0*[1-9]", system.journal("driver"), re.M))
    process, since = pid(system, UNIT), judge.since()
    words = dict(
        line.split(":\t", 1) for line in system.run("cat", f"/proc/{process}/status").splitlines() if ":\t" in line
    )
    assert {int(words[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")} == {0}
    assert words["Uid"].split()[0] == system.run("id", "-u", "vc5-bfd").strip()
    nice = system.run("cat", f"/proc/{process}/stat").rpartition(")")[2].split()[16]
    assert nice == "-10"

    # The daemon that asked is killed; so is vc5 itself, which systemd starts again: a restart job, for all it knows.
    system.run("systemctl", "kill", "--signal=KILL", "driver")
    before = pid(system)
    system.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "vc5")
    wait_for("the next daemon", lambda: pid(system) not in (0, before), 20)
    patience = time.monotonic() + 2 * DETECTION
    wait_for("twice the detection time", lambda: time.monotonic() > patience)
    assert (judge.state(), pid(system, UNIT)) == ("Up", process)
    drive(system)
    wait_for("the daemon's return", lambda: "gap" in system.journal("driver"))
    assert (judge.since(), pid(system, UNIT)) == (since, process)

    # Nobody comes any more.
    system.run("systemctl", "kill", "--signal=KILL", "driver")
    wait_for("the end of the grace", lambda: system.show(UNIT, "ActiveState") == "inactive", GRACE + 10)
    assert judge.state() == "Down"
    assert system.show(UNIT, "Result") == "success"
    assert system.show(SOCKET, "ActiveState") == "active"
    drive(system)
    wait_for("another process", lambda: pid(system, UNIT) not in (0, process) and judge.state() == "Up", 20)


def test_systemctl_stops_it_with_a_word(site: Site, judge: Judge) -> None:
    system = site.system
    system.run("systemctl", "start", SOCKET)
    drive(system)
    wait_for("the session", lambda: judge.state() == "Up", 20)
    system.run("systemctl", "kill", "--signal=KILL", "driver")
    began = time.monotonic()
    system.run("systemctl", "stop", UNIT)
    wait_for("the router's knowledge", lambda: judge.state() == "Down", DETECTION)
    assert system.show(UNIT, "Result") == "success"
    print(f"stopped within {time.monotonic() - began:.2f} s")
    system.run("systemctl", "stop", SOCKET)
    assert system.attempt("test", "-e", "/run/vc5-bfd/bfd.sock").returncode != 0


def test_one_that_hangs_is_replaced(site: Site, judge: Judge) -> None:
    system = site.system
    system.run("systemctl", "start", SOCKET)
    drive(system)
    wait_for("the session", lambda: judge.state() == "Up", 20)
    process = pid(system, UNIT)
    system.run("systemctl", "kill", "--signal=STOP", UNIT)
    wait_for("the router's knowledge", lambda: judge.state() == "Down", 5)
    wait_for("another process", lambda: pid(system, UNIT) not in (0, process) and judge.state() == "Up", 40)


def test_nobody_else_may_ask(site: Site) -> None:
    system = site.system
    system.run("systemctl", "start", SOCKET)
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/vc5-bfd/bfd.sock')"
    done: subprocess.CompletedProcess[str] = system.attempt(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all"),
        *("/usr/bin/python3", "-c", connect),
    )
    assert "PermissionError" in done.stderr
