"""The top level: what every earlier dialect has beside its services, in the order in which people look for it."""

from __future__ import annotations

from appliance.config.convert.document import Block, Entry, Item, Items
from appliance.config.convert.logs import logging_section
from appliance.config.convert.routing import bgp_peers, bgp_section, prefix_of
from appliance.config.convert.source import MAX_TEXT, Job, Old, each, natural, refusal, scalar_kind
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, Node, Scalar, describe, join
from appliance.config.prefixes import VlanId, VlanPrefix
from appliance.config.setting import LIST_NAME
from appliance.config.settings_top import INTERFACE

_GONE = {
    "defcon": "there are no readiness levels; load is shed by `block` and by what `on_dead` and `on_down` say",
    "webroot": "the console's files are part of the package",
}
_TEXTS = ("address", "multicast", "webserver", "learn", "host_id")

_DEAD = "the former daemon took this from its command line, not from here"

GUESSED_INTERFACE = "eth0"


def settings(old: Old, job: Job, dead: bool) -> Block:
    """Return everything but the services and the lists they name.

    `dead` says that the former daemon read its command line instead of these keys, though the file could have them.
    """
    block = Block()
    _interfaces(old, block, job)
    for name in ("native", "untagged"):
        _flag(old, name, block, job)
    _vlans(old, block, job)
    for name in _TEXTS:
        node = old.take(name)
        if node is not None:
            notes = _carried(name, node, old.where(name), block, job)
            if notes is not None and dead:
                notes.append(job.guessed(node, old.where(name), _DEAD))
    bgp = _bgp(old, job)
    _listen(old, bgp, block, job)
    if bgp is not None:
        block.entries.append(bgp)
    logging = old.take("logging")
    if isinstance(logging, Mapping):
        block.add("logging", logging_section(Old(logging, "logging", job), job))
    elif logging is not None:
        block.tail.append(job.lost(logging, "logging", "must be a map"))
    _prefixes(old, block, job)
    for name, reason in _GONE.items():
        node = old.take(name)
        if node is not None:
            block.tail.append(job.dropped(node, name, reason))
    return block


def _interfaces(old: Old, block: Block, job: Job) -> None:
    node = old.take("interfaces")
    result = Items()
    if job.interfaces:
        result.items = [Item(name) for name in job.interfaces]
        if node is not None:
            result.tail.append(job.dropped(node, "interfaces", "--interface names others"))
    elif node is not None:
        seen = set()
        for item, where in each(node, "interfaces"):
            why, hint = refusal(INTERFACE, item, where)
            if why or not isinstance(item, Scalar):
                result.tail.append(job.lost(item, where, why, hint))
            elif item.text in seen:
                result.tail.append(job.dropped(item, where, "this interface is there already"))
            else:
                seen.add(item.text)
                result.items.append(Item(item.text))
    elif "services" in old:
        reason = "the former daemon had the names of the interfaces on its command line"
        note = job.guessed(old.node, "interfaces", reason, "write them here, or convert with --interface")
        block.add("interfaces", [GUESSED_INTERFACE], note)
        return
    else:
        return
    block.add("interfaces", result)


def _flag(old: Old, name: str, block: Block, job: Job) -> None:
    node = old.take(name)
    if node is None:
        return
    text = node.text if isinstance(node, Scalar) else ""
    notes = []
    if text not in ("true", "false"):
        notes.append(job.guessed(node, name, f"only true turned this on, not {describe(node)}"))
    if name == "native":
        block.add("xdp", "native" if text == "true" else "generic", *notes)
    else:
        block.add(name, text == "true", *notes)


def _vlans(old: Old, block: Block, job: Job) -> None:
    first = True
    for name, version in (("vlans", 4), ("vlans6", 6)):
        node = old.take(name)
        if node is None:
            continue
        if not isinstance(node, Mapping):
            block.tail.append(job.lost(node, name, f"must be a map from VLAN ids to prefixes, not {describe(node)}"))
            continue
        notes = []
        if first and "untagged" not in old and node.entries:
            reason = "frames carry VLAN tags"
            notes.append(job.guessed(node, name, reason, "if they do not, write `mode: multi-nic`"))
        first = False
        vlans = Block()
        for key, value in node.entries:
            where = join(name, key.text)
            why, hint = refusal(VlanId(), key, where)
            if not why:
                why, hint = refusal(VlanPrefix(version), value, where)
            if why:
                vlans.tail.append(job.lost(value, where, why, hint))
            else:
                assert isinstance(value, Scalar)
                vlans.add(key.text, value.text)
        block.add(name, vlans, *notes)


def _carried(name: str, node: Node, path: str, block: Block, job: Job) -> list[str] | None:
    """Carry a text over; returns the entry's comments, to be added to, or None where it is not carried."""
    kind = scalar_kind(Place.TOP, name)
    why, hint = refusal(kind, node, path) if kind else ("", "")
    if not why and not (isinstance(node, Scalar) and len(node.text) <= MAX_TEXT):
        why = "must be one text"
    if why:
        block.tail.append(job.lost(node, path, why, hint))
        return None
    assert isinstance(node, Scalar)
    entry = Entry(name, natural(node))
    block.entries.append(entry)
    return entry.notes


def _bgp(old: Old, job: Job) -> Entry | None:
    names = [name for name in ("rhi", "bgp") if name in old]
    entry: Entry | None = None
    prefixes = _prefix_names(old)
    for name in names:
        node = old.take(name)
        if node is None:
            continue
        if not isinstance(node, Mapping):
            note = job.lost(node, name, f"must be a map, not {describe(node)}")
            entry = entry or Entry("bgp", Block())
            entry.notes.append(note)
            continue
        if entry is not None and isinstance(entry.value, Block) and entry.value.entries:
            entry.notes.append(job.lost(node, name, "`rhi` and `bgp` are both given"))
            continue
        section = Old(node, name, job)
        block = bgp_peers(section, job) if is_peers(node) else bgp_section(section, prefixes, job)
        entry = Entry("bgp", block, entry.notes if entry else [])
    return entry


def is_peers(node: Mapping) -> bool:
    """Whether this is JSON's map from peers to parameters: every value is a map, or nothing."""
    return bool(node.entries) and all(
        (isinstance(value, Mapping) or (isinstance(value, Scalar) and value.is_null))
        and (":" in key.text or "." in key.text)
        for key, value in node.entries
    )


def _prefix_names(old: Old) -> list[str]:
    node = old.peek("prefixes")
    return [key.text for key, _ in node.entries] if isinstance(node, Mapping) else []


def _listen(old: Old, bgp: Entry | None, block: Block, job: Job) -> None:
    """Put the top level's `listen` to its peers, if there are any."""
    if bgp is None or not isinstance(bgp.value, Block):
        _flag(old, "listen", block, job)
        return
    if bgp.value.entry("listen") is None:
        _flag(old, "listen", bgp.value, job)


def _prefixes(old: Old, block: Block, job: Job) -> None:
    node = old.take("prefixes")
    if node is None:
        return
    if not isinstance(node, Mapping):
        block.tail.append(job.lost(node, "prefixes", f"must be a map from names to lists, not {describe(node)}"))
        return
    lists = Block()
    for key, value in node.entries:
        where = join("prefixes", key.text)
        why, hint = refusal(LIST_NAME, key, where)
        if why:
            lists.tail.append(job.lost(value, where, why, hint))
            continue
        result = Items()
        for item, at in each(value, join("prefixes", key.text)):
            prefix, note = prefix_of(item, at, job)
            if prefix:
                result.items.append(Item(prefix, [note] if note else []))
            else:
                result.tail.append(note)
        lists.add(key.text, result)
    block.add("prefixes", lists)
