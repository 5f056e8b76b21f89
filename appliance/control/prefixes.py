"""Longest prefix match over a fixed set of networks, both families. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from appliance.model import Address, Network

T = TypeVar("T")


class Prefixes(Generic[T]):
    """What belongs to the longest of some networks that holds an address; of equal networks the first counts.

    A look-up costs one step for each different prefix length, however many networks there are.
    """

    def __init__(self, entries: Iterable[tuple[Network, T]]) -> None:
        tables: dict[tuple[int, int], dict[int, T]] = {}
        for network, value in entries:
            table = tables.setdefault((network.version, network.prefixlen), {})
            table.setdefault(_bits(network.network_address, network.prefixlen), value)
        self._tables = sorted(tables.items(), key=lambda item: -item[0][1])

    def longest(self, address: Address) -> tuple[int, T] | None:
        """The prefix length and the value of the longest network that holds `address`; None where none does."""
        for (version, length), table in self._tables:
            if version == address.version:
                bits = _bits(address, length)
                if bits in table:
                    return length, table[bits]
        return None


def _bits(address: Address, length: int) -> int:
    return int(address) >> (address.max_prefixlen - length)
