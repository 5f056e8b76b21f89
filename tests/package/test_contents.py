"""The package has every file of the program where `appliance.paths` looks for it, and no other."""

from __future__ import annotations

import gzip
import re
import subprocess
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

from appliance.cli.completion import SCRIPTS
from tests.lab.backend import REPOSITORY
from tests.package.archive import Package

PRIVATE = "/usr/share/vc5-appliance"
DOCUMENTS = "/usr/share/doc/vc5-appliance"
MADE = {
    "/etc/vc5/config.yaml",
    "/usr/bin/vc5",
    "/usr/lib/sysusers.d/vc5-appliance.conf",
    "/usr/lib/tmpfiles.d/vc5-appliance.conf",
    "/usr/share/bash-completion/completions/vc5",
    "/usr/share/zsh/vendor-completions/_vc5",
    "/usr/share/fish/vendor_completions.d/vc5.fish",
    "/usr/share/man/man1/vc5.1.gz",
    "/usr/share/man/man5/vc5.yaml.5.gz",
    "/usr/share/man/man7/vc5-metrics.7.gz",
    "/usr/share/man/man8/vc5.8.gz",
    "/usr/share/python3/runtime.d/vc5-appliance.rtupdate",  # compiles the modules when Python's version changes
    *(f"{DOCUMENTS}/{name}" for name in ("copyright", "changelog.gz")),
    *(f"{DOCUMENTS}/{name}.md.gz" for name in ("README", "ARCHITECTURE", "CHANGELOG")),
}
OF_OTHERS = ("packaging/prometheus", "packaging/grafana")
"""What is for other programs."""
SECRET = re.compile(rb"/(?:tmp|home|root)/|BEGIN [A-Z ]*PRIVATE KEY")
"""What the machine that made the package could leave in it."""


def tracked(*places: str) -> set[str]:
    """Return the files below these places that belong to the program."""
    if not REPOSITORY.joinpath(".git").exists():
        files = [file for place in places for file in REPOSITORY.joinpath(place).rglob("*") if file.is_file()]
        return {str(file.relative_to(REPOSITORY)) for file in files if "__pycache__" not in file.parts}
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run([*command, "--", *places], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    return {name for name in done.stdout.splitlines() if REPOSITORY.joinpath(name).is_file()}


def test_it_has_the_files_of_the_program_and_no_other(deb: Package) -> None:
    wanted = MADE | {f"{PRIVATE}/{name}" for name in tracked("appliance", "templates")}
    wanted |= {
        f"/usr/lib/systemd/system/{Path(name).name}"
        for name in tracked("packaging/systemd")
        if name.endswith((".service", ".socket"))
    }
    wanted |= {f"{PRIVATE}/kibana/{Path(name).name}" for name in tracked("packaging/kibana")}
    wanted |= {f"{DOCUMENTS}/examples/{Path(name).name}" for name in tracked("packaging/examples")}
    wanted |= {f"{PRIVATE}/{name.removeprefix('packaging/')}" for name in tracked(*OF_OTHERS)}
    assert set(deb.files()) == wanted


def test_the_files_are_those_of_the_tree(deb: Package) -> None:
    files = deb.files()
    for name in tracked("appliance", "templates"):
        assert files[f"{PRIVATE}/{name}"] == REPOSITORY.joinpath(name).read_bytes(), name
    for name in tracked(*OF_OTHERS):
        assert files[f"{PRIVATE}/{name.removeprefix('packaging/')}"] == REPOSITORY.joinpath(name).read_bytes(), name
    assert files["/etc/vc5/config.yaml"] == REPOSITORY.joinpath("etc/vc5/config.yaml").read_bytes()
    assert [name for name, data in files.items() if SECRET.search(data)] == []


def test_everything_is_owned_by_root_and_writable_by_nobody_else(deb: Package) -> None:
    for member in deb.members():
        executable = member.isdir() or member.name == "/usr/bin/vc5" or member.name.endswith(".rtupdate")
        assert (member.uname, member.gname) == ("root", "root"), member.name
        assert member.mode == (0o755 if executable else 0o644), member.name


def test_a_directory_awaits_the_parts_of_a_configuration(deb: Package) -> None:
    assert [member.isdir() for member in deb.members() if member.name.rstrip("/") == "/etc/vc5/conf.d"] == [True]


def test_the_manual_pages_bear_the_version_and_the_date_of_the_package(deb: Package) -> None:
    version = deb.field("Version")
    changelog = REPOSITORY.joinpath("packaging/debian/changelog").read_text("utf-8")
    [latest, *_] = re.findall(r"^ -- .*>  (.*)$", changelog, re.MULTILINE)
    day = parsedate_to_datetime(latest).astimezone(UTC).date()
    for name in ("man1/vc5.1", "man8/vc5.8", "man5/vc5.yaml.5", "man7/vc5-metrics.7"):
        page = gzip.decompress(deb.files()[f"/usr/share/man/{name}.gz"]).decode()
        assert f'{day} "vc5 {version}"' in page


def test_the_completions_are_those_that_the_command_prints(deb: Package) -> None:
    files = deb.files()
    assert files["/usr/share/bash-completion/completions/vc5"].decode() == SCRIPTS["bash"]
    assert files["/usr/share/fish/vendor_completions.d/vc5.fish"].decode() == SCRIPTS["fish"]
    assert files["/usr/share/zsh/vendor-completions/_vc5"].decode() == SCRIPTS["zsh"]
