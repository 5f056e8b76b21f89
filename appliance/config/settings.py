"""The table of all settings: the one source of parser, JSON Schema and reference page.

A new setting is a row in one of the parts and a use in `resolve`. Names of the dialect that this version cannot do are
listed in LATER, so that they are refused by name instead of being taken for spelling mistakes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from appliance.config.kinds import Either, Place, ScalarKind
from appliance.config.setting import CHECK, POLICY, SERVER, SERVICE, TOP, Setting
from appliance.config.settings_check import CHECK_SETTINGS
from appliance.config.settings_forward import FORWARD_SETTINGS
from appliance.config.settings_service import SERVICE_SETTINGS
from appliance.config.settings_top import TOP_SETTINGS

SETTINGS: tuple[Setting, ...] = (*TOP_SETTINGS, *SERVICE_SETTINGS, *FORWARD_SETTINGS, *CHECK_SETTINGS)

_REMOVE = "remove it"
_TOP_LATER = "bgp logging prefixes learn multicast webserver webroot address router_id host_id defcon listen"
_SERVICE_LATER = "priority persist reset"

LATER: dict[Place, dict[str, str]] = {
    TOP: {
        **dict.fromkeys(_TOP_LATER.split(), _REMOVE),
        "native": "write `xdp: native`",
        "rhi": "this is an earlier dialect; remove it",
        "reals": "this is an earlier dialect; write named lists under `servers`",
    },
    SERVICE: dict.fromkeys(_SERVICE_LATER.split(), _REMOVE),
    POLICY: {
        **dict.fromkeys(_SERVICE_LATER.split(), _REMOVE),
        "servers": "write a service of its own for these servers",
    },
    SERVER: {},
    CHECK: {},
}
"""Names of the dialect that this version does not have, with what to do about each."""

_BY_PLACE = {place: {row.name: row for row in SETTINGS if place in row.places} for place in Place}


def settings_of(place: Place) -> dict[str, Setting]:
    """Return the settings of a place by name, in the order of the table."""
    return _BY_PLACE[place]


@cache
def default_of(name: str) -> Any:
    """Return the parsed default of a setting; None where it has none."""
    for row in SETTINGS:
        if row.name == name and row.default is not None:
            kind = row.kind.scalar if isinstance(row.kind, Either) else row.kind
            assert isinstance(kind, ScalarKind)
            return kind.parse(row.default)
    return None
