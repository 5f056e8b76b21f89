"""`vc5 elasticsearch`: prepares a server for the log."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.cli import credentials
from appliance.cli.arguments import UsageError
from appliance.cli.progress import progress
from appliance.errors import ShipError
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.model_logging import Elasticsearch
    from appliance.telemetry.install import Installation

NO_LIFECYCLE = (
    "warning: this server has no lifecycle policies, so nothing removes old indices; "
    "what names a policy is left out (see the README for how long documents should be kept)"
)
ROLL_OVER = (
    "what is there keeps its mappings until a stream begins its next index: POST /{stream}/_rollover does it at once"
)


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 elasticsearch install`."""
    import asyncio

    from appliance.telemetry.elastic import Elastic
    from appliance.telemetry.install import install

    settings = _settings(root, arguments)

    async def work() -> Installation:
        async with Elastic(settings) as elastic:
            for _ in settings.addresses[1:]:
                try:
                    return await install(elastic, arguments.force, arguments.dry_run)
                except ShipError as error:
                    if error.status or not error.retryable:
                        raise
                    # A server that does not answer is left alone for a while: the next one has its turn.
            return await install(elastic, arguments.force, arguments.dry_run)

    with progress("Elasticsearch is asked and told"):
        done = asyncio.run(work())
    print(json.dumps(_body(done, arguments.dry_run)) if arguments.json else _text(done, arguments.dry_run))
    return 0


def _settings(root: Root, arguments: Namespace) -> Elasticsearch:
    """Return the server and who we are to it. Configured credentials go to configured servers only."""
    from appliance.model_logging import Elasticsearch

    url = arguments.url
    if url:
        credentials.check_url("--url", url)
    known = None if url and not arguments.config else credentials.configured(root, arguments)
    if url and (known is None or url not in known.addresses):
        known = Elasticsearch(ca=known.ca if known else "")
    if known is None or not (url or known.addresses):
        raise UsageError("say which server: --url, or logging.elasticsearch.addresses in the configuration")
    return credentials.given(arguments, replace(known, addresses=(url,)) if url else known)


def _text(done: Installation, dry_run: bool) -> str:
    from appliance.telemetry.templates import VERSION, Step

    words = {
        Step.CREATE: "would be put" if dry_run else "put",
        Step.UPDATE: "would be replaced" if dry_run else "replaced",
        Step.UNCHANGED: "as it should be",
        Step.NEWER: f"of a later version than {VERSION}, left alone (--force writes ours)",
        Step.KEPT: "not ours, or changed here: left alone (--force writes ours)",
    }
    lines = [] if done.lifecycle else [NO_LIFECYCLE]
    for resource, step in done.steps:
        lines.append(f"{resource.about}: {words[step]}")
        if dry_run and step in (Step.CREATE, Step.UPDATE):
            lines.append(f"PUT {resource.path}")
            lines.append(json.dumps(resource.body, indent=2))
    steps = {step for _, step in done.steps}
    if not steps & {Step.CREATE, Step.UPDATE}:
        lines.append(f"Elasticsearch {done.version}: nothing changed")
    elif dry_run:
        lines.append(f"Elasticsearch {done.version}: nothing was changed, this was a dry run")
    else:
        lines.append(f"Elasticsearch {done.version}: ready for the log, version {VERSION}")
    if Step.UPDATE in steps:
        lines.append(ROLL_OVER.format(stream="logs-vc5.probe-default"))
    return "\n".join(lines)


def _body(done: Installation, dry_run: bool) -> dict[str, object]:
    return {
        "version": done.version,
        "lifecycle": done.lifecycle,
        "dry_run": dry_run,
        "steps": [
            {"path": resource.path, "step": str(step), **({"body": resource.body} if dry_run else {})}
            for resource, step in done.steps
        ],
    }
