"""Looks at backends for `vc5 doctor`: opens raw sockets in both network namespaces, and gives them to the examiner.

To open them needs root, as the doctor's caller often is. What reads from them (health/examiner.py) is another process,
of an unprivileged user and without any capability. Neither the daemon nor the prober gets a right more for this.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO

from appliance.child.code import handed_over
from appliance.child.process import python, tool
from appliance.errors import HostError
from appliance.health.diagnostic import printable
from appliance.health.evidence import MAX_LINE, Evidence, Examinee, decode_evidence, encode_examinees
from appliance.health.examination import Place
from appliance.health.examiner import BATCH, Opened, encode_sockets, opened
from appliance.health.process import USER
from appliance.net import namespace, netns
from appliance.paths import Root

PATIENCE = 10.0
"""Seconds that a batch may take; it takes two at most, and the process some to start on a busy machine."""
LOOK = 0.25
"""Seconds from one call of `meanwhile` to the next."""

Meanwhile = Callable[[int], None]
"""Is called again and again, with the number of those that have been examined."""


def possible(root: Root) -> str:
    """Why backends cannot be examined from here; empty if they can."""
    if os.geteuid() != 0:
        return "run this as root, and the backends are examined as well"
    if not netns.exists(root.namespace):
        return f"there is no network namespace {root.namespace} to examine backends from"
    return ""


def examine(root: Root, examinees: Sequence[Examinee], meanwhile: Meanwhile = lambda done: None) -> dict[int, Evidence]:
    """Return what was seen, by the examinees' numbers. Raises HostError."""
    with ExitStack() as stack:
        sockets = [*_open(Place.HOST, ("", "")), *_inside(root)]
        for _, raw in sockets:
            stack.callback(raw.close)
        path, more = stack.enter_context(handed_over())
        process = _start([one for one, _ in sockets], path, more)
        stack.callback(process.wait)
        stack.callback(process.kill)
        found = {}
        for evidence in _told(process, examinees, meanwhile):
            found[evidence.number] = evidence
        return found


def _inside(root: Root) -> list[tuple[Opened, socket.socket]]:
    sources = (str(namespace.PEER_ADDRESS), str(namespace.PEER_ADDRESS6))
    return netns.call_inside(root.namespace, lambda: _open(Place.PROBE, sources))


def _open(place: Place, sources: tuple[str, str]) -> list[tuple[Opened, socket.socket]]:
    try:
        found = opened(place, 4, sources[0])
        if namespace.has_ipv6():
            found += opened(place, 6, sources[1])
    except OSError as error:
        raise HostError(f"cannot open raw sockets to look at backends: {error.strerror}; run this as root") from None
    return found


def _start(sockets: list[Opened], path: str, more: Sequence[int]) -> subprocess.Popen[bytes]:
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        raise HostError(f"cannot start the examiner: there is no user {USER!r} on this host; create it") from None
    command = [
        tool("setpriv", "examiner"),
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--no-new-privs",
        "--pdeathsig=KILL",
        *python("appliance.health.examiner", encode_sockets(sockets)),
    ]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*(one.descriptor for one in sockets), *more),
            cwd="/",
            env={"PYTHONPATH": path, "LANG": "C.UTF-8"},
        )
    except OSError as error:
        raise HostError(f"cannot start the examiner: {error.strerror}") from None


def _told(process: subprocess.Popen[bytes], examinees: Sequence[Examinee], meanwhile: Meanwhile) -> Iterator[Evidence]:
    """Yield what it tells, batch by batch, and call `meanwhile` in between."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        lines: SimpleQueue[bytes] = SimpleQueue()
        # It says nothing before it has read everything, so neither waits for the other.
        try:
            process.stdin.write(encode_examinees(list(examinees)))
            process.stdin.flush()
        except BrokenPipeError:
            pass  # its own words say more
        Thread(target=_read, args=(process.stdout, lines), daemon=True, name="examiner").start()
        done = 0
        while done < len(examinees):
            line = _next(lines, lambda: meanwhile(done))  # noqa: B023 - it is called here and now
            if line is None:
                process.kill()
                raise HostError(
                    f"the examiner has not said anything for {PATIENCE:g} s; see whether the host is overloaded"
                )
            try:
                batch = decode_evidence(line)
            except ValueError as error:
                words = printable(process.stderr.read().decode(errors="replace").strip()) if not line else ""
                process.kill()
                raise HostError(f"the examiner said something malformed ({words or error})") from None
            if not batch or len(batch) > BATCH:
                raise HostError("the examiner said something malformed (not a batch)")
            done += len(batch)
            yield from batch


def _read(source: IO[bytes], lines: SimpleQueue[bytes]) -> None:
    try:
        while line := source.readline(MAX_LINE):
            lines.put(line)
    except ValueError:
        return  # the file was closed: nobody listens any more
    lines.put(b"")


def _next(lines: SimpleQueue[bytes], meanwhile: Callable[[], None]) -> bytes | None:
    """Return the next line, empty at the end; None where there was none for PATIENCE seconds."""
    for _ in range(int(PATIENCE / LOOK)):
        meanwhile()
        try:
            return lines.get(timeout=LOOK)
        except Empty:
            continue
    return None
