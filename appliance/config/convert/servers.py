"""Lists of servers of the earlier dialects: addresses, marks, names as comments, host names that need an address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from appliance.config.addresses import parse_address
from appliance.config.convert.document import Item, Items
from appliance.config.convert.source import Job, each, is_null
from appliance.config.findings import Invalid
from appliance.config.nodes import Mapping, Node, Scalar, describe, join, quote
from appliance.model import Address

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass
class ServerList:
    """Servers in file order, by address; a later one replaces an earlier one, as it did."""

    found: dict[Address, Item] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def items(self) -> Items:
        """Return the list as it is written."""
        return Items(list(self.found.values()), list(self.notes))


def read_servers(node: Node, path: str, job: Job, into: ServerList | None = None) -> ServerList:
    """Return the servers of a list, of a map from addresses to names, or of a single text."""
    result = into if into is not None else ServerList()
    if isinstance(node, Mapping):
        for key, value in node.entries:
            where = join(path, key.text)
            name = value.text if isinstance(value, Scalar) and not value.is_null else ""
            if not name and not is_null(value):
                result.notes.append(job.dropped(value, where, f"a server's name is a text, not {describe(value)}"))
            _add(key, where, job, result, f"called {quote(name)}" if name else "")
        return result
    for item, where in each(node, path):
        if isinstance(item, Scalar):
            _add(item, where, job, result, "")
        else:
            result.notes.append(job.lost(item, where, f"a server is an address, not {describe(item)}"))
    return result


def _add(node: Scalar, path: str, job: Job, result: ServerList, note: str) -> None:
    text = node.text.removesuffix("*")
    mark = node.text[len(text) :]
    try:
        addresses: tuple[Address, ...] = (parse_address(text),)
    except Invalid as invalid:
        if re.fullmatch(r"[0-9.]+", text) or not _HOST_NAME.fullmatch(text):
            why = invalid.message or f"{quote(node.text)} is no address"
            result.notes.append(job.lost(node, path, why, invalid.hint))
            return
        job.names[text] = None
        addresses = _resolved(text, job)
        if not addresses:
            hint = "add its address to the list, or convert with --resolve"
            if text in job.known:
                hint = "this host could not resolve it; add its address to the list"
            result.notes.append(job.lost(node, path, f"the host name {quote(text)} needs an address", hint))
            return
        note = job.guessed(
            node, path, f"{quote(text)} is {', '.join(map(str, addresses))}, as resolved while converting"
        )
    for address in addresses:
        if address in result.found:
            reason = f"{address} is given more than once; the last one counts"
            result.notes.append(job.guessed(node, path, reason))
            del result.found[address]
        result.found[address] = Item(f"{address}{mark}", [note] if note else [])
        note = ""


def _resolved(name: str, job: Job) -> tuple[Address, ...]:
    """Return what the caller found for a name, without what no server can have."""
    found = []
    for text in job.known.get(name, ()):
        try:
            found.append(parse_address(text))
        except Invalid:
            continue
    return tuple(found)
