"""What is said of a NIC: for each fact that speaks against XDP one finding, and nothing of a NIC that is in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.nic import HALF_FOR_XDP, UPPER, Facts, Severity, findings
from appliance.model import Mode, XdpMode

GOOD = Facts("eth0", "ice", 1500, queues=4, most_queues=16)
PROBLEM, WARNING, NOTE = Severity.PROBLEM, Severity.WARNING, Severity.NOTE
NATIVE, GENERIC, AUTO = XdpMode.NATIVE, XdpMode.GENERIC, XdpMode.AUTO


def nic(driver: str = "ice", **more: Any) -> Facts:
    """A NIC that is in order but for these facts."""
    return replace(GOOD, driver=driver, **more)


# The NIC, how it is used -> for each finding its severity, and words of what it is or what to do.
CASES: dict[str, tuple[Facts, Mode, XdpMode, list[tuple[Severity, str]]]] = {
    "in order": (GOOD, Mode.SIMPLE, NATIVE, []),
    "stripping without tags": (nic(vlan_stripping=True), Mode.SIMPLE, NATIVE, []),
    "stripping": (nic(vlan_stripping=True), Mode.VLAN, NATIVE, [(NOTE, "switched off while the program")]),
    "stripping for ever": (
        nic(vlan_stripping=True, vlan_stripping_fixed=True),
        Mode.VLAN,
        NATIVE,
        [(PROBLEM, "use another NIC")],
    ),
    "LRO": (nic(lro=True), Mode.SIMPLE, AUTO, [(WARNING, "ethtool -K eth0 lro off")]),
    "GRO in hardware": (nic(gro_hw=True), Mode.SIMPLE, AUTO, [(WARNING, "ethtool -K eth0 rx-gro-hw off")]),
    "jumbo": (nic(mtu=9000), Mode.SIMPLE, NATIVE, [(NOTE, "ip link set eth0 mtu 3000")]),
    "jumbo, generic": (nic(mtu=9000), Mode.SIMPLE, GENERIC, []),
    "idle CPUs": (nic(queues=2), Mode.SIMPLE, NATIVE, [(WARNING, "ethtool -L eth0 combined 4")]),
    "too few queues for ever": (nic(queues=1, most_queues=1), Mode.SIMPLE, NATIVE, [(NOTE, "1 of 4 CPUs receive")]),
    "half of the queues": (nic("ena", queues=8), Mode.SIMPLE, NATIVE, []),
    "more than half": (nic("ena", queues=9), Mode.SIMPLE, NATIVE, [(PROBLEM, "ethtool -L eth0 combined 8")]),
    "more than half, auto": (nic("gve", queues=9), Mode.SIMPLE, AUTO, [(WARNING, "ethtool -L eth0 combined 8")]),
    "more than half, generic": (nic("ena", queues=9), Mode.SIMPLE, GENERIC, []),
    "virtio": (nic("virtio_net", most_queues=8), Mode.SIMPLE, NATIVE, []),
    "virtio with few": (nic("virtio_net", most_queues=7), Mode.SIMPLE, NATIVE, [(WARNING, "8 queue pairs")]),
    "a bridge": (nic("bridge"), Mode.SIMPLE, NATIVE, [(PROBLEM, "name the port")]),
    "a VLAN": (nic("802.1Q VLAN Support"), Mode.SIMPLE, AUTO, [(WARNING, "mode: vlan")]),
    "a bond": (nic("bonding"), Mode.SIMPLE, NATIVE, [(WARNING, "name its members")]),
    "a veth": (nic("veth", queues=1), Mode.SIMPLE, NATIVE, [(WARNING, "PEER gro on")]),
    "a veth with offloads": (
        nic("veth", tx_checksums=True),
        Mode.SIMPLE,
        NATIVE,
        [(WARNING, "PEER gro on"), (WARNING, "tx off")],
    ),
    "the worst first": (
        nic("bridge", lro=True, mtu=9000),
        Mode.SIMPLE,
        NATIVE,
        [(PROBLEM, "a bridge"), (WARNING, "lro is on"), (NOTE, "MTU is 9000")],
    ),
}


@pytest.mark.parametrize(("facts", "mode", "xdp", "expected"), CASES.values(), ids=CASES)
def test_findings(facts: Facts, mode: Mode, xdp: XdpMode, expected: list[tuple[Severity, str]]) -> None:
    found = findings(facts, mode, xdp, 4)
    assert [one.severity for one in found] == [severity for severity, _ in expected]
    for one, (_, words) in zip(found, expected, strict=True):
        assert words in f"{one.what}; {one.remedy}"
        assert one.why


drivers = st.sampled_from(["", "ice", "veth", "virtio_net", *HALF_FOR_XDP, *UPPER])
switches = [st.booleans() for _ in range(5)]
nics = st.builds(
    Facts, st.just("eth0"), drivers, st.integers(68, 65536), st.integers(1, 256), st.integers(0, 256), *switches
)


@given(nics, st.sampled_from(Mode), st.sampled_from(XdpMode), st.integers(1, 512))
def test_any_nic_gets_findings_that_make_sense(facts: Facts, mode: Mode, xdp: XdpMode, cpus: int) -> None:
    found = findings(facts, mode, xdp, cpus)
    assert len({one.what for one in found}) == len(found)
    assert all(one.what and one.why and one.remedy for one in found)
    assert [one.severity for one in found] == sorted((one.severity for one in found), key=list(Severity).index)
    assert not any("combined 0" in one.remedy for one in found)
