"""Program text in, bytecode out: runs the compile child and turns whatever happens to it into a result or an error."""

from __future__ import annotations

import base64
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import CompileError
from appliance.paths import PACKAGE, TEMPLATES

INCLUDE = Path("/usr/include")
STUB = TEMPLATES / "stub"
"""A directory that bcc takes for a kernel source tree; XDP needs nothing that only a real one has."""

WARNINGS = (
    "-Wall",
    "-Wextra",
    # One set of templates serves every shape, and every program has the context as its argument.
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    # C forgives these; in BPF they are bugs, or end in a puzzling word of the verifier.
    "-Werror=implicit-function-declaration",
    "-Werror=incompatible-pointer-types",
    "-Werror=int-conversion",
    "-Werror=return-type",
    "-Werror=uninitialized",
)


@dataclass(frozen=True)
class Compiled:
    """The bytecode of each function, with map references still to be relocated (`spec.relocate`).

    `seconds` is the child's whole life, `child_rss` its largest resident memory in bytes. `warnings` is what the
    compiler said though it agreed: empty for a program of ours (tests insist), but a newer compiler's opinion must stop
    no boot.
    """

    code: dict[str, bytes]
    seconds: float
    child_rss: int
    warnings: str


def compile_text(text: str, functions: Sequence[str], *, timeout: float = 120) -> Compiled:
    """Compile XDP program text and return the code of the named functions.

    Needs no privilege and leaves nothing behind. Raises CompileError with the compiler's text, in which `#line` marks
    name template file and line; or with the name of the Debian package that is missing; or after `timeout` seconds.
    """
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise CompileError(f"the program text has a NUL in line {line}; the compiler would take it for the end", "")
    cflags = [f"-I{directory}" for directory in _include_directories()] + list(WARNINGS)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vc5-compile-") as directory:
        # A copy, because the child may not be allowed to read where the package lives (a checkout below /root).
        stub = shutil.copytree(STUB, Path(directory, "stub"), copy_function=shutil.copyfile)
        for place in (Path(directory), *Path(directory).rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BCC_KERNEL_SOURCE": str(stub),
            "CFLAGS": shlex.join(cflags),
            "HOME": directory,
            "LC_ALL": "C.UTF-8",
        }
        command = [sys.executable, "-P", "-m", "appliance.dataplane.compile_child", str(max(1, round(timeout)))]
        try:
            child = subprocess.run(
                [*command, *functions],
                input=text.encode("utf-8", "surrogateescape"),
                capture_output=True,
                timeout=timeout,
                cwd=directory,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            log = (expired.stderr or b"").decode("utf-8", "replace")
            raise CompileError(
                f"the compiler was stopped after {timeout:g} seconds; the old program stays", log
            ) from None
        except OSError as error:
            raise CompileError(f"the compiler cannot be started ({sys.executable}): {error}", "") from error
    log = child.stderr.decode("utf-8", "replace")
    try:
        report = json.loads(child.stdout)
    except ValueError:
        raise CompileError(f"the compiler ended without an answer ({_ending(child.returncode)})", log) from None
    if "error" in report:
        raise CompileError(_explain(report["error"], report["detail"]), log)
    code = {name: base64.b64decode(body) for name, body in report["code"].items()}
    return Compiled(code, time.monotonic() - began, report["rss"] * 1024, log)


def _include_directories() -> list[Path]:
    """Return the directories of the user-space kernel headers, architecture first; CompileError without them."""
    found = next((directory for directory in _candidates() if (directory / "asm" / "types.h").exists()), None)
    if found is None or not (INCLUDE / "linux" / "if_ether.h").exists():
        raise CompileError(f"no kernel headers for programs below {INCLUDE}; install the package linux-libc-dev", "")
    return [found, INCLUDE] if found != INCLUDE else [INCLUDE]


def _candidates() -> Iterator[Path]:
    """Yield where asm/types.h may be: Debian's multiarch directory, by Python's word or by the machine's name."""
    if multiarch := sysconfig.get_config_var("MULTIARCH"):
        yield INCLUDE / multiarch
    yield from sorted(INCLUDE.glob(f"{platform.machine()}-linux-gnu*"))
    yield INCLUDE


def _explain(error: str, detail: str) -> str:
    """Return what one of the child's error words means to an operator."""
    if error == "bcc-missing":
        return f"the BPF compiler is missing ({detail}); install the package python3-bpfcc"
    if error == "no-function":
        return f"the program text has no function {detail} that is not static"
    return "the compiler refused the program text"


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
