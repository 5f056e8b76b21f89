"""The Debian packages that the package depends on are those that the code uses: no less, no more.

What is used is found in the code: imported modules, programs that are executed, the library that is called by ctypes,
the headers. Debian's own database tells which package has them.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.dataplane.compile import INCLUDE
from tests.unit.house import tree

CODE = sorted(tree.ROOT.joinpath("appliance").rglob("*.py"))
EXECUTED = re.compile(r'\b(?:tool|which)\("(\w+)"')
LIBRARY = re.compile(r'"(lib\w+\.so\.\d+)"')


def owner(place: Path | str) -> str:
    """Return the Debian package that has a file, which may know it by its place before /usr was merged, or after."""
    short = str(place).removeprefix("/usr")
    for name in (short, f"/usr{short}"):
        done = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    raise AssertionError(f"no package has {place}")


def depends() -> set[str]:
    """Return the packages that packaging/debian/control names as dependencies of the package."""
    text = tree.ROOT.joinpath("packaging/debian/control").read_text("utf-8").partition("\nPackage:")[2]
    [field] = re.findall(r"^Depends:(.*?)^\w", text, re.MULTILINE | re.DOTALL)
    return {one.split()[0] for one in field.split(",") if "${" not in one}


def imported() -> set[str]:
    """Return the modules from elsewhere that the code imports."""
    found = set()
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"appliance"}


def essential(package: str) -> bool:
    """Whether a package is on every Debian system, so that none depends on it."""
    command = ["dpkg-query", "--show", "--showformat=${Essential}", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "yes"


def in_code(pattern: re.Pattern[str]) -> set[str]:
    return {name for file in CODE for name in pattern.findall(file.read_text("utf-8"))}


@pytest.fixture(autouse=True)
def on_debian() -> None:
    if not Path("/var/lib/dpkg/info/python3-bpfcc.list").exists():
        pytest.skip("this is no Debian system that runs the program")


def test_the_package_depends_on_what_the_code_uses() -> None:
    modules = imported()
    assert {"bcc", "yaml"} <= modules
    used = set()
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec
        assert spec.origin
        used.add(owner(spec.origin))
    libraries = in_code(LIBRARY)
    assert any(name.startswith("libbpf.") for name in libraries)
    for name in libraries:
        cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
        [place, *_] = re.findall(rf"\t{re.escape(name)} .* => (.*)", cache)
        used.add(owner(place))
    used.add(owner(INCLUDE / "linux/if_ether.h"))
    programs = in_code(EXECUTED)
    assert {"nsenter", "setpriv"} <= programs
    for name in programs:
        found = shutil.which(name)
        assert found, name
        used.add(owner(Path(found).resolve()))
    assert depends() == {package for package in used if not essential(package)}


def test_the_tests_run_on_the_same_packages() -> None:
    command = ["sh", str(tree.ROOT / "tests/setup.sh"), "--packages", "runtime"]
    listed = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert listed == depends() | {"python3", "util-linux"}  # the latter is essential
