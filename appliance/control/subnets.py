"""Which interface reaches an address directly. Pure."""

from __future__ import annotations

from appliance.control.prefixes import Prefixes
from appliance.model import Address, Host, Interface


class Subnets:
    """The subnets of one snapshot's interfaces, ready for many questions."""

    def __init__(self, host: Host) -> None:
        ordered = sorted(host.interfaces, key=lambda interface: not interface.up)
        self._prefixes = Prefixes((own.network, interface) for interface in ordered for own in interface.addresses)

    def interface_for(self, address: Address) -> Interface | None:
        """Return the interface whose own prefix contains `address`, or None.

        The longest prefix wins; of equal ones an interface that is up, then the first in the order of the snapshot.
        """
        found = self._prefixes.longest(address)
        return found[1] if found else None
