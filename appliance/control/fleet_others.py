"""What other nodes of the fleet say of themselves, as this node has heard it: health, load, tables, routes. Pure.

All of it is a node's own word, and forgotten with the node. What is true for the whole fleet (tracked slots, remembered
flows) is not kept here: it goes into the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from appliance.control.state import Pair
from appliance.fleet.members import Member
from appliance.fleet.records import Announces, How, Load, NodeState, Overrides, Record, TableDigest, Tables, View
from appliance.health.quorum import Opinion
from appliance.model import Address, ServiceKey


@dataclass
class Other:
    """One node, and what it said last."""

    member: Member
    down: Mapping[Pair, bool] = field(default_factory=dict)
    """The backends that it takes for down; whether nothing answers there, or else wrongly."""
    heard: bool = False
    """Whether it has said so at all."""
    load: dict[ServiceKey, dict[Address, int]] = field(default_factory=dict)
    tables: dict[ServiceKey, TableDigest] = field(default_factory=dict)
    announces: dict[Address, How] = field(default_factory=dict)
    overrides: dict[ServiceKey, dict[Address, tuple[str, ...]]] = field(default_factory=dict)
    """What operators said there of backends, in the words of the commands."""
    _own: Mapping[ServiceKey, TableDigest] | None = None
    _theirs: Mapping[ServiceKey, TableDigest] | None = None
    _alike: frozenset[ServiceKey] = frozenset()

    def take(self, record: Record) -> None:
        """Take its word."""
        if isinstance(record, View):
            self.down = {(one.service, down.backend): down.dead for one in record.services for down in one.down}
            self.heard = True
        elif isinstance(record, Load):
            for service in record.services:
                self.load.setdefault(service.service, {}).update(service.backends)
        elif isinstance(record, Tables):
            found = self.tables | {one.service: one for one in record.entries}
            self.tables = {key: one for key, one in found.items() if one.slot_count}
        elif isinstance(record, Announces):
            self.announces |= {one.vip: one.how for one in record.entries}
        elif isinstance(record, Overrides):
            for key, address, words in record.entries:
                self.overrides.setdefault(key, {})[address] = tuple(words.split(", ")) if words else ()

    def opinion(self, own: Mapping[ServiceKey, TableDigest], configuration: bytes) -> Opinion:
        """Return what it says of backends.

        `own` are this node's tables, and `configuration` the digest of its configuration: they tell what is alike.
        """
        facts = self.member.facts
        if self._own is not own or self._theirs is not self.tables:
            self._own, self._theirs = own, self.tables
            there = self.tables
            self._alike = frozenset(
                key for key, one in own.items() if key in there and there[key].configuration == one.configuration
            )
        return Opinion(
            node=self.member.life,
            name=facts.name,
            down=self.down,
            heard=self.member.heard_at,
            ready=self.heard and facts.state in (NodeState.READY, NodeState.DRAINING),
            isolated=facts.isolated,
            checks=None if any(configuration) and facts.configuration == configuration else self._alike,
        )


class Others:
    """All other nodes that are there."""

    def __init__(self) -> None:
        self._by_life: dict[int, Other] = {}

    def __iter__(self) -> Iterator[Other]:
        return iter(self._by_life.values())

    def __len__(self) -> int:
        return len(self._by_life)

    def joined(self, member: Member) -> Other:
        """Know a node."""
        return self._by_life.setdefault(member.life, Other(member))

    def gone(self, member: Member) -> Other | None:
        """Forget a node, and return what it said."""
        return self._by_life.pop(member.life, None)

    def learn(self, member: Member, record: Record) -> Other:
        """Take a node's word."""
        other = self.joined(member)
        other.take(record)
        return other

    def flows(self, key: ServiceKey) -> Mapping[Address, int]:
        """How many flows the others count for each backend of a service."""
        found: Counter[Address] = Counter()
        for other in self._by_life.values():
            found.update(other.load.get(key, {}))
        return found

    def slot_counts(self) -> dict[ServiceKey, int]:
        """How many slots each service has at the others that have finished learning: the largest number."""
        most: dict[ServiceKey, int] = {}
        for other in self._by_life.values():
            if other.member.facts.state is NodeState.LEARNING:
                continue
            for key, table in other.tables.items():
                most[key] = max(table.slot_count, most.get(key, 0))
        return most

    def differs(self, own: TableDigest) -> bool:
        """Whether another node's table of a service is another one than this."""
        return any(other.tables.get(own.service, own)[:3] != own[:3] for other in self._by_life.values())

    def announced(self, vip: Address) -> dict[int, How]:
        """How each node announces a VIP, by its life; those that have not said so are left out."""
        return {life: other.announces[vip] for life, other in self._by_life.items() if vip in other.announces}
