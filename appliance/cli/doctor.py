"""`vc5 doctor`: what is wrong with the host and, where a daemon runs, with backends; each with what mends it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from appliance.cli.client import ask
from appliance.cli.progress import progress
from appliance.errors import ControlError, HostError
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.config import Source
    from appliance.control.nic import Finding
    from appliance.control.subjects import Subject

HOST, BACKENDS = "host", "backends"
"""What the findings of the host as a whole go by, and those of the examination of backends itself."""


def run(root: Root, arguments: Namespace, source: Source) -> int:
    """Examine, print, and return 1 where something will not work."""
    from appliance import config
    from appliance.cli import doctor_view
    from appliance.control import systemd
    from appliance.control.doctor import examine, examine_host, look
    from appliance.control.nic import Severity

    wanted = config.load(source).config
    with progress("looking at the host") as say:
        host = look(wanted)
        say("asking the daemon")
        daemon, rows, why = _daemon(root, every=arguments.all)
        sections: dict[str, Mapping[str, tuple[Finding, ...]]] = {
            doctor_view.HOST: {HOST: examine_host(wanted, host, root, daemon)},
            doctor_view.INTERFACES: examine(wanted, host),
        }
        if root.packaged():
            say("asking systemd")
            sections[doctor_view.UNITS] = systemd.examine()
        if daemon:
            sections[doctor_view.BACKENDS] = _backends(root, rows, say)
    if arguments.json:
        found: dict[str, list[dict[str, str]]] = {}
        for section in sections.values():
            for name, each in section.items():
                found.setdefault(name, []).extend(finding.as_json() for finding in each)
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(doctor_view.lines(sections, unasked=why, every=arguments.all)))
    return int(
        any(
            one.severity is Severity.PROBLEM
            for section in sections.values()
            for each in section.values()
            for one in each
        )
    )


def _daemon(root: Root, *, every: bool) -> tuple[int, list[Subject], str]:
    """The process id of the running daemon and the backends to look at; 0 where it does not say, with the reason."""
    from appliance.control.subjects import Subject

    try:
        body = ask(root, "examinees", all=every)
    except ControlError as error:
        return 0, [], str(error)
    try:
        return int(body["pid"]), [Subject.of(row) for row in body["backends"]], ""
    except (KeyError, TypeError, ValueError) as error:
        return 0, [], f"the daemon is of another version ({error}); vc5 reexec lets it become this one"


def _backends(root: Root, subjects: list[Subject], say: Callable[[str], None]) -> dict[str, tuple[Finding, ...]]:
    """Examine backends of the running daemon."""
    from appliance.control import examining
    from appliance.control.backend_faults import findings, not_examined
    from appliance.control.subjects import merged
    from appliance.health.examiner import PROBE_MTU

    examinees = [one for number, subject in enumerate(subjects) if (one := subject.examinee(number, PROBE_MTU))]
    if not examinees:
        return merged((subject, findings(subject, None)) for subject in subjects)
    why = examining.possible(root)
    if why:
        told = merged((subject, findings(subject, None)) for subject in subjects)
        return {BACKENDS: (not_examined(why),), **told}
    try:
        seen = examining.examine(root, examinees, lambda done: say(f"examining backends: {done} of {len(subjects)}"))
    except HostError as error:
        told = merged((subject, findings(subject, None)) for subject in subjects)
        return {BACKENDS: (not_examined(str(error)),), **told}
    return merged((subject, findings(subject, seen.get(number))) for number, subject in enumerate(subjects))
