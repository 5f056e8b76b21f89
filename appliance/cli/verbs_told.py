"""The verbs about what was recorded, and about the servers that it is sent to; a part of the table of verbs."""

from __future__ import annotations

from appliance.cli import dashboards, elasticsearch, offline
from appliance.cli.arguments import Argument, Names, Verb
from appliance.model_event import EventKind

# Who one is to a server. No secret is an argument: all users of a machine see those.
CREDENTIALS = (
    Argument("--user", "who to log in as; the password is in --password-file or the environment", {"metavar": "USER"}),
    Argument("--password-file", "a file whose first line is the password", {"metavar": "FILE"}, Names.FILE),
    Argument(
        "--api-key-file",
        "a file whose first line is an API key, `id:key` or its base64 form, in place of user and password",
        {"metavar": "FILE"},
        Names.FILE,
    ),
    Argument(
        "--ca",
        "a file with the certificates (PEM) that vouch for the server (default: those that the system trusts)",
        {"metavar": "FILE"},
        Names.FILE,
    ),
    Argument("--config", "read `elasticsearch` from this configuration", {"metavar": "F"}, Names.FILE),
)

TOLD_VERBS = (
    Verb(
        "log",
        offline.log,
        "probe results and events that this balancer has kept",
        (
            Argument("--follow", "wait for more, until interrupted", {"action": "store_true"}),
            Argument("--service", "of this service: VIP:PORT/tcp", {"metavar": "S"}, Names.SERVICE),
            Argument("--backend", "of this backend address", {"metavar": "B"}, Names.BACKEND),
            Argument("--peer", "of this router", {"metavar": "P"}, Names.PEER),
            Argument("--since", "from this moment on: 10m, 2h, 3d (ago), or 2025-06-01T12:00", {"metavar": "T"}),
            Argument("--until", "up to this moment, written alike", {"metavar": "T"}),
            Argument(
                "--outcome",
                "probes (ok, wrong-answer, no-answer), backends (up, wrong, dead), services and VIPs (up, down), "
                "routers (established, down, refused, malformed), reloads (ok, refused), alarms (began, over, lost)",
                {"metavar": "O"},
            ),
            Argument("-n", "at most the newest N (default: 100, and no limit with --since)", {"metavar": "N"}),
        ),
        (
            Argument("--probes", "probe results only", {"action": "store_true"}),
            Argument("--events", "everything but probe results", {"action": "store_true"}),
            Argument("--kind", "of this kind only", {"metavar": "K", "choices": tuple(map(str, EventKind))}),
        ),
    ),
    Verb(
        "elasticsearch",
        elasticsearch.run,
        "install what an Elasticsearch must know before the log is sent there: mappings, templates, lifecycle policies",
        (
            Argument("action", "what to do: install", {"choices": ("install",)}),
            Argument("--url", "the server (default: the configured ones, with their credentials)", {"metavar": "URL"}),
            *CREDENTIALS,
            Argument("--force", "overwrite what is newer, or an operator's policy, too", {"action": "store_true"}),
            Argument("--dry-run", "change nothing, and print what would be put", {"action": "store_true"}),
        ),
        failed="the server cannot be reached, or refuses something",
    ),
    Verb(
        "dashboards",
        dashboards.run,
        "import the dashboards into a Kibana, over those of an earlier version",
        (
            Argument("action", "what to do: install", {"choices": ("install",)}),
            Argument("--kibana", "the URL of Kibana", {"metavar": "URL"}),
            Argument("--space", "the space that gets them (default: the default one)", {"metavar": "SPACE"}),
            *CREDENTIALS,
            Argument("--dry-run", "change nothing, and print what would be imported", {"action": "store_true"}),
        ),
        failed="Kibana cannot be reached, or refuses something",
    ),
)
