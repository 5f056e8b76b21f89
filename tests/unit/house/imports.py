"""Who may import whom: the rules as tables, and the reader of imports that holds a tree against them.

Every import statement counts, wherever it stands: inside a function, under TYPE_CHECKING, or written as
`importlib.import_module("literal")`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Layer(IntEnum):
    """The layers of ARCHITECTURE.md; a module imports only what lies below it."""

    ERRORS_AND_NOUNS = 0
    PURE = 1
    ADAPTER = 2
    TOP = 3


PURE_DATAPLANE = (
    *(
        "abi",
        "aside",
        "block",
        "carry",
        "desired",
        "destinations",
        "drops",
        "encapsulation",
        "enums",
        "flowcount",
        "flowshare",
        "flowsweep",
        "frame",
        "frame_text",
        "hashchange",
        "hashing",
        "header",
        "layout",
        "legs",
        "lookup",
        "maglev",
        "marks",
        "memory",
        "migrate",
        "model",
        "numbering",
        "reading",
        "regions",
        "rooms",
        "footprint",
        "placed",
        "returns",
    ),
    *("shape", "slots", "slotshare", "spec", "structs", "tables", "tunnels"),
)
PURE_HEALTH = (
    "agreement",
    "answer",
    "checks",
    "diagnostic",
    "dns_message",
    "drill",
    "evidence",
    "governor",
    "grid",
    "judge",
    "lateness",
    "messages",
    "pattern",
    "ports",
    "quorum",
    "quoted",
    "relations",
    "schedule",
    "sharing",
    "verdict",
)
PURE_TELEMETRY = (
    *("back_off", "bulk", "documents", "compat", "failures", "fields", "log_filter", "messages", "record", "streams"),
    *("fleet", "metrics", "readings", "routing", "templates"),
    *(f"alerts.{name}" for name in ("answers", "grouping", "message", "muting", "notice", "rfc5424", "slack", "teams")),
)
PURE_WEB = (
    *("api", "document", "guard", "history", "messages", "picture"),
    *("schema", "schema_config", "schema_events", "schema_fleet", "schema_routing", "schema_status"),
)
PURE_ROUTING = (
    *("bfd.messages", "bfd.packet", "bfd.session", "filters", "policy", "route", "status"),
    *(f"bgp.{name}" for name in ("attribute", "capability", "machine", "message", "notification", "outbox", "session")),
    *("bgp.frame", "bgp.received", "bgp.agreement", "bgp.connection", "bgp.succession", "bgp.update", "capture"),
)
PURE_CONTROL = (
    "allowance",
    "announcing",
    "backend_faults",
    "balance",
    "blocks",
    "bond_faults",
    "changes",
    "clock",
    "confirmation",
    "decapsulation",
    "departure",
    "differences",
    "disagreement",
    "disruption",
    "dropped",
    "drill",
    "fleet_account",
    "fleet_differences",
    "fleet_digests",
    "fleet_last",
    "fleet_others",
    "fleet_told",
    "forecast",
    "heritage",
    "host_faults",
    "kept_config",
    "kept_slots",
    "last_announcer",
    "learning",
    "misroutes",
    "nic",
    "outlets",
    "outlook",
    "overrides",
    "plan",
    "prefixes",
    "ramps",
    "rates",
    "receivers",
    "segments",
    "shares",
    "sources",
    "state",
    "subjects",
    "story",
    "subnets",
    "trouble",
    "units",
    "vips",
    "ways",
)

PURE_FLEET = (
    *(
        "codec",
        "counters",
        "difference",
        "envelope",
        "members",
        "messages",
        "naming",
        "orders",
        "outbox",
        "pacing",
        "receipts",
        "peer",
        "reader",
        "records",
        "replay",
    ),
    *("session", "status", "stream", "syncing", "table", "transfer"),
    *("session", "stream", "syncing", "table", "transfer"),
)

# The longest name that is a prefix decides. A package's own name stands for all of its modules that are not named:
# what a package does not declare pure is an adapter, and what `control` does not declare is the top.
LAYERS: dict[str, Layer] = {
    **dict.fromkeys(
        (
            *("appliance", "appliance.errors", "appliance.paths", "appliance.model"),
            *("appliance.model_address", "appliance.model_bgp", "appliance.model_check", "appliance.model_event"),
            *("appliance.model_console", "appliance.model_fleet", "appliance.model_host", "appliance.model_logging"),
        ),
        Layer.ERRORS_AND_NOUNS,
    ),
    **dict.fromkeys(
        (
            *("appliance.child", "appliance.dataplane", "appliance.fleet", "appliance.health", "appliance.net"),
            *("appliance.routing", "appliance.telemetry", "appliance.web"),
            "appliance.control.socket",
        ),
        Layer.ADAPTER,
    ),
    **dict.fromkeys(("appliance.control", "appliance.balancer", "appliance.cli", "appliance.__main__"), Layer.TOP),
    "appliance.web.process": Layer.TOP,
    **dict.fromkeys(("appliance.config", "appliance.pcap"), Layer.PURE),
    **dict.fromkeys((f"appliance.dataplane.{name}" for name in PURE_DATAPLANE), Layer.PURE),
    **dict.fromkeys((f"appliance.health.{name}" for name in PURE_HEALTH), Layer.PURE),
    **dict.fromkeys((f"appliance.control.{name}" for name in PURE_CONTROL), Layer.PURE),
    **{f"appliance.fleet.{name}": Layer.PURE for name in PURE_FLEET},
    **{f"appliance.routing.{name}": Layer.PURE for name in PURE_ROUTING},
    **{f"appliance.telemetry.{name}": Layer.PURE for name in PURE_TELEMETRY},
    **{f"appliance.web.{name}": Layer.PURE for name in PURE_WEB},
}

# Pure code decides and does nothing else: no clock, no chance, no outside world, nothing concurrent.
NOT_PURE = frozenset(
    {"asyncio", "concurrent", "ctypes", "fcntl", "logging", "mmap", "multiprocessing", "os", "queue", "random"}
    | {"secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time"}
)

# Each outside thing has one door. Modules here are prefixes, as above.
DOORS: dict[str, tuple[str, ...]] = {
    "bcc": ("appliance.dataplane.compile_child",),
    "jinja2": ("appliance.dataplane.render",),
    "yaml": ("appliance.config",),
    "pyroute2": ("appliance.net",),
    "h11": ("appliance.health",),
    "h2": ("appliance.health",),
    "sdnotify": ("appliance.control",),
    "elasticsearch": ("appliance.telemetry.elastic",),
    "aiohttp": ("appliance.telemetry.alerts.webhook", "appliance.web.server", "appliance.web.gate"),
    "prometheus_client": ("appliance.telemetry.exposition",),
    # The standard library's door to C. Besides libbpf: setns and unshare, the giving up of capabilities, the address of
    # a socket filter's code, the giving back of memory.
    "ctypes": (
        "appliance.dataplane.kernel",
        "appliance.dataplane.compile_child",
        "appliance.net",
        "appliance.health.probes.syn",
        "appliance.control.heap",
    ),
}
COMMON = "appliance.child"
"""The adapter on which others may stand: all of them have processes of their own."""
LIBBPF_DOOR = "appliance.dataplane.kernel"


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name, and where the statement stands."""

    importer: str
    target: str
    file: Path
    line: int


def covers(prefix: str, module: str) -> bool:
    """Return whether `module` is `prefix` or lies below it."""
    return module == prefix or module.startswith(prefix + ".")


def layer_of(module: str) -> Layer | None:
    """Return the layer of one of our modules; None for a package that the table does not know."""
    known = [prefix for prefix in LAYERS if covers(prefix, module)]
    longest = max(known, key=len, default=None)
    if longest is None or (longest == "appliance" and module != "appliance"):
        return None
    return LAYERS[longest]


def module_name(file: Path, tree: Path) -> str:
    """Return the dotted name of a source file below `tree`."""
    parts = file.relative_to(tree).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, tree: Path) -> Iterator[Import]:
    """Yield every import of one source file; what `from X import Y` names is X.Y where that is a module."""
    importer = module_name(file, tree)
    package = importer if file.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                path = tree.joinpath(*base.split("."), alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").is_file()
                targets.append(f"{base}.{alias.name}" if is_module else base)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func)
            if function in ("importlib.import_module", "import_module", "__import__"):
                targets = [str(node.args[0].value)]
        if targets:
            line = getattr(node, "lineno", 0)
            yield from (Import(importer, target, file, line) for target in dict.fromkeys(targets))


def breach(found: Import) -> str | None:
    """Return what is wrong with one import, None if nothing is."""
    mine = layer_of(found.importer)
    if mine is None:
        return f"{found.importer} has no layer; give its package one in LAYERS"
    top = found.target.partition(".")[0]
    if top in DOORS:
        if not any(covers(door, found.importer) for door in DOORS[top]):
            return f"{top} has one door, {' and '.join(DOORS[top])}; import that instead"
        return None
    if top == "appliance":
        return _inner_breach(found, mine)
    if top not in sys.stdlib_module_names:
        return f"{top} is neither the standard library nor a module with a door in DOORS"
    if mine is Layer.PURE and top in NOT_PURE:
        return f"pure code does not import {top}; take what it would give as an argument"
    return None


def _inner_breach(found: Import, mine: Layer) -> str | None:
    theirs = layer_of(found.target)
    if theirs is None:
        return f"{found.target} has no layer; give its package one in LAYERS"
    if theirs > mine:
        return f"a module of layer {mine} imports {found.target}, which is of layer {theirs}"
    same_package = found.importer.split(".")[:2] == found.target.split(".")[:2]
    if mine is theirs is Layer.ADAPTER and not same_package and not covers(COMMON, found.target):
        return f"an adapter imports {found.target}, the adapter of another package; the top wires them together"
    return None


def _libbpf_breaches(file: Path, tree: Path) -> list[str]:
    """Return where a module other than its door names the shared object of libbpf."""
    if covers(LIBBPF_DOOR, module_name(file, tree)):
        return []
    return [
        f"{file.relative_to(tree)}:{node.lineno}: libbpf has one door, {LIBBPF_DOOR}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("libbpf.so")
    ]


def breaches(tree: Path) -> list[str]:
    """Return every breach of the rules below `tree`/appliance as `file:line: what`, in file order."""
    found = []
    for file in sorted(tree.joinpath("appliance").rglob("*.py")):
        found += _libbpf_breaches(file, tree)
        for item in imports_of(file, tree):
            problem = breach(item)
            if problem:
                found.append(f"{file.relative_to(tree)}:{item.line}: {problem}")
    return found
