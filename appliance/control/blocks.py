"""What operators block, on top of the configuration: added, removed, at an end, kept over a restart. Pure.

Times are wall-clock seconds since the epoch: a block for an hour ends after an hour, whatever restarts meanwhile.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from appliance.dataplane.abi import BLOCKED_LIMIT
from appliance.dataplane.block import blocking
from appliance.errors import RequestError
from appliance.model import Address, Config, Host, Network

LONGEST = 366 * 86400.0
"""Seconds; for longer there is the configuration, or no end."""
NOTE = 200
"""Characters of a note."""
NAMED = 4
"""How many covered addresses a warning names."""


@dataclass(frozen=True)
class Block:
    """A prefix that an operator blocked; `until` is None where it has no end."""

    prefix: Network
    since: float
    until: float | None
    who: str
    note: str = ""

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """What the state file keeps, and `vc5 block list --json` shows."""
        return {
            "prefix": str(self.prefix),
            "since": self.since,
            "until": self.until,
            "who": self.who,
            "note": self.note,
        }


@dataclass
class Blocks:
    """The operators' list."""

    entries: dict[Network, Block] = field(default_factory=dict)
    _merged: tuple[tuple[Network, ...], tuple[Network, ...]] | None = None
    """What the configuration blocked when this was last asked for, and all of it together."""

    def add(self, block: Block, configured: tuple[Network, ...], *, force: bool = False) -> Block | None:
        """Block a prefix, or give the block that is there another end and note; returns the one of before.

        Raises what `check` raises.
        """
        self.check(block, configured, force=force)
        before = self.entries.get(block.prefix)
        self._put({**self.entries, block.prefix: block})
        return before

    def check(self, block: Block, configured: tuple[Network, ...], *, force: bool = False) -> None:
        """Raise RequestError for a whole family without `force`, and where no more prefixes fit."""
        if not block.prefix.prefixlen and not force:
            raise RequestError(
                f"{block.prefix} is every IPv{block.prefix.version} address there is, and no client would reach a "
                "service; name the networks that you mean, or say --force"
            )
        more = block.prefix not in self.entries
        if len(configured) + len(self.entries) + more > BLOCKED_LIMIT:
            raise RequestError(
                f"{block.prefix} cannot be blocked: {BLOCKED_LIMIT:,} prefixes are, and more do not fit; join "
                "neighbours into shorter prefixes, or remove some (`vc5 block list`)"
            )

    def remove(self, prefix: Network, configured: tuple[Network, ...]) -> Block:
        """Take back what an operator blocked, and return it. Raises RequestError where nobody did."""
        found = self.entries.get(prefix)
        if found is not None:
            self.put_back(prefix, None)
            return found
        if prefix in configured:
            raise RequestError(f"{prefix} is blocked by the configuration; take it out of `block`, and reload")
        touching = [str(one) for one in self.networks(configured) if one.overlaps(prefix)]
        near = f"; blocked are {', '.join(touching[:NAMED])}" if touching else ""
        raise RequestError(f"{prefix} is not blocked{near}")

    def put_back(self, prefix: Network, block: Block | None) -> None:
        """Undo `add` or `remove`: the block of before, None for none."""
        entries = dict(self.entries)
        if block is None:
            entries.pop(prefix, None)
        else:
            entries[prefix] = block
        self._put(entries)

    def expire(self, now: float) -> list[Block]:
        """Let go of those whose end has come, and return them."""
        gone = [block for block in self.entries.values() if block.until is not None and now >= block.until]
        if gone:
            entries = dict(self.entries)
            for block in gone:
                del entries[block.prefix]
            self._put(entries)
        return gone

    def networks(self, configured: tuple[Network, ...]) -> tuple[Network, ...]:
        """Return all that is blocked; the same object as long as it is the same."""
        if self._merged is None or self._merged[0] is not configured:
            # What both name is there twice: sorting that out would take longer than everything else.
            self._merged = (configured, (*configured, *self.entries) if self.entries else configured)
        return self._merged[1]

    def explained(self, configured: tuple[Network, ...], source: Address) -> dict[str, Any] | None:
        """Return who blocks a source, by which prefix and until when; None where it is not blocked."""
        prefix = blocking(self.networks(configured), source)
        if prefix is None:
            return None
        block = self.entries.get(prefix)
        if block is None or prefix in configured:
            return {"prefix": str(prefix), "by": "configuration", "until": None}
        return {"prefix": str(prefix), "by": "operator", "until": block.until, "who": block.who, "note": block.note}

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the list in JSON's terms."""
        return [block.as_json for block in self.entries.values()]

    def restore(self, saved: object) -> int:
        """Take over a snapshot; returns how many entries made no sense, or were too many."""
        found: dict[Network, Block] = {}
        refused = 0
        for item in saved if isinstance(saved, list) else []:
            try:
                block = _block(item)
            except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
                refused += 1
                continue
            if len(found) >= BLOCKED_LIMIT:
                refused += 1
            else:
                found[block.prefix] = block
        self._put(found)
        return refused

    def _put(self, entries: dict[Network, Block]) -> None:
        self.entries, self._merged = entries, None


def _block(item: Mapping[str, Any]) -> Block:
    until = item["until"]
    block = Block(
        ipaddress.ip_network(str(item["prefix"])),
        float(item["since"]),
        None if until is None else float(until),
        str(item["who"]),
        str(item["note"])[:NOTE],
    )
    if not math.isfinite(block.since) or not math.isfinite(block.until or 0.0):
        raise ValueError("times that no clock shows")
    return block


def warning(prefix: Network, config: Config, host: Host) -> str:
    """Say which of the balancer's own neighbours and addresses a prefix covers; empty for none."""
    covered = [what for address, what in _known(config, host) if address in prefix]
    if not covered:
        return ""
    more = f" and {len(covered) - NAMED} more" if len(covered) > NAMED else ""
    return (
        f"{prefix} covers {', '.join(covered[:NAMED])}{more}: what they send to a VIP is dropped now; answers "
        "to probes, and what is for the balancer itself, are not"
    )


def _known(config: Config, host: Host) -> Iterator[tuple[Address, str]]:
    """Yield the addresses that a balancer lives with, each once, and what they are."""
    known: dict[Address, str] = {}
    for vlan in config.vlans:
        if vlan.gateway is not None:
            known.setdefault(vlan.gateway, f"the gateway {vlan.gateway} of VLAN {vlan.id}")
    for route in host.routes:
        if route.gateway is not None:
            known.setdefault(route.gateway, f"the gateway {route.gateway}")
    for interface in host.interfaces:
        for own in interface.addresses:
            known.setdefault(own.ip, f"{own.ip} of {interface.name}")
    for service in config.services:
        known.setdefault(service.key.vip, f"the VIP {service.key.vip}")
        for backend in service.backends:
            known.setdefault(backend.address, f"the backend {backend.address}")
    for _, address in host.neighbours:
        known.setdefault(address, f"the neighbour {address}")
    yield from known.items()


def block_story(blocked: Mapping[str, Any]) -> str:
    """Tell what `explained` found."""
    by, until = str(blocked["by"]), blocked.get("until")
    if blocked.get("who"):
        by += f" {blocked['who']}"
    end = f", until {moment(float(until))}" if until is not None else ""
    note = f": {blocked['note']}" if blocked.get("note") else ""
    return f"{blocked['prefix']} is blocked ({by}{end}){note}"


def moment(at: float) -> str:
    """Return a wall-clock time as people read it."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "a time far away"
