"""What is configured? YAML text -> positioned nodes -> declared settings -> Config, or every issue at once.

file       bytes, within bounds             (the only one that touches the file system)
compose    text -> nodes                    (the only one that knows YAML; hints says what may be meant)
merge      nodes of several files -> nodes of one
reader     nodes -> values, by `settings`   (the table of all settings, in parts)
resolve    values -> services, inheritance resolved
networks   mode and VLANs
forwarding how packets are shared out and travel, for each policy
host, bgp  the host's own settings, its log, its routers
fleet      the other balancers
vip_routes what services say of their VIPs' routes
rules      what concerns several settings at once
reach      what concerns the way to backends and back
expansion  the configuration in force, as JSON and as text
schema, reference    the table once more, for editors and for people
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.config.compose import MAX_CHARACTERS, compose
from appliance.config.expansion import expand as _expand
from appliance.config.explain import explain_text as _explain
from appliance.config.file import Source, parts_of, read_text
from appliance.config.findings import Findings
from appliance.config.host import resolve_host
from appliance.config.kinds import Place, Section
from appliance.config.merge import merge
from appliance.config.networks import resolve_networks
from appliance.config.nodes import Mapping, Node, describe
from appliance.config.reach import apply_reach
from appliance.config.reader import read
from appliance.config.reference import reference_page
from appliance.config.resolve import resolve
from appliance.config.rules import apply_rules
from appliance.config.schema import schema_json
from appliance.errors import ConfigError, Issue
from appliance.model import Config

__all__ = [
    "Loaded",
    "Source",
    "expand",
    "explain_text",
    "load",
    "load_text",
    "load_texts",
    "reference_page",
    "schema_json",
]


@dataclass(frozen=True)
class Loaded:
    """A valid configuration, and what was found worth a warning, in file order."""

    config: Config
    warnings: tuple[Issue, ...] = ()


def load(source: Path | Source) -> Loaded:
    """Read and validate a file, with the parts in its directory if it has one.

    Raises ConfigError with all issues, also where a file cannot be read.
    """
    if isinstance(source, Path):
        source = Source(source)
    findings = Findings(str(source.file))
    files = (source.file, *(parts_of(source.directory, findings) if source.directory else ()))
    texts = []
    for file in files:
        findings.enter(str(file))
        texts.append((str(file), read_text(file, findings, part=file is not source.file)))
    return _load(texts, findings)


def load_text(text: str, name: str) -> Loaded:
    """Validate a text; `name` stands for the file in messages. Raises ConfigError with all issues."""
    return load_texts([(name, text)])


def load_texts(texts: list[tuple[str, str]]) -> Loaded:
    """Validate texts that make one configuration, each with its name. Raises ConfigError with all issues."""
    return _load(texts, Findings(texts[0][0]))


def expand(loaded: Loaded, shape: str = "") -> dict[str, object]:
    """Return the configuration in force as `vc5 check --json` prints it; `shape` is the data plane's digest."""
    return _expand(loaded.config, loaded.warnings, shape)


def explain_text(loaded: Loaded) -> str:
    """Return the configuration in force for people, as `vc5 check` prints it; warnings are not in it."""
    return _explain(loaded.config)


def _load(texts: Sequence[tuple[str, str | None]], findings: Findings) -> Loaded:
    node = _document(texts, findings)
    top = read(Section(Place.TOP, "a map of settings"), node, "", findings)
    config = Config()
    if top is not None:
        networks = resolve_networks(top.value, findings)
        config, drafts = resolve(top.value, networks, findings)
        config = resolve_host(top.value, config, drafts, findings)
        apply_rules(top.value, config, drafts, findings)
        apply_reach(networks, drafts, findings)
    if findings.errors:
        raise ConfigError(findings.issues())
    return Loaded(config, findings.issues())


def _document(texts: Sequence[tuple[str, str | None]], findings: Findings) -> Node:
    """Return the one document that all texts make; raises ConfigError where one of them cannot be read."""
    root: Node | None = None
    unread = findings.errors > 0
    if sum(len(text or "") for _, text in texts) > MAX_CHARACTERS and len(texts) > 1:
        findings.refuse(0, 0, "limit", f"all files together have more than {MAX_CHARACTERS >> 20} MiB")
        unread = True
    for name, text in () if unread else texts:
        findings.enter(name)
        before = findings.errors
        node = compose(text or "", findings, name if len(texts) > 1 else "")
        unread = unread or (node is None and findings.errors > before)
        if node is None:
            continue
        if root is not None and not isinstance(node, Mapping):
            findings.error(node, "", "type", f"must be a map of settings, not {describe(node)}")
            continue
        root = merge(root, node, findings) if root else node
    findings.enter(texts[0][0])
    if unread:
        raise ConfigError(findings.issues())
    return root or Mapping(1, 1, 1, ())
