"""The examiner's process: what it is given, what it says where that is wrong, and that it asks for no right."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest

from appliance.health.evidence import Evidence, Examinee, Reply, decode_evidence, encode_examinees
from appliance.health.examination import Place
from appliance.health.examiner import BATCH, Opened, decode_sockets, encode_sockets, opened
from appliance.model import Protocol
from tests.lab.backend import REPOSITORY

HERE = ip_address("127.0.0.1")
ONE = Examinee(5, HERE, 9, Protocol.TCP, HERE, 9, HERE, 1500)


def run(*arguments: str, text: bytes = b"", descriptors: tuple[int, ...] = ()) -> subprocess.CompletedProcess[bytes]:
    """Run the process with this input."""
    command = [sys.executable, "-m", "appliance.health.examiner", *arguments]
    return subprocess.run(
        command, input=text, capture_output=True, cwd=REPOSITORY, timeout=30, pass_fds=descriptors, check=False
    )


def test_sockets_are_named_on_the_command_line() -> None:
    sockets = [Opened(Place.HOST, 4, 6, 7), Opened(Place.PROBE, 6, 1, 8, "fd76:6335:0:1::1")]
    assert decode_sockets(encode_sockets(sockets)) == sockets


@pytest.mark.parametrize("text", ["", "x", "[[]]", '[["moon", 4, 6, 7, ""]]', "7", '[["host", 4]]'])
def test_other_command_lines_are_wrong_usage(text: str) -> None:
    done = run(text)
    assert done.returncode == 2
    assert b"usage: " in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("text", [b"", b"x\n", b"[{}]\n", b'{"a": 1}\n'])
def test_other_examinees_are_refused(text: bytes) -> None:
    done = run("[]", text=text)
    assert done.returncode == 1
    assert b"malformed message from the doctor: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_sockets_nothing_can_be_sent() -> None:
    done = run("[]", text=encode_examinees([ONE]))
    assert decode_evidence(done.stdout) == [Evidence(5, full=1500, trouble="there is no ipv4 here")]


@pytest.mark.root
def test_this_host_examined_over_loopback() -> None:
    """Both places are the same here: echo requests are answered, and nobody listens on port 9. In several batches."""
    examinees = [replace(ONE, number=number) for number in range(2 * BATCH + 1)]
    sockets = [*opened(Place.HOST, 4), *opened(Place.PROBE, 4)]
    try:
        descriptors = tuple(one.descriptor for one, _ in sockets)
        named = encode_sockets([one for one, _ in sockets])
        done = run(named, text=encode_examinees(examinees), descriptors=descriptors)
    finally:
        for _, raw in sockets:
            raw.close()
    assert done.stderr == b""
    batches = [decode_evidence(line) for line in done.stdout.splitlines()]
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    for number, found in enumerate(one for batch in batches for one in batch):
        assert found.number == number
        assert (found.vip, found.vip_echo, found.own, found.own_echo) == (Reply.RESET, True, Reply.RESET, True)
        assert (found.full, found.passed) == (1500, 1500)
