"""VLAN stripping of the NICs: off while the program is on a trunk, since it must see the tags, and back afterwards.

Which interfaces had it on is kept in the state file, so that it is put back by whichever process ends the data plane.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from appliance.errors import HostError
from appliance.net import nic
from appliance.net.nic import Feature

log = logging.getLogger("vc5")


class Stripping:
    """The interfaces whose stripping was switched off here."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._saved: list[str] = []

    def off(self, name: str) -> None:
        """Switch it off. Raises HostError where the driver does not let it be switched."""
        if nic.switch(name, Feature.VLAN_STRIPPING, False):
            self.names.add(name)

    def forget(self, name: str) -> None:
        """The interface is gone, and its settings with it."""
        self.names.discard(name)

    def put_back(self, needed: Collection[str] = ()) -> None:
        """Put it back on all interfaces but those where the program still needs it off; what refuses is logged."""
        for name in sorted(self.names - set(needed)):
            self.names.discard(name)
            try:
                nic.switch(name, Feature.VLAN_STRIPPING, True)
            except HostError as error:
                log.warning("VLAN stripping stays off: %s", error)

    def snapshot(self) -> list[str]:
        """Return what to keep in the state file."""
        self._saved = sorted(self.names)
        return self._saved

    def restore(self, saved: Any) -> None:
        """Take over a snapshot; what makes no sense is left out."""
        self.names |= {name for name in saved if isinstance(name, str)} if isinstance(saved, list) else set()

    @property
    def unsaved(self) -> bool:
        """Whether it differs from the last snapshot."""
        return sorted(self.names) != self._saved
