"""The compiler of another release of Debian: program texts go into one of its systems, and byte code comes out.

Also a plugin of pytest: with `-p tests.package.compiler`, and VC5_COMPILER naming a tree, the tests that hold the
program against its model do so with that compiler's byte code.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from appliance.dataplane.compile import Compiled
from tests.dataplane.equivalence import pair
from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError
from tests.package.debian import Debian

TREE: Final = "VC5_COMPILER"
PLACE: Final = "/srv/vc5"
PARTS: Final = ("appliance", "templates")
SCRIPT: Final = """
import json, sys
from pathlib import Path
from appliance.dataplane.compile import compile_text
from appliance.errors import CompileError
try:
    compiled = compile_text(Path("/srv/text.c").read_text("utf-8"), sys.argv[1:])
except CompileError as error:
    sys.exit(f"{error}\\n{error.log}")
code = {name: body.hex() for name, body in compiled.code.items()}
answer = {"code": code, "seconds": compiled.seconds, "rss": compiled.child_rss, "warnings": compiled.warnings}
Path("/srv/code.json").write_text(json.dumps(answer))
"""


class Compiler:
    """That of a tree. Texts may be compiled side by side: each has a system of its own."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def compile_text(self, text: str, functions: Sequence[str]) -> Compiled:
        """As appliance.dataplane.compile.compile_text. Raises LabError, with the compiler's words."""
        with tempfile.TemporaryDirectory() as directory:
            system = Debian((self._tree,), Path(directory, "system"))
            upper = system.directory / "upper"
            for part in PARTS:
                shutil.copytree(
                    REPOSITORY / part, Path(f"{upper}{PLACE}", part), ignore=shutil.ignore_patterns("__pycache__")
                )
            Path(upper, "srv/text.c").write_text(text, "utf-8")
            system.run("/usr/bin/python3", "-Bc", SCRIPT, *functions, PYTHONPATH=PLACE)
            answer = json.loads(Path(upper, "srv/code.json").read_text("utf-8"))
        code = {name: bytes.fromhex(body) for name, body in answer["code"].items()}
        return Compiled(code, answer["seconds"], answer["rss"], answer["warnings"])


def pytest_configure() -> None:
    """Give the tests that compiler, where one is named."""
    if TREE not in os.environ:
        raise LabError(f"{TREE} names no tree of tests/package/debian.py")
    pytest.MonkeyPatch().setattr(pair, "compile_text", Compiler(Path(os.environ[TREE])).compile_text)
