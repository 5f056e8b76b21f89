"""`vc5 reexec`: the daemon becomes the program that is installed now, and nobody notices; or it goes on as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.client import call
from appliance.control.allowance import USUAL
from appliance.errors import ControlError
from appliance.telemetry import spool_reader
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.netns.scenario import Scenario
from tests.netns.scenario_operator import (
    SERVICE,
    configuration,
    events,
    fetch,
    prepared,
    running,
    settled,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the product, which can be replaced by another version under a running daemon."""
    place = Path("/tmp") / f"vc5-reexec-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o755)
    _install(place)
    yield place
    shutil.rmtree(place)


def _install(place: Path, version: str = "") -> None:
    """Put the product there, as a package does: every file is a new one."""
    for part in ("appliance", "templates"):
        shutil.rmtree(place / part, ignore_errors=True)
        shutil.copytree(REPOSITORY / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    if version:
        _put(place / "appliance/__init__.py", f'\n__version__ = "{version}"\n')


def _put(file: Path, text: str) -> None:
    with file.open("a") as end:
        end.write(text)


def _descriptors(pid: int) -> list[str]:
    found = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted(name.partition(":")[0] if name.startswith(("socket", "pipe")) else name for name in found)


def _children(pid: int) -> list[tuple[str, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            state, parent = text.rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found.append((entry.name, state))
    return found


@contextmanager
def asking(daemon: Daemon) -> Iterator[list[str]]:
    """Ask for the overrides all the time, as often as a user may; yields what went wrong."""
    over, wrong, count = threading.Event(), [], 0

    def ask() -> None:
        nonlocal count
        while not over.wait(1.2 / USUAL.per_second):
            try:
                call(daemon.places, "overrides")
                count += 1
            except Exception as error:
                wrong.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        over.set()
        thread.join()
    assert count > 3


def test_another_version_takes_over(lab: Lab, copy: Path) -> None:
    with running(lab, "takeover", PYTHONPATH=str(copy), WATCHDOG_USEC="30000000") as daemon:
        assert daemon.reload().returncode == 0
        assert daemon.vc5("drain", SERVICE, "10.1.10.12").returncode == 0
        before, pid, rows = daemon.status(), daemon.pid, settled(daemon)
        assert daemon.vc5("reexec", timeout=60).returncode == 0
        _wait_for_probes(daemon)
        open_before = _descriptors(pid)
        for number in range(1, 4):
            _install(copy, f"99.{number}")
            began, wall = time.monotonic(), time.time()
            with Requests(lab.client, rate=100) as requests, asking(daemon) as wrong:
                done = daemon.vc5("reexec", "--json", timeout=60)
                assert done.returncode == 0, done.stderr + daemon.errors
                seen = len(requests.status().done)
                wait_for("requests", lambda: len(requests.status().done) > seen + 50)  # noqa: B023 - called at once
                assert [request.failure for request in requests.stop().failed] == []
            assert wrong == []
            said = json.loads(done.stdout)
            assert said["version"] == f"99.{number}"
            assert f"version 99.{number} runs in place of" in said["message"]
            assert said["seconds"] < 10
            daemon.wait_notification("RELOADING", "1", began)
            daemon.wait_notification("READY", "1", began)
            assert [n for n in daemon.notifications if n.name == "STOPPING"] == []
            status = daemon.status()
            assert (status["version"], status["pid"]) == (f"99.{number}", pid)
            assert status["config"]["generation"] == before["config"]["generation"] == 2
            assert settled(daemon) == rows
            assert events(daemon, "backend", wall) == [], "no verdict has changed"
            _wait_for_probes(daemon)
            assert [state for _, state in _children(pid) if state == "Z"] == []
        patience = [n.value for n in daemon.notifications if n.name == "WATCHDOG_USEC"]
        assert patience == ["180000000", "30000000"] * 4, "code is read before anyone is alive"
        wait_for("the same descriptors", lambda: Counter(_descriptors(pid)) - Counter(open_before) == Counter())
        log = events(daemon, "daemon")
        assert any("re-executed: version 99.3 runs in place of 99.2" in one["message"] for one in log)
        assert any("by uid 0" in one["message"] for one in events(daemon, "operator") if "re-exec" in one["message"])
        sequences = [one["sequence"] for one in spool_reader.read(daemon.places.log)]
        assert sequences == sorted(set(sequences))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def _wait_for_probes(daemon: Daemon) -> None:
    """Wait until this program's own prober works."""
    now = time.time()
    wait_for("probes", lambda: any(one["at"] > now for one in events(daemon, "probe", now)))


BROKEN = {
    "no Python": ("appliance/control/plan.py", "\nthis is no program\n", "SyntaxError"),
    "a module that is missing": ("appliance/net/watch.py", "\nimport no_such_module\n", "no_such_module"),
    "it dies": (
        "appliance/control/rehearsal.py",
        "\ndef main(*_):\n    import os\n    os.kill(os.getpid(), 9)\n",
        "signal 9",
    ),
    "a template that cannot be compiled": ("templates/bpf/program.c", "\nthis is no C\n", "compile"),
}


@pytest.mark.parametrize(("file", "text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_version_that_cannot_start_is_refused(lab: Lab, copy: Path, file: str, text: str, says: str) -> None:
    with running(lab, "refused", PYTHONPATH=str(copy)) as daemon:
        rows, pid, wall = settled(daemon), daemon.pid, time.time()
        _put(copy / file, text)
        done = daemon.vc5("reexec", timeout=60)
        assert done.returncode == 1
        assert "nothing was changed, version" in done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        _install(copy)
        status = daemon.status()
        assert status["pid"] == pid
        wait_for("the log", lambda: len(events(daemon, "alarm", wall)) == 1)
        assert "re-execution refused" in events(daemon, "alarm", wall)[0]["message"]
        assert settled(daemon) == rows
        assert daemon.vc5("reexec", timeout=60).returncode == 0
        assert daemon.stop() == 0


def test_a_mistaken_configuration_is_refused(lab: Lab) -> None:
    with running(lab, "mistaken") as daemon:
        daemon.configuration_file.write_text("interfaces: {}\n")
        done = daemon.vc5("reexec")
        assert done.returncode == 1
        assert "interfaces: must be an interface name" in done.stderr
        daemon.configuration_file.write_text(configuration(top="max_flows: 8192"))
        done = daemon.vc5("reexec")
        assert done.returncode == 0, done.stderr
        assert "has changed since it was put in force" in done.stdout
        assert daemon.stop() == 0


def test_a_signal_between_two_programs_is_heard(lab: Lab, copy: Path) -> None:
    with running(lab, "signalled", PYTHONPATH=str(copy)) as daemon:
        text = (copy / "appliance/__init__.py").read_text()
        hold = 'import os, time\nif "VC5_HANDOVER" in os.environ:\n    open("here", "w").close()\n    time.sleep(0.5)\n'
        (copy / "appliance/__init__.py").write_text(text + "\n" + hold)
        thread = threading.Thread(target=lambda: daemon.vc5("reexec"))
        thread.start()
        wait_for("the new program", (daemon.root / "here").exists, 20)
        daemon.signal(signal.SIGTERM)
        wait_for("the daemon to end", lambda: not daemon.running, 20)
        thread.join()
        assert daemon.exit_status == 0
        assert daemon.leftovers() == []


def test_a_version_that_dies_at_its_start_leaves_all_to_the_next(lab: Lab, copy: Path) -> None:
    """As a service manager sees it: the process ends, and is started again."""
    with running(lab, "dying", PYTHONPATH=str(copy)) as daemon:
        rows = settled(daemon)
        die = 'import os\nif "VC5_HANDOVER" in os.environ:\n    os._exit(9)\n'
        _put(copy / "appliance/__init__.py", f"\n{die}")
        with Requests(lab.client, rate=50) as requests:
            done = daemon.vc5("reexec", timeout=60)
            assert done.returncode == 1
            assert "did it end meanwhile?" in done.stderr
            wait_for("the end", lambda: not daemon.running)
            assert daemon.exit_status == 9
            assert [n.value for n in daemon.notifications if n.name == "FDNAME"] == ["control", "handover"]
            _install(copy)
            daemon.start()
            assert "went on with the running program" in daemon.errors
            assert [request.failure for request in requests.stop().failed] == []
        assert settled(daemon) == rows
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_connections_and_operators_words_survive() -> None:
    with Scenario(Lab(backends=3)) as scenario:
        scenario.configure(weights=scenario.weights(b1=4))
        scenario.check("weight changed")
        for number in range(3):
            assert scenario.daemon.vc5("reexec").returncode == 0
            scenario.check(f"re-executed, {number}")
        scenario.drain("b2")
        assert scenario.daemon.vc5("reexec").returncode == 0
        scenario.check("drained", "b1", "b3")
        scenario.check_explain()
        scenario.finish()


def test_nothing_is_loaded_once_the_daemon_runs(lab: Lab, copy: Path) -> None:
    """The files of the old version may be gone: what a daemon may have to do without them, it can do."""
    with running(lab, "gone", PYTHONPATH=str(copy)) as daemon:
        daemon.configuration_file.write_text(configuration(servers="10.1.10.11"))
        for file in (copy / "appliance").rglob("*.py"):
            file.unlink()

        def ask(verb: str, **more: Any) -> Any:
            return call(daemon.places, verb, **more)

        ask("reload")
        ask("plan")
        ask("status")
        ask("freeze")
        ask("thaw")
        ask("overrides")
        ask("weight", service=SERVICE, backend="10.1.10.11", weight=7)
        ask("drain", service=SERVICE, backend="10.1.10.11")
        ask("undrain", service=SERVICE, backend="10.1.10.11")
        with pytest.raises(ControlError, match="let it take over with `vc5 reexec`"):
            ask("block", prefix="192.0.2.0/24")  # which needs another program
        ask("blocked")
        ask("explain", flow=f"tcp 198.51.100.7:4242 {SERVICE.partition('/')[0]}", flags="SYN")
        ask("reattach", interface="eth0")
        assert len(backends_of(ask("status"))) >= 1
        daemon.signal(signal.SIGTERM)
        wait_for("the daemon to end", lambda: not daemon.running, 20)
        assert daemon.exit_status == 0, daemon.errors
        assert daemon.leftovers() == []


def backends_of(status: Any) -> list[Any]:
    return [row for service in status["services"] for row in service["backends"]]


def test_what_waits_for_its_interface_goes_on_waiting(lab: Lab) -> None:
    with prepared(lab, "waiting", configuration()) as daemon:
        _plug(lab, "eth0", "later")
        try:
            daemon.start()
            assert "waiting for interface eth0 (does not exist)" in daemon.vc5("status").stdout
            daemon.configuration_file.write_text(configuration("eth7"))
            refused = daemon.vc5("reexec", timeout=60)
            assert refused.returncode == 1
            assert "nothing was changed, version" in refused.stderr
            assert "interface eth7 does not exist" in refused.stderr, "nobody waits for what is misspelt"
            daemon.configuration_file.write_text(configuration())
            done = daemon.vc5("reexec", timeout=60)
            assert done.returncode == 0, done.stderr + daemon.errors
            assert "waiting for interface eth0 (does not exist)" in daemon.vc5("status").stdout
        finally:
            _plug(lab, "later", "eth0")
        wait_for("an answer", lambda: fetch(lab, seconds=0.5))
        wait_states(daemon, b11="available", b12="available")
        _plug(lab, "eth0", "later")
        try:
            wait_for("word of it", lambda: "eth0 (does not exist)" in daemon.vc5("status").stdout)
            assert daemon.vc5("reexec", timeout=60).returncode == 0, "an interface that was lost is waited for, too"
        finally:
            _plug(lab, "later", "eth0")
        wait_for("an answer", lambda: fetch(lab, seconds=0.5))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def _plug(lab: Lab, before: str, after: str) -> None:
    """Give the balancer's interface another name."""
    for words in (f"{before} down", f"{before} name {after}", f"{after} up"):
        lab.balancer.run("ip", "link", "set", *words.split())
