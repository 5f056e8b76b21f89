"""Making the package: always the same, small, and to the liking of Debian's own checker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.package.archive import Package
from tests.package.building import built, missing_tools

LIMIT = 2_000_000
"""Bytes."""
# Services for systemd alone: policy 9.11 asks for no other. The prober needs no [Install], as the daemon brings it.
# There are no overrides in the package.
ACCEPTED = ("package-supports-alternative-init-but-no-init.d-script", "systemd-service-file-missing-install-key")


def test_it_is_small(deb: Package) -> None:
    assert deb.file.stat().st_size < LIMIT


def test_two_builds_are_the_same_to_the_bit(deb: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    before = os.umask(0o077)
    try:
        again = built(tmp_path)
    finally:
        os.umask(before)
    assert again.name == deb.file.name
    assert again.read_bytes() == deb.file.read_bytes()


def test_lintian_has_nothing_to_say(deb: Package) -> None:
    if missing_tools("lintian"):
        pytest.skip("there is no lintian (sh tests/setup.sh package)")
    command = ["lintian", "--allow-root", "--pedantic", "--display-info", "--tag-display-limit=0", str(deb.file)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [line for line in said if not any(f" {tag} " in line for tag in ACCEPTED)] == []
    assert done.returncode == 0
    assert not any("lintian" in member.name for member in deb.members())


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_the_maintainer_scripts_are_sound(deb: Package, script: str, tmp_path: Path) -> None:
    file = tmp_path / script
    file.write_text(deb.control(script))
    text = file.read_text()
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert "#DEBHELPER#" not in text
    subprocess.run(["sh", "-n", file], check=True)


def test_nothing_stops_or_restarts_a_daemon_that_is_running(deb: Package) -> None:
    assert "restart" not in deb.control("postinst")
    prerm = deb.control("prerm")
    stops = [line for line in prerm.splitlines() if "deb-systemd-invoke" in line]
    assert len(stops) == prerm.count('"$1" = remove ] && [ -d /run/systemd/system ]') == 2  # ours and debhelper's
