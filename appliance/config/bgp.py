"""The section `bgp` to peers: names of prefix lists looked up, and a group's values over those of the section."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from appliance.config.findings import Findings, suggestion
from appliance.config.kinds import Place, duration_text
from appliance.config.nodes import Mapping as MapNode
from appliance.config.nodes import quote
from appliance.config.reader import Fields, Given
from appliance.config.settings import default_of
from appliance.config.vip_routes import communities
from appliance.model import Address, Network
from appliance.model_bgp import GRACEFUL_SHUTDOWN, Bfd, Bgp, Peer, VipRoutes

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
LOOPBACK_6 = ipaddress.IPv6Address("::1")
LOOPBACK_HOLD_TIME = 4
"""Seconds. The other daemon is on the same machine: it answers at once, or is gone."""
ANY_HOPS = 255

MAX_FILTERED = 200_000
"""Prefixes of `accept` and `reject`, counted for each peer; more would be a mistake that costs memory."""


def resolve_bgp(top: Fields, vips: Mapping[Address, VipRoutes], findings: Findings) -> Bgp:
    """Return all peers with their values in force; what cannot be resolved is in `findings`.

    `vips` are those of whose routes services say something.
    """
    section = top.get("bgp")
    if section is None:
        return Bgp(vips=vips)
    peers = _Section(top, section.value, findings).peers()
    _identified(top, section, peers, findings)
    if any(said.next_hop_6 is not None for said in vips.values()):
        peers = tuple(replace(peer, vips_next_hop_6=True) for peer in peers)
    return Bgp(peers, vips)


def _identified(top: Fields, section: Given, peers: tuple[Peer, ...], findings: Findings) -> None:
    """Refuse a file in which nothing tells what the host calls itself: 32 bits, even where there is no IPv4."""
    if any(name in top.given or name in top.refused for name in ("address", "router_id")):
        return
    four = any(peer.address.version == 4 or peer.source_ip or peer.next_hop_4 for peer in peers if not peer.router_id)
    if not four and any(peer.router_id is None for peer in peers):
        message = "all routers are of IPv6, and nothing says by which number of 32 bits this host is known in BGP"
        hint = "for example router_id: 10.1.10.5; it need not be an address of the host"
        findings.error(section.key or section.node, "router_id", "missing", message, hint)


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

    def _doubt_restarts(self) -> None:
        """Warn of a `restart_time` that means nothing to anybody."""
        used = any(group.given["graceful_restart"].value for group in self._groups() if group.get("graceful_restart"))
        for level in (self._bgp, *self._groups()):
            time, restart = level.get("restart_time"), level.get("graceful_restart")
            if time and restart and not restart.value and (level is not self._bgp or not used):
                message = "this means nothing with `graceful_restart: no`"
                self._findings.warning(time.node, time.path, "restart", message, "remove one of them")

    def peers(self) -> tuple[Peer, ...]:
        self._doubt_restarts()
        found: dict[Address, Peer] = {}
        grouped: dict[Address, Given] = {}
        for group in self._groups():
            for item in self._listed(group, grouped):
                found[item.value] = self._peer(item.value, (group, self._bgp))
        own: dict[Address, Given] = {}
        loopback = self._loopback()
        for item in self._listed(self._bgp, own):
            if item.value in grouped:
                where = grouped[item.value].node.where
                message = f"{item.value} is also in the group at {where}, whose values it has"
                self._findings.warning(item.node, item.path, "duplicate-peer", message, "keep one of them")
            else:
                found[item.value] = self._peer(item.value, (self._bgp,))
        if loopback is not None:
            self._refuse_twice(own.get(LOOPBACK) or grouped.get(LOOPBACK))
            found[LOOPBACK] = loopback
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
        self._need_as(peers, (level, self._bgp), "there are peers, but no `as_number`")
        for item in peers.value:
            first = seen.setdefault(item.value, item)
            if first is item:
                yield item
            else:
                message = f"{item.value} is given twice; the first is at {first.node.where}"
                self._findings.error(item.node, item.path, "duplicate-peer", message, "keep one of them")

    def _need_as(self, at: Given, levels: tuple[Fields, ...], message: str) -> None:
        if _given("as_number", levels) is None and not any("as_number" in each.refused for each in levels):
            self._findings.error(at.key or at.node, at.path, "missing", message, "for example as_number: 65001")

    def _loopback(self) -> Peer | None:
        """Return the router daemon on this host; None where it is not asked for."""
        given = self._bgp.get("loopback")
        if given is None or not given.value:
            return None
        levels = (self._bgp,)
        self._need_as(given, levels, "`loopback` needs `as_number`, which is the other daemon's as well")
        peer, address = self._peer(LOOPBACK, levels), _given("address", (self._top,))
        return Peer(
            LOOPBACK,
            peer.local_as,
            remote_as=peer.local_as,
            hold_time=LOOPBACK_HOLD_TIME,
            local_pref=peer.local_pref,
            med=peer.med,
            next_hop_4=peer.next_hop_4 or (address.value if address else None),
            next_hop_6=peer.next_hop_6 or LOOPBACK_6,
            communities=peer.communities,
            accept=peer.accept,
            reject=peer.reject,
            demote_med=peer.demote_med,
            demote_communities=peer.demote_communities,
            last_communities=peer.last_communities,
            demote_down=peer.demote_down,
            graceful_restart=peer.graceful_restart,
            restart_time=peer.restart_time,
            router_id=LOOPBACK,
        )

    def _refuse_twice(self, item: Given | None) -> None:
        if item is not None:
            message = f"{LOOPBACK} is the router daemon of `loopback: yes`, too"
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
        made = Peer(
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
            prepend=_effective("prepend", levels),
            communities=_communities("communities", levels),
            accept=self._filter("accept", levels),
            reject=self._filter("reject", levels),
            password=_effective("password", levels) or "",
            bfd=_bfd(levels),
            multihop=_effective("multihop", levels),
            ttl_security=_effective("ttl_security", levels),
            passive=_effective("passive", levels),
            demote_med=_effective("demote_med", levels),
            demote_communities=_communities("demote_communities", levels, (GRACEFUL_SHUTDOWN,)),
            last_communities=_communities("last_communities", levels),
            demote_down=_effective("on_vip_down", levels),
            graceful_restart=_effective("graceful_restart", levels),
            restart_time=_effective("restart_time", levels),
        )
        if address != LOOPBACK:
            self._doubt(made, levels)
        return made

    def _doubt(self, peer: Peer, levels: tuple[Fields, ...]) -> None:
        """Warn of values that do nothing together."""
        ttl, bfd = _given("ttl_security", levels), _given("bfd", levels)
        if ttl and peer.ttl_security and peer.multihop == ANY_HOPS:
            message = "this keeps nobody out with `multihop: yes`, which is any number of hops"
            self._findings.warning(ttl.node, ttl.path, "ttl", message, "write `multihop` as the number of hops")
        if bfd and peer.bfd and peer.bfd.interval * peer.bfd.multiplier >= peer.hold_time:
            took = duration_text(round(peer.bfd.interval * peer.bfd.multiplier, 6))
            message = (
                f"this takes {took} to find a way broken, and BGP itself no more than {peer.hold_time}s (hold_time)"
            )
            self._findings.warning(bfd.node, bfd.path, "bfd", message, "shorten `interval`, or remove `bfd`")

    def _listens(self) -> bool:
        undecided = "listen" in self._bgp.refused or "listen" in self._top.refused
        return undecided or bool(_effective("listen", (self._bgp, self._top)))

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
        return isinstance(prefixes.node, MapNode) and any(key.text == name for key, _ in prefixes.node.entries)


def _given(name: str, levels: tuple[Fields, ...]) -> Given | None:
    return next((level.given[name] for level in levels if name in level.given), None)


def _effective(name: str, levels: tuple[Fields, ...]) -> Any:
    given = _given(name, levels)
    return default_of(name) if given is None else given.value


def _communities(name: str, levels: tuple[Fields, ...], default: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    given = _given(name, levels)
    return communities(given) if given else default


def _bfd(levels: tuple[Fields, ...]) -> Bfd | None:
    given = _given("bfd", levels)
    if given is None or given.value is False:
        return None
    values = {}
    for name in ("interval", "multiplier"):
        own = given.value.get(name) if isinstance(given.value, Fields) else None
        values[name] = own.value if own else default_of(name, Place.BFD)
    return Bfd(**values)
