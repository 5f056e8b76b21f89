"""`vc5 plan`: what a reload would do, asked of the running daemon or worked out between two files."""

from __future__ import annotations

import base64
import json
import zlib
from argparse import Namespace
from pathlib import Path
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.progress import progress
from appliance.paths import Root


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 plan [F] [--against OLD]`: 0, whatever the plan; a refused configuration has the status of `check`."""
    if arguments.against and not arguments.config:
        raise UsageError("--against OLD compares two files: name the new one too")
    body = _compared(arguments) if arguments.against else _asked(root, arguments)
    if arguments.json:
        print(json.dumps(body))
        return 0
    from appliance.cli.plan_view import lines
    from appliance.cli.tables import screen

    print("\n".join(lines(body, screen())))
    return 0


def _asked(root: Root, arguments: Namespace) -> Any:
    from appliance.cli.client import call

    if not arguments.config:
        return call(root, "plan")
    # The daemon may read what its operators may not, so the file is read here.
    packed = base64.b64encode(zlib.compress(_text(Path(arguments.config)).encode())).decode("ascii")
    return call(root, "plan", text=packed, name=arguments.config)


def _text(path: Path) -> str:
    from appliance.config.file import read_text
    from appliance.config.findings import Findings
    from appliance.errors import ConfigError

    findings = Findings(str(path))
    text = read_text(path, findings)
    if text is None:
        raise ConfigError(findings.issues())
    return text


def _compared(arguments: Namespace) -> dict[str, Any]:
    from appliance import config
    from appliance.control.offline import outlook

    with progress("working out what moves"):
        before, after = config.load(Path(arguments.against)), config.load(Path(arguments.config))
        return outlook(before.config, after, arguments.against, arguments.config)
