"""`vc5 convert`: an earlier dialect into today's; the files, the resolver and the messages around the conversion."""

from __future__ import annotations

import json
import os
import socket
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from appliance import config
from appliance.cli.progress import progress
from appliance.config.convert import Converted, convert_text, is_secret
from appliance.config.file import read_text
from appliance.config.findings import Findings
from appliance.errors import EXIT_FAILED, EXIT_OK, ConfigError, Issue, Vc5Error

_REFUSED = "`vc5 check` refuses this; it may be a secret, so look for yourself"

STANDARD_OUTPUT = "<result>"
"""What stands for the file in messages about a result that goes to standard output."""


def run(arguments: Namespace) -> int:
    """Convert; 1 where something is missing from the result, or `vc5 check` would refuse it."""
    findings = Findings(arguments.old)
    text = read_text(Path(arguments.old), findings)
    if text is None:
        raise ConfigError(findings.issues())
    interfaces = tuple(dict.fromkeys(arguments.interface or ()))
    converted = convert_text(text, arguments.old, interfaces)
    if arguments.resolve and converted.names:
        with progress("the resolver is asked for host names"):
            known = {name: resolve(name) for name in converted.names}
        converted = convert_text(text, arguments.old, interfaces, known)
    if arguments.output:
        write(Path(arguments.output), converted.text)
    refused = refusals(converted, arguments.output or STANDARD_OUTPUT)
    if arguments.json:
        print(json.dumps(_body(converted, refused), indent=2))
    else:
        if not arguments.output:
            print(converted.text, end="")
        for issue in (*converted.issues, *refused):
            print(issue, file=sys.stderr)
    return EXIT_OK if converted.complete and not refused else EXIT_FAILED


def resolve(name: str) -> tuple[str, ...]:
    """Return the IPv4 addresses of a host, as this host's resolver knows them; the dialects with names had no IPv6."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(sorted({str(address[0]) for *_, address in found}))


def write(path: Path, text: str) -> None:
    """Write a new file, readable by its owner alone: there may be secrets in it. Raises Vc5Error if it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Vc5Error(f"{path} exists, and is not overwritten; remove it, or name another file") from None
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def refusals(converted: Converted, name: str) -> tuple[Issue, ...]:
    """Return what `vc5 check` would say if it refuses the result, without secrets; nothing where it does not."""
    try:
        config.load_text(converted.text, name)
    except ConfigError as error:
        return tuple(replace(issue, message=_REFUSED) if is_secret(issue.path) else issue for issue in error.issues)
    return ()


def _body(converted: Converted, refused: tuple[Issue, ...]) -> dict[str, object]:
    return {
        "dialect": converted.dialect.name.lower(),
        "complete": converted.complete,
        "valid": not refused,
        "text": converted.text,
        "issues": [issue.as_json() for issue in (*converted.issues, *refused)],
    }
