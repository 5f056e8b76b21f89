"""Earlier dialects into today's: text in, text and issues out.

document   the YAML that is written, with its comments
source     the old file as maps whose keys are used up, so that nothing is dropped unseen
dialect    which dialect is it?
top, routing, logs    what every dialect has beside its services
lists, policies, servers    the services of the YAML dialects
daemon, fold    the services of the daemon's JSON, and how they become readable entries
checks, options     what services of all dialects say about their checks and themselves
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Lookup
from dataclasses import dataclass, replace

from appliance.config.compose import compose
from appliance.config.convert import daemon, top
from appliance.config.convert.dialect import Dialect, recognise
from appliance.config.convert.document import Block, Items, TooLong, render
from appliance.config.convert.fold import fold
from appliance.config.convert.lists import Services
from appliance.config.convert.options import scheduler_of
from appliance.config.convert.source import Job, Old, is_secret
from appliance.config.findings import Findings
from appliance.config.nodes import Mapping
from appliance.errors import ConfigError, Issue, Severity

__all__ = ["Converted", "Dialect", "convert_text", "is_secret"]


@dataclass(frozen=True)
class Converted:
    """Today's YAML, and what to look at: errors are what is missing from it, warnings are guesses and dead settings."""

    text: str
    dialect: Dialect
    issues: tuple[Issue, ...]
    names: tuple[str, ...]
    """Host names that the old file has in place of addresses, in file order."""

    @property
    def complete(self) -> bool:
        """Whether everything that was in force is in the text."""
        return not any(issue.severity is Severity.ERROR for issue in self.issues)


def convert_text(
    text: str, name: str, interfaces: tuple[str, ...] = (), known: Lookup[str, tuple[str, ...]] | None = None
) -> Converted:
    """Convert a text; `name` stands for the file in messages, `known` holds the addresses of host names.

    Raises ConfigError where the text cannot be read, or is in no earlier dialect.
    """
    findings = Findings(name)
    root = compose(_whole_characters(text), findings)
    if findings.errors:
        raise ConfigError(_without_secrets(findings.issues(), text))
    dialect = recognise(root, findings)
    if dialect is None or not isinstance(root, Mapping):
        raise ConfigError(findings.issues())
    job = Job(findings, interfaces, known or {})
    try:
        written = render(_convert(Old(root, "", job), dialect, job), _head(dialect))
    except TooLong:
        findings.refuse(0, 0, "limit", "what this says at length is no configuration file", "look at its aliases")
        raise ConfigError(findings.issues()) from None
    return Converted(written, dialect, findings.issues(), tuple(job.names))


def _convert(old: Old, dialect: Dialect, job: Job) -> Block:
    block = top.settings(old, job, dead=dialect is Dialect.DAEMON)
    scheduler = old.take("scheduler")
    if scheduler is not None:
        word, note = scheduler_of(scheduler, "scheduler", job)
        if word:
            block.add("scheduler", word, *([note] if note else []))
        else:
            block.tail.append(note)
    if dialect is Dialect.DAEMON:
        node = old.take("services")
        if node is not None:
            found, notes = daemon.read_services(node, job)
            entries = fold(found, node, job)
            entries.tail.extend(notes)
            block.add("services", entries)
    else:
        services = Services(old, job)
        for key, value in (("servers", services.lists), ("policy", services.policies), ("services", services.services)):
            if value != Block() and value != Items():
                block.add(key, value)
    block.tail.extend(old.rest("at the top level"))
    return block


def _head(dialect: Dialect) -> list[str]:
    return [
        f"Converted by `vc5 convert` from {dialect.value}.",
        "Comments say what was guessed, what was left out, and what is NOT CONVERTED and needs your decision.",
        "Checks run every 2 s here, with `rise` and `fall`; `vc5 check` prints every value in force.",
    ]


_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})")


def _whole_characters(text: str) -> str:
    """Join what JSON writes as a pair of surrogates, which YAML knows nothing of."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return text

    def join(match: re.Match[str]) -> str:
        code = 0x10000 + ((int(match[2], 16) & 0x3FF) << 10) + (int(match[3], 16) & 0x3FF)
        return f"{match[1]}\\U{code:08x}"

    return _SURROGATES.sub(join, text)


_SECRET_LINE = re.compile("password|secret|teams|slack|token|://", re.IGNORECASE)


def _without_secrets(issues: tuple[Issue, ...], text: str) -> tuple[Issue, ...]:
    """Take words of the text out of messages about lines that may hold a secret, as `password: *abc`."""
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text.removeprefix("\ufeff"))
    found = []
    for issue in issues:
        line = lines[issue.line - 1] if 0 < issue.line <= len(lines) else ""
        if issue.code == "syntax" and _SECRET_LINE.search(line):
            issue = replace(issue, path="", message="not valid YAML on a line with a secret", hint="quote the text")
        found.append(issue)
    return tuple(found)
