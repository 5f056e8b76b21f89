"""What can be said of a configuration without a daemon."""

from __future__ import annotations

from typing import Any

from appliance import config
from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.footprint import described, footprint
from appliance.dataplane.shape import shape_for
from appliance.dataplane.text import digest
from appliance.model import Config
from appliance.paths import TEMPLATES


def render_text(source: config.Source) -> str:
    """The C text of the program for a configuration on this host."""
    from appliance.dataplane.render import render  # brings Jinja, which the daemon is to do without

    return render(shape_for(config.load(source).config, read_possible_cpus()), TEMPLATES)


def tables_text(wanted: Config) -> str:
    """What the tables of a configuration take on this host. Raises PlanError where one is larger than can be."""
    return described(shape_for(wanted, read_possible_cpus()))


def tables_sizes(wanted: Config) -> dict[str, int]:
    """The same, bytes by table. Raises PlanError."""
    return footprint(shape_for(wanted, read_possible_cpus()))


def shape_digest(wanted: Config) -> str:
    """The name of the program for a configuration on this host: equal ones need no compiling."""
    return digest(shape_for(wanted, read_possible_cpus()), TEMPLATES)


def outlook(before: Config, after: config.Loaded, old: str, new: str) -> dict[str, Any]:
    """What going from one configuration to another would do, all backends being up; `old` and `new` name the files."""
    from appliance.control.outlook import overview, told, without_daemon

    found, same = without_daemon(before, after.config), shape_digest(before) == shape_digest(after.config)
    return {
        "file": new,
        "against": old,
        **overview(found),
        "program": "the same" if same else "another one",
        "recompile": not same,
        "warnings": [issue.as_json() for issue in after.warnings],
        "services": list(told(found, {})),
    }
