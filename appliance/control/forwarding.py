"""Whether the host forwards packets, as it must for backends behind NAT: their answers leave by its routes.

The kernel asks for this at the interface where an answer comes in (Documentation/networking/ip-sysctl.rst).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from appliance.control.trouble import FORWARDING, Trouble, not_forwarded
from appliance.model import Forward, Service

SYSCTLS = Path("/proc/sys")


def needed(services: Iterable[Service]) -> frozenset[int]:
    """The families in which answers have to be forwarded."""
    return frozenset(service.key.vip.version for service in services if service.forward is Forward.NAT)


def withheld(name: str, families: Collection[int], sysctls: Path = SYSCTLS) -> tuple[int, ...]:
    """Those of the families that are not forwarded at an interface of this network namespace.

    What has no such setting (the interface is gone, or there is no IPv6) lacks more than this, and others tell of it.
    """
    return tuple(family for family in sorted(families) if _read(sysctls / FORWARDING[family].format(name=name)) == "0")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def troubles(names: Iterable[str], services: Iterable[Service], sysctls: Path = SYSCTLS) -> frozenset[Trouble]:
    """One for each interface and family at which answers from behind NAT are not forwarded."""
    families = needed(services)
    return frozenset(not_forwarded(name, family) for name in names for family in withheld(name, families, sysctls))
