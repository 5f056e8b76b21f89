"""What the host must give: rights, CPUs, interfaces; each missing thing is named."""

from __future__ import annotations

import pytest

from appliance.control.requirements import check_capabilities, interfaces, possible_cpus, read_possible_cpus
from appliance.errors import HostError
from appliance.model import Config, Host
from tests.unit.control.sample import ETH0

NET_ADMIN, SYS_ADMIN, PERFMON, BPF = 1 << 12, 1 << 21, 1 << 38, 1 << 39


def status(effective: int) -> str:
    """What /proc/self/status says."""
    return f"Name:\tvc5\nCapPrm:\t{(1 << 41) - 1:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t0\n"


# The effective set -> what is missing
RIGHTS = [
    ((1 << 41) - 1, None),
    (NET_ADMIN | PERFMON | BPF, None),
    (NET_ADMIN | SYS_ADMIN, None),
    (SYS_ADMIN, "CAP_NET_ADMIN"),
    (PERFMON | BPF, "CAP_NET_ADMIN"),
    (NET_ADMIN | BPF, "CAP_PERFMON"),
    (NET_ADMIN, "CAP_PERFMON, CAP_BPF"),
    (0, "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"),
]


@pytest.mark.parametrize(("effective", "missing"), RIGHTS)
def test_rights(effective: int, missing: str | None) -> None:
    if missing is None:
        check_capabilities(status(effective))
        return
    with pytest.raises(HostError, match=f"this process lacks {missing}; run vc5 as root"):
        check_capabilities(status(effective))


def test_no_line_at_all_is_no_right() -> None:
    with pytest.raises(HostError, match="lacks CAP_NET_ADMIN"):
        check_capabilities("Name:\tvc5\n")


@pytest.mark.parametrize(
    ("text", "count"), [("0\n", 1), ("0-3\n", 4), ("0-3,8", 9), ("0,2-5,7-11\n", 12), ("0-127", 128)]
)
def test_possible_cpus(text: str, count: int) -> None:
    assert possible_cpus(text) == count


def test_this_host_has_cpus() -> None:
    assert read_possible_cpus() >= 1


# Configured, of the configuration before (none: a start) -> refused for these
MISSING = [
    ("eth0", "", ""),
    ("eth0 eth7", "", ""),
    ("eth7 eth8", "", "eth7, eth8"),
    ("eth0 eth7", "eth0", "eth7"),
    ("eth0 eth7", "eth0 eth7", ""),
    ("eth7 eth8", "eth7", "eth8"),
    ("eth7", "eth7", ""),
    ("", "eth7", ""),
    ("", "", ""),
]


@pytest.mark.parametrize(("names", "former", "refused"), MISSING)
def test_a_dead_interface_is_no_obstacle_and_a_misspelt_one_is_named(names: str, former: str, refused: str) -> None:
    wanted, host = Config(tuple(names.split())), Host((ETH0,))
    if not refused:
        assert interfaces(wanted, host, former.split()) == [ETH0] * ("eth0" in names)
        return
    with pytest.raises(HostError, match=f"interface {refused} does not exist in this network namespace"):
        interfaces(wanted, host, former.split())
