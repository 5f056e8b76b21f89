"""What a process uses, as the kernel accounts for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.namespace import Namespace, inhabitants

PREFERRED = -15
"""The nice value of a session that goes before others."""


def memory(pid: int) -> dict[str, float]:
    """Return the memory of a process from /proc/PID/status (proc_pid_status(5)), in megabytes of 10^6 bytes.

    `VmRSS` is what is resident, and the sum of `RssAnon`, `RssFile` and `RssShmem`; `VmHWM` was its maximum.
    """
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon", "RssFile", "RssShmem"):
            fields[name] = int(rest.split()[0]) * 1024 / 1e6
    return fields


def proportional(pid: int) -> float:
    """Return the memory of a process in MB of 10^6 bytes; what it shares counts in parts (PSS, proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its threads, user and system, in seconds (proc_pid_stat(5)).

    Its unit is a clock tick, 10 ms as a rule.
    """
    # The command, in parentheses, may hold anything; fields count from 3 behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_seconds(pid: int) -> float:
    """Return the processor time of a process of one thread, in seconds, counted in ns (/proc/PID/schedstat).

    Threads besides the first are left out. Raises OSError where the kernel keeps no such accounts.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def waited_seconds(pid: int) -> float:
    """Return for how long a process of one thread was ready to run and had no processor, in seconds; as above."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def preferred(*pids: int) -> Iterator[bool]:
    """Let the sessions of these processes have the processor before others, for the time of the block.

    Gives whether that can be had: where the kernel shares processors by session (sched(7), autogroup). Whoever is
    measured for being in time should not be measured for what else the machine does.
    """
    files = [Path(f"/proc/{pid}/autogroup") for pid in pids]
    try:
        before = [file.read_text().split()[-1] for file in files]
        for file in files:
            file.write_text(str(PREFERRED))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        for file, nice in zip(files, before, strict=True):
            file.write_text(nice)


def prober(namespace: str) -> int:
    """Return the process id of the prober, the only inhabitant of its namespace; raises ValueError."""
    found = inhabitants([Namespace(namespace)])
    if len(found) != 1:
        raise ValueError(f"{len(found)} processes live in the probe namespace {namespace}, not the prober alone")
    return found[0]
