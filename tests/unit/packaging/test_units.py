"""The units: systemd takes every line of them, they are as closed as they can be, and they name what the code names."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance import paths
from appliance.control.requirements import CAPABILITIES, LISTENING
from appliance.errors import EXIT_CONFIG, EXIT_USAGE
from appliance.routing.bfd.launch import MODULE
from appliance.routing.bfd.process import TICK
from tests.lab.backend import REPOSITORY

UNITS = REPOSITORY / "packaging" / "systemd"
EXPOSURE = {"vc5.service": 26, "vc5-prober.service": 16, "vc5-bfd.service": 16, "vc5-netns.service": 60}
"""Tenths of what `systemd-analyze security` says at most. The one-shot holds CAP_SYS_ADMIN for its second, and must
share the host's mounts."""
PLACES = paths.root("")
SOCKET = "vc5-bfd.socket"


def settings(unit: str) -> dict[str, str]:
    """Return the settings of the [Service] section; of several lines for one, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    return dict(parser["Service"]) | {f"Unit.{name}": value for name, value in parser["Unit"].items()}


def socket() -> dict[str, str]:
    """Return the settings of the socket."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / SOCKET)
    return dict(parser["Socket"])


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    assert shutil.which("systemd-analyze"), "the units cannot be verified: install the package systemd"
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)


def test_every_unit_is_looked_at() -> None:
    assert {unit.name for unit in UNITS.glob("*.service")} == set(EXPOSURE)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    copies = []
    for unit in (*EXPOSURE, SOCKET):
        # Neither the command nor the manual need to be installed where this is tested.
        text = (UNITS / unit).read_text().replace("/usr/bin/vc5 ", "/bin/true ")
        lines = [line for line in text.splitlines() if not line.startswith("Documentation=")]
        copies.append(tmp_path / unit)
        copies[-1].write_text("\n".join([*lines, ""]))
    done = analyze("verify", *map(str, copies))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_analyze_finds_what_is_wrong(tmp_path: Path) -> None:
    unit = tmp_path / "vc5-wrong.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nWatchdogSex=30\n")
    assert "WatchdogSex" in analyze("verify", str(unit)).stderr


@pytest.mark.parametrize("unit", EXPOSURE)
def test_a_unit_is_no_more_exposed_than_it_must_be(unit: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE[unit]}", str(UNITS / unit))
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_daemon_holds_what_it_asks_for_and_no_more() -> None:
    found = settings("vc5.service")
    assert set(found["AmbientCapabilities"].split()) == {*CAPABILITIES.values(), LISTENING}
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"]
    assert found["RestartPreventExitStatus"].split() == [str(EXIT_USAGE), str(EXIT_CONFIG)]
    assert found["Unit.StartLimitIntervalSec"] == "0"


def test_the_prober_holds_one_capability() -> None:
    found = settings("vc5-prober.service")
    assert found["AmbientCapabilities"] == found["CapabilityBoundingSet"] == "CAP_NET_RAW"
    assert float(found["WatchdogSec"]) > 5


def test_bfd_holds_nothing_and_outlives_the_daemon() -> None:
    """Both BindsTo= and PartOf= would end it with a daemon that is started again after it has failed."""
    found = settings("vc5-bfd.service")
    assert found["AmbientCapabilities"] == found["CapabilityBoundingSet"] == ""
    assert not {"Unit.BindsTo", "Unit.PartOf", "Unit.Requires"} & set(found)
    assert float(found["WatchdogSec"]) > 5 * TICK


def test_no_unit_that_runs_on_holds_what_is_enough_for_everything() -> None:
    for unit in ("vc5.service", "vc5-prober.service"):
        assert "CAP_SYS_ADMIN" not in settings(unit)["CapabilityBoundingSet"]


def test_the_units_name_what_the_code_names() -> None:
    daemon, prober, ground = map(settings, ("vc5.service", "vc5-prober.service", "vc5-netns.service"))
    assert daemon["ReadWritePaths"] == f"-{PLACES.pins}"
    assert Path("/run", daemon["RuntimeDirectory"]) == PLACES.run
    assert Path("/var/lib", daemon["StateDirectory"]) == PLACES.state
    assert prober["NetworkNamespacePath"] == f"/run/netns/{PLACES.namespace}"
    assert prober["ExecStart"].endswith(f" --await {PLACES.prober_socket}")
    assert daemon["ExecStart"].endswith(f" --prober-user {prober['User']}")
    assert daemon["SupplementaryGroups"] == prober["Group"]
    bfd, listening = settings("vc5-bfd.service"), socket()
    assert listening["ListenStream"] == str(PLACES.bfd_socket)
    assert bfd["ExecStart"].endswith(f" -m {MODULE} --fd 3 --at {PLACES.bfd_socket}")
    assert (listening["SocketUser"], listening["SocketMode"]) == (daemon["User"], "0600")
    assert SOCKET in daemon["Unit.Upholds"].split()
    assert ground["ExecStart"].endswith(f" --user {daemon['User']}")


def test_the_accounts_are_those_of_the_units() -> None:
    rows = [line.split()[:3] for line in (UNITS / "vc5.sysusers").read_text().splitlines() if line[:1] in "um"]
    daemon, prober, bfd = (settings(f"{name}.service")["User"] for name in ("vc5", "vc5-prober", "vc5-bfd"))
    assert rows == [["u", daemon, "-"], ["u", prober, "-"], ["u", bfd, "-"], ["m", daemon, prober]]


def test_what_makes_namespaces_shares_the_hosts_mounts() -> None:
    """systemd.exec(5): what makes a mount namespace; what is mounted in one is not seen by the other units."""
    private = (
        "Protect",
        "Private",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "BindPaths",
        "TemporaryFile",
    )
    found = settings("vc5-netns.service")
    assert [name for name in found if name.startswith((*private, "RootDirectory", "DynamicUser", "MountFlags"))] == []
