"""The frame of the command: reads the command line, runs the verb, turns errors into text and an exit status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from appliance import paths
from appliance.cli.arguments import EXITS, JSON, ROOT, VERSION, Argument, UsageError, Verb
from appliance.cli.examples import EXAMPLES_HEADING, help_text
from appliance.cli.verbs import VERBS
from appliance.errors import EXIT_FAILED, EXIT_USAGE, ConfigError, Vc5Error

DESCRIPTION = "Layer-4 load balancer."
EPILOG = f"Exit status: {', '.join(f'{status} {text}' for status, text in EXITS.items())}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return the exit status."""
    try:
        parsed = parser().parse_args(arguments)
        status = _run(parsed)
        sys.stdout.flush()
        return status
    except SystemExit as end:  # argparse, after it printed help or usage
        return end.code if isinstance(end.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_FAILED
    except BrokenPipeError:
        # Whoever read our output wants no more. The interpreter would flush once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILED


class _Help(argparse.HelpFormatter):
    """Leaves the lines of examples as they are: one that is wrapped cannot be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES_HEADING) else super()._fill_text(text, width, indent)


def parser() -> argparse.ArgumentParser:
    """Return the parser that the verb table describes."""
    top = argparse.ArgumentParser(prog="vc5", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    for argument in (VERSION, ROOT):
        _add_argument(top, argument)
    verbs = top.add_subparsers(metavar="VERB", dest="verb")
    for verb in VERBS:
        to = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=verb.help,
            epilog=help_text(verb.name),
            formatter_class=_Help,
            allow_abbrev=False,
        )
        _add(to, verb)
    return top


def _add(to: argparse.ArgumentParser, verb: Verb) -> None:
    for argument in (*verb.arguments, *verb.hidden):
        _add_argument(to, argument)
    if verb.alternatives:
        group = to.add_mutually_exclusive_group()
        for argument in verb.alternatives:
            _add_argument(group, argument)
    _add_argument(to, JSON)
    # SUPPRESS, so that a --root before the verb is not overwritten by the default of this one.
    to.add_argument("--root", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    to.set_defaults(row=verb)


def _add_argument(to: argparse._ActionsContainer, argument: Argument) -> None:
    to.add_argument(argument.name, help=argument.help, **argument.settings)


def _run(parsed: argparse.Namespace) -> int:
    if parsed.version:
        from appliance import __version__

        print(f"vc5 {__version__}")
        return 0
    if parsed.verb is None:
        parser().print_help(sys.stderr)
        return EXIT_USAGE
    verb: Verb = parsed.row
    try:
        return verb.function(paths.root(parsed.root), parsed)
    except UsageError as error:
        _say(f"{verb.name}: {error}")
        return EXIT_USAGE
    except Vc5Error as error:
        return _report(error, parsed.json)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _report(Vc5Error(f"{where}{error.strerror or error}"), parsed.json)


def _report(error: Vc5Error, as_json: bool) -> int:
    if isinstance(error, ConfigError):
        if as_json:
            print(json.dumps({"issues": [issue.as_json() for issue in error.issues]}))
        else:
            for issue in error.issues:
                print(issue, file=sys.stderr)
    else:
        if as_json:
            print(json.dumps({"error": str(error)}))
        _say(str(error))
    return error.exit_status


def _say(text: str) -> None:
    from appliance.cli.tables import printable

    for line in text.splitlines() or [""]:
        print(f"vc5: {printable(line)}", file=sys.stderr)
