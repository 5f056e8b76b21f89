"""What a verb of the command line is: a row of the table that feeds the parser, the usage text and completion."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.paths import Root


@dataclass(frozen=True)
class Argument:
    """One argument of a verb: its flag (`--config`) or, without dashes, its position's name.

    `settings` goes to `argparse.add_argument` as it is.
    """

    name: str
    help: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verb:
    """One verb. `function` returns the exit status, or raises a Vc5Error that carries it."""

    name: str
    function: Callable[[Root, Namespace], int]
    help: str
    arguments: tuple[Argument, ...] = ()
    alternatives: tuple[Argument, ...] = ()
    """Arguments that exclude each other."""


class UsageError(Exception):
    """The command line is wrong in a way that only the verb can see; exit 2."""
