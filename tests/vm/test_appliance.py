"""The package's whole life on Debian's own kernel, under its own systemd, with what an operator sees at each step.

The machine is the appliance: its card1 has an address of systemd-networkd's, and around it are a client and backends
(surroundings.py). It is saved once with the package installed and serving; each test has a copy.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import __version__
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.package.building import TOOLS, built, missing_tools
from tests.vm import surroundings
from tests.vm.conftest import place
from tests.vm.installed import (
    CONFIG,
    CONFIGURATION,
    LIMIT,
    NEWER,
    NEWEST,
    SITE,
    SITES_OWN,
    ask,
    bring,
    journal,
    on_terminal,
    send_program,
    show,
    start_talking,
    status,
    still_talking,
    surround,
    variant,
    version,
    wait_serving,
)
from tests.vm.machine import Saved, Vm

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow, pytest.mark.appliance]

Say = Callable[[str], None]

INSTALLED = "install ok installed"
UNITS = ("vc5.service", "vc5-prober.service", "vc5-netns.service", "vc5-bfd.socket")
PLACES = (
    *("/etc/vc5", "/run/netns/vc5", "/run/vc5", "/sys/fs/bpf/vc5", "/usr/share/vc5-appliance", "/var/lib/vc5"),
    *("/var/cache/vc5", "/usr/bin/vc5", "/etc/systemd/system/multi-user.target.wants/vc5.service"),
)
ALARMING = re.compile(r"error|fail|warn|traceback|cannot|could not", re.IGNORECASE)
DOWNGRADING = f"downgrading vc5-appliance from {NEWER} to {__version__}"
PROMPT = "[default=N] ?"
LITTLE = "12M"
NO_MEMORY = "killed by the OOM killer"
BOOT_GOAL = 3.0
"""Seconds from the interface's being up to forwarding, on real hardware; checks excluded."""
LOOP = "import time; t = time.perf_counter(); sum(i * i for i in range(1000000)); print(time.perf_counter() - t)"


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := missing_tools(*TOOLS):
        pytest.skip(f"the package cannot be made here: there is no {', '.join(missing)} (sh tests/setup.sh deb)")
    return built(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def installation(saved: Saved, deb: Path) -> Iterator[tuple[Saved, dict[str, str]]]:
    """A machine that serves with the package, at rest, and what was shown on the way there."""
    with place("installed") as directory, Vm.restore(saved, directory) as vm:
        shown: dict[str, str] = {}
        try:
            surround(vm)
            shown["files before"] = files(vm)
            shown["install"] = bring(vm, deb)
            shown["status"] = systemctl_status(vm)
            send_program(vm)
            vm.put(CONFIGURATION.encode(), SITE)
            shown["reload"] = on_terminal(vm, "systemctl", "reload", "vc5")
            wait_serving(vm)
        except (AssertionError, LabError) as error:
            told = "\n".join(text for name, text in shown.items() if name != "files before")
            raise LabError(f"{error}\n{told}\n{journal(vm)}\n{vm.told()}") from None
        yield vm.save(), shown


@pytest.fixture
def vm(installation: tuple[Saved, dict[str, str]], request: pytest.FixtureRequest) -> Iterator[Vm]:
    """A machine for one test, that serves."""
    name = re.sub(r"\W+", "-", request.node.name)[:60]
    with place(name) as directory, Vm.restore(installation[0], directory) as machine:
        wait_serving(machine)
        yield machine


def files(vm: Vm) -> str:
    """Return the names of all that is on the disk, but for what changes by itself."""
    prune = " -o ".join(
        f"-path {path}" for path in ("/srv", "/var/log", "/var/cache", "/var/lib/apt", "/tmp", "/var/tmp")
    )
    return vm.run("sh", "-c", f"find / -xdev \\( {prune} \\) -prune -o -print | sort", limit=LIMIT)


def systemctl_status(vm: Vm) -> str:
    return vm.execute("systemctl", "status", "--no-pager", "--lines=20", "vc5.service").output


def test_apt_installs_what_then_serves(installation: tuple[Saved, dict[str, str]], vm: Vm, deb: Path) -> None:
    _, shown = installation
    said = shown["install"]
    assert f"Setting up vc5-appliance ({__version__})" in said
    assert "The following NEW packages will be installed:\n  vc5-appliance\n" in said
    assert "multi-user.target.wants/vc5.service" in said
    assert [line for line in said.splitlines() if ALARMING.search(line)] == []
    assert "Active: active (running)" in shown["status"]
    assert "0 of 0 services up" in shown["status"]
    assert shown["reload"] == ""
    assert version(vm) == f"{__version__} {INSTALLED}"
    assert vm.run("systemctl", "is-system-running").strip() == "running"
    for unit in UNITS:
        assert show(vm, unit, "ActiveState") == "active"
    assert show(vm, "vc5.service", "UnitFileState") == "enabled"
    assert [(row["name"], row["attach"]) for row in status(vm)["interfaces"]] == [("card1", "native")]
    for vip in (surroundings.CHECKED, surroundings.UNCHECKED):
        assert {ask(vm, vip) for _ in range(20)} == {"b1", "b2"}
    assert "2 of 2 services up" in systemctl_status(vm)
    wrong = vm.run("dpkg", "--verify", "vc5-appliance").splitlines()
    assert [line for line in wrong if "/usr/share/doc/" not in line and "/usr/share/man/" not in line] == []


@pytest.mark.parametrize("answer", ["", "N", "Y"])
def test_dpkg_asks_where_both_have_changed_the_file(vm: Vm, deb: Path, tmp_path: Path, answer: str) -> None:
    vm.run("sh", "-c", f"printf '%s' '{SITES_OWN}' >>{CONFIG}")
    mine = vm.get(CONFIG)
    said = bring(vm, variant(deb, tmp_path, NEWER, "# The package's new line.\n"), answers={PROMPT: answer})
    for words in (
        f"Configuration file '{CONFIG}'",
        "Modified (by you or by a script) since installation.",
        "Package distributor has shipped an updated version.",
        "The default action is to keep your current version.",
    ):
        assert words in said, words
    assert version(vm) == f"{NEWER} {INSTALLED}"
    replaced = answer == "Y"
    kept, other = (f"{CONFIG}.dpkg-old", CONFIG) if replaced else (CONFIG, f"{CONFIG}.dpkg-dist")
    assert vm.get(kept) == mine
    assert vm.get(other).endswith(b"# The package's new line.\n")
    # The copy beside it is no part of the configuration, and the daemon changes over either way.
    assert "runs in place of" in said
    vm.run("vc5", "check")
    wait_serving(vm)


@pytest.mark.parametrize("options", [("confdef", "confold"), ("confnew",)], ids="-".join)
def test_dpkg_is_told_what_to_do_with_the_file(vm: Vm, deb: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    vm.run("sh", "-c", f"printf '%s' '{SITES_OWN}' >>{CONFIG}")
    mine = vm.get(CONFIG)
    newer = variant(deb, tmp_path, NEWER, "# The package's new line.\n")
    said = bring(vm, newer, *(word for option in options for word in ("-o", f"Dpkg::Options::=--force-{option}")))
    assert PROMPT not in said
    new = "confnew" in options
    assert (
        f"Installing new version of config file {CONFIG}" in said
        if new
        else "==> Keeping old config file as default." in said
    )
    assert vm.get(f"{CONFIG}.dpkg-old" if new else CONFIG) == mine
    assert vm.get(CONFIG if new else f"{CONFIG}.dpkg-dist").endswith(b"# The package's new line.\n")
    wait_serving(vm)


def test_reload_good_and_bad(vm: Vm) -> None:
    start_talking(vm)
    before = show(vm, "vc5.service", "MainPID")
    vm.put(CONFIGURATION.replace("10.1.10.12]", "10.1.10.312]", 1).encode(), SITE)
    with pytest.raises(LabError, match=r"Job for vc5\.service failed\.[\s\S]*systemctl status vc5\.service"):
        on_terminal(vm, "systemctl", "reload", "vc5")
    told = systemctl_status(vm)
    assert "Active: active (running)" in told
    assert f"reload refused, the old configuration is in force: {SITE}:9:" in told, told
    assert "10.1.10.312" in journal(vm, "vc5.service")
    still_talking(vm)
    vm.put(CONFIGURATION.replace("interval: 1s", "interval: 2s").encode(), SITE)
    assert on_terminal(vm, "systemctl", "reload", "vc5") == ""
    assert "refused" not in show(vm, "vc5.service", "StatusText")
    wait_serving(vm)
    still_talking(vm)
    assert (show(vm, "vc5.service", "MainPID"), show(vm, "vc5.service", "NRestarts")) == (before, "0")


def test_upgrade_and_downgrade_under_connections(vm: Vm, deb: Path, tmp_path: Path) -> None:
    start_talking(vm)
    before = show(vm, "vc5.service", "MainPID")
    program = vm.run("ip", "-details", "link", "show", "card1").partition("prog/xdp id ")[2].split()[0]
    versions = [(variant(deb, tmp_path / "1", NEWER), NEWER, "Unpacking"), (deb, __version__, "DOWNGRADED")]
    versions.append((variant(deb, tmp_path / "2", NEWEST), NEWEST, "Unpacking"))
    running = __version__
    for package, wanted, word in versions:
        options = ("--allow-downgrades", "--yes") if word == "DOWNGRADED" else ()
        said = bring(vm, package, *options)
        assert word in said
        assert f"version {wanted} runs in place of {running}, without a break" in said
        # A downgrade is what was asked for; dpkg warns of it all the same.
        alarming = [line for line in said.splitlines() if ALARMING.search(line) and DOWNGRADING not in line]
        assert alarming == []
        assert version(vm) == f"{wanted} {INSTALLED}"
        assert vm.run("vc5", "--version") == f"vc5 {wanted}\n"
        assert (show(vm, "vc5.service", "MainPID"), show(vm, "vc5.service", "NRestarts")) == (before, "0")
        wait_serving(vm)
        still_talking(vm)
        running = wanted
    assert f"prog/xdp id {program} " in vm.run("ip", "-details", "link", "show", "card1")
    assert "Traceback" not in journal(vm)


def test_it_serves_again_after_a_boot(vm: Vm, say: Say) -> None:
    ours = min(_computing() for _ in range(3))
    theirs = min(float(vm.run("python3", "-c", LOOP)) for _ in range(3))
    vm.reboot()
    wait_for("the first answer", lambda: vm.execute("test", "-s", str(surroundings.FIRST)).status == 0, LIMIT)
    first = json.loads(vm.get(str(surroundings.FIRST)))
    wait_serving(vm)
    up = _carrier(vm)
    started = int(show(vm, "vc5.service", "ExecMainStartTimestampMonotonic")) / 1e6
    factor = theirs / ours
    say(
        f"boot: the interface was up at {up:.1f} s, the daemon was started at {started:.1f} s, the client asked from "
        f"{first['asked']:.1f} s on and was answered at {first['answered']:.1f} s"
    )
    say(
        f"boot to forwarding: {first['answered'] - up:.1f} s after the interface was up, "
        f"{first['answered'] - max(up, started):.1f} s after the daemon was started as well; the goal of "
        f"{BOOT_GOAL:g} s is a real machine's, and this emulated one computes {factor:.0f} times slower "
        f"({BOOT_GOAL * factor:.0f} s)"
    )
    assert [(row["name"], row["attach"]) for row in status(vm)["interfaces"]] == [("card1", "native")]
    assert vm.run("systemctl", "is-system-running").strip() == "running"
    vm.cut_power()
    wait_serving(vm)
    assert "Traceback" not in journal(vm)


def _computing() -> float:
    began = time.perf_counter()
    sum(i * i for i in range(1000000))
    return time.perf_counter() - began


def _carrier(vm: Vm) -> float:
    """Return when card1 had a carrier, in seconds since the boot."""
    lines = vm.run("journalctl", "--boot", "--no-pager", "--output=json", "--unit=systemd-networkd").splitlines()
    [at] = [row["__MONOTONIC_TIMESTAMP"] for row in map(json.loads, lines) if row["MESSAGE"] == "card1: Gained carrier"]
    return int(at) / 1e6


def limited(vm: Vm, unit: str, most: str) -> None:
    """Let a unit have so much memory, until the next boot."""
    vm.run("systemctl", "set-property", "--runtime", unit, f"MemoryMax={most}")


def test_without_memory(vm: Vm) -> None:
    """Of a unit's own limit, which systemd knows of, as it has control groups to itself here."""
    start_talking(vm)
    # The prober first: health stands still, and says so.
    before = show(vm, "vc5-prober.service", "MainPID")
    limited(vm, "vc5-prober.service", LITTLE)
    wait_for("the kernel", lambda: NO_MEMORY in journal(vm, "vc5-prober"), LIMIT)
    wait_for("word of it", lambda: "HEALTH FROZEN" in show(vm, "vc5.service", "StatusText"), LIMIT)
    assert "oom-kill" in journal(vm, "vc5-prober")
    still_talking(vm)
    limited(vm, "vc5-prober.service", "infinity")
    wait_for("its end", lambda: "FROZEN" not in show(vm, "vc5.service", "StatusText"), 2 * LIMIT)
    wait_serving(vm)
    assert show(vm, "vc5-prober.service", "MainPID") != before

    # Then the daemon, which is started again and again, and never comes up.
    since = len(events(vm))
    limited(vm, "vc5.service", LITTLE)
    wait_for("the kernel", lambda: NO_MEMORY in journal(vm, "vc5"), LIMIT)
    wait_for("more than one try", lambda: int(show(vm, "vc5.service", "NRestarts")) > 1, 2 * LIMIT)
    # A child that is killed for its memory, such as the compiler, must not end the daemon (OOMPolicy=continue); so of
    # the daemon itself systemd tells the signal, and in a line of its own whose it was.
    assert "status=9/KILL" in journal(vm, "vc5")
    # Asked between two tries it says why; during one, that there were some.
    wait_for(
        "the doctor", lambda: "it ends and is started again" in vm.execute("vc5", "doctor", "--json").output, LIMIT
    )
    still_talking(vm)
    limited(vm, "vc5.service", "infinity")
    wait_for("the daemon", lambda: show(vm, "vc5.service", "ActiveState") == "active", 2 * LIMIT)
    wait_serving(vm)
    still_talking(vm)
    assert "went on with the running program" in journal(vm, "vc5")
    assert [line for line in events(vm)[since:] if '"dead"' in line] == [], "no verdict was lost or changed"
    assert "Traceback" not in journal(vm)


def events(vm: Vm) -> list[str]:
    return vm.run("vc5", "log", "--events", "--json").splitlines()


def test_remove_and_purge_leave_nothing(installation: tuple[Saved, dict[str, str]], vm: Vm) -> None:
    said = on_terminal(vm, "apt", "remove", "--yes", "vc5-appliance")
    assert "Removing vc5-appliance" in said
    assert [line for line in said.splitlines() if ALARMING.search(line)] == []
    assert left(vm) == ["/etc/vc5", "/var/lib/vc5"]
    assert version(vm).endswith("deinstall ok config-files")
    assert "prog/xdp" not in vm.run("ip", "-details", "link")
    assert "vc5" not in vm.run("ip", "link")
    assert ask(vm) == ""

    vm.run("rm", SITE)  # what the site wrote itself is the site's to remove
    said = on_terminal(vm, "apt", "purge", "--yes", "vc5-appliance")
    assert "Purging configuration files for vc5-appliance" in said
    assert [line for line in said.splitlines() if ALARMING.search(line)] == []
    assert left(vm) == []
    assert "vc5" not in vm.run("systemctl", "list-unit-files")
    assert "vc5" not in vm.run("systemctl", "list-units", "--all")
    before, after = (set(text.splitlines()) for text in (installation[1]["files before"], files(vm)))
    assert {name for name in after - before if not name.startswith(("/var/lib/dpkg/", "/var/lib/systemd/"))} == set()
    # As Debian does: a user that a package has made stays, lest its number be given to somebody else.
    names = {line.partition(":")[0] for line in vm.run("getent", "passwd").splitlines() if line.startswith("vc5")}
    assert names == {"vc5", "vc5-prober", "vc5-bfd"}
    assert vm.run("systemctl", "is-system-running").strip() == "running"


def left(vm: Vm) -> list[str]:
    return [name for name in PLACES if vm.execute("test", "-e", name).status == 0]
