"""vc5.yaml(5), the manual page of the configuration, from the table of settings."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config.kinds import Either, Kind, ListOf, MapOf, Place, Section, words_of
from appliance.config.policy import NAMES
from appliance.config.roff import heading, item, page, paragraph, part, prose, verbatim
from appliance.config.setting import Setting, list_text
from appliance.config.settings import settings_of
from appliance.model import CheckKind

_INTRODUCTION = """\
One YAML file, by default `/etc/vc5/config.yaml`; `vc5 check FILE` validates it and prints what is in force. Where no
file is named, `/etc/vc5/conf.d/*.yaml` add to it in the order of their names: maps are merged, lists joined, and one
value that two files give differently is an error.

Every setting knows its own type, so YAML's surprises do not occur: `010` is refused, not read as 8. Unknown and
repeated keys are errors. Anchors, aliases and merge keys (`<<`) work; tags (`!!str`) do not.

Times are seconds, or have a unit: `500ms`, `2s`, `15m`, `1h`. A value given for a check wins over that of its policy,
that over the service's, that over the top level's or that of `defaults`.

Each setting is followed by what it accepts, its default and an example. One that was described further up, and means
the same, is only named. `vc5 schema` prints all this for editors, as JSON Schema."""

_PLACES = {
    Place.TOP: ("TOP LEVEL", "All of them may be left out; an empty file serves nothing."),
    Place.SERVICE: (
        "SERVICES",
        "Each item of `services`. It makes one service for every VIP and every key of the policy.",
    ),
    Place.SERVER: ("SERVERS", "An item of a list of servers may be a text, or a map of these."),
    Place.POLICY: ("POLICIES", "A policy maps what to serve (see WHAT TO SERVE) to nothing, or to a map of these."),
    Place.CHECK: ("CHECKS", "Each item of `checks`."),
    Place.DEFAULTS: ("DEFAULTS", "What `defaults` may hold: values for services, servers and checks that have none."),
    Place.VLAN: ("VLANS", "What an entry of `vlans` or `vlans6` may hold if it is a map."),
    Place.BGP: ("BGP", "What `bgp` may hold. A value given here is that of every peer whose group has none."),
    Place.GROUP: ("GROUPS OF BGP PEERS", "Each item of `groups`."),
    Place.ROUTES: (
        "ROUTES OF A SERVICE",
        "What `bgp` of a service may hold. Services of the same VIP must not differ in what they say.",
    ),
    Place.BFD: ("BFD", "What `bfd` may hold if it is a map."),
    Place.LOGGING: ("LOGGING", "What `logging` may hold."),
    Place.ELASTICSEARCH: ("ELASTICSEARCH", "What `elasticsearch` may hold."),
    Place.CONSOLE: ("CONSOLE", "What `console` may hold."),
    Place.FLEET: ("FLEET", "What `fleet` may hold."),
}


def reference_page(version: str, date: str) -> str:
    """Return the whole page in roff; `date` as 2025-06-01."""
    lines = heading("vc5.yaml", 5, date, f"vc5 {version}", "Configuration of the load balancer vc5")
    lines += [*part("NAME"), *prose("vc5.yaml - configuration of the load balancer vc5"), *part("DESCRIPTION")]
    for text in _INTRODUCTION.split("\n\n"):
        lines += paragraph(text)
    described: dict[str, tuple[Setting, str]] = {}
    for place, (title, text) in _PLACES.items():
        lines += [*part(title), *prose(text)]
        for name, row in settings_of(place).items():
            lines += _setting(name, row, described.get(name))
            described.setdefault(name, (row, title))
        if place is Place.POLICY:
            lines += [*part("WHAT TO SERVE"), *prose("The keys of a policy. With `*` after it, a key makes no checks.")]
            lines += [line for form in _forms() for line in form]
    lines += [*part("EXAMPLES"), *prose("A service of two backends, the second of which gets three flows of four:")]
    lines += verbatim(EXAMPLE.splitlines())
    lines += [*part("SEE ALSO"), r"\fBvc5\fR(1), \fBvc5\fR(8)"]
    return page(lines)


EXAMPLE = """\
interfaces: [eth0]
services:
  - virtual: 203.0.113.10
    servers: [10.1.1.5, 10.1.1.6 weight=3]
    policy:
      http: {path: /alive}
"""


def _setting(name: str, row: Setting, before: tuple[Setting, str] | None) -> list[str]:
    if before is not None and before[0] is row:
        return item(f"`{name}`", f"As described under {before[1]}.")
    accepts = f"Accepts {'; '.join(_accepted(row.kind))}."
    return item(f"`{name}`", _meaning(row), accepts, f"{_default(row)} Example: `{name}: {row.example}`")


def _default(row: Setting) -> str:
    if row.required:
        return "Required."
    if row.default is not None:
        return f"Default: `{row.default}`."
    return "Default: see above." if "bsent: " in row.help else "Default: none."


def _meaning(row: Setting) -> str:
    if row.successor:
        return f"{row.help} Has no effect any more: {row.successor}."
    return f"{row.help} Only for {list_text(row.checks)} checks." if row.checks else row.help


def _accepted(kind: Kind) -> Iterator[str]:
    """Yield what a kind accepts, and then what is inside."""
    yield words_of(kind)
    yield from _inside(kind)


def _inside(kind: Kind) -> Iterator[str]:
    if isinstance(kind, Either):
        text = words_of(kind.scalar)
        if text not in kind.accepted:
            yield f"a text is {text}"
        yield from _inside(kind.other)
    elif isinstance(kind, Section):
        yield f"see {_PLACES[kind.place][0]}"
    elif isinstance(kind, MapOf):
        yield f"a key is {words_of(kind.key)}"
        yield f"a value is {'; '.join(_accepted(kind.value))}"
    elif isinstance(kind, ListOf):
        if kind.at_most is not None:
            yield f"at most {kind.at_most:,} items"
        yield f"an item is {'; '.join(_accepted(kind.item))}"


def _forms() -> Iterator[list[str]]:
    yield item("`N`, `N/tcp`", f"TCP port N. Default check: {CheckKind.SYN}.")
    yield item("`N/udp`", "UDP port N. Default check: none.")
    for name, (port, protocols, default, prefixed) in NAMES.items():
        service = " and ".join(f"{str(protocol).upper()} port {port}" for protocol in protocols)
        keys, other = (f"`{name}`, `N/{name}`", ", or N") if prefixed else (f"`{name}`", "")
        yield item(keys, f"{service}{other}. Default check: {default}.")
