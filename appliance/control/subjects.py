"""The backends that `vc5 doctor` looks at, as the daemon knows them (examinees.py); their findings together. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.control.nic import Finding
from appliance.health.evidence import Examinee
from appliance.model import Address, Forward, Protocol


@dataclass(frozen=True)
class Subject:
    """A backend of a service, as the daemon knows it (examinees.py)."""

    service: str
    vip: Address
    port: int
    protocol: Protocol
    backend: Address
    arrival: int
    nat: Address | None
    health: str
    diagnostic: str
    checked: bool
    troubles: tuple[tuple[str, str], ...]
    """What keeps packets from it, each with what mends that."""
    resolved: bool
    next_hop: Address | None
    interface: str
    mtu: int
    grows: int
    forward: Forward
    tunnel: str = ""
    tunnel_port: int = 0
    code: int = 0
    ask: bytes = b""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Subject:
        """Read a row of the daemon's answer; raises ValueError where it is none of this version's."""
        try:
            nat, hop = row["nat"], row["next_hop"]
            return cls(
                service=str(row["service"]),
                vip=ipaddress.ip_address(row["vip"]),
                port=int(row["port"]),
                protocol=Protocol(row["protocol"]),
                backend=ipaddress.ip_address(row["backend"]),
                arrival=int(row["arrival"]),
                nat=None if nat is None else ipaddress.ip_address(nat),
                health=str(row["health"]),
                diagnostic=str(row["diagnostic"]),
                checked=bool(row["checked"]),
                troubles=tuple((str(one["message"]), str(one["remedy"])) for one in row["troubles"]),
                resolved=bool(row["resolved"]),
                next_hop=None if hop is None else ipaddress.ip_address(hop),
                interface=str(row["interface"]),
                mtu=int(row["mtu"]),
                grows=int(row["grows"]),
                forward=Forward(row["forward"]),
                tunnel=str(row["tunnel"]),
                tunnel_port=int(row["tunnel_port"]),
                code=int(row["code"]),
                ask=bytes.fromhex(row["ask"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no backend of this version's: {error!r}") from None

    @property
    def name(self) -> str:
        """What it is called in the doctor's words."""
        return f"{self.backend} of {self.service}"

    def examinee(self, number: int, most: int) -> Examinee | None:
        """What is to be examined of it; None where nothing can be sent to it. `most`: bytes that can be tried."""
        if self.nat is None or not self.resolved:
            return None
        return Examinee(
            number=number,
            vip=self.vip,
            port=self.port,
            protocol=self.protocol,
            backend=self.backend,
            arrival=self.arrival,
            nat=self.nat,
            size=min(most, max(0, self.mtu - self.grows)),
            tunnel="" if self.tunnel == "dscp" else self.tunnel,
            tunnel_port=self.tunnel_port,
            ask=self.ask,
        )


def merged(found: Iterable[tuple[Subject, tuple[Finding, ...]]]) -> dict[str, tuple[Finding, ...]]:
    """By the name of each backend and service, also of those of which nothing is said.

    The same finding of one backend for several services stands under the first of them, which says how many more.
    """
    services: dict[tuple[Address, tuple[Finding, ...]], list[Subject]] = {}
    for subject, each in found:
        services.setdefault((subject.backend, each), []).append(subject)
    names = {}
    for (_, each), subjects in services.items():
        more = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        names[f"{subjects[0].name}{more}"] = each
    return names
