"""`vc5 dashboards`: brings our dashboards into a Kibana."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from appliance.cli import credentials
from appliance.cli.arguments import UsageError
from appliance.cli.progress import progress
from appliance.errors import HostError
from appliance.paths import Root

_HERE = Path(__file__).resolve().parents[2]
PLACES = (_HERE / "kibana" / "vc5.ndjson", _HERE / "packaging" / "kibana" / "vc5.ndjson")
"""Where the saved objects are: in the package, or in the source tree."""


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 dashboards install`."""
    from appliance.model_logging import Elasticsearch
    from appliance.telemetry.identity import authorization, tls_context
    from appliance.telemetry.kibana import import_objects

    url = arguments.kibana
    if not url:
        raise UsageError("say which Kibana: --kibana https://kibana.example.com:5601")
    credentials.check_url("--kibana", url)
    if arguments.space is not None and not arguments.space.isprintable():
        raise UsageError("--space: the identifier of a space, as in its URL")
    file = next((place for place in PLACES if place.exists()), None)
    if file is None:
        raise HostError(f"{PLACES[0]}: the dashboards are not there; install the package again")
    objects = file.read_bytes()
    lines = [json.loads(line) for line in objects.splitlines()]
    titles = {f"{line['type']} {line['id']}": line["attributes"]["title"] for line in lines if "attributes" in line}
    # Credentials of the configuration are those of its Elasticsearch; they go elsewhere only if one asks for that.
    known = credentials.configured(root, arguments) if arguments.config else None
    settings = credentials.given(arguments, known or Elasticsearch())
    if arguments.dry_run:
        count, done = len(titles), "would be imported"
    else:
        tls = tls_context(settings) if url.startswith("https:") else None
        space = "" if arguments.space in (None, "default") else arguments.space
        with progress("Kibana imports the dashboards"):
            count = import_objects(url, objects, space=space, authorization=authorization(settings), tls=tls)
        done = "imported"
    if arguments.json:
        print(json.dumps({"objects": titles, "count": count, "dry_run": arguments.dry_run}))
        return 0
    if arguments.dry_run:
        for name, title in titles.items():
            print(f"{name}: {title}")
    dashboards = [title for name, title in titles.items() if name.startswith("dashboard ")]
    print(f"{count} objects {done}; the dashboards are {', '.join(dashboards)}")
    return 0
