"""What is said of a host, by its facts; and the reading of some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.control import host_facts
from appliance.control.host_faults import HostFacts, Refusal, findings, version
from appliance.control.nic import Severity
from appliance.control.trouble import Lack, Trouble, down, mend
from appliance.model import Mode

PROBLEM, WARNING, NOTE = Severity.PROBLEM, Severity.WARNING, Severity.NOTE
GOOD: dict[str, Any] = {"release": "6.12.9-amd64", "jit": 1, "jit_harden": 0}

CASES: dict[str, tuple[dict[str, Any], list[tuple[Severity, str, str]]]] = {
    "in order": ({}, []),
    "nothing known": ({"release": "", "jit": None, "jit_harden": None}, []),
    "old": ({"release": "5.10.0-33-amd64"}, [(WARNING, "the kernel is 5.10.0-33-amd64", "linux-image-amd64")]),
    "no bpffs": ({"bpffs": False}, [(PROBLEM, "no BPF file system", "mount -t bpf bpf /sys/fs/bpf")]),
    "a map refused": (
        {"refused": (Refusal("BPF map of kind lpm_trie", "cannot create map: Invalid argument"),)},
        [(PROBLEM, "this kernel gives no BPF map of kind lpm_trie", "CONFIG_BPF_SYSCALL")],
    ),
    "no JIT": ({"jit": 0}, [(WARNING, "interprets", "sysctl -w net.core.bpf_jit_enable=1")]),
    "hardened": ({"jit_harden": 2}, [(NOTE, "blinded", "sysctl -w net.core.bpf_jit_harden=1")]),
    "hardened for others": ({"jit_harden": 1}, []),
    "without a capability": (
        {"daemon": 812, "lacks": ("CAP_BPF",)},
        [(PROBLEM, "the daemon lacks CAP_BPF", "AmbientCapabilities=CAP_BPF")],
    ),
    "irqbalance": (
        {"irqbalance": True, "several_queues": ("eth0",)},
        [(WARNING, "irqbalance is running", "systemctl disable --now irqbalance")],
    ),
    "irqbalance, and one queue": ({"irqbalance": True}, []),
    "interrupts at one CPU": (
        {"crowded": (("eth0", 4, 0),)},
        [(WARNING, "all 4 interrupts of eth0 go to CPU 0", "smp_affinity_list")],
    ),
    "rp_filter": (
        {"strict": ("eth0",)},
        [(WARNING, "rp_filter is strict at eth0", "sysctl -w net.ipv4.conf.eth0.rp_filter=2")],
    ),
    "rp_filter in the probe namespace": (
        {"probe_settings": (("net.ipv4.conf.all.rp_filter", "1", "0"),)},
        [(PROBLEM, "net.ipv4.conf.all.rp_filter is 1, and not 0", "vc5 netns up")],
    ),
    "no address in a VLAN": (
        {"troubles": (Trouble(Lack.NO_ADDRESS, "VLAN 10", "none there"), Trouble(Lack.NO_ADDRESS, "VLAN 20", "none"))},
        [(PROBLEM, "this host has no address to reach backends from", "ip address add")],
    ),
    "an interface is down": (
        {"troubles": (down("eth0", Mode.SIMPLE),)},
        [(PROBLEM, "an interface is down", "ip link set eth0 up")],
    ),
    "the worst first": (
        {"jit_harden": 2, "bpffs": False, "jit": 0},
        [(PROBLEM, "no BPF", ""), (WARNING, "interprets", ""), (NOTE, "blinded", "")],
    ),
}


@pytest.mark.parametrize(("facts", "expected"), CASES.values(), ids=CASES)
def test_findings(facts: dict[str, Any], expected: list[tuple[Severity, str, str]]) -> None:
    found = findings(HostFacts(**{**GOOD, **facts}))
    assert [one.severity for one in found] == [severity for severity, _, _ in expected]
    for one, (_, what, remedy) in zip(found, expected, strict=True):
        assert what in one.what
        assert remedy in one.remedy
        assert one.why


def test_every_kind_of_trouble_has_words() -> None:
    for lack in Lack:
        [one] = findings(HostFacts(**GOOD, troubles=(Trouble(lack, "entry", "text"),)))
        assert one.what
        assert mend(Trouble(lack, "entry", "text"))


@pytest.mark.parametrize(
    ("release", "expected"),
    [("6.1.0-18-amd64", (6, 1)), ("6.18.44", (6, 18)), ("6.1-rc3", (6, 1)), ("6", None), ("a.b", None), ("", None)],
)
def test_the_kernels_version(release: str, expected: tuple[int, int] | None) -> None:
    assert version(release) == expected


STATUS = "Name:\tpython3\nCapEff:\t{:016x}\n"


@pytest.mark.parametrize(
    ("have", "lacking"),
    [
        ((12, 38, 39), ()),
        ((12, 21), ()),  # CAP_SYS_ADMIN stands for the BPF ones
        ((21, 38, 39), ("CAP_NET_ADMIN",)),
        ((12, 39), ("CAP_PERFMON",)),
        ((), ("CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF")),
    ],
)
def test_the_capabilities_of_a_process(have: tuple[int, ...], lacking: tuple[str, ...]) -> None:
    assert host_facts.lacking(STATUS.format(sum(1 << bit for bit in have))) == lacking


def test_a_process_that_is_gone_lacks_nothing() -> None:
    assert host_facts.lacking("") == ()


def test_who_runs() -> None:
    assert host_facts.runs(Path("/proc/self/comm").read_text().strip())
    assert not host_facts.runs("vc5-nobody")


@pytest.mark.root
def test_this_kernel_gives_everything() -> None:
    assert host_facts.refused() == []
