"""What is configured? YAML text -> positioned nodes -> declared settings -> Config, or every issue at once.

file       bytes, within bounds             (the only one that touches the file system)
compose    text -> nodes                    (the only one that knows YAML)
reader     nodes -> values, by `settings`   (the table of all settings, in parts)
resolve    values -> services, inheritance resolved
networks   mode and VLANs
forwarding how packets are shared out and travel, for each policy
host, bgp  the host's own settings, its log, its routers
rules      what concerns several settings at once
reach      what concerns the way to backends and back
expansion  the configuration in force, as JSON and as text
schema, reference    the table once more, for editors and for people
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config.compose import compose
from appliance.config.expansion import expand as _expand
from appliance.config.explain import explain_text as _explain
from appliance.config.file import read_text
from appliance.config.findings import Findings
from appliance.config.host import resolve_host
from appliance.config.kinds import Place, Section
from appliance.config.networks import resolve_networks
from appliance.config.nodes import Mapping
from appliance.config.reach import apply_reach
from appliance.config.reader import read
from appliance.config.reference import reference_page
from appliance.config.resolve import resolve
from appliance.config.rules import apply_rules
from appliance.config.schema import schema_json
from appliance.errors import ConfigError, Issue
from appliance.model import Config

__all__ = ["Loaded", "expand", "explain_text", "load", "load_text", "reference_page", "schema_json"]


@dataclass(frozen=True)
class Loaded:
    """A valid configuration, and what was found worth a warning, in file order."""

    config: Config
    warnings: tuple[Issue, ...] = ()


def load(path: Path) -> Loaded:
    """Read and validate a file; raises ConfigError with all issues, also where the file cannot be read."""
    findings = Findings(str(path))
    text = read_text(path, findings)
    if text is None:
        raise ConfigError(findings.issues())
    return _load(text, findings)


def load_text(text: str, name: str) -> Loaded:
    """Validate a text; `name` stands for the file in messages. Raises ConfigError with all issues."""
    return _load(text, Findings(name))


def expand(loaded: Loaded, shape: str = "") -> dict[str, object]:
    """Return the configuration in force as `vc5 check --json` prints it; `shape` is the data plane's digest."""
    return _expand(loaded.config, loaded.warnings, shape)


def explain_text(loaded: Loaded) -> str:
    """Return the configuration in force for people, as `vc5 check` prints it; warnings are not in it."""
    return _explain(loaded.config)


def _load(text: str, findings: Findings) -> Loaded:
    node = compose(text, findings)
    if node is None:
        node = Mapping(1, 1, 1, ())
    top = read(Section(Place.TOP, "a map of settings"), node, "", findings)
    config = Config()
    if top is not None:
        networks = resolve_networks(top.value, findings)
        config, drafts = resolve(top.value, networks, findings)
        config = resolve_host(top.value, config, findings)
        apply_rules(top.value, config, drafts, findings)
        apply_reach(networks, drafts, findings)
    if findings.errors:
        raise ConfigError(findings.issues())
    return Loaded(config, findings.issues())
