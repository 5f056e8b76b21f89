"""What the host must give before anything is touched, each with a message of its own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from appliance.dataplane.attach import configured
from appliance.errors import HostError
from appliance.model import Config, Host, Interface

CAPABILITIES = {12: "CAP_NET_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
"""By number (linux/capability.h): attaching and netlink; variable offsets into packets; maps and programs."""
LISTENING = "CAP_NET_BIND_SERVICE"
"""For routers that are to connect, to port 179 (`listen`); nothing else needs it (routing/sockets.py)."""
ALL_POWERFUL = 21
"""CAP_SYS_ADMIN, which stands for the BPF ones, and is needed to make the probe namespace."""


def check_capabilities(status: str) -> None:
    """`status` is the text of /proc/self/status. Raises HostError naming what is missing."""
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    have = int(line.split()[1], 16)
    missing = [
        name
        for bit, name in CAPABILITIES.items()
        if not have >> bit & 1 and (bit == 12 or not have >> ALL_POWERFUL & 1)
    ]
    if missing:
        raise HostError(
            f"this process lacks {', '.join(missing)}; run vc5 as root, or give the service these capabilities "
            f"(AmbientCapabilities={' '.join(CAPABILITIES.values())} in vc5.service)"
        )


def possible_cpus(text: str) -> int:
    """The number of CPUs the kernel may ever use, from /sys/devices/system/cpu/possible (`0-3,8`)."""
    return 1 + max(int(part.rpartition("-")[2]) for part in text.strip().split(","))


def read_possible_cpus() -> int:
    """The same, of this host."""
    return possible_cpus(Path("/sys/devices/system/cpu/possible").read_text())


def interfaces(config: Config, host: Host, former: Collection[str] = ()) -> list[Interface]:
    """The configured interfaces that exist; raises HostError where what is missing looks like a mistake.

    A machine may come up with a dead member of a bond, and has to forward all the same: it starts while one interface
    is there. `former` names the interfaces of the configuration that a reload replaces: one that both have and the
    host has not is that dead member, one that only the new configuration has is misspelt.
    """
    found, missing = configured(config.interfaces, host.interfaces)
    wrong = [name for name in missing if name not in former] if former or not found else []
    if wrong:
        names = ", ".join(wrong)
        raise HostError(
            f"interface {names} does not exist in this network namespace; correct `interfaces`, or create it "
            "(`ip link` lists what there is)"
        )
    return found
