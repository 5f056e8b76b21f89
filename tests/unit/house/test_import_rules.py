"""The import rules hold in this tree, and each of them is seen to fail on a planted breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.house import imports, tree


def test_this_tree_keeps_the_rules() -> None:
    assert imports.breaches(tree.ROOT) == []


def plant(directory: Path, module: str, source: str) -> None:
    """Write one module, and a few of the real names around it, below `directory`."""
    names = ("net.links", "dataplane.kernel.maps", "dataplane.abi", "dataplane.sync", "health.judge", "control.daemon")
    for name in (*names, "errors", module):
        file = directory.joinpath("appliance", *name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source if name == module else "", encoding="utf-8")


BREACHES = [
    # module, its source, a word of the answer
    ("errors", "import yaml\n", "one door"),
    ("errors", "from appliance.dataplane import abi\n", "of layer 1"),
    ("health.judge", "import time\n", "does not import time"),
    ("health.judge", "def f():\n    from random import random\n", "does not import random"),
    ("health.judge", "import os.path\n", "does not import os"),
    ("health.judge", "import importlib\nimportlib.import_module('asyncio')\n", "does not import asyncio"),
    ("health.judge", "from appliance.net import links\n", "of layer 2"),
    ("health.judge", "from ..net.links import Links\n", "of layer 2"),
    ("config.schema", "from appliance.control.daemon import run\n", "of layer 3"),
    ("dataplane.sync", "from appliance.net import links\n", "of another package"),
    ("dataplane.sync", "def f():\n    import appliance.net.links\n", "of another package"),
    ("dataplane.sync", "from appliance.control import daemon\n", "of layer 3"),
    ("control.socket", "from appliance.dataplane import kernel\n", "of another package"),
    ("control.plan", "from appliance.balancer import Balancer\n", "of layer 3"),
    ("dataplane.sync", "import bcc\n", "one door"),
    ("control.daemon", "def f():\n    import bcc\n", "one door"),
    ("control.daemon", "from pyroute2 import IPRoute\n", "one door"),
    ("cli.status", "import ctypes\n", "one door"),
    ("net.bridges", "import ctypes\nlibrary = ctypes.CDLL('libbpf.so.1')\n", "libbpf has one door"),
    ("cli.status", "import requests\n", "neither"),
    ("cli.status", "from tests import profile\n", "neither"),
    ("attic.things", "import json\n", "has no layer"),
    ("cli.status", "from appliance.attic import things\n", "has no layer"),
]


@pytest.mark.parametrize(("module", "source", "answer"), BREACHES)
def test_a_breach_is_found(tmp_path: Path, module: str, source: str, answer: str) -> None:
    plant(tmp_path, module, source)
    found = imports.breaches(tmp_path)
    assert len(found) == 1
    assert answer in found[0]
    assert found[0].startswith(f"appliance/{module.replace('.', '/')}.py:")


ALLOWED = [
    ("errors", "import os\nimport asyncio\n"),
    ("health.judge", "from appliance.dataplane import abi\nfrom appliance.errors import Vc5Error\nimport math\n"),
    ("dataplane.sync", "from . import kernel\nfrom .abi import LAYOUT\nimport os\n"),
    ("dataplane.compile_child", "import bcc\n"),
    ("dataplane.kernel.library", "import ctypes\nlibrary = ctypes.CDLL('libbpf.so.1')\n"),
    ("net.links", "import pyroute2\nimport socket\n"),
    ("control.daemon", "from appliance.net import links\nfrom appliance.dataplane import kernel\nimport asyncio\n"),
    ("config.nodes", "import yaml\n"),
    ("balancer.running", "from appliance.net import watch\nfrom appliance.dataplane import sync\nimport select\n"),
    ("cli.balance", "from appliance.balancer import Balancer\n"),
]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_what_is_allowed_passes(tmp_path: Path, module: str, source: str) -> None:
    plant(tmp_path, module, source)
    assert imports.breaches(tmp_path) == []


def test_the_daemon_does_without_what_its_processes_need() -> None:
    code = "import sys, appliance.control.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tree.ROOT)
    loaded = set(done.stdout.split())
    assert "pyroute2" in loaded
    assert not loaded & {"pyroute2.ndb", "pyroute2.ipset", "sqlite3"}, "no more of it than is used"
    assert not loaded & {"aiohttp", "bcc", "elasticsearch", "h11", "h2", "jinja2", "prometheus_client"}
