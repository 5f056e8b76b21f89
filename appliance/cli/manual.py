"""vc5(8), the manual page of the command, from the table of verbs. `python -m appliance.cli.manual` prints it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from appliance import __version__, paths
from appliance.cli.arguments import EXITS, JSON, ROOT, VERSION, Argument, Verb
from appliance.cli.offline import release_date
from appliance.cli.verbs import VERBS
from appliance.config.roff import heading, item, page, paragraph, part, prose
from appliance.errors import EXIT_FAILED
from appliance.paths import Root

DESCRIPTION = (
    "`vc5 run` is a layer-4 load balancer: an XDP program in the kernel, health checks, and the announcement of VIPs. "
    "All other commands look at it, change it, or need none. They talk to the daemon over a socket below its root."
)
SIGNALS = {
    "SIGHUP": "Reload; the outcome is in the log and in `systemctl status`.",
    "SIGTERM, SIGINT": "Stop: tell the routers, detach, unpin, remove the probe namespace.",
    "SIGUSR1": "Leave: the daemon ends, the data plane works on, the next `vc5 run` adopts it.",
}
"""What they do to `vc5 run`."""
ENVIRONMENT = {
    "VC5_ROOT": "The instance, as `--root`.",
    "VC5_ELASTICSEARCH_PASSWORD": "The password of `--user`, for Elasticsearch and for Kibana.",
    "VC5_ELASTICSEARCH_API_KEY": "An API key for both, in place of user and password.",
    "NO_COLOR": "Set to anything: no colours.",
    "COLUMNS": "How wide tables may be, where that is not the terminal.",
    "SUDO_USER": "Who is noted beside the user id for what an operator said of a backend.",
}
FILES = {
    "config": "The configuration, vc5.yaml(5).",
    "config_dir": "Its `*.yaml` add to the configuration.",
    "state": "What outlives a reboot.",
    "seed_file": "The hash seed, where the configuration has none.",
    "state_file": "What operators said, and what drains.",
    "trial_file": "A configuration that waits for `vc5 confirm`, with the one before.",
    "log": "Probe results and events, for `vc5 log`.",
    "run": "What does not outlive a reboot.",
    "control_socket": "Where the commands talk to the daemon.",
    "prober_socket": "Where the daemon talks to its prober.",
    "bfd_socket": "Where the daemon talks to its process for BFD, which outlives it.",
    "lock": "Held by the daemon.",
    "pins": "The program and the tables of the data plane.",
}
"""The places of an instance by their names in `paths.Root`."""


def command_page(root: Root, version: str, date: str) -> str:
    """Return the whole page in roff, with the places of this root; `date` as 2025-06-01."""
    lines = heading("vc5", 8, date, f"vc5 {version}", "Layer-4 load balancer")
    lines += [*part("NAME"), *prose("vc5 - layer-4 load balancer")]
    lines += [*part("SYNOPSIS"), *prose(f"`vc5` [{_option(ROOT)}] `VERB` [`ARGUMENT` ...]"), ".br", *prose("`vc5 -h`")]
    lines += [*part("DESCRIPTION"), *prose(DESCRIPTION)]
    lines += paragraph("`vc5 VERB -h` tells what is said here of a command.")
    lines += part("OPTIONS")
    for argument in (ROOT, JSON, VERSION):
        lines += _argument(argument)
    lines += part("COMMANDS")
    for verb in VERBS:
        lines += _verb(verb)
    lines += part("EXIT STATUS")
    for status, text in EXITS.items():
        lines += item(f"`{status}`", _sentence(text))
    lines += _terms("SIGNALS", "What they do to `vc5 run`.", SIGNALS)
    lines += _terms("ENVIRONMENT", "", ENVIRONMENT)
    places = {str(getattr(root, name)): text for name, text in FILES.items()}
    lines += _terms(
        "FILES", f"With `{ROOT.name}` they are below that directory; what is pinned is beside these.", places
    )
    return page([*lines, *part("SEE ALSO"), r"\fBvc5.yaml\fR(5)"])


def _terms(title: str, text: str, rows: dict[str, str]) -> Iterator[str]:
    yield from part(title)
    yield from prose(text)
    for name, meaning in rows.items():
        yield from item(f"`{name}`", meaning)


def _verb(verb: Verb) -> Iterator[str]:
    words = [f"`vc5 {verb.name}`", *(_usage(one) for one in verb.arguments if one.is_option)]
    if verb.alternatives:
        words.append(f"[{' | '.join(_option(one) for one in verb.alternatives)}]")
    words += [_usage(one) for one in verb.arguments if not one.is_option]
    failed = f" Exit status {EXIT_FAILED} also says: {verb.failed}." if verb.failed else ""
    yield from (*paragraph(" ".join(words)), ".RS", *prose(_sentence(verb.help) + failed))
    for argument in (*verb.arguments, *verb.alternatives):
        yield from _argument(argument)
    yield ".RE"


def _usage(argument: Argument) -> str:
    if argument.is_option:
        return f"[{_option(argument)}]"
    name = str(argument.settings.get("metavar") or argument.name)
    return {"?": f"[{name}]", "*": f"[{name} ...]"}.get(str(argument.settings.get("nargs")), name)


def _option(argument: Argument) -> str:
    return f"`{argument.name}` {argument.shown}" if argument.takes_value else f"`{argument.name}`"


def _argument(argument: Argument) -> list[str]:
    name = argument.settings.get("metavar") or argument.name
    return item(_option(argument) if argument.is_option else str(name), _sentence(argument.help))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


if __name__ == "__main__":
    os.environ.pop("VC5_ROOT", None)
    print(command_page(paths.root(), __version__, release_date()), end="")
