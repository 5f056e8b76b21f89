"""Which VIPs a peer may be told of: `accept`, then `reject`, else all. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from appliance.model_address import Address, Network


class Prefixes:
    """Prefixes of either family, made once to be asked often: a binary search tells whether one holds an address.

    Two prefixes are apart, or one is within the other; so those within none lie side by side, and they suffice.
    """

    def __init__(self, prefixes: Iterable[Network]) -> None:
        self._firsts: dict[int, list[int]] = {4: [], 6: []}
        self._lasts: dict[int, list[int]] = {4: [], 6: []}
        self._networks: dict[int, list[Network]] = {4: [], 6: []}
        spans = [
            (int(one.network_address), one.prefixlen, index, one) for index, one in enumerate(dict.fromkeys(prefixes))
        ]
        for first, length, _, network in sorted(spans):
            lasts = self._lasts[network.version]
            if lasts and first <= lasts[-1]:
                continue
            self._firsts[network.version].append(first)
            lasts.append(first | ((1 << (network.max_prefixlen - length)) - 1))
            self._networks[network.version].append(network)

    def holding(self, address: Address) -> Network | None:
        """Return the shortest prefix with this address; None: it is in none."""
        version, number = address.version, int(address)
        index = bisect_right(self._firsts[version], number) - 1
        return self._networks[version][index] if index >= 0 and number <= self._lasts[version][index] else None


class Filters:
    """Those of one peer. Peers with the same lists may share one."""

    def __init__(self, accept: Iterable[Network], reject: Iterable[Network]) -> None:
        self._accept = Prefixes(accept)
        reject = tuple(reject)
        self._reject = Prefixes(reject)
        self.empty = not reject
        """Whether they reject nothing at all."""

    def rejects(self, vip: Address) -> Network | None:
        """Return the prefix because of which a VIP is not announced; None: it may be."""
        found = self._reject.holding(vip)
        return found if found is not None and self._accept.holding(vip) is None else None
