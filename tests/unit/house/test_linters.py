"""Format, lint and types, as tests: one command answers whether the tree is good."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.house import tree

COMMANDS = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "types": ["mypy"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_linter(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", *COMMANDS[name]], cwd=tree.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


BROKEN = {
    "format": "x   =  1\n",
    "lint": "import os\n",
    "types": "def f(x):\n    return x\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_linter_finds_a_planted_fault(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("planted") / "planted.py"
    file.write_text(BROKEN[name], encoding="ascii")
    command = [*COMMANDS[name][: 1 if name == "types" else -1], f"--config-file={tree.ROOT}/pyproject.toml"]
    if name != "types":
        command[-1] = f"--config={tree.ROOT}/pyproject.toml"
    done = subprocess.run([sys.executable, "-m", *command, str(file)], cwd=tree.ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
