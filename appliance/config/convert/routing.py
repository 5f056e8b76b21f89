"""BGP of the earlier dialects: sections `rhi` and `bgp` with peers and groups, and JSON's map of peers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from appliance.config.addresses import parse_address
from appliance.config.convert.document import Block, Item, Items, flow_text
from appliance.config.convert.source import Job, Old, each, refusal
from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind, Text
from appliance.config.nodes import Mapping, Node, Scalar, Sequence, describe, join, quote
from appliance.config.setting import LIST_NAME

_COMMUNITY = Text(r"[0-9]{1,5}:[0-9]{1,5}", "a community: two numbers with a colon between them")
_NUMBERS: dict[str, Integer] = {
    "as_number": Integer(1, (1 << 32) - 1),
    "hold_time": Integer(0, 65535),
    "local_pref": Integer(0, (1 << 32) - 1),
    "med": Integer(0, (1 << 32) - 1),
}
_NEXT = ("source_ip", "next_hop_4", "next_hop_6")
SHORTEST_HOLD, DEFAULT_HOLD = 3, 10
"""The former daemon replaced hold times below the first, in seconds, by the second."""


def bgp_section(old: Old, prefixes: Iterable[str], job: Job) -> Block:
    """Return today's `bgp` for a section `rhi` or `bgp` of YAML; `prefixes` are the names that filters may use."""
    known = frozenset(prefixes)
    block = Block()
    _parameters(old, block, known, job)
    _peers(old, block, job)
    groups = old.take("groups")
    if groups is not None:
        block.add("groups", _groups(groups, old.where("groups"), known, job))
    listen = old.take("listen")
    if listen is not None:
        on = isinstance(listen, Scalar) and listen.text == "true"
        notes = [] if on else [job.guessed(listen, old.where("listen"), "only the word true turned this on")]
        block.add("listen", on, *notes)
    learn = old.take("learn")
    if learn is not None:
        _number(learn, old.where("learn"), "learn", Integer(0, 86400), block, job)
    block.tail.extend(old.rest("in `bgp`"))
    return block


def _groups(node: Node, path: str, known: frozenset[str], job: Job) -> Items:
    result = Items()
    if isinstance(node, Mapping):
        result.tail.append(job.lost(node, path, "groups must be a list, not a map"))
        return result
    for item, where in each(node, path):
        if not isinstance(item, Mapping):
            result.tail.append(job.lost(item, where, f"a group is a map, not {describe(item)}"))
            continue
        group = Old(item, where, job)
        block = Block()
        _carry(group, "name", LIST_NAME, block, job)
        _parameters(group, block, known, job)
        _peers(group, block, job)
        block.tail.extend(group.rest("in a group of `bgp`"))
        result.items.append(Item(block))
    return result


def bgp_peers(old: Old, job: Job) -> Block:
    """Return today's `bgp` for JSON's map from peers to parameters: peers with the same parameters share a group."""
    groups: dict[str, tuple[Block, list[object]]] = {}
    notes = []
    for key, node in old.node.entries:
        where = old.where(key.text)
        value = old.take(key.text)
        peer = _peer(key.text)
        if peer is None:
            notes.append(job.lost(key, where, f"the peer {quote(key.text)} is no address"))
            continue
        if value is not None and not isinstance(value, Mapping):
            notes.append(job.lost(node, where, f"a peer's parameters are a map, not {describe(node)}"))
            continue
        block = Block()
        if value is not None:
            parameters = Old(value, where, job)
            _parameters(parameters, block, frozenset(), job)
            multi = parameters.take("multiprotocol")
            if multi is not None and "next_hop_6" not in parameters:
                block.tail.append(
                    job.dropped(multi, join(where, "multiprotocol"), "IPv6 is offered where there are IPv6 VIPs")
                )
            block.tail.extend(parameters.rest("in a peer of `bgp`"))
        signature = repr([(entry.key, _flow(entry.value)) for entry in block.entries])
        first, peers = groups.setdefault(signature, (block, []))
        if first is not block:
            first.tail.extend(block.tail)
            for mine, other in zip(first.entries, block.entries, strict=True):
                if isinstance(mine.value, Items) and isinstance(other.value, Items):
                    mine.value.tail.extend(other.value.tail)
                mine.notes.extend(note for note in other.notes if note not in mine.notes)
        peers.append(peer)
    for block, peers in groups.values():
        block.add("peers", peers)
    blocks = [block for block, _ in groups.values()]
    result = blocks[0] if len(blocks) == 1 else Block()
    if len(blocks) > 1:
        result.add("groups", Items([Item(block) for block in blocks]))
    result.tail.extend(notes)
    return result


def _flow(value: object) -> str:
    return repr([_flow(item.value) for item in value.items]) if isinstance(value, Items) else flow_text(value)


def _peer(text: str) -> str | None:
    try:
        return str(parse_address(text))
    except Invalid:
        return None


def _parameters(old: Old, block: Block, known: frozenset[str], job: Job) -> None:
    for name, kind in _NUMBERS.items():
        node = old.take(name)
        if node is not None:
            _number(node, old.where(name), name, kind, block, job)
    for name in _NEXT:
        node = old.take(name)
        if node is None:
            continue
        address = _peer(node.text) if isinstance(node, Scalar) else None
        if address is None:
            block.tail.append(job.lost(node, old.where(name), f"must be an address, not {describe(node)}"))
        else:
            block.add(name, address)
    _texts(old, "communities", _COMMUNITY, block, job)
    for name in ("accept", "reject"):
        node = old.take(name)
        if node is not None and not (isinstance(node, Sequence) and not node.items):
            block.add(name, _filter(node, old.where(name), known, job))


def _number(node: Node, path: str, name: str, kind: Integer, block: Block, job: Job) -> None:
    why, hint = refusal(kind, node, path)
    if why:
        block.tail.append(job.lost(node, path, why, hint))
        return
    assert isinstance(node, Scalar)
    number = int(node.text)
    if name == "hold_time" and 0 < number < SHORTEST_HOLD:
        reason = f"a hold time below {SHORTEST_HOLD} s was taken for {DEFAULT_HOLD} s"
        block.add(name, DEFAULT_HOLD, job.guessed(node, path, reason))
    elif number or name == "learn":
        # Zero said "the default" of hold time and local preference, and "none" of the MED.
        block.add(name, number)


def _carry(old: Old, name: str, kind: ScalarKind, block: Block, job: Job) -> None:
    node = old.take(name)
    if node is None:
        return
    why, hint = refusal(kind, node, old.where(name))
    if why:
        block.tail.append(job.dropped(node, old.where(name), why, hint))
    else:
        assert isinstance(node, Scalar)
        block.add(name, node.text)


def _texts(old: Old, name: str, kind: ScalarKind, block: Block, job: Job) -> None:
    node = old.take(name)
    if node is None:
        return
    result = Items()
    for item, where in each(node, old.where(name)):
        why, hint = refusal(kind, item, where)
        if why:
            result.tail.append(job.lost(item, where, why, hint))
        else:
            assert isinstance(item, Scalar)
            result.items.append(Item(item.text))
    if result.items or result.tail:
        block.add(name, result)


def _peers(old: Old, block: Block, job: Job) -> None:
    node = old.take("peers")
    if node is None:
        return
    result = Items()
    seen = set()
    for item, where in each(node, old.where("peers")):
        peer = _peer(item.text) if isinstance(item, Scalar) else None
        if peer is None:
            result.tail.append(job.lost(item, where, f"a peer is an address, not {describe(item)}"))
        elif peer in seen:
            result.tail.append(job.dropped(item, where, f"the peer {peer} is given twice"))
        else:
            seen.add(peer)
            result.items.append(Item(peer))
    block.add("peers", result)


def _filter(node: Node, path: str, known: frozenset[str], job: Job) -> Items:
    result = Items()
    for item, where in each(node, path):
        text = item.text if isinstance(item, Scalar) else ""
        if text == "any" or text in known:
            result.items.append(Item(text))
            continue
        prefix, note = prefix_of(item, where, job)
        if prefix:
            result.items.append(Item(prefix, [note] if note else []))
        else:
            result.tail.append(note)
    return result


def prefix_of(node: Node, path: str, job: Job) -> tuple[str, str]:
    """Return a prefix, and a comment where it is not the text that was given; no prefix where the text is none."""
    text = node.text if isinstance(node, Scalar) else ""
    try:
        interface = ipaddress.ip_interface(text[:64])
    except ValueError:
        return "", job.lost(node, path, f"must be a prefix or the name of a list, not {describe(node)}")
    network = interface.network
    if "/" in text and interface.ip != network.network_address:
        return str(network), job.guessed(node, path, f"{quote(text)} has bits beyond its length")
    return (str(network) if "/" in text else str(interface.ip)), ""
