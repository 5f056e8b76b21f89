"""What one peer was told, beside what it should know, and the UPDATEs that bring both together. Pure.

What should be known is set at any time, all of it or one VIP; only what differs from what was told is ever sent, so
that a VIP that went down and came up again while the peer was slow costs nothing. Routes wait in groups of equal
attributes, each of which is encoded once.

In this order: withdrawals, which are urgent; requests of the peer to hear it all again; routes; the end of the RIB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import islice
from types import MappingProxyType

from appliance.model_address import Address
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.frame import MAX_MESSAGE
from appliance.routing.bgp.message import Refresh, RouteRefresh, encode
from appliance.routing.bgp.update import WITHDRAWN_ROOM, Form, end_of_rib, form, prefix, withdrawal
from appliance.routing.route import Attributes, Routes

_UNKNOWN = Attributes(IPv4Address(0))
"""Of what may have been told: equal to nothing that is wanted."""
_FORMS = 4096
"""How many encoded sets of attributes are kept for the next change."""


class Outbox:
    """The Adj-RIB-Out of one session (RFC 4271 section 3.2).

    `four_octet`: the peer takes AS numbers of four octets. `families`: what was agreed on; other routes are `refused`.
    `enhanced_refresh`: the peer wants to be told where all routes begin and end that it has asked for (RFC 7313).
    """

    def __init__(self, *, four_octet: bool, families: Iterable[Family], enhanced_refresh: bool = False) -> None:
        self._four_octet = four_octet
        self._enhanced_refresh = enhanced_refresh
        self._families = tuple(sorted(families, key=lambda family: family.value))
        self._forms: dict[tuple[int, int], tuple[Attributes, Form | str]] = {}
        self._wanted: dict[Address, Attributes] = {}
        self.reset()

    def reset(self) -> None:
        """Begin a new session: the peer knows nothing. What it should know stays."""
        wanted, self._wanted = self._wanted, {}
        self._told: dict[Address, Attributes] = {}
        self._told_of: Counter[int] | None = None
        """How many VIPs of each IP version were told; None: to be counted."""
        self._refused: dict[Address, str] = {}
        self._gone: dict[Family, dict[Address, None]] = {family: {} for family in self._families}
        self._groups: dict[tuple[Family, Form], dict[Address, Attributes]] = {}
        self._group_of: dict[Address, tuple[Family, Form]] = {}
        self._again: set[Address] = set()
        self._unfinished = dict.fromkeys(self._families)
        """Families whose end of the RIB was not sent yet."""
        self._asked: dict[Family, None] = {}
        """Families that are to be sent again, after that (RFC 7313 section 4)."""
        self._begins: dict[Family, None] = {}
        self._ends: dict[Family, None] = {}
        """Families that are to be sent again now, or are being sent; the peer wants to know where that ends."""
        self._complete = False
        self.messages = 0
        """How many messages `take` has returned."""
        for address, attributes in wanted.items():
            self.change(address, attributes)

    @property
    def told(self) -> Mapping[Address, Attributes]:
        """What the peer knows, once it has read all that `take` returned."""
        return MappingProxyType(self._told)

    def told_of(self, version: int) -> int:
        """Return how many VIPs of IP version 4 or 6 the peer knows."""
        if self._told_of is None:
            self._told_of = Counter(address.version for address in self._told)
        return self._told_of[version]

    @property
    def wanted(self) -> Mapping[Address, Attributes]:
        """What the peer should know."""
        return MappingProxyType(self._wanted)

    @property
    def ended(self) -> bool:
        """Whether the peer was told that those were all routes."""
        return self._complete and not self._unfinished

    @property
    def refused(self) -> Mapping[Address, str]:
        """What cannot be announced to this peer, and why; it is withdrawn if it was announced otherwise before."""
        return MappingProxyType(self._refused)

    @property
    def pending(self) -> bool:
        """Whether `take` has something to return."""
        ending = self._complete and bool(self._unfinished)
        return bool(self._groups or self._begins or self._ends or ending or any(self._gone.values()))

    @property
    def waiting(self) -> int:
        """How many routes and withdrawals `take` has yet to return."""
        return len(self._group_of) + sum(map(len, self._gone.values()))

    @property
    def ended_families(self) -> tuple[Family, ...]:
        """Families whose end of the RIB was sent."""
        return tuple(family for family in self._families if family not in self._unfinished)

    @property
    def unfinished_refreshes(self) -> tuple[Family, ...]:
        """Families that the peer has asked to hear again, and has not heard to their end."""
        waiting = {Family.of(address) for address in self._again}
        return tuple(
            family
            for family in self._families
            if family in waiting or family in self._asked or family in self._begins or family in self._ends
        )

    def resume(self, told: Routes, ended: Iterable[Family]) -> None:
        """Go on where another program has ended: it had told this, and of these families the end of the RIB."""
        self._told, self._told_of = dict(told), None
        self._wanted = dict(told)
        for family in ended:
            self._unfinished.pop(family, None)

    def suspect(self, addresses: Iterable[Address]) -> None:
        """Withdraw what another program may have announced; what is wanted of it is told again."""
        self._told_of = None
        for address in addresses:
            family = Family.of(address)
            if family in self._gone and address not in self._wanted:
                self._told.setdefault(address, _UNKNOWN)
                self._gone[family][address] = None

    def want(self, routes: Routes) -> None:
        """Set all that the peer should know."""
        wanted, self._complete = self._wanted, True
        if not (wanted or self._told or self._refused):
            self._fill(routes)
            return
        for address in [address for address in wanted if address not in routes]:
            self.change(address, None)
        for address, attributes in routes.items():
            if wanted.get(address) is not attributes:
                self.change(address, attributes)

    def _fill(self, routes: Routes) -> None:
        """Set all that a peer should know that knows nothing, with no look at where each of thousands of VIPs was."""
        self._wanted = dict(routes)
        alike: dict[tuple[int, int], list[tuple[Address, Attributes]]] = {}
        for route in routes.items():
            alike.setdefault((id(route[1]), route[0].version), []).append(route)
        for some in alike.values():
            family = Family.of(some[0][0])
            found = self._form(family, some[0][1])
            if isinstance(found, str):
                self._refused |= dict.fromkeys((address for address, _ in some), found)
                continue
            group = family, found
            self._groups.setdefault(group, {}).update(some)
            self._group_of |= dict.fromkeys(self._groups[group], group)

    def change(self, address: Address, attributes: Attributes | None) -> None:
        """Set what the peer should know of one VIP; None: nothing."""
        if attributes is None:
            self._wanted.pop(address, None)
        else:
            self._wanted[address] = attributes
        self._settle(address, Family.of(address), attributes)

    def resend(self, family: Family | None = None) -> None:
        """Send all routes of a family again, or of all: the peer has asked for it (RFC 2918)."""
        for one in self._families if family is None else (family,):
            if one in self._unfinished:
                self._asked[one] = None
            elif one in self._families:
                self._begin(one)

    def take(self, limit: int = 65536) -> bytes:
        """Return whole messages of at most `limit` bytes; one at least, if there is any."""
        taken: list[bytes] = []
        size = 0
        self._told_of = None
        for message in self._messages():
            taken.append(message)
            size += len(message)
            if size + MAX_MESSAGE > limit:
                break
        self.messages += len(taken)
        return b"".join(taken)

    def _settle(self, address: Address, family: Family, attributes: Attributes | None) -> None:
        """Put a VIP where it belongs: among the withdrawals, into a group of routes, or nowhere."""
        group = self._group_of.pop(address, None)
        if group is not None:
            waiting = self._groups[group]
            del waiting[address]
            if not waiting:
                del self._groups[group]
        found = None if attributes is None else self._form(family, attributes)
        if isinstance(found, str):
            self._refused[address] = found
        elif self._refused:
            self._refused.pop(address, None)
        told = self._told.get(address)
        if attributes is None or found is None or isinstance(found, str):
            self._again.discard(address)
            if told is not None:
                self._gone[family][address] = None
            return
        if told is not None:
            self._gone[family].pop(address, None)
            if told == attributes and address not in self._again:
                return
        self._groups.setdefault((family, found), {})[address] = attributes
        self._group_of[address] = (family, found)

    def _form(self, family: Family, attributes: Attributes) -> Form | str:
        """Return the form of messages with these attributes, or why there is none."""
        # The object itself is kept beside its form, so no other one can have the same id.
        key = (id(attributes), family.afi)
        known = self._forms.get(key)
        if known is None:
            if len(self._forms) >= _FORMS:
                self._forms.clear()
            known = self._forms[key] = (attributes, self._encoded(family, attributes))
        return known[1]

    def _encoded(self, family: Family, attributes: Attributes) -> Form | str:
        if family not in self._families:
            return f"{family} routes were not agreed on with this peer"
        try:
            return form(family, attributes, four_octet=self._four_octet)
        except ValueError as error:
            return str(error)

    def _messages(self) -> Iterator[bytes]:
        """Yield one message after the other; what a message says is told once the next one is asked for, or none."""
        for family, gone in self._gone.items():
            room = WITHDRAWN_ROOM[family] // (1 + family.bits // 8)
            while gone:
                piece = list(islice(gone, room))
                for address in piece:
                    del gone[address], self._told[address]
                yield withdrawal(family, [prefix(address) for address in piece])
        while True:
            for family in list(self._begins):
                del self._begins[family]
                yield encode(RouteRefresh(family, Refresh.BEGIN))
            yield from self._routes()
            yield from self._end()
            if not self._begins and not self._groups:
                return

    def _begin(self, family: Family) -> None:
        """Have all that was told of a family be told again."""
        for address, attributes in self._wanted.items():
            if Family.of(address) is family and address in self._told:
                self._again.add(address)
                self._settle(address, family, attributes)
        if self._enhanced_refresh:
            self._begins[family] = self._ends[family] = None

    def _routes(self) -> Iterator[bytes]:
        # A list, since looking for the first entry of a dict takes the longer the more were removed before it.
        for group in list(self._groups):
            family, one = group
            waiting, count = self._groups[group], one.room // (1 + family.bits // 8)
            while waiting:
                piece = list(islice(waiting.items(), count))
                if len(piece) == len(waiting):
                    del self._groups[group]
                for address, _ in piece:
                    del waiting[address], self._group_of[address]
                self._told.update(piece)
                if self._again:
                    self._again.difference_update(address for address, _ in piece)
                yield one.message([prefix(address) for address, _ in piece])

    def _end(self) -> Iterator[bytes]:
        for family in list(self._ends):
            del self._ends[family]
            yield encode(RouteRefresh(family, Refresh.END))
        for family in list(self._unfinished) if self._complete else ():
            del self._unfinished[family]
            if family in self._asked:
                del self._asked[family]
                self._begin(family)
            yield end_of_rib(family)
