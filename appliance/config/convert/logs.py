"""The `logging` section. It holds secrets: they are carried over as they are, and are in no message."""

from __future__ import annotations

from appliance.config.convert.document import Block, Item, Items
from appliance.config.convert.source import MAX_TEXT, Job, Old, each, refusal
from appliance.config.kinds import Integer
from appliance.config.nodes import Mapping, Node, Scalar

_ALERT = Integer(0, 7)

MASK = "*" * 12
"""What the former daemon shows in place of a secret."""


def logging_section(old: Old, job: Job) -> Block:
    """Return today's `logging`."""
    block = Block()
    alert = old.take("alert")
    if alert is not None:
        why, hint = refusal(_ALERT, alert, old.where("alert"))
        if why:
            block.tail.append(job.lost(alert, old.where("alert"), why, hint))
        else:
            assert isinstance(alert, Scalar)
            block.add("alert", int(alert.text))
    for name in ("teams", "slack"):
        _secret(old, name, block, job)
    syslog = old.take("syslog")
    if syslog is not None:
        on = isinstance(syslog, Scalar) and syslog.text == "true"
        wrong = not (isinstance(syslog, Scalar) and syslog.text in ("true", "false"))
        block.add(
            "syslog", on, *([job.guessed(syslog, old.where("syslog"), "only true turned this on")] if wrong else [])
        )
    elastic = old.take("elasticsearch")
    if isinstance(elastic, Mapping):
        block.add("elasticsearch", _elasticsearch(Old(elastic, old.where("elasticsearch"), job), job))
    elif elastic is not None:
        block.tail.append(job.lost(elastic, old.where("elasticsearch"), "must be a map"))
    block.tail.extend(old.rest("in `logging`"))
    return block


def _elasticsearch(old: Old, job: Job) -> Block:
    block = Block()
    _secret(old, "index", block, job)
    addresses = old.take("addresses")
    if addresses is not None:
        result = Items()
        for item, where in each(addresses, old.where("addresses")):
            if _fits(item):
                assert isinstance(item, Scalar)
                result.items.append(Item(item.text))
            else:
                result.tail.append(job.lost(item, where, "must be a URL"))
        block.add("addresses", result)
    for name in ("username", "password"):
        _secret(old, name, block, job)
    block.tail.extend(old.rest("in `elasticsearch`"))
    return block


def _secret(old: Old, name: str, block: Block, job: Job) -> None:
    node = old.take(name)
    if node is None:
        return
    if isinstance(node, Scalar) and node.text == MASK:
        hint = "convert the configuration file, not what the daemon shows of it, or write the secret here"
        block.tail.append(job.lost(node, old.where(name), "this is a mask in place of a secret", hint))
    elif _fits(node):
        assert isinstance(node, Scalar)
        block.add(name, node.text)
    else:
        block.tail.append(job.lost(node, old.where(name), f"must be a text of at most {MAX_TEXT} characters"))


def _fits(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.is_null and len(node.text) <= MAX_TEXT
