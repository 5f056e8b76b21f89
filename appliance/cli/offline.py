"""Verbs that need no running daemon. Each imports what it works with when it is called: some of it is large."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.arguments import UsageError
from appliance.cli.progress import progress
from appliance.cli.tables import printable
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.config import Source


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 run`: the daemon in the foreground, until SIGTERM or SIGINT."""
    if arguments.rehearse:
        from appliance.control import rehearsal

        return rehearsal.main(root, _config(root, arguments))
    from appliance.control import daemon

    return daemon.run(root, _config(root, arguments), arguments.prober_user)


def check(root: Root, arguments: Namespace) -> int:
    """`vc5 check`: prints the configuration with every default and inheritance resolved; warnings on standard error."""
    from appliance import config

    path = _config(root, arguments)
    with progress("reading the configuration"):
        loaded = config.load(path)
    from appliance.control import offline

    if arguments.json:
        body = config.expand(loaded, offline.shape_digest(loaded.config))
        print(json.dumps(body | {"tables": offline.tables_sizes(loaded.config)}, indent=2))
        return 0
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    print(config.explain_text(loaded).rstrip("\n"))
    print(offline.tables_text(loaded.config))
    return 0


def render(root: Root, arguments: Namespace) -> int:
    """`vc5 render`: the C text."""
    from appliance.control import offline

    with progress("rendering the program"):
        text = offline.render_text(_config(root, arguments))
    print(json.dumps({"text": text}) if arguments.json else text.rstrip("\n"))
    return 0


def schema(root: Root, arguments: Namespace) -> int:
    """`vc5 schema`: the JSON Schema, which is JSON with and without --json; with --man the manual page."""
    from appliance import __version__, config

    if arguments.man:
        text = config.reference_page(__version__, release_date())
        print(json.dumps({"text": text}) if arguments.json else text, end="\n" if arguments.json else "")
    else:
        print(json.dumps(config.schema_json(), indent=2))
    return 0


def release_date() -> str:
    """Return the date that manual pages bear, as 2025-06-01: today's, or what reproducible-builds.org asks for."""
    import os
    from datetime import UTC, datetime

    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isascii() and epoch.isdigit() else datetime.now(UTC)
    return now.strftime("%Y-%m-%d")


def convert(root: Root, arguments: Namespace) -> int:
    """`vc5 convert`."""
    from appliance.cli import convert as converting

    return converting.run(arguments)


def doctor(root: Root, arguments: Namespace) -> int:
    """`vc5 doctor`: 1 where something will not work."""
    from appliance.cli import doctor as examining

    return examining.run(root, arguments, _config(root, arguments))


def explain(root: Root, arguments: Namespace) -> int:
    """`vc5 explain`."""
    if not (arguments.frame or arguments.flow or arguments.steps):
        raise UsageError("say what to explain: --flow, --frame or --steps")
    if arguments.host and not arguments.config:
        raise UsageError("--host goes with --config; the running daemon knows its own host")
    if arguments.frame:
        digits = "".join(arguments.frame.split()).replace(":", "")
        try:
            bytes.fromhex(digits)
        except ValueError:
            raise UsageError(f"--frame: {printable(arguments.frame[:60])!r} is not hexadecimal digits") from None
        arguments.frame = digits
    from appliance.control import explain as explaining

    return explaining.main(root, arguments)


def balance(root: Root, arguments: Namespace) -> int:
    """`vc5 balance`."""
    from appliance.cli import balance as balancing

    return balancing.run(root, arguments)


def _config(root: Root, arguments: Namespace) -> Source:
    """Return the configuration that is named, alone, or else that of the root with its conf.d."""
    from appliance.config import Source

    return Source(Path(arguments.config)) if arguments.config else Source(root.config, root.config_dir)


def log(root: Root, arguments: Namespace) -> int:
    """`vc5 log`: probe results and events, of a daemon that is gone as well."""
    from appliance.cli import log as store

    return store.run(root, arguments)
