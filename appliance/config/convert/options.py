"""What a service or a policy says about itself beside its servers and checks, in today's words."""

from __future__ import annotations

import re

from appliance.config.convert.document import Block
from appliance.config.convert.source import MAX_TEXT, Job, Old, refusal, scalar_kind
from appliance.config.kinds import Choice, Integer, Place
from appliance.config.nodes import Node, Scalar, describe, quote
from appliance.config.policy import PORT

_PRIORITY = Choice(dict.fromkeys(("critical", "high", "medium", "low")))
_GONE = {
    "persist": "flows stay where they are; for all connections of a client write `sticky: yes`",
    "reset": "whether flows of a dead backend are reset is what `on_dead: reset` says",
}
_SCHEDULERS = {
    "maglev": "maglev",
    "leastconn": "least-connections",
    "leastconns": "least-connections",
    "least-connections": "least-connections",
}
_LEAST = ("least", "leastconns")
_UDP_TUNNELS = ("fou", "gue")
_NAME_LENGTH = 63

MISSPELT = "critcal"
"""What the former daemon writes for `critical` when asked for its configuration."""


def read_options(old: Old, place: Place, job: Job, outer: str = "") -> Block:
    """Return the options of a service or a policy. `outer` is the tunnel type that it inherits."""
    block = Block()
    _name(old, block, job)
    _description(old, block, place, job)
    _plain(old, "need", place, block, job)
    _plain(old, "priority", place, block, job)
    sticky = _flag(old, "sticky", block, job)
    _scheduler(old, block, job, sticky)
    _tunnel(old, place, block, job, outer)
    for name, reason in _GONE.items():
        node = old.take(name)
        if node is not None and not (isinstance(node, Scalar) and node.text in ("false", "0")):
            block.tail.append(job.dropped(node, old.where(name), f"there is no `{name}`: {reason}"))
    return block


def scheduler_of(node: Node, path: str, job: Job) -> tuple[str | None, str]:
    """Return today's word for a scheduler, and the comment about it, if there is one."""
    text = node.text if isinstance(node, Scalar) else ""
    word = _SCHEDULERS.get(text)
    if word is None:
        return None, job.dropped(node, path, f"there is no scheduler {describe(node)}; maglev shares flows out")
    if text == "leastconn":
        reason = "the former XDP daemon ignored leastconn; here it is in force"
        return word, job.guessed(node, path, reason, "remove it for maglev")
    return word, ""


def _name(old: Old, block: Block, job: Job) -> None:
    node = old.take("name")
    if node is None:
        return
    path = old.where("name")
    kind = scalar_kind(Place.SERVICE, "name")
    assert kind is not None
    why, hint = refusal(kind, node, path)
    if not why:
        assert isinstance(node, Scalar)
        block.add("name", node.text)
        return
    text = node.text[:500] if isinstance(node, Scalar) else ""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_NAME_LENGTH]
    if name:
        reason = f"{name} for the name {quote(text)}, which today's names cannot be"
        block.add("name", name, job.guessed(node, path, reason, hint))
    elif not (isinstance(node, Scalar) and not node.text):
        block.tail.append(job.lost(node, path, why, hint))


def _description(old: Old, block: Block, place: Place, job: Job) -> None:
    key = "desc" if "desc" in old and "description" not in old else "description"
    node = old.take(key)
    if node is None:
        return
    kind = scalar_kind(place, "description")
    assert kind is not None
    text = node.text if isinstance(node, Scalar) else ""
    if len(text) > MAX_TEXT:
        block.tail.append(job.lost(node, old.where(key), f"must be one line; this has {len(text):,} characters"))
        return
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    candidate = Scalar(node.line, node.column, 1, line, False) if isinstance(node, Scalar) else node
    why, hint = refusal(kind, candidate, old.where(key))
    if why:
        block.tail.append(job.lost(node, old.where(key), why, hint))
    elif line:
        notes = [job.guessed(node, old.where(key), "written on one line")] if line != text.strip() else []
        block.add("description", line, *notes)


def _plain(old: Old, name: str, place: Place, block: Block, job: Job) -> None:
    node = old.take(name)
    if node is None:
        return
    if isinstance(node, Scalar) and node.text == MISSPELT:
        node = Scalar(node.line, node.column, 1, "critical", node.plain)
    kind = scalar_kind(place, name) or _PRIORITY
    why, hint = refusal(kind, node, old.where(name))
    if why:
        block.tail.append(job.lost(node, old.where(name), why, hint))
        return
    assert isinstance(node, Scalar)
    block.add(name, int(node.text) if isinstance(kind, Integer) else node.text)


def _flag(old: Old, name: str, block: Block, job: Job) -> bool:
    node = old.take(name)
    if node is None:
        return False
    text = node.text if isinstance(node, Scalar) else ""
    notes = []
    if text not in ("true", "false"):
        notes.append(job.guessed(node, old.where(name), f"only the word true turned this on, not {describe(node)}"))
    block.add(name, text == "true", *notes)
    return text == "true"


def _scheduler(old: Old, block: Block, job: Job, sticky: bool) -> None:
    word, note, at, path = None, "", None, ""
    for name in ("scheduler", *_LEAST):
        node = old.take(name)
        if node is None:
            continue
        at, path = node, old.where(name)
        if name == "scheduler":
            word, note = scheduler_of(node, path, job)
        elif isinstance(node, Scalar) and node.text == "true":
            word, note = "least-connections", ""
        elif not (isinstance(node, Scalar) and node.text in ("false", "0")):
            note = job.dropped(node, path, f"only the word true turned this on, not {describe(node)}")
    if at is not None and word == "least-connections" and sticky:
        note = job.dropped(at, path, "least connections do not go with `sticky`")
        word = None
    if word:
        block.add("scheduler", word, *([note] if note else []))
    elif note:
        block.tail.append(note)


def _tunnel(old: Old, place: Place, block: Block, job: Job, outer: str) -> None:
    kind = outer
    node = old.take("tunnel-type")
    if node is not None:
        choice = scalar_kind(place, "tunnel-type")
        assert choice is not None
        why, hint = refusal(choice, node, old.where("tunnel-type"))
        if why:
            block.tail.append(job.lost(node, old.where("tunnel-type"), why, hint))
        else:
            assert isinstance(node, Scalar)
            kind = node.text
            block.add("tunnel-type", kind)
    port = old.take("tunnel-port")
    if port is not None and not (isinstance(port, Scalar) and port.text == "0"):
        path = old.where("tunnel-port")
        why, hint = refusal(PORT, port, path)
        if why:
            block.tail.append(job.lost(port, path, why, hint))
        elif kind in _UDP_TUNNELS:
            assert isinstance(port, Scalar)
            block.add("tunnel-port", int(port.text))
        else:
            block.tail.append(job.dropped(port, path, f"a port means nothing to the tunnel type {kind or 'none'}"))
    checksum = old.take("tunnel-no-checksum")
    if isinstance(checksum, Scalar) and checksum.text == "true" and kind in _UDP_TUNNELS:
        block.add("tunnel-no-checksum", True)
    elif checksum is not None and not (isinstance(checksum, Scalar) and checksum.text in ("true", "false")):
        block.tail.append(job.dropped(checksum, old.where("tunnel-no-checksum"), "must be true or false"))
    elif isinstance(checksum, Scalar) and checksum.text == "true":
        reason = f"the tunnel type {kind or 'none'} has no checksum"
        block.tail.append(job.dropped(checksum, old.where("tunnel-no-checksum"), reason))
