"""The reference page of the configuration in Markdown, from the table of settings."""

from __future__ import annotations

from appliance.config.kinds import Place, words_of
from appliance.config.policy import NAMES
from appliance.config.setting import Setting, list_text
from appliance.config.settings import settings_of
from appliance.model import CheckKind

_INTRODUCTION = """\
# Configuration reference

One YAML file, by default `/etc/vc5/config.yaml`; `vc5 check FILE` validates it and prints what is in force. Where no
file is named, `/etc/vc5/conf.d/*.yaml` add to it in the order of their names: maps are merged, lists joined, and one
value that two files give differently is an error. Every setting knows its own type, so YAML's surprises do not occur:
`010` is refused, not read as 8. Unknown and repeated keys are errors. Anchors, aliases and merge keys (`<<`) work; tags
(`!!str`) do not.

Times are seconds, or have a unit: `500ms`, `2s`, `15m`, `1h`. A value given for a check wins over that of its policy,
that over the service's, that over the top level's or that of `defaults`.
"""

_PLACES = {
    Place.TOP: ("Top level", "All of them may be left out; an empty file serves nothing."),
    Place.SERVICE: (
        "Services",
        "Each item of `services`. It makes one service for every VIP and every key of the policy.",
    ),
    Place.SERVER: ("Servers", "An item of a list of servers may be a text, or a map of these."),
    Place.POLICY: ("Policies", "A policy maps what to serve (below) to nothing, or to a map of these."),
    Place.CHECK: ("Checks", "Each item of `checks`."),
    Place.DEFAULTS: ("Defaults", "What `defaults` may hold: values for services, servers and checks that have none."),
    Place.VLAN: ("VLANs", "What an entry of `vlans` or `vlans6` may hold if it is a map."),
    Place.BGP: ("BGP", "What `bgp` may hold. A value given here is that of every peer whose group has none."),
    Place.GROUP: ("Groups of BGP peers", "Each item of `groups`."),
    Place.BFD: ("BFD", "What `bfd` may hold if it is a map."),
    Place.LOGGING: ("Logging", "What `logging` may hold."),
    Place.ELASTICSEARCH: ("Elasticsearch", "What `elasticsearch` may hold."),
}


def reference_page() -> str:
    """Return the whole page; ends with a newline."""
    parts = [_INTRODUCTION]
    for place, (title, text) in _PLACES.items():
        parts.append(f"## {title}\n\n{text}\n")
        parts.append(_table(("setting", "accepts", "default", "meaning", "example"), _rows(place)))
        if place is Place.POLICY:
            parts.append("### What to serve\n\nThe keys of a policy. With `*` after it, a key makes no checks.\n")
            parts.append(_table(("key", "service", "default check"), _forms()))
    return "\n".join(parts)


def _rows(place: Place) -> list[tuple[str, ...]]:
    return [
        (f"`{name}`", words_of(row.kind), _default(row), _meaning(row), f"`{row.example}`")
        for name, row in settings_of(place).items()
    ]


def _default(row: Setting) -> str:
    if row.required:
        return "required"
    return f"`{row.default}`" if row.default is not None else ""


def _meaning(row: Setting) -> str:
    if row.successor:
        return f"{row.help} Has no effect any more: {row.successor}."
    return f"{row.help} Only for {list_text(row.checks)} checks." if row.checks else row.help


def _forms() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("`N`, `N/tcp`", "TCP port N", str(CheckKind.SYN)),
        ("`N/udp`", "UDP port N", "none"),
    ]
    for name, (port, protocols, default, prefixed) in NAMES.items():
        keys = f"`{name}`, `N/{name}`" if prefixed else f"`{name}`"
        service = " and ".join(f"{str(protocol).upper()} {port}" for protocol in protocols)
        rows.append((keys, service + (" or N" if prefixed else ""), str(default)))
    return rows


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
