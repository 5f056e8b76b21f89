"""The kernel kills the daemon, or its prober, for want of memory: the data plane goes on, and health is what it was.

The process is put into a control group of its own on the host, where next to nothing may be allocated. So it is the
kernel's own choice that ends it, when it asks for more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.lab.patience import wait_for
from tests.lab.traffic import Requests
from tests.systemd.booted import Booted
from tests.systemd.conftest import Site
from tests.systemd.test_units import pid, started, status, text_of, wait_serving

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.appliance,
    pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").is_dir(), reason="no memory hierarchy of its own (cgroup v1)"),
]

GROUP = Path("/sys/fs/cgroup/memory")
LITTLE = 4096
"""Bytes that may be allocated from then on: a page."""


def outside(system: Booted, inside: int) -> int:
    """Return the number that a process of the container has on the host."""
    space = os.readlink(f"/proc/{system.init}/ns/pid")
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(place / "ns/pid") == space:
                line = next(text for text in (place / "status").read_text().splitlines() if text.startswith("NSpid:"))
                if int(line.split()[-1]) == inside:
                    return int(place.name)
    raise AssertionError(f"no process {inside}")


@contextmanager
def starved(system: Booted, unit: str) -> Iterator[Path]:
    """Let the main process of a unit have no more memory; yields the group, which tells of kills."""
    group = GROUP / f"vc5-oom-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LITTLE))
        (group / "cgroup.procs").write_text(str(outside(system, pid(system, unit))))
        yield group
    finally:
        wait_for("an empty group", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def kills(group: Path) -> int:
    fields = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    return int(fields["oom_kill"])


@pytest.mark.parametrize("unit", ["vc5.service", "vc5-prober.service"])
def test_traffic_and_health_outlive_it(site: Site, unit: str) -> None:
    system = site.system
    started(site)
    before, since = pid(system, unit), len(system.run("vc5", "log", "--events", "--json").splitlines())
    with Requests(site.lab.client, rate=100) as requests:
        with starved(system, unit) as group:
            wait_for("the kernel", lambda: kills(group) > 0, 20)
        wait_for("another process", lambda: pid(system, unit) not in (0, before), 20)
        wait_serving(site)
        assert [request.failure for request in requests.stop().failed] == []
    assert f"{unit}: Main process exited, code=killed, status=9/KILL" in system.journal(unit)
    assert int(system.show(unit, "NRestarts")) > 0
    events = system.run("vc5", "log", "--events", "--json").splitlines()[since:]
    assert [line for line in events if '"outcome": "dead"' in line or '"outcome":"dead"' in line] == []
    if unit == "vc5.service":
        assert "went on with the running program" in system.journal("vc5")
    else:
        assert any("health is frozen" in line for line in events)
    assert "1 of 1 services up" in text_of(system)
    assert not status(system)["prober"]["frozen"]
