"""The program on Debian's own kernel: its command, and its data plane in the lab of namespaces."""

from __future__ import annotations

import json

import pytest

from tests.vm import worktree
from tests.vm.machine import Vm

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]


def test_a_configuration_is_checked(vm: Vm) -> None:
    found = json.loads(worktree.vc5(vm, "check", "--json", "etc/vc5/config.yaml"))
    assert (found["mode"], found["services"]) == ("simple", [])


def test_requests_are_balanced(vm: Vm) -> None:
    """The lab as it is on any machine; the program is compiled and loaded by the kernel that Debian ships."""
    worktree.pytest(vm, "tests/netns/test_daemon_life.py::test_forwarding_begins_with_cold_neighbours")
