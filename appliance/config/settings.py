"""The table of all settings: the one source of parser, JSON Schema and reference page.

A new setting is a row in one of the parts and a use in `resolve`. Names of the dialect that this version cannot do are
listed in LATER, so that they are refused by name instead of being taken for spelling mistakes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from appliance.config.kinds import Either, Place, ScalarKind
from appliance.config.setting import TOP, Setting
from appliance.config.settings_bgp import BGP_SETTINGS
from appliance.config.settings_check import CHECK_SETTINGS
from appliance.config.settings_console import CONSOLE_SETTINGS
from appliance.config.settings_fleet import FLEET_SETTINGS
from appliance.config.settings_forward import FORWARD_SETTINGS
from appliance.config.settings_host import HOST_SETTINGS
from appliance.config.settings_logging import LOGGING_SETTINGS
from appliance.config.settings_routes import ROUTE_SETTINGS
from appliance.config.settings_service import SERVICE_SETTINGS
from appliance.config.settings_top import TOP_SETTINGS

SETTINGS: tuple[Setting, ...] = (
    *TOP_SETTINGS,
    *SERVICE_SETTINGS,
    *FORWARD_SETTINGS,
    *CHECK_SETTINGS,
    *HOST_SETTINGS,
    *FLEET_SETTINGS,
    *CONSOLE_SETTINGS,
    *LOGGING_SETTINGS,
    *BGP_SETTINGS,
    *ROUTE_SETTINGS,
)

_EARLIER = "this is an earlier dialect; `vc5 convert` makes today's configuration of it"

LATER: dict[Place, dict[str, str]] = {
    **{place: {} for place in Place},
    TOP: {"rhi": _EARLIER, "reals": _EARLIER},
}
"""Names that this version does not have although people may well write them, with what to do about each."""

_OWN = frozenset({"name", "description", "servers"})
"""What services and policies have in common, but each for itself."""


def _inherited(row: Setting) -> bool:
    """Whether `defaults` may give it: what a policy has from elsewhere, and the weight of servers."""
    common = Place.POLICY in row.places and (Place.SERVICE in row.places or TOP in row.places)
    return (common and not row.successor and row.name not in _OWN) or row.name == "weight"


_BY_PLACE = {place: {row.name: row for row in SETTINGS if place in row.places} for place in Place}
_BY_PLACE[Place.DEFAULTS] = {row.name: row for row in SETTINGS if _inherited(row)}


def settings_of(place: Place) -> dict[str, Setting]:
    """Return the settings of a place by name, in the order of the table."""
    return _BY_PLACE[place]


@cache
def default_of(name: str, place: Place | None = None) -> Any:
    """Return the parsed default of a setting, of the first one with that name where no place is said; None: none."""
    for row in SETTINGS:
        if row.name == name and row.default is not None and (place is None or place in row.places):
            kind = row.kind.scalar if isinstance(row.kind, Either) else row.kind
            assert isinstance(kind, ScalarKind)
            return kind.parse(row.default)
    return None
