"""The section `bgp` to peers: names of prefix lists looked up, and a group's values over those of the section."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from appliance.config.findings import Findings, suggestion
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, quote
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of
from appliance.model import Address, Network
from appliance.model_bgp import Bfd, Bgp, Peer

MAX_FILTERED = 200_000
"""Prefixes of `accept` and `reject`, counted for each peer; more would be a mistake that costs memory."""


def resolve_bgp(top: Fields, findings: Findings) -> Bgp:
    """Return all peers with their values in force; what cannot be resolved is in `findings`."""
    section = top.get("bgp")
    return Bgp(_Section(top, section.value, findings).peers()) if section else Bgp()


class _Section:
    def __init__(self, top: Fields, bgp: Fields, findings: Findings) -> None:
        self._top = top
        self._bgp = bgp
        self._findings = findings
        given = top.get("prefixes")
        self._lists: dict[str, tuple[Network, ...]] = {
            key.value: tuple(item.value for item in value.value) for key, value in (given.value if given else ())
        }
        # Filters and addresses are looked at once for each place that gives them, whoever inherits them.
        self._filters: dict[int, tuple[Network, ...]] = {}
        for level in (bgp, *self._groups()):
            for name in ("accept", "reject"):
                given = level.get(name)
                if given:
                    self._filters[id(given)] = self._networks(given)

    def _groups(self) -> Iterator[Fields]:
        groups = self._bgp.get("groups")
        for group in groups.value if groups else ():
            yield group.value

    def peers(self) -> tuple[Peer, ...]:
        found: dict[Address, Peer] = {}
        grouped: dict[Address, Given] = {}
        for group in self._groups():
            for item in self._listed(group, grouped):
                found[item.value] = self._peer(item.value, (group, self._bgp))
        own: dict[Address, Given] = {}
        for item in self._listed(self._bgp, own):
            if item.value in grouped:
                where = grouped[item.value].node.where
                message = f"{item.value} is also in the group at {where}, whose values it has"
                self._findings.warning(item.node, item.path, "duplicate-peer", message, "keep one of them")
            else:
                found[item.value] = self._peer(item.value, (self._bgp,))
        if sum(len(peer.accept) + len(peer.reject) for peer in found.values()) > MAX_FILTERED:
            message = f"more than {MAX_FILTERED:,} prefixes in filters, counted for each peer"
            hint = "join neighbours into shorter prefixes"
            self._findings.error(self._bgp.node, self._bgp.path, "limit", message, hint)
            return ()
        return tuple(sorted(found.values(), key=lambda peer: (peer.address.version, int(peer.address))))

    def _listed(self, level: Fields, seen: dict[Address, Given]) -> Iterator[Given]:
        """Yield the peers of a level that are new, and report those that are not."""
        peers = level.get("peers")
        if peers is None or not peers.value:
            return
        levels = (level, self._bgp)
        if _given("as_number", levels) is None and not any("as_number" in each.refused for each in levels):
            message = "there are peers, but no `as_number`"
            self._findings.error(
                peers.key or peers.node, peers.path, "missing", message, "for example as_number: 65001"
            )
        for item in peers.value:
            first = seen.setdefault(item.value, item)
            if first is item:
                yield item
            else:
                message = f"{item.value} is given twice; the first is at {first.node.where}"
                self._findings.error(item.node, item.path, "duplicate-peer", message, "keep one of them")

    def _peer(self, address: Address, levels: tuple[Fields, ...]) -> Peer:
        source: Address | None = _effective("source_ip", levels)
        next_hop_4 = _effective("next_hop_4", levels)
        if next_hop_4 is None and isinstance(source, ipaddress.IPv4Address):
            next_hop_4 = source
        passive = _given("passive", levels)
        if passive and passive.value and not self._listens():
            message = "a passive session needs `listen: yes`: the router has nowhere to connect to"
            self._findings.error(passive.node, passive.path, "missing", message, "write `listen: yes`, or remove it")
        group = levels[0].get("name") if levels[0] is not self._bgp else None
        return Peer(
            address,
            _effective("as_number", levels) or 0,
            remote_as=_effective("remote_as", levels),
            group=group.value if group else "",
            hold_time=_effective("hold_time", levels),
            local_pref=_effective("local_pref", levels) or default_of("local_pref"),
            med=_effective("med", levels),
            source_ip=source if source is not None and source.version == address.version else None,
            next_hop_4=next_hop_4,
            next_hop_6=_effective("next_hop_6", levels),
            communities=self._communities(levels),
            accept=self._filter("accept", levels),
            reject=self._filter("reject", levels),
            password=_effective("password", levels) or "",
            bfd=_bfd(levels),
            multihop=_effective("multihop", levels),
            ttl_security=_effective("ttl_security", levels),
            passive=_effective("passive", levels),
        )

    def _listens(self) -> bool:
        undecided = "listen" in self._bgp.refused or "listen" in self._top.refused
        return undecided or bool(_effective("listen", (self._bgp, self._top)))

    def _communities(self, levels: tuple[Fields, ...]) -> tuple[Any, ...]:
        given = _given("communities", levels)
        return tuple(dict.fromkeys(item.value for item in given.value)) if given else ()

    def _filter(self, name: str, levels: tuple[Fields, ...]) -> tuple[Network, ...]:
        given = _given(name, levels)
        return self._filters[id(given)] if given else ()

    def _networks(self, given: Given) -> tuple[Network, ...]:
        found: dict[Network, None] = {}
        for item in given.value:
            networks = item.value
            if isinstance(networks, str):
                networks = self._lists.get(networks, ())
                if item.value not in self._lists and not self._mentioned(item.value):
                    hint = suggestion(item.value, self._lists) or "define it under `prefixes` at the top level"
                    message = f"no list of prefixes {quote(item.value)}"
                    self._findings.error(item.node, item.path, "unknown-name", message, hint)
            found.update(dict.fromkeys(networks))
        return tuple(found)

    def _mentioned(self, name: str) -> bool:
        """Whether the file defines this name, though wrongly; the definition has its own issue then."""
        prefixes = self._top.get("prefixes")
        if prefixes is None:
            return "prefixes" in self._top.refused
        return isinstance(prefixes.node, Mapping) and any(key.text == name for key, _ in prefixes.node.entries)


def _given(name: str, levels: tuple[Fields, ...]) -> Given | None:
    return next((level.given[name] for level in levels if name in level.given), None)


def _effective(name: str, levels: tuple[Fields, ...]) -> Any:
    given = _given(name, levels)
    return default_of(name) if given is None else given.value


def _bfd(levels: tuple[Fields, ...]) -> Bfd | None:
    given = _given("bfd", levels)
    if given is None or given.value is False:
        return None
    values = {}
    for name in ("interval", "multiplier"):
        own = given.value.get(name) if isinstance(given.value, Fields) else None
        values[name] = own.value if own else default_of(name, Place.BFD)
    return Bfd(**values)
