"""Everything that is found about a configuration, in one place, so that nothing stops at the first mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.errors import Issue, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.config.nodes import Node

MAX_ISSUES = 1000
"""A file with more findings than this is not a configuration; the rest is left out and that is said."""


class Invalid(ValueError):
    """A text that a setting does not accept. Without a message the reader says what the setting accepts."""

    def __init__(self, message: str = "", hint: str = "", code: str = "value") -> None:
        self.message = message
        self.hint = hint
        self.code = code
        super().__init__(message)


class Findings:
    """Collects issues. A finding with the same position and message counts once, however often it is reached."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors = 0
        self._issues: list[Issue] = []
        self._seen: set[tuple[str, int, int, str]] = set()
        self._files = {file: 0}

    @property
    def full(self) -> bool:
        """Whether further findings are dropped."""
        return len(self._issues) >= MAX_ISSUES

    def enter(self, file: str) -> None:
        """Go on with another file, for what is found where no node says which."""
        self.file = file
        self._files.setdefault(file, len(self._files))

    def error(self, at: Node, path: str, code: str, message: str, hint: str = "") -> None:
        """Report something that refuses the file."""
        self.errors += 1
        self._add(at.file, at.line, at.column, path, Severity.ERROR, code, message, hint)

    def warning(self, at: Node, path: str, code: str, message: str, hint: str = "") -> None:
        """Report something that is accepted, but hardly meant."""
        self._add(at.file, at.line, at.column, path, Severity.WARNING, code, message, hint)

    def refuse(self, line: int, column: int, code: str, message: str, hint: str = "") -> None:
        """Report an error that has no node; line 0 where it has no position."""
        self.errors += 1
        self._add("", line, column, "", Severity.ERROR, code, message, hint)

    def issues(self) -> tuple[Issue, ...]:
        """Return what was found, in the order of files and their lines."""
        found = sorted(self._issues, key=lambda issue: (self._files[issue.file], issue.line, issue.column))
        if self.full:
            text = f"more than {MAX_ISSUES} issues; the rest is left out"
            found.append(Issue(self.file, 0, 0, "", Severity.ERROR, "limit", text))
        return tuple(found)

    def _add(
        self, file: str, line: int, column: int, path: str, severity: Severity, code: str, message: str, hint: str
    ) -> None:
        file = file or self.file
        if self.full or (file, line, column, message) in self._seen:
            return
        self._seen.add((file, line, column, message))
        self._issues.append(Issue(file, line, column, path, severity, code, message, hint))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" where a known word is close, else nothing."""
    if len(word) > 60:
        return ""
    from difflib import get_close_matches  # which is large, and only wanted where there is a mistake

    close = get_close_matches(word.lower(), sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else ""
