"""What others do to a running balancer: an operator is told, and packets go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.daemon import Daemon
from tests.lab.namespace import NAMESPACES
from tests.lab.patience import wait_for
from tests.lab.programs import SHELF
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_operator import (
    SERVICE,
    assert_refused,
    configuration,
    events,
    prepared,
    running,
    settled,
    wait_states,
)
from tests.netns.scenario_slots import generations

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@contextmanager
def unharmed(lab: Lab) -> Iterator[None]:
    """Assert that requests do not fail meanwhile."""
    with Requests(lab.client, rate=50) as requests:
        wait_for("requests", lambda: len(requests.status().done) > 10)
        yield
        seen = len(requests.status().done)
        wait_for("requests", lambda: len(requests.status().done) > seen + 20)
        assert [request.failure for request in requests.stop().failed] == []


def alarmed(daemon: Daemon, since: float, *says: str) -> bool:
    found = [one["message"] for one in events(daemon, "alarm", since)]
    return any(all(words in message for words in says) for message in found)


# ---- pins


def _remove_pins(daemon: Daemon) -> None:
    shutil.rmtree(daemon.places.pins)


def _remove_tables(daemon: Daemon) -> None:
    [generation] = generations(daemon.places.pins)
    for name in ("vc5_flows", "vc5_slots", "vc5_main"):
        (generation / name).unlink()


def _remove_link(daemon: Daemon) -> None:
    (daemon.places.pins / "links" / "eth0").unlink()


def _replace_table(daemon: Daemon) -> None:
    """Another map, of another size, under the name of ours."""
    [generation] = generations(daemon.places.pins)
    (generation / "vc5_slots").unlink()
    os.link(generation / "vc5_settings", generation / "vc5_slots")


TAMPERING: dict[str, tuple[Callable[[Daemon], None], str]] = {
    "all pins removed": (_remove_pins, "pins were removed"),
    "some pins removed": (_remove_tables, "3 pins were removed"),
    "the pin of a link removed": (_remove_link, "the pin was removed"),
    "a pin replaced": (_replace_table, "pins were replaced"),
}


@pytest.mark.parametrize(("tamper", "says"), TAMPERING.values(), ids=TAMPERING)
def test_pins_that_somebody_took_come_back(lab: Lab, tamper: Callable[[Daemon], None], says: str) -> None:
    with running(lab, "tampered") as daemon:
        # Pins are looked at once a second, and have to have been seen.
        wait_for("a look at the pins", lambda: daemon.status()["uptime_s"] > 4)
        rows, wall = settled(daemon), time.time()
        with unharmed(lab):
            tamper(daemon)
            wait_for("the alarm", lambda: alarmed(daemon, wall, says, "pinned anew"))
            daemon.kill9()
        daemon.start()
        assert "went on with the running program" in daemon.errors
        wait_states(daemon, b11="available", b12="available")
        assert settled(daemon) == rows
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_pins_that_are_gone_when_a_daemon_starts(lab: Lab) -> None:
    with running(lab, "pinless") as daemon:
        daemon.kill9()
        _replace_table(daemon)
        daemon.start()
        wait_states(daemon, b11="available", b12="available")
        with unharmed(lab):
            pass
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


# ---- the probe namespace


@pytest.mark.parametrize("also", ["", "prober", "veth"])
def test_a_namespace_that_somebody_deleted_is_made_anew(lab: Lab, also: str) -> None:
    with running(lab, "deleted") as daemon:
        rows, wall, name = settled(daemon), time.time(), daemon.places.namespace
        with unharmed(lab):
            if also == "veth":
                lab.balancer.run("ip", "link", "delete", daemon.places.veth)
            else:
                subprocess.run(["ip", "netns", "delete", name], check=True)
            if also == "prober":
                for process in _probers(daemon):
                    os.kill(process, signal.SIGKILL)
            wait_for("the alarm", lambda: alarmed(daemon, wall, name, "made anew"), 20)
            wait_for("the namespace", (NAMESPACES / name).exists)
            began = time.time()
            wait_for("good probes", lambda: _good(daemon, began) >= 4, 20)
        assert settled(daemon) == rows
        assert not any(one["outcome"] == "dead" for one in events(daemon, "backend", wall))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def _good(daemon: Daemon, since: float) -> int:
    return sum(one["outcome"] == "ok" for one in events(daemon, "probe", since))


def _probers(daemon: Daemon) -> list[int]:
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    return [int(child) for child in children]


# ---- disks


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of this size at a directory."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "vc5-small", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path) -> Path:
    rest = place / "rest"
    with rest.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return rest


def test_a_full_disk_refuses_changes_and_nothing_else(lab: Lab) -> None:
    with prepared(lab, "full", configuration(), compiles=True) as daemon, small_disk(daemon.places.state, "4m"):
        daemon.start()
        wait_states(daemon, b11="available", b12="available")
        rows, wall = settled(daemon), time.time()
        rest = _fill(daemon.places.state)
        with unharmed(lab):
            assert_refused(daemon.vc5("drain", SERVICE, "10.1.10.11"), 1, "state.json", "No space left on device")
            assert_refused(daemon.reload(), 1, "state.json", "No space left on device")
            assert_refused(daemon.vc5("reexec"), 1, "nothing was changed", "No space left on device")
            assert settled(daemon) == rows
            wait_for("a warning", lambda: any("log store" in one["message"] for one in daemon.status()["warnings"]))
            rest.unlink()
            assert daemon.vc5("drain", SERVICE, "10.1.10.11").returncode == 0
        wait_for("the log", lambda: events(daemon, "operator", wall))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_full_run_directory_is_named(lab: Lab) -> None:
    with prepared(lab, "fullrun", configuration()) as daemon, small_disk(daemon.places.run, "8k,nr_inodes=2"):
        (daemon.places.run / "x").touch()
        done = daemon.vc5("run", "--config", str(daemon.configuration_file))
        assert_refused(done, 1, str(daemon.places.run), "No space left on device")
        assert daemon.leftovers() == []


def test_a_run_directory_that_fills_up_later_does_no_harm(lab: Lab) -> None:
    with prepared(lab, "fullrun2", configuration()) as daemon, small_disk(daemon.places.run, "64k"):
        daemon.start()
        wait_states(daemon, b11="available", b12="available")
        _fill(daemon.places.run)
        with unharmed(lab):
            assert daemon.vc5("drain", SERVICE, "10.1.10.11").returncode == 0
            assert daemon.reload().returncode == 0
            assert daemon.vc5("reexec").returncode == 0
        assert daemon.stop() == 0


# ---- processes


def test_a_compiler_that_is_killed_is_a_refused_reload(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHELF, raising=False)  # or what another test has compiled would do
    with running(lab, "compiler") as daemon:
        rows = settled(daemon)
        daemon.configuration_file.write_text(configuration(top="max_flows: 65536\ncount_prefixes: yes"))
        with unharmed(lab):
            asking = subprocess.Popen(
                lab.balancer.command("/usr/bin/python3", "-m", "appliance", "--root", str(daemon.root), "reload"),
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                cwd=daemon.root,
                stderr=subprocess.PIPE,
                text=True,
            )
            compiler = wait_for("the compiler", lambda: _compilers(daemon))
            for process in compiler:
                os.kill(process, signal.SIGKILL)
            _, said = asking.communicate(timeout=30)
        assert asking.returncode == 1
        assert "the compiler ended without an answer" in said
        assert settled(daemon) == rows
        assert daemon.reload().returncode == 0
        assert daemon.stop() == 0


def _compilers(daemon: Daemon) -> list[int]:
    found = []
    for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            try:
                if b"compile_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
            except OSError:
                continue
    return found


# ---- the clock on the wall

STEP = Fault(
    "appliance/control/__init__.py",
    "",
    """
import os as _os
import time as _time

_real = _time.time


def _stepped() -> float:
    try:
        with open("step") as file:
            return _real() + float(file.read() or 0)
    except OSError:
        return _real()


_time.time = _stepped
""",
)
"""The daemon's working directory is its root. Only its own clock is set, and that of the machine is left alone."""


@pytest.mark.parametrize("step", [86400.0, -86400.0])
def test_a_clock_that_is_set_changes_nothing(lab: Lab, step: float) -> None:
    with faulty_copy(STEP) as environment, running(lab, "clock", **environment) as daemon:
        assert daemon.vc5("block", "add", "192.0.2.0/24", "--for", "10m").returncode == 0
        assert daemon.vc5("reload", "--confirm", "300").returncode == 0
        rows, wall = settled(daemon), time.time()
        with unharmed(lab):
            (daemon.root / "step").write_text(str(step))
            began = daemon.status()["uptime_s"]
            wait_for("some seconds by the new clock", lambda: daemon.status()["uptime_s"] > began + 3)
            assert settled(daemon) == rows
            assert daemon.status()["config"]["trial"]["left_s"] <= 300
            assert daemon.vc5("drain", SERVICE, "10.1.10.11").returncode == 0
            assert daemon.vc5("undrain", SERVICE, "10.1.10.11").returncode == 0
            assert daemon.vc5("reexec").returncode == 0
            wait_for("a prober", lambda: daemon.status()["prober"]["alive"])
        assert settled(daemon) == rows
        assert any(abs(one["at"] - wall - step) < 3600 for one in events(daemon, "operator")), "the clock was set"
        assert [one for one in events(daemon, "backend", min(wall, wall + step)) if one["outcome"] != "up"] == []
        assert daemon.stop() == 0


# ---- files cut off in the middle of a word


@pytest.mark.parametrize("name", ["trial.json", "state.json", "programs", "state.json.new"])
def test_half_written_files_are_told_of(lab: Lab, name: str) -> None:
    with running(lab, "halves") as daemon:
        daemon.kill9()
        files = list((daemon.places.state / name).iterdir()) if name == "programs" else [daemon.places.state / name]
        for file in files:
            text = file.read_bytes() if file.exists() else b'{"version": 1, "until": 5.0, "sec'
            file.unlink(missing_ok=True)  # a program may be lent to others
            file.write_bytes(text[: len(text) // 2])
        wall = time.time()
        with unharmed(lab):
            daemon.start()
        wait_states(daemon, b11="available", b12="available")
        if name in ("trial.json", "state.json"):
            wait_for("the alarm", lambda: alarmed(daemon, wall, name, "cannot be used", f"{name}.unusable"))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
