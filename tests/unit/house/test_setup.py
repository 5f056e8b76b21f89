"""tests/setup.sh on machines that lack something; dpkg-query and apt-get only record, since they own the machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.house import tree

DPKG_QUERY = """#!/bin/sh
for name; do :; done
case " $MISSING " in *" $name "*) exit 1 ;; *) echo installed ;; esac
"""
APT_GET = """#!/bin/sh
echo "$DEBIAN_FRONTEND $*" >>"$CALLS"
case "$*" in *"$BROKEN"*) exit 100 ;; esac
"""


def setup(
    directory: Path, *parts: str, missing: str = "", broken: str = "nothing", user: int | None = None
) -> tuple[int, str, list[str]]:
    """Run the script where packages are `missing` and apt-get fails at `broken`; return status, text, calls."""
    commands = directory / "commands"
    commands.mkdir(exist_ok=True)
    for name, text in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET)):
        commands.joinpath(name).write_text(text, encoding="ascii")
        commands.joinpath(name).chmod(0o755)
    calls = directory / "calls"
    calls.touch()
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "MISSING": missing,
        "BROKEN": broken,
        "CALLS": str(calls),
    }
    script = tree.ROOT.joinpath("tests/setup.sh").read_bytes()
    directory.joinpath("tests").mkdir()
    directory.joinpath("tests/setup.sh").write_bytes(script)
    done = subprocess.run(
        ["sh", directory / "tests/setup.sh", *parts],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        user=user,
    )
    return done.returncode, done.stderr, calls.read_text(encoding="ascii").splitlines()


def test_nothing_is_done_where_nothing_is_missing(tmp_path: Path) -> None:
    assert setup(tmp_path, "runtime", "lab") == (0, "", [])


@pytest.mark.root
def test_what_is_missing_is_installed_and_nothing_else(tmp_path: Path) -> None:
    status, text, calls = setup(tmp_path, "runtime", "lab", missing="python3-h11 curl scapy")
    assert status == 0
    assert text == "setup: installing python3-h11 curl \n"
    assert calls == [" -q update", "noninteractive -q -y --no-install-recommends install python3-h11 curl"]


@pytest.mark.root
def test_without_network_it_says_so(tmp_path: Path) -> None:
    status, text, calls = setup(tmp_path, "runtime", missing="python3-bpfcc", broken="q")
    assert status == 1
    assert "apt-get update failed (no network?); trying with the package lists that are here" in text
    assert "apt-get could not install: python3-bpfcc - is the machine online" in text
    assert len(calls) == 2


@pytest.mark.root
def test_without_root_it_says_what_to_run() -> None:
    # Not below pytest's directory, which is root's alone.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        status, text, calls = setup(Path(directory), "runtime", missing="python3-bpfcc python3-h11", user=65534)
    assert status == 1
    assert "missing packages: python3-bpfcc python3-h11 - run this as root, or: apt-get install" in text
    assert calls == []


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "usage:"),
        (("--packages",), "usage:"),
        (("everything",), "unknown part 'everything'"),
        (("guest",), "it can only be printed"),
    ],
)
def test_wrong_parts(tmp_path: Path, parts: tuple[str, ...], text: str) -> None:
    status, printed, calls = setup(tmp_path, *parts)
    assert (status, calls) == (1, [])
    assert text in printed


def test_the_packages_of_a_part_are_printed_and_not_installed() -> None:
    script = tree.ROOT / "tests/setup.sh"
    done = subprocess.run(["sh", script, "--packages", "runtime", "guest"], capture_output=True, text=True, check=True)
    assert {"python3-bpfcc", "qemu-guest-agent"} <= set(done.stdout.split("\n"))
    assert done.stderr == ""


def test_a_machine_without_a_virtual_one_gets_no_emulator(tmp_path: Path) -> None:
    uname = tmp_path / "commands" / "uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho riscv64\n", encoding="ascii")
    uname.chmod(0o755)
    status, text, calls = setup(tmp_path, "vm", missing="mmdebstrap qemu-system-x86")
    assert (status, calls) == (0, [])
    assert "they know no machine for riscv64" in text
