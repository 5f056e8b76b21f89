"""The compiler's own short life: program text on standard input, bytecode on standard output, then gone.

The only importer of bcc. bcc keeps 170 MB after one compile, calls `sys.exit` from inside, changes the working
directory and writes to standard error; none of that reaches the daemon. The child needs no privilege at all: the text
declares no map and nothing is loaded. So it drops what it was born with before it imports bcc and looks at the text,
which may still be in the making when the child begins.

    BCC_KERNEL_SOURCE=DIR CFLAGS=... python3 -m appliance.dataplane.compile_child SECONDS FUNCTION... < TEXT

Standard output carries one JSON object: {"code": {function: base64}, "rss": KiB} or {"error": word, "detail": text}.
Standard error carries what the compiler says, and nothing else.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import shlex
import sys

NOBODY = 65534
MEMORY = 4 << 30
"""Bytes of address space; LLVM maps far more than it touches."""
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> int:
    """Compile and report; returns the exit status, 0 with code and 1 with an error."""
    seconds, functions = int(arguments[0]), arguments[1:]
    # From here on everything that prints, prints to standard error; the report keeps a descriptor of its own.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _drop_privileges(seconds)
    answer = _compile(functions, shlex.split(os.environ.get("CFLAGS", "")))
    json.dump(answer, report)
    report.flush()
    return 1 if "error" in answer else 0


def _compile(functions: list[str], cflags: list[str]) -> dict[str, object]:
    try:
        from bcc import BPF
    except ImportError as error:
        sys.stdin.buffer.read()
        return {"error": "bcc-missing", "detail": str(error)}
    text = sys.stdin.buffer.read()
    try:
        module = BPF(text=text, cflags=cflags)
    except (Exception, SystemExit) as error:
        return {"error": "refused", "detail": str(error)}
    code: dict[str, str] = {}
    for function in functions:
        try:
            code[function] = base64.b64encode(module.dump_func(function.encode())).decode()
        except Exception:
            return {"error": "no-function", "detail": function}
    return {"code": code, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _drop_privileges(seconds: int) -> None:
    """Give up user, groups, capabilities and the means to get them back; limit time, memory, files and core dumps.

    Each step is taken where it is possible: in a container, root may lack the right to become somebody else.
    """
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        except OSError:
            pass
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0)))
    libc.prctl(PR_CAP_AMBIENT, *(ctypes.c_ulong(word) for word in (PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)))
    # capset(2): version and thread 0 (this one); effective, permitted, inheritable in two 32-bit halves, all empty.
    libc.capset((ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
