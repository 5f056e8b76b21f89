"""Installing, upgrading, removing and purging with apt, on each release, in a system in which no systemd runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import __version__
from appliance.dataplane.text import FUNCTIONS
from tests.package.archive import Package
from tests.package.building import another
from tests.package.debian import Debian

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance, pytest.mark.timeout(600)]

PRIVATE = "/usr/share/vc5-appliance"
COMPILE = """
import sys
sys.path.insert(0, "/usr/share/vc5-appliance")
from pathlib import Path
from appliance import config
from appliance.control.offline import render_text
from appliance.dataplane.compile import compile_text
from appliance.dataplane.text import FUNCTIONS
compiled = compile_text(render_text(Path("/usr/share/doc/vc5-appliance/examples/trunk.yaml")), FUNCTIONS)
print(len(compiled.code), "programs", repr(compiled.warnings))
"""
RECORDS = (
    *("/var/cache/apt/", "/var/cache/debconf/", "/var/cache/man/", "/var/cache/packages"),
    *("/var/lib/apt/", "/var/log/apt/", "/var/log/dpkg.log"),
)
"""What apt, dpkg and man-db write for themselves."""


def test_what_is_installed_works(debian: Debian) -> None:
    assert debian.run("vc5", "--version") == f"vc5 {__version__}\n"
    checked = debian.run("vc5", "check", "/etc/vc5/config.yaml")
    assert debian.run("vc5", "check") == checked
    for example in ("shop", "trunk", "elsewhere"):
        assert "services" in debian.run("vc5", "check", f"/usr/share/doc/vc5-appliance/examples/{example}.yaml")
    assert debian.run("man", "8", "vc5", MANPAGER="cat").startswith("VC5(8)")
    assert debian.run("man", "5", "vc5.yaml", MANPAGER="cat").startswith("VC5.YAML(5)")
    script = "source /usr/share/bash-completion/completions/vc5; complete -p vc5"
    assert debian.run("bash", "-c", script) == "complete -F _vc5 vc5\n"
    assert debian.run("stat", "--format=%U:%G %a", "/var/lib/vc5") == "vc5:vc5 750\n"


def test_the_data_plane_compiles_with_what_the_package_depends_on(debian: Debian) -> None:
    said = debian.run("/usr/bin/python3", "-I", "-c", COMPILE)
    assert said == f"{len(FUNCTIONS)} programs ''\n"


def test_modules_are_compiled_when_they_are_installed(debian: Debian) -> None:
    files = debian.files()
    modules = {name for name in files if name.startswith(f"{PRIVATE}/appliance/") and name.endswith(".py")}
    compiled = {name for name in files if name.startswith(f"{PRIVATE}/") and name.endswith(".pyc")}
    assert len(modules) == len(compiled) > 200
    debian.run("vc5", "check")
    assert debian.files() - files == set()


def test_nothing_of_a_user_comes_before_the_package(debian: Debian, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("raise SystemExit('the wrong module')\n")
    minor = debian.run("/usr/bin/python3", "-c", "import sys; print(sys.version_info.minor)").strip()
    home = "/srv/home"
    for place in (f"{home}/lib", f"{home}/.local/lib/python3.{minor}/site-packages", home):
        for module in ("appliance", "yaml", "jinja2", "argparse"):
            debian.put(wrong, f"{place}/{module}.py")
    for verb in ("check", "render"):
        debian.run("sh", "-c", f"cd && vc5 {verb}", HOME=home, PYTHONPATH=f"{home}/lib")


def test_purging_leaves_nothing(pristine: Debian, debian: Debian) -> None:
    before = pristine.files()
    more = "mkdir -p /var/cache/vc5 /var/lib/vc5/log; touch /var/lib/vc5/hash_seed /var/cache/vc5/x /var/lib/vc5/log/1"
    debian.run("sh", "-c", f"vc5 check && {more}")
    debian.run("apt-get", "purge", "--yes", "vc5-appliance")
    after = debian.files()
    assert {name for name in after - before if not name.startswith(RECORDS)} == set()
    assert {name for name in before - after if not name.startswith(RECORDS)} == set()


def test_what_the_site_wrote_stays(deb: Package, debian: Debian, tmp_path: Path) -> None:
    debian.run(
        "sh", "-c", "echo '# of the site' >>/etc/vc5/config.yaml; echo 'interval: 1s' >/etc/vc5/conf.d/site.yaml"
    )
    debian.install(another(deb.file, tmp_path / "newer", f"{__version__}+1"))
    assert debian.run("vc5", "--version") == f"vc5 {__version__}+1\n"
    assert debian.run("tail", "-n", "1", "/etc/vc5/config.yaml") == "# of the site\n"
    debian.install(deb.file)
    assert debian.run("vc5", "--version") == f"vc5 {__version__}\n"
    assert debian.run("tail", "-n", "1", "/etc/vc5/config.yaml") == "# of the site\n"
    debian.run("apt-get", "remove", "--yes", "vc5-appliance")
    kept = debian.files()
    assert {"/etc/vc5/config.yaml", "/etc/vc5/conf.d/site.yaml", "/var/lib/vc5"} <= kept
    assert not any(name.startswith(PRIVATE) for name in kept)
    debian.run("apt-get", "purge", "--yes", "vc5-appliance")
    assert {name for name in debian.files() if name.startswith(("/etc/vc5", "/var/lib/vc5"))} == {
        "/etc/vc5",
        "/etc/vc5/conf.d",
        "/etc/vc5/conf.d/site.yaml",
    }
