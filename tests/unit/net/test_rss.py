"""How a NIC spreads: what its driver says, in the kernel's layout; no NIC of a lab has any of this."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import HostError
from appliance.net import ethtool, rss
from appliance.net.rss import Spreading
from tests.profile import PARSER_INPUTS

TABLE, KEY = (0, 1, 2, 3, 0, 1, 2, 3), bytes(range(40))
COVERED = {1: 0xF0, 2: 0x30, 5: 0xF0}
"""What the hash covers, by the kernel's kind of flow: addresses and ports of TCP, addresses of UDP."""


def driver(interface: str, command: bytes) -> bytes:
    """A driver with a table of 8, as the kernel answers for it: first how much room that takes, then all of it."""
    number, flow = struct.unpack_from("=II", command)
    if number == 0x46:
        _, _, entries, octets = struct.unpack_from("=IIII", command)
        head = struct.pack("=IIIIB3xI", number, 0, len(TABLE), len(KEY), 1, 0)
        return head + (struct.pack("=8I", *TABLE) + KEY if (entries, octets) == (len(TABLE), len(KEY)) else b"")
    if flow not in COVERED:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return struct.pack("=IIQ", number, flow, COVERED[flow]) + command[16:]


def test_a_driver_that_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ethtool, "call", driver)
    assert rss.read("eth0") == Spreading(TABLE, KEY, 1, {"tcp4": "sdfn", "udp4": "sd", "tcp6": "sdfn"})


def test_interfaces_without_any_of_it() -> None:
    assert rss.read("lo") == Spreading()
    with pytest.raises(HostError, match="no-such"):
        rss.read("no-such")


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(min_size=24, max_size=24), st.binary(max_size=200))
def test_any_sizes_are_read(head: bytes, rest: bytes) -> None:
    """The kernel gives back the buffer that it was given, however much it says there is."""

    def call(interface: str, command: bytes) -> bytes:
        return (head + rest)[: len(command)].ljust(len(command), b"\0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ethtool, "call", call)
        found = rss.read("eth0")
    assert len(found.table) <= rss.MOST
