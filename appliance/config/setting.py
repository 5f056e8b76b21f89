"""What one row of the table of settings is, and the kinds of value that several rows share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from appliance.config.addresses import ServerKind
from appliance.config.kinds import Either, Kind, ListOf, MapOf, Place, Section, Text
from appliance.config.policy import FormKind, PortOrNothing
from appliance.model import CheckKind

MAX_BACKENDS = 1024
"""Backends of one service; as many again may drain."""

MAX_CHECKS = 16
"""Checks of one service."""

TOP, SERVICE, SERVER, POLICY, CHECK = Place.TOP, Place.SERVICE, Place.SERVER, Place.POLICY, Place.CHECK
BGP, GROUP, VLAN = Place.BGP, Place.GROUP, Place.VLAN

LIST_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", "a name of letters, digits, hyphens, dots and underscores", most=64)
SERVERS = ListOf(
    Either(ServerKind(), Section(SERVER, "a map"), "an IP address, or a map with address, weight and enabled"),
    "a list of servers",
    at_most=MAX_BACKENDS,
)
POLICIES = MapOf(
    FormKind(),
    Either(PortOrNothing(), Section(POLICY, "a map"), "nothing, the backends' port, or a map of settings"),
    "a map from what to serve to its settings",
    at_least=1,
)


@dataclass(frozen=True)
class Setting:
    """One setting: where it may stand, what it accepts, what it means. `default` and `example` are YAML."""

    name: str
    places: tuple[Place, ...]
    kind: Kind
    help: str
    example: str
    default: str | None = None
    """A text that `kind` parses; None where leaving the setting out means nothing, or something that `help` tells."""
    required: bool = False
    checks: tuple[CheckKind, ...] = ()
    """The types of check that know this setting; empty for all."""
    successor: str = ""
    """What to do instead, where the setting is of the dialect but means nothing any more; using it is a warning."""


def words(members: Iterable[Enum]) -> dict[str, Any]:
    """Return the words of an enumeration with their members."""
    return {str(member): member for member in members}


def list_text(names: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *most, last = names
    return " and ".join([", ".join(most), last] if most else [last])
