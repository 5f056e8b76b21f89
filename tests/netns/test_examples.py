"""Every example of the manual and of the README, run by a shell on a balancer that serves; none is only shown.

They run in their order, on one lab: what an example drains, the next one may give back.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.cli.examples import EXAMPLES
from appliance.cli.verbs import VERBS
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.readme import commands
from tests.lab.topology import Lab

pytestmark = pytest.mark.root

CONFIGURATION = """\
interfaces: eth0
address: 10.1.10.5
interval: 200ms
timeout: 1s
learn: 1s
count_prefixes: yes
bgp: {as_number: 65001, peers: [10.1.10.252]}
logging: {alert: 4, syslog: ['udp://127.0.0.1:5514']}
services:
  - name: shop
    virtual: 203.0.113.10
    servers: [10.1.1.5, 10.1.1.6 weight=3, 10.1.1.7*]
    policy: {80/tcp: {checks: [{type: syn}]}}
  - virtual: 203.0.113.10
    servers: [10.1.10.11, 10.1.10.12]
    policy: {443/tcp: {checks: [{type: syn}]}, 53/udp: {checks: []}}
"""
FORMER = '{"services": {"203.0.113.1:80:tcp": {"need": 1, "reals": {"10.1.1.1:80": {"checks": []}}}}}'
LISTENER = """\
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5514))
print("ready", flush=True)
while True:
    server.recv(65536)
"""
"""A syslog server that wants nothing."""
SERVERS = "it needs a server that no lab has; tests/telemetry runs it against real ones and stand-ins"
SHELL = "it is for another shell; tests/unit/cli/test_completion.py runs it there"
DRILL = "it takes a while, and more backends than are well here; tests/netns/test_drill.py runs them"
NOT_RUN = {
    "vc5 run": "it stays, and the lab's own daemon has been started so",
    "vc5 run &": "it stays, and the lab's own daemon has been started so",
    "vc5 --root /srv/second run --config second.yaml": "likewise; every lab's daemon has a root of its own",
    "vc5 check && systemctl reload vc5": "the lab has no systemd; tests/package and tests/systemd reload so",
    "vc5 elasticsearch install --url https://elastic.example.com:9200 --user admin --password-file FILE": SERVERS,
    "vc5 elasticsearch install --url https://elastic:9200 --api-key-file key": SERVERS,
    "vc5 elasticsearch install --dry-run": SERVERS,
    "vc5 dashboards install --kibana https://kibana.example.com:5601 --user admin --password-file FILE": SERVERS,
    "vc5 dashboards install --kibana https://kibana:5601 --api-key-file key": SERVERS,
    "vc5 alert test --outlet slack": "there is no Slack in a lab; tests/telemetry/alerts has a stand-in",
    "vc5 netns up --user vc5": "the user is the package's; tests/systemd has its unit do this",
    "vc5 completion fish | source": SHELL,
    "vc5 drill 203.0.113.10:443/tcp": DRILL,
    "vc5 drill 203.0.113.10:443/tcp --seconds 600 --flows 200 --backends 2": DRILL,
    "vc5 drill 203.0.113.10:80/tcp": DRILL,
}
"""What is shown and not run here, and why."""
INTERRUPTED = {"vc5 log --follow", "vc5 log --follow --events", "vc5 bgp capture", "vc5 top"}
"""What goes on until somebody has seen enough: run on a terminal, and interrupted once it has said something."""
INTERRUPTED |= {"vc5 top 203.0.113.10:80/tcp --interval 1"}
FINDS_FAULT = "vc5 doctor"
"""Ends with 1, as it should: half of these backends are nowhere, and it says so."""
ELSEWHERE = ("vc5 balance ",)
"""What wants an interface that no daemon has: run on the client."""

README = [("README", line) for line in commands((REPOSITORY / "README.md").read_text(encoding="utf-8"))]
MANUAL = [(verb.name, example.line) for verb in VERBS for example in EXAMPLES.get(verb.name, ())]
RUN = [(where, line) for where, line in (*README, *MANUAL) if line not in NOT_RUN]


@dataclass
class Site:
    """A balancer with a daemon, and a directory with what the examples name."""

    lab: Lab
    daemon: Daemon
    place: Path

    def command(self, line: str, *wrapper: str) -> list[str]:
        """Return the command line that has a shell run a line of an example where it belongs."""
        where: Namespace = self.lab.client if line.startswith(ELSEWHERE) else self.lab.balancer
        return [*wrapper, *where.command("bash", "-c", line)]

    def environment(self) -> dict[str, str]:
        """Return that of the shell: `vc5` is this tree's, and its instance the lab's."""
        path = f"{self.place}/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "VC5_ROOT": str(self.daemon.root), "TERM": "xterm", "PAGER": "cat"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One for all examples."""
    with Lab(backends=2) as lab, Daemon(lab.balancer, lab.root(), CONFIGURATION) as daemon:
        place = lab.root("examples")
        (place / "bin").mkdir()
        program = place / "bin" / "vc5"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {shlex.join(PROGRAM)} "$@"\n')
        program.chmod(0o755)
        if shutil.which("less") is None:
            (place / "bin" / "less").symlink_to("/bin/cat")
        daemon.places.config.write_text(CONFIGURATION)
        (place / "new.yaml").write_text(CONFIGURATION.replace("10.1.10.12]", "10.1.10.12, 10.1.10.13]"))
        (place / "old.yaml").write_text(CONFIGURATION)
        (place / "former.yaml").write_text(FORMER)
        with lab.balancer.spawn("/usr/bin/python3", "-c", LISTENER, stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            yield Site(lab, daemon, place)
            listener.kill()


@pytest.mark.parametrize(("where", "line"), RUN, ids=[f"{where}: {line}" for where, line in RUN])
def test_an_example_works(site: Site, where: str, line: str) -> None:
    if line in INTERRUPTED:
        assert interrupted(site, line) == 0
        return
    done = subprocess.run(
        site.command(line),
        cwd=site.place,
        env=site.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == int(line.startswith(FINDS_FAULT)), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def interrupted(site: Site, line: str) -> int:
    """Run a line on a terminal, press Ctrl-C once it has said something; return its exit status."""
    master, slave = pty.openpty()
    environment = {**site.environment(), "COLUMNS": "80"}
    command = site.command(f"exec {line}", "setsid", "--ctty")
    try:
        with subprocess.Popen(
            command, cwd=site.place, env=environment, stdin=slave, stdout=slave, stderr=slave
        ) as process:
            said = b""

            def hear() -> bool:
                nonlocal said
                if select.select([master], [], [], 0)[0]:
                    said += os.read(master, 65536)
                return bool(said)

            wait_for(f"`{line}` to say something", hear, 20)
            os.write(master, b"\x03")
            wait_for(f"`{line}` to end", lambda: hear() and process.poll() is not None, 20)
            assert b"Traceback" not in said
            return int(process.returncode)
    finally:
        os.close(master)
        os.close(slave)


def test_nothing_is_listed_that_is_not_shown() -> None:
    shown = {line for _, line in (*README, *MANUAL)}
    assert set(NOT_RUN) - shown == set()
    assert shown >= INTERRUPTED


def test_the_readme_shows_commands() -> None:
    lines = [line for _, line in README]
    assert len(lines) > 30
    assert "vc5 plan" in lines
    assert "vc5 plan new.yaml" in lines
    assert "vc5 drain 203.0.113.10:80/tcp 10.1.1.5" in lines


BLOCKS = """\
Text, vc5 status.

    vc5 plan [new.yaml]          what it would do
    apt install vc5

```sh
vc5 weight S B 3        # instead; `x`
   vc5 log
```
vc5 nothing
"""


def test_commands_of_a_document() -> None:
    assert list(commands(BLOCKS)) == ["vc5 plan", "vc5 plan new.yaml", "vc5 weight S B 3", "vc5 log"]
