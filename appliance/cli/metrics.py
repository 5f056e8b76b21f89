"""`vc5 metrics`: what Prometheus would be told, without HTTP; and vc5-metrics(7), from the same tables."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from appliance.errors import ControlError
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.telemetry.metrics import Metric

DESCRIPTION = (
    "`/metrics` at the address that `webserver` in vc5.yaml(5) gives, and `vc5 metrics`, tell these. Series of single "
    "backends are left out with `backend_metrics: no`; a metric that has nothing to say yet is not there. "
    "A service is written as `203.0.113.10:443/tcp`. Alert rules are in `/usr/share/vc5-appliance/prometheus`, a "
    "dashboard for Grafana in `/usr/share/vc5-appliance/grafana`."
)
COMPAT_TEXT = (
    "With `compat_metrics: yes` these are there as well; what they were once filled with constants is left out."
)


def run(root: Root, arguments: Namespace) -> int:
    """Print the exposition, or the manual page."""
    if arguments.man:
        return _page(arguments)
    from appliance.cli.client import call

    snapshot = call(root, "metrics")
    if not isinstance(snapshot, dict):
        raise ControlError("the daemon's numbers are no JSON object; are daemon and command of one version?")
    if arguments.json:
        print(json.dumps(snapshot))
        return 0
    from appliance.telemetry.exposition import OPENMETRICS, exposition

    body, _ = exposition(snapshot, OPENMETRICS if arguments.openmetrics else "")
    sys.stdout.write(body.decode("utf-8"))
    return 0


def _page(arguments: Namespace) -> int:
    from appliance import __version__
    from appliance.cli.offline import release_date

    text = metrics_page(__version__, release_date())
    print(json.dumps({"text": text}) if arguments.json else text, end="\n" if arguments.json else "")
    return 0


def metrics_page(version: str, date: str) -> str:
    """Return vc5-metrics(7) in roff; `date` as 2025-06-01."""
    from appliance.config.roff import heading, page, paragraph, part, prose
    from appliance.telemetry.compat import COMPAT
    from appliance.telemetry.metrics import METRICS, Home, MetricType

    lines = heading("vc5-metrics", 7, date, f"vc5 {version}", "Layer-4 load balancer")
    lines += [*part("NAME"), *prose("vc5-metrics - what vc5 tells Prometheus")]
    lines += [*part("DESCRIPTION"), *prose(DESCRIPTION)]
    lines += [*part("METRICS")]
    lines += _items(METRICS)
    lines += part("WHERE COUNTERS ARE KEPT")
    counted = (MetricType.COUNTER, MetricType.HISTOGRAM)
    for home in Home:
        names = ", ".join(f"`{one.name}`" for one in METRICS if one.home is home and one.type in counted)
        lines += paragraph(f"{home[:1].upper()}{home[1:]}: {names}.")
    lines += [*part("NAMES OF THE EARLIER VC5"), *prose(COMPAT_TEXT), *_items(COMPAT)]
    return page([*lines, *part("SEE ALSO"), r"\fBvc5\fR(1), \fBvc5.yaml\fR(5), \fBvc5\fR(8)"])


def _items(metrics: Iterable[Metric]) -> list[str]:
    from appliance.config.roff import item

    lines: list[str] = []
    for one in metrics:
        labels = "{" + ", ".join(one.labels) + "}" if one.labels else ""
        lines += item(f"`{one.name}`{labels}", f"{str(one.type).capitalize()}. {one.help}")
    return lines
