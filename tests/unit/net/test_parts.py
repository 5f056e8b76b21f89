"""Importing some modules of a package without the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.house.tree import ROOT

PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {place!r}]
from appliance.net.parts import without_the_rest
without_the_rest("large")
{code}
"""

CASES = {
    "a module alone": ("import large.used; print('large.unused' in sys.modules, large.used.IT)", "False 1"),
    "its neighbour, as it asks for it": ("import large.asks; print(large.asks.IT, 'whole' in vars(large))", "1 False"),
    "a name of the package": ("from large import whole; print(whole, 'large.unused' in sys.modules)", "2 True"),
    "all of the package": ("import large; print(large.whole, large.used.IT, large.whole)", "2 1 2"),
    "once": ("import large; large.whole; large.whole; print(len(large.unused.loads))", "1"),
    "what everybody is asked for": (
        "import large.used; print(hasattr(large, '__wrapped__'), 'large.unused' in sys.modules)",
        "False False",
    ),
    "what it is": ("import large; print(large.__name__, large.__path__[0][-5:])", "large large"),
    "asked twice": ("import large.used; without_the_rest('large'); print(large.used.IT)", "1"),
    "no such package": ("without_the_rest('nowhere'); print('nowhere' in sys.modules)", "False"),
}
MISSING = {
    "a name": ("from large import nothing", "ImportError: cannot import name 'nothing' from 'large'"),
    "a module": ("import large.nothing", "ModuleNotFoundError: No module named 'large.nothing'"),
    "what a module needs": ("import large; large.broken", "ModuleNotFoundError: No module named 'absent'"),
    "a private name": ("import large; large.__all__", "AttributeError: module 'large' has no attribute '__all__'"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a package lies that imports more than is wanted."""
    package = tmp_path_factory.mktemp("packages") / "large"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from large import unused, used\nwhole = used.IT + 1\nunused.loads.append(1)\n"
    )
    (package / "used.py").write_text("IT = 1\n")
    (package / "unused.py").write_text("loads = []\n")
    (package / "asks.py").write_text("from large import used\nIT = used.IT\n")
    (package / "broken.py").write_text("import absent\n")
    return package.parent


def run(place: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(root=str(ROOT), place=str(place), code=code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("code", "said"), CASES.values(), ids=CASES)
def test_what_is_asked_for_is_there(place: Path, code: str, said: str) -> None:
    done = run(place, code)
    assert (done.stdout.strip(), done.stderr) == (said, "")


@pytest.mark.parametrize(("code", "said"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_missed_as_usual(place: Path, code: str, said: str) -> None:
    assert said in run(place, code).stderr


def test_all_of_pyroute2_can_be_had() -> None:
    code = "import appliance.net; from pyroute2 import NDB; import pyroute2.ndb.main as it; print(NDB is it.NDB)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "True\n"
