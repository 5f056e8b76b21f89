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
from collections.abc import Callable, Iterator, Sequence
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
SEMANTICS = (
    # Headers are written as fields and summed as words. As the kernel has it for all of its own code.
    "-fno-strict-aliasing",
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


def compile_text(text: str | Callable[[], str], functions: Sequence[str], *, timeout: float = 120) -> Compiled:
    """Compile XDP program text and return the code of the named functions; `text` may be what makes it.

    Needs no privilege and leaves nothing behind. Raises what `text` raises; CompileError with the compiler's words, in
    which `#line` marks name template file and line; or with the name of the Debian package that is missing; or after
    `timeout` seconds.
    """
    cflags = [f"-I{directory}" for directory in _include_directories()] + [*WARNINGS, *SEMANTICS]
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
        output, errors, status = _child([*command, *functions], directory, environment, text, timeout)
    log = errors.decode("utf-8", "replace")
    try:
        report = json.loads(output)
    except ValueError:
        raise CompileError(f"the compiler ended without an answer ({_ending(status)})", log) from None
    if "error" in report:
        raise CompileError(_explain(report["error"], report["detail"]), log)
    code = {name: base64.b64decode(body) for name, body in report["code"].items()}
    return Compiled(code, time.monotonic() - began, report["rss"] * 1024, log)


def _child(
    command: list[str], directory: str, environment: dict[str, str], text: str | Callable[[], str], timeout: float
) -> tuple[bytes, bytes, int]:
    """Run the compiler; return what it said on both outputs, and its exit status. Raises as `compile_text`.

    It gets ready, which takes it a quarter of a second, while the text is being made.
    """
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=directory, env=environment)
    except OSError as error:
        raise CompileError(f"the compiler cannot be started ({sys.executable}): {error}", "") from error
    with child:
        try:
            made = text if isinstance(text, str) else text()
            if "\0" in made:
                line = made[: made.index("\0")].count("\n") + 1
                raise CompileError(
                    f"the program text has a NUL in line {line}; the compiler would take it for the end", ""
                )
            output, errors = child.communicate(made.encode("utf-8", "surrogateescape"), timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            _, errors = child.communicate()
            log = errors.decode("utf-8", "replace")
            raise CompileError(
                f"the compiler was stopped after {timeout:g} seconds; the old program stays", log
            ) from None
        except BaseException:
            child.kill()
            raise
    return output, errors, child.returncode


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
