"""What a verb of the command line is: a row of the table that feeds the parser, the usage text and completion."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from appliance.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from appliance.paths import Root


class Names(Enum):
    """What an argument names, so that a shell can offer it."""

    FILE = auto()
    SERVICE = auto()
    """A service of the running daemon."""
    BACKEND = auto()
    """A backend of the service that was named before, or of any."""
    INTERFACE = auto()
    """An interface of the running daemon's configuration."""
    PEER = auto()
    """A BGP peer of the running daemon."""


@dataclass(frozen=True)
class Argument:
    """One argument of a verb: its flag (`--config`) or, without dashes, its position's name.

    `settings` goes to `argparse.add_argument` as it is.
    """

    name: str
    help: str
    settings: dict[str, Any] = field(default_factory=dict)
    names: Names | None = None
    words: tuple[str, ...] = ()
    """What may stand there beside such a name."""

    @property
    def is_option(self) -> bool:
        """Whether it is a flag, and not a position."""
        return self.name.startswith("-")

    @property
    def takes_value(self) -> bool:
        """Whether a word follows the flag."""
        return self.is_option and self.settings.get("action") != "store_true"

    @property
    def shown(self) -> str:
        """What stands for its value in the usage."""
        return str(self.settings.get("metavar") or self.name.lstrip("-").upper())


@dataclass(frozen=True)
class Verb:
    """One verb. `function` returns the exit status, or raises a Vc5Error that carries it."""

    name: str
    function: Callable[[Root, Namespace], int]
    help: str
    arguments: tuple[Argument, ...] = ()
    alternatives: tuple[Argument, ...] = ()
    """Arguments that exclude each other."""
    hidden: tuple[Argument, ...] = ()
    """Arguments for programs, of which nothing is told."""
    failed: str = ""
    """What exit status 1 says of this verb beside that it failed."""


JSON = Argument("--json", "print JSON, errors included", {"action": "store_true"})
"""Every verb has it."""
ROOT = Argument(
    "--root", "the instance that keeps everything below DIR (also: VC5_ROOT)", {"metavar": "DIR"}, Names.FILE
)
"""Before the verb or after it."""
VERSION = Argument("--version", "print the version and end", {"action": "store_true"})

EXITS = {
    EXIT_OK: "done",
    EXIT_FAILED: "failed",
    EXIT_USAGE: "wrong usage",
    EXIT_CONFIG: "the configuration is refused",
}


class UsageError(Exception):
    """The command line is wrong in a way that only the verb can see; exit 2."""
