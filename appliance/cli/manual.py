"""vc5(1), the manual page of the command, from the table of verbs and that of examples. `python -m
appliance.cli.manual 1` prints it, and `... 8` the page of the daemon (manual_daemon.py)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from appliance import __version__, paths
from appliance.cli.arguments import EXITS, JSON, ROOT, VERSION, Argument, Verb
from appliance.cli.examples import EXAMPLES
from appliance.cli.manual_daemon import FILES, daemon_page, terms
from appliance.cli.offline import release_date
from appliance.cli.verbs import VERBS
from appliance.config.roff import heading, item, page, paragraph, part, prose, verbatim
from appliance.errors import EXIT_FAILED
from appliance.paths import Root

DESCRIPTION = """`vc5` looks at a running load balancer, changes what it does, and checks, explains and
converts configurations, for which no daemon is needed. `vc5 run` is the daemon itself: vc5(8) tells how it is
operated. Most commands talk to the daemon over a socket; members of the group `vc5` may, and root."""
OUTPUT = """Text is for people: as wide as the terminal, in colour on a terminal only, and with numbers in
short (1k is 1,000; of bytes 1K is 1,024). Programs get all of it with `--json`, on standard output, errors
included; names of fields are added and never changed. While something takes longer than a second, a line on
standard error says so, where that is a terminal. No command asks a question, and none starts a pager."""
ENVIRONMENT = {
    "VC5_ROOT": "The instance, as `--root`.",
    "VC5_ELASTICSEARCH_PASSWORD": "The password of `--user`, for Elasticsearch and for Kibana.",
    "VC5_ELASTICSEARCH_API_KEY": "An API key for both, in place of user and password.",
    "NO_COLOR": "Set to anything: no colours.",
    "COLUMNS": "How wide tables may be, where that is not the terminal.",
    "SUDO_USER": "Who is noted beside the user id for what an operator said of a backend.",
}
OWN_FILES = ("config", "config_dir", "control_socket", "log")
"""The places that the command itself uses; vc5(8) has all of them."""


def command_page(root: Root, version: str, date: str) -> str:
    """Return vc5(1) in roff, with the places of this root; `date` as 2025-06-01."""
    lines = heading("vc5", 1, date, f"vc5 {version}", "Layer-4 load balancer")
    lines += [*part("NAME"), *prose("vc5 - look at and change a layer-4 load balancer")]
    lines += [*part("SYNOPSIS"), *prose(f"`vc5` [{_option(ROOT)}] `VERB` [`ARGUMENT` ...]"), ".br", *prose("`vc5 -h`")]
    lines += [*part("DESCRIPTION"), *prose(DESCRIPTION), *paragraph(OUTPUT)]
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
    lines += terms("ENVIRONMENT", "", ENVIRONMENT)
    places = {str(getattr(root, name)): FILES[name] for name in OWN_FILES}
    lines += terms("FILES", f"With `{ROOT.name}` they are below that directory; vc5(8) has them all.", places)
    return page([*lines, *part("SEE ALSO"), r"\fBvc5\fR(8), \fBvc5.yaml\fR(5), \fBvc5-metrics\fR(7)"])


def _verb(verb: Verb) -> Iterator[str]:
    words = [f"`vc5 {verb.name}`", *(_usage(one) for one in verb.arguments if one.is_option)]
    if verb.alternatives:
        words.append(f"[{' | '.join(_option(one) for one in verb.alternatives)}]")
    words += [_usage(one) for one in verb.arguments if not one.is_option]
    failed = f" Exit status {EXIT_FAILED} also says: {verb.failed}." if verb.failed else ""
    yield from (*paragraph(" ".join(words)), ".RS", *prose(_sentence(verb.help) + failed))
    for argument in (*verb.arguments, *verb.alternatives):
        yield from _argument(argument)
    for example in EXAMPLES.get(verb.name, ()):
        yield from (*paragraph(_introduced(example.help)), *verbatim([example.line]))
    yield ".RE"


def _introduced(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else ':'}"


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
    make = {"1": command_page, "8": daemon_page}[sys.argv[1]]
    print(make(paths.root(), __version__, release_date()), end="")
