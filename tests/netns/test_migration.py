"""A version whose tables have another layout takes over with all living flows, and so does the one before, again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.backend import REPOSITORY
from tests.lab.topology import Lab
from tests.netns.scenario import Scenario
from tests.netns.scenario_fault import Fault

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVICE = (
    Fault(
        "appliance/dataplane/abi.py",
        '        Field("key", "u64", "address | family',
        '        Field("colour", "u64", "made up"),\n        Field("key", "u64", "address | family',
    ),
    Fault(
        "appliance/dataplane/abi.py",
        '        Field("vip_low", "u64", "0; for IPv6 the other half"),\n',
        '        Field("vip_low", "u64", "0; for IPv6 the other half"),\n        Field("shade", "u64", "x", 3),\n',
    ),
)
"""A field more at the beginning and some at the end."""
HISTORY = (
    Fault(
        "appliance/dataplane/abi.py",
        '        Field("changed", "u32", "coarse time of the last change of the slot\'s answer"),\n',
        "",
    ),
    Fault(
        "appliance/dataplane/abi.py",
        '        Field("was", "u32", "index of the destination of flows that nothing is remembered of, or '
        'VC5_ASK_PREVIOUS"),\n',
        '        Field("was", "u32", "index"),\n        Field("changed", "u32", "time"),\n'
        '        Field("new", "u32", "x"),\n',
    ),
)
"""Another order, and a field more, in what the program writes too."""
IDENTITY = (
    Fault(
        "appliance/dataplane/abi.py",
        '        Field("freed", "u32", "coarse time since when',
        '        Field("extra", "u32", "made up"),\n        Field("freed", "u32", "coarse time since when',
    ),
)
FLOWS = (Fault("appliance/dataplane/abi.py", 'FORMATS = {"flow": 1,', 'FORMATS = {"flow": 2,'),)


@pytest.fixture
def copy() -> Iterator[Path]:
    place = Path(f"/tmp/vc5-migration-{os.getpid()}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o755)
    install(place)
    yield place
    shutil.rmtree(place)


def install(place: Path, version: str = "", *changes: Fault) -> None:
    """Put the product there, changed in these ways."""
    for part in ("appliance", "templates"):
        shutil.rmtree(place / part, ignore_errors=True)
        shutil.copytree(REPOSITORY / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes:
        file = place / change.file
        text = file.read_text()
        assert text.count(change.text) == 1, f"{change.file} has changed: {change.text!r} has to be put in anew"
        file.write_text(text.replace(change.text, change.instead))
    if version:
        with (place / "appliance/__init__.py").open("a") as end:
            end.write(f'\n__version__ = "{version}"\n')


def talking(scenario: Scenario) -> None:
    """Assert that all connections talk, and none is broken; the tables may be of any layout."""
    before = {flow.number: flow.frames for flow in scenario.flows.status().flows}

    def spoke() -> bool:
        flows = scenario.flows.status().flows
        assert [flow for flow in flows if flow.state == "broken"] == []
        return all(flow.frames >= before[flow.number] + 2 for flow in flows if not flow.idle)

    scenario.wait("all connections to talk", spoke, 15)
    known = {flow.number for flow in scenario.flows.status().flows}
    new = [flow for flow in scenario.flows.more(16).flows if flow.number not in known]
    assert [flow for flow in new if flow.state != "open"] == []


def layouts(scenario: Scenario) -> list[str]:
    pins = scenario.daemon.places.pins
    return sorted(entry.name for entry in pins.iterdir() if entry.name not in ("links", "tally"))


def upgrade(scenario: Scenario, version: str) -> str:
    done = scenario.daemon.vc5("reexec", timeout=90)
    assert done.returncode == 0, done.stderr + scenario.daemon.errors[-3000:]
    assert scenario.ask("status")["version"] == version
    return done.stdout


@pytest.mark.appliance
def test_there_and_back(copy: Path) -> None:
    with Scenario(Lab(backends=3), environment={"PYTHONPATH": str(copy)}) as scenario:
        scenario.configure(weights=scenario.weights(b1=6))
        scenario.check("weight changed, connections are at stake")
        tracked, own = len(scenario.tracked()), layouts(scenario)
        assert tracked > 0
        for version, changes in (("77.1", SERVICE), ("77.2", (*HISTORY, *IDENTITY)), ("77.3", (*SERVICE, *HISTORY))):
            install(copy, version, *changes)
            upgrade(scenario, version)
            assert layouts(scenario) != own
            assert len(layouts(scenario)) == 1, "the tables of before are gone"
            talking(scenario)
        scenario.ask("drain", service="203.0.113.10:7000/tcp", backend="10.1.10.12")
        talking(scenario)
        install(copy)
        upgrade(scenario, "0.1.0")
        assert layouts(scenario) == own
        scenario.undrain("b2")
        scenario.check("and back")
        assert len(scenario.tracked()) >= tracked
        assert "not be carried" not in scenario.daemon.errors
        scenario.finish()


def test_flows_of_a_format_that_nobody_knows(copy: Path) -> None:
    with Scenario(Lab(backends=3), environment={"PYTHONPATH": str(copy)}) as scenario:
        scenario.check("begun")
        scenario.configure(weights=scenario.weights(b1=6))
        scenario.check("weight changed")
        install(copy, "78.1", *FLOWS)
        upgrade(scenario, "78.1")
        assert "remembered flows could not be carried: they are of format 1" in scenario.daemon.errors
        scenario.daemon.kill9()
        scenario.daemon.start()
        assert scenario.ask("status")["version"] == "78.1"
