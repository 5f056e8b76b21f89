"""What the program and the control plane both know: enums, structs and maps, declared once.

C is rendered from these tables (`header`), with an assertion on the size and on every offset, and Python reads and
writes the mapped memory through the same declarations. Structs have no implicit padding. All integers are in the host's
byte order unless a field says "network order".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from appliance.dataplane.aside import BLOCK_KEY, DROP_REASONS, DROPPED, DROPS_KEPT, ENDPOINT, NEWS, NOTE, TUNNEL
from appliance.dataplane.enums import DeadPolicy, Encapsulation, NewsFlag, Reason, Refusal, ServiceFlag, State, Tail
from appliance.dataplane.spec import BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, MapKind, MapSpec
from appliance.dataplane.structs import SIZES, Field, Struct

if TYPE_CHECKING:
    from appliance.dataplane.shape import Shape

WAYS = 8
"""Ways in a set of the flow table: 8 of 8 bytes make one cache line."""
TAG_BITS = 37
INDEX_BITS = 11
EXPIRY_BITS = 15
"""A way is tag (37) | destination index (11) | candidate (1) | expiry (15), from the high bits down; 0 is empty."""
TRACKED = 0x8000
NARROW_TRACKED = 0x80
"""The tracked bit of a wide and of a narrow slot; below it stands the index of the destination inside its service."""
INDEX_LIMIT = 1 << INDEX_BITS
ASK_PREVIOUS = 0xFFFFFFFF
"""In the place of `was`: the answer is that of the generation before a hash change."""
NO_DESTINATION = 0
"""Index 0 of every service stands for "no backend"; its counters hold what reached none, and what former ones had."""
FIN_LIFE = 60
RST_LIFE = 10
"""Seconds that a remembered flow lives on after FIN or RST, unless another packet follows."""
SETTLING = 10
"""Seconds after a slot has changed within which most connections that live send a packet."""
CANDIDATE = 1 << EXPIRY_BITS
HALF_TIME = 1 << (EXPIRY_BITS - 1)
"""Expiry times are compared modulo 2^15 s: up to half of that lies ahead, the rest is past."""
COEFFICIENTS = 5
WORDS = 4
"""32-bit words of an IPv6 address."""
SOURCE_PARTS = 3
"""Words of an IPv6 source in the keyed hash: its first half, and two of 32 bits."""
LEGS = 4096
"""Ways out of the balancer: an interface and a tag. Number 0 is none."""
PROBE_PREFIX = 0xFD76_6335_0000_0000_0000_0000_0000_0000
"""Destination N of an IPv6 service is this address plus N to the prober; of an IPv4 service 10.0.0.0 + N."""
MAPPED = bytes(10) + b"\xff\xff"
"""What stands before an IPv4 address where there is room for an IPv6 address (RFC 4291 section 2.5.5.2)."""
MIX = 0xD6E8FEB86659FD93
"""An odd multiplier with well spread bits, for both hashes."""
FRAGMENT_TAG_BITS = 32
FRAGMENT_NUMBER_BITS = 20
FRAGMENT_EXPIRY_BITS = 12
"""A way of the table of fragments is tag (32) | destination number (20) | expiry (12), from the high bits down."""
FRAGMENT_LIFE = 30
"""Seconds that a datagram in pieces is remembered; RFC 1122 section 3.3.2 has hosts wait 60 s, Linux waits 30 s."""
TOO_BIG_RATE = 256
"""Answers "too big" that a CPU sends within one coarse second."""
REASON_STRIDE = 512
"""Words from one CPU's counters by reason to the next: 4 KiB."""
SOURCE_PREFIX = 20
"""Packets are counted by so many first bits of their IPv4 source, and blocked sources looked for by as many."""
SOURCES = 1 << SOURCE_PREFIX
SOURCE_SAMPLE = 64
"""Of so many packets that a CPU counts alike (same destination, or same reason), one is counted by source."""
SOURCE_FACTOR = 0x9E3779B1
"""An odd multiplier with well spread bits, for the first 32 bits of an IPv6 source."""
BLOCKED_LIMIT = 16_384
"""At most so many prefixes are blocked."""
WAY_INDEX_SHIFT = EXPIRY_BITS + 1
WAY_TAG_SHIFT = WAY_INDEX_SHIFT + INDEX_BITS
FORMATS = {"flow": 1, "slot": 1, "fragment": 1, "hash": 1}
"""What words without fields mean, by number: raised whenever that changes, for versions that carry them over."""
DIRECT_NAME = "keys_direct"
"""What the map of keys is called where lookup needs no displacements: its content means something else."""


SETTINGS = Struct(
    "vc5_settings",
    "what the whole program reads; written by the daemon",
    (
        Field("time", "u32", "coarse seconds; stands still while no daemon runs"),
        Field("idle", "u32", "seconds after which a silent flow is forgotten"),
        Field("pass_unknown_port", "u32", "1: packets for unknown ports go to the host"),
        Field("probe_interface", "u32", "interface index of the balancer's end of the probe veth"),
        Field("probe_mac", "u8", "destination, then source MAC towards the prober", 12),
        Field("probe_address", "u32", "the prober's IPv4 address, network order"),
        Field("probe_address6", "u32", "the prober's IPv6 address, network order", WORDS),
    ),
)
LOOKUP = Struct(
    "vc5_lookup_word",
    "what switches from one copy of the lookup tables to the other",
    (Field("multiplier", "u64", "of the services' perfect hash; its lowest bit: the copy in force"),),
)
KEYS = Struct(
    "vc5_key_set",
    "the numbers that both hashes work with; secret",
    (
        Field("wide", "u64", "of the keyed hash, for half of an IPv6 source, and its other two words", SOURCE_PARTS),
        Field("fold", "u64", "multipliers that make 32 bits of an IPv6 VIP", 2),
        Field("vip_multiplier", "u64", "of the VIPs' perfect hash"),
        Field("coefficient", "u64", "of the keyed hash", COEFFICIENTS),
        Field("wide_vip", "u64", "of the keyed hash, for the words of an IPv6 VIP", WORDS),
        Field("previous", "u64", "of the keyed hash before the last hash change", COEFFICIENTS),
        Field("previous_wide", "u64", "likewise, for an IPv6 source", SOURCE_PARTS),
        Field("previous_wide_vip", "u64", "likewise, for the words of an IPv6 VIP", WORDS),
        Field("reserved", "u64", "0: a copy fills whole cache lines", 5),
    ),
)
SERVICE = Struct(
    "vc5_service",
    "a service as packets find it; key 0 is an empty position",
    (
        Field("key", "u64", "address | family << 40 | protocol << 32 | port << 48, as vc5_le32 and vc5_le16 read them"),
        Field("slots", "u32", "its first slot in the slot table"),
        Field("slot_count", "u32", "its number of slots, a prime"),
        Field("destinations", "u32", "its first destination"),
        Field("capacity", "u16", "its number of destinations"),
        Field("on_dead", "u8", "enum vc5_dead_policy"),
        Field("flags", "u8", "enum vc5_service_flag"),
        Field("previous_slots", "u32", "first slot of the generation before a hash change"),
        Field("previous_count", "u32", "its number of slots; 0: there is none"),
        Field("ports_factor", "u64", "of the keyed hash, multiplied out"),
        Field("rest", "u64", "of the keyed hash, multiplied out: what depends on the service alone"),
        Field("source_factor", "u64", "likewise; for IPv6 the first half of the VIP, as vc5_le64 reads it"),
        Field("vip_low", "u64", "0; for IPv6 the other half"),
    ),
)
VIP = Struct(
    "vc5_vip",
    "a VIP; all zero is an empty position",
    (
        Field("high", "u64", "first half of the address, as vc5_le64 reads it; IPv4 is mapped"),
        Field("low", "u64", "the other half"),
        Field("up", "u32", "1: echo requests are answered"),
        Field("reserved", "u32", "0"),
    ),
)
HISTORY = Struct(
    "vc5_history",
    "what a tracked slot was before; touched only while it is tracked",
    (
        Field("changed", "u32", "coarse time of the last change of the slot's answer"),
        Field("diverted", "u32", "coarse time of the last packet that went elsewhere; written by the program"),
        Field("was", "u32", "index of the destination of flows that nothing is remembered of, or VC5_ASK_PREVIOUS"),
    ),
)
DESTINATION = Struct(
    "vc5_destination",
    "a backend of a service as packets leave for it",
    (
        Field("mac_head", "u64", "the first 8 of 12 bytes: destination MAC, source MAC; as they lie in the frame"),
        Field("mac_tail", "u32", "the other 4"),
        Field("path", "u16", "the way out: its leg, or the number of its tunnel"),
        Field("state", "u8", "enum vc5_state"),
        Field("refusal", "u8", "enum vc5_refusal: 0, or why nothing can be sent to it now, or how"),
    ),
)
IDENTITY = Struct(
    "vc5_identity",
    "who a destination is; survives the daemon, and tells the probe programs the way",
    (
        Field("backend", "u32", "address, network order; IPv4 is mapped, here and below", WORDS),
        Field("vip", "u32", "network order", WORDS),
        Field("own", "u32", "where probes come from, network order", WORDS),
        Field("interface", "u32", "index of the interface that leads to it"),
        Field("port", "u16", "of the service"),
        Field("protocol", "u8", "of the service"),
        Field("used", "u8", "1: it stands for somebody, or did"),
        Field("freed", "u32", "coarse time since when the number is no longer used; 0: in use"),
        Field("mapped", "u16", "behind NAT, the backend's own port, network order; else 0"),
        Field("clamp", "u16", "the largest segment that its SYNs may announce, bytes; 0: any"),
        Field("tunnel", "u32", "0: none, else 1 + the number of its tunnel"),
    ),
)
LEG = Struct(
    "vc5_leg",
    "a way out of the balancer",
    (
        Field("interface", "u32", "index; 0: nothing leaves by it"),
        Field("vlan", "u16", "id of the tag, network order; 0: untagged"),
        Field("mtu", "u16", "bytes of an IP packet"),
    ),
)
COUNTER = Struct(
    "vc5_counter",
    "per CPU and destination: what nearly every packet counts",
    (
        Field("packets", "u64", "forwarded"),
        Field("octets", "u64", "IP bytes forwarded"),
    ),
)
EVENT = Struct(
    "vc5_event",
    "per CPU and destination: what few packets count, kept apart so that the others stay in the cache",
    (
        Field("flows", "u64", "forwarded packets with SYN without ACK"),
        Field("drops", "u64", "packets that were for it, and were not forwarded"),
    ),
)
ANSWER_KEY = Struct(
    "vc5_answer_key",
    "the answer that a probe expects",
    (
        Field("vip", "u32", "network order; IPv4 is mapped", WORDS),
        Field("vip_port", "u16", "network order"),
        Field("own_port", "u16", "network order"),
        Field("protocol", "u32", "IANA number"),
    ),
)
STRUCTS = (
    *(SETTINGS, LOOKUP, KEYS, SERVICE, VIP, HISTORY, DESTINATION, IDENTITY, LEG, TUNNEL, NOTE, COUNTER, EVENT),
    *(ANSWER_KEY, BLOCK_KEY, ENDPOINT, DROPPED, NEWS),
)
ENUMS: dict[str, type[IntEnum]] = {
    "reason": Reason,
    "state": State,
    "dead_policy": DeadPolicy,
    "service_flag": ServiceFlag,
    "tail": Tail,
    "encapsulation": Encapsulation,
    "refusal": Refusal,
    "news_flag": NewsFlag,
}


class Use(IntEnum):
    """Who writes a map. A twin of the program shares what only the daemon writes and gets copies of the rest."""

    DAEMON = 1
    PROGRAM = 2


@dataclass(frozen=True)
class MapLayout:
    """A map of the program. One-element arrays are reached by direct address; `elements` gives their length.

    Of a ring `element` is what it carries, and `elements` its bytes.
    """

    name: str
    reference: int
    """The number that stands for the map in the bytecode until it is loaded."""
    kind: MapKind
    element: Struct | str
    elements: Callable[[Shape], int]
    use: Use
    comment: str
    key: Struct | None = None
    """Of a hash map; None: a number of 4 bytes."""

    @property
    def element_size(self) -> int:
        return self.element.size if isinstance(self.element, Struct) else SIZES[self.element]

    def element_name(self, shape: Shape) -> str:
        """The element's type in C. Slots are bytes where every service has few enough destinations."""
        if self.name == "vc5_slots":
            return "u16" if shape.wide else "u8"
        return f"struct {self.element.name}" if isinstance(self.element, Struct) else self.element

    def spec(self, shape: Shape) -> MapSpec:
        """The kernel object for a program of this shape; the kernel takes names of up to 15 bytes."""
        name = self.name.removeprefix("vc5_")
        if self.name == "vc5_keys" and shape.direct:
            name = DIRECT_NAME
        if self.kind is MapKind.ARRAY:
            size = SIZES.get(self.element_name(shape), self.element_size)
            return MapSpec(name, self.kind, 4, size * self.elements(shape), 1, BPF_F_MMAPABLE)
        if self.kind is MapKind.RINGBUF:
            return MapSpec(name, self.kind, 0, 0, self.elements(shape))
        key = self.key.size if self.key else 4
        flags = BPF_F_NO_PREALLOC if self.kind in (MapKind.HASH, MapKind.LPM_TRIE) else 0
        return MapSpec(name, self.kind, key, self.element_size, self.elements(shape), flags)


def _array(
    name: str, reference: int, element: Struct | str, elements: Callable[[Shape], int], use: Use, comment: str
) -> MapLayout:
    return MapLayout(name, reference, MapKind.ARRAY, element, elements, use, comment)


MAPS = (
    _array("vc5_settings", 1, SETTINGS, lambda shape: 1, Use.DAEMON, "one"),
    _array("vc5_keys", 2, KEYS, lambda shape: 2, Use.DAEMON, "[copy]"),
    _array(
        "vc5_displacements",
        3,
        "u16",
        lambda shape: 4 * shape.services,
        Use.DAEMON,
        "[copy][0 service, 1 VIP][bucket]: of the perfect hashes",
    ),
    _array("vc5_services", 4, SERVICE, lambda shape: 2 * shape.services, Use.DAEMON, "[copy][position]"),
    _array("vc5_vips", 5, VIP, lambda shape: 2 * shape.services, Use.DAEMON, "[copy][position]"),
    _array("vc5_slots", 6, "u16", lambda shape: shape.slots, Use.DAEMON, "[slot]"),
    _array("vc5_histories", 7, HISTORY, lambda shape: shape.slots, Use.PROGRAM, "[slot]"),
    _array("vc5_destinations", 8, DESTINATION, lambda shape: shape.destinations, Use.DAEMON, "[destination]"),
    _array("vc5_identities", 9, IDENTITY, lambda shape: shape.destinations, Use.DAEMON, "[destination]"),
    _array("vc5_flows", 10, "u64", lambda shape: shape.sets * WAYS, Use.PROGRAM, "[set][way]"),
    _array(
        "vc5_counters",
        11,
        COUNTER,
        lambda shape: (shape.cpus + 1) * 2 * shape.destinations,
        Use.PROGRAM,
        "[cpu][0 counter, 1 event][destination]; the row behind the last CPU is the daemon's, to be added",
    ),
    _array(
        "vc5_reasons", 12, "u64", lambda shape: (shape.cpus + 1) * REASON_STRIDE, Use.PROGRAM, "[cpu][reason], likewise"
    ),
    MapLayout("vc5_tails", 13, MapKind.PROG_ARRAY, "u32", lambda shape: 16, Use.DAEMON, "the second program"),
    MapLayout(
        "vc5_answers",
        14,
        MapKind.LRU_HASH,
        "u64",
        lambda shape: 1 << 16,
        Use.PROGRAM,
        "expected answer -> destination of the probe; above 32 bits the port called, behind NAT; 48: see probe.h",
        ANSWER_KEY,
    ),
    _array("vc5_lookup", 15, LOOKUP, lambda shape: 1, Use.DAEMON, "one"),
    _array("vc5_legs", 16, LEG, lambda shape: LEGS, Use.DAEMON, "[leg]"),
    MapLayout("vc5_doors", 17, MapKind.DEVMAP, "u32", lambda shape: LEGS, Use.DAEMON, "leg -> its interface"),
    _array(
        "vc5_tunnels",
        18,
        TUNNEL,
        lambda shape: shape.tunnel_count,
        Use.DAEMON,
        "[tunnel]",
    ),
    _array("vc5_fragments", 24, "u64", lambda shape: shape.fragment_sets * WAYS, Use.PROGRAM, "[set][way]"),
    _array(
        "vc5_drops",
        33,
        DROPPED,
        lambda shape: shape.cpus * DROP_REASONS * DROPS_KEPT,
        Use.PROGRAM,
        "[cpu][reason][number of the record, modulo those that are kept]",
    ),
    _array("vc5_notes", 25, NOTE, lambda shape: shape.cpus, Use.PROGRAM, "[cpu]"),
    _array(
        "vc5_sources",
        30,
        "u32",
        lambda shape: SOURCES if shape.counts_sources else 1,
        Use.PROGRAM,
        "[first bits of the source]: packets to VIPs, sampled; of all CPUs",
    ),
    _array(
        "vc5_suspects",
        31,
        "u64",
        lambda shape: 2 * SOURCES // 64 if shape.blocks else 1,
        Use.DAEMON,
        "[0 IPv4, 1 IPv6][bit]: whether any such source is blocked",
    ),
    MapLayout(
        "vc5_blocked",
        32,
        MapKind.LPM_TRIE,
        "u32",
        lambda shape: 2 * BLOCKED_LIMIT if shape.blocks else 1,
        Use.DAEMON,
        "blocked prefix -> 1",
        BLOCK_KEY,
    ),
    MapLayout(
        "vc5_returns",
        26,
        MapKind.HASH,
        "u32",
        lambda shape: 1 << 16 if shape.nat else 1,
        Use.DAEMON,
        "endpoint behind NAT -> its destination",
        ENDPOINT,
    ),
    MapLayout(
        "vc5_outlets",
        27,
        MapKind.HASH,
        "u32",
        lambda shape: LEGS if shape.nat else 1,
        Use.DAEMON,
        "interface that a route leads by -> the leg that frames leave by",
    ),
    _array("vc5_owners", 19, "u16", lambda shape: shape.owners, Use.PROGRAM, "[set][way]: whose flow it is, or 0"),
    MapLayout("vc5_news", 34, MapKind.RINGBUF, NEWS, lambda shape: shape.news, Use.PROGRAM, "of remembered flows"),
)
MAP = {layout.name: layout for layout in MAPS}
