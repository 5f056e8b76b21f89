"""The program's text as the daemon knows it: by name. The text itself is only rendered where it has to be compiled.

Rendering needs Jinja, which the daemon would carry in memory ever after; so it happens in a child, like compiling.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from appliance.dataplane.enums import Tail
from appliance.dataplane.header import c_source
from appliance.dataplane.shape import Shape
from appliance.errors import RenderError
from appliance.model import Mode
from appliance.paths import PACKAGE

TAILS = {
    Tail.COLD: "vc5_cold",
    Tail.COLD6: "vc5_cold_ipv6",
    Tail.RETURN: "vc5_return",
    Tail.NAT: "vc5_nat",
    Tail.ICMP_ERROR: "vc5_icmp_error",
    Tail.FRAGMENT: "vc5_fragment",
    Tail.TOO_BIG: "vc5_quote",
    Tail.NAT_PART: "vc5_nat_part",
    Tail.RETURN_ERROR: "vc5_return_error",
    Tail.RETURN_FRAGMENT: "vc5_return_fragment",
    Tail.PROBE_ICMP: "vc5_probe_icmp",
    Tail.DROP: "vc5_drop",
}
"""The programs that others hand packets to."""
FUNCTIONS = ("vc5_main", *TAILS.values(), "vc5_probe", "vc5_pass")
"""The programs in the text."""
PATIENCE = 60.0
"""Seconds for the child."""


def digest(shape: Shape, templates: Path) -> str:
    """Return the name of the text for a shape: all that it is made of, hashed. Raises RenderError without templates."""
    made = hashlib.blake2b(digest_size=8)
    made.update(repr(shape).encode())
    made.update(c_source(shape).encode())
    try:
        for file in sorted(path for path in templates.rglob("*") if path.is_file()):
            made.update(f"{file.relative_to(templates)}\0".encode())
            made.update(file.read_bytes())
    except OSError as error:
        raise RenderError(f"{templates}: cannot be read: {error.strerror}") from error
    return made.hexdigest()


REPLACED = "another version of the program is installed than is running; let it take over with `vc5 reexec`, then again"


def declared(shape: Shape) -> str:
    """Return a word for all that C is told of a shape: two versions that differ in it cannot share tables."""
    return hashlib.blake2b(c_source(shape).encode(), digest_size=8).hexdigest()


def rendered(shape: Shape, templates: Path) -> str:
    """Return the text for a shape, rendered in a child. Raises RenderError.

    The child is what is installed now. Should that be of a version that declares something else, it refuses.
    """
    command = [sys.executable, "-Ps", "-m", "appliance.dataplane.render", dump(shape), str(templates), declared(shape)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        child = subprocess.run(command, capture_output=True, timeout=PATIENCE, env=environment, cwd="/", check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RenderError(f"the templates cannot be rendered: {error}") from error
    if child.returncode:
        last = child.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {child.returncode}"]
        raise RenderError(REPLACED if "No module named appliance" in last[-1] else last[-1])
    return child.stdout.decode()


def dump(shape: Shape) -> str:
    """Return a shape as one word of JSON."""
    return json.dumps(asdict(shape))


def parse(text: str) -> Shape:
    """Read what `dump` wrote."""
    fields = json.loads(text)
    return Shape(**{**fields, "mode": Mode(fields["mode"]), "tunnels": tuple(fields["tunnels"])})
