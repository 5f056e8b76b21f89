"""Many reloads in a row under traffic: nothing breaks, and nothing is left behind by any of them.

Whatever holds a map or a program in the kernel is counted: descriptors and mappings of the daemon, pins, links. The
first reloads warm up; from then on all counts stay, and the memory within 5 %.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance import config
from appliance.errors import ConfigError, ControlError
from tests.lab.daemon import Daemon
from tests.lab.namespace import NAMESPACES
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.netns.scenario import Scenario
from tests.netns.scenario_slots import generations
from tests.profile import RELOADS

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.soak]

WARM = 20 if RELOADS < 100 else 100
GROWTH = 1.05
INVALID = (
    ("interfaces: {}\n", ConfigError),
    ("services: [\n", ConfigError),
    ("interfaces: [eth0, eth9]\nservices: []\n", ControlError),
)


@dataclass(frozen=True)
class Holdings:
    """What a daemon holds at a moment; memory in KiB."""

    descriptors: Counter[str]
    mappings: int
    pins: int
    generations: int
    namespaces: int
    threads: int
    children: int
    memory: int

    def counts(self) -> Holdings:
        return replace(self, memory=0)


def holdings(daemon: Daemon) -> Holdings:
    process = Path("/proc") / str(daemon.pid)
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    names = []
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            names.append(os.readlink(entry))
    children = (process / f"task/{daemon.pid}/children").read_text().split()
    return Holdings(
        Counter(_kind(name) for name in names),
        sum("bpf" in line for line in (process / "maps").read_text().splitlines()),
        sum(1 for _ in daemon.places.pins.rglob("*")),
        len(generations(daemon.places.pins)),
        sum(entry.name == daemon.places.namespace for entry in NAMESPACES.iterdir()),
        int(fields["Threads"]),
        len(children),
        int(fields["VmRSS"].split()[0]),
    )


def _kind(name: str) -> str:
    """What a descriptor is of: the number of a socket or a pipe is another each time, and so is that of a segment."""
    if name.startswith(("socket:", "pipe:")):
        return name.partition(":")[0]
    return name.replace("_", "-") if "bpf" in name else Path(name).suffix or name


def _valid(scenario: Scenario, number: int) -> None:
    """Change the pool: weights, backends that come and go, and every tenth time the program."""
    weights = scenario.weights(b1=1 + number % 4, b3=None if number % 3 == 2 else 1)
    port = 7001 + number // 10 % 2 if number % 20 < 10 else 0
    scenario.configure(weights=weights, resetting_port=port)


def _invalid(scenario: Scenario, number: int) -> None:
    text, error = INVALID[number % len(INVALID)]
    scenario.daemon.configuration_file.write_text(text)
    with pytest.raises(error):
        scenario.ask("reload")


def test_reloads_leave_nothing_behind() -> None:
    # Every request is remembered for a minute after its end: there must be room for them all.
    place = Scenario(Lab(backends=3), http=True, max_flows=1 << 16)
    with place as scenario, Requests(scenario.lab.client, rate=50) as requests:
        daemon, began = scenario.daemon, time.monotonic()
        warm: Holdings | None = None
        for number in range(RELOADS):
            (_invalid if number % 4 == 3 else _valid)(scenario, number)
            if number % 50 == 49:
                assert scenario.look() == 0, f"after {number + 1} reloads"
            if number == WARM:
                warm = _settled(scenario)
        after = _settled(scenario)
        scenario.wait_available("b1", "b2", "b3")
        scenario.talk("reloaded")
        report = requests.stop()
        seconds = time.monotonic() - began
        assert warm is not None
        print(
            f"{RELOADS} reloads in {seconds:.0f} s, {len(report.done)} requests, {len(report.failed)} failed, "
            f"memory {warm.memory} -> {after.memory} KiB, {after}"
        )
        assert report.failed == []
        assert after.counts() == warm.counts()
        assert after.memory <= warm.memory * GROWTH
        assert daemon.status()["config"]["generation"] > RELOADS / 2
        assert scenario.flows.stop().broken == []


def _settled(scenario: Scenario) -> Holdings:
    """What is held in the same configuration each time, once nothing is under way any more."""
    scenario.configure(weights=scenario.weights(b1=1, b3=1), resetting_port=0)
    scenario.wait_available("b1", "b2", "b3")
    before = holdings(scenario.daemon)

    def still() -> bool:
        nonlocal before
        last, before = before, holdings(scenario.daemon)
        return last.counts() == before.counts()

    scenario.wait("the counts to stand still", still)
    return before


def test_the_configurations_are_what_they_are_meant_to_be(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for text, error in INVALID:
        file.write_text(text)
        if error is ConfigError:
            with pytest.raises(ConfigError):
                config.load(config.Source(file))
        else:
            config.load(config.Source(file))
