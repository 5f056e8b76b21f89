"""The declarations of `abi` as the C header of a program, and the word that names them all."""

from __future__ import annotations

import hashlib

from appliance.dataplane.abi import (
    ASK_PREVIOUS,
    CANDIDATE,
    ENUMS,
    EXPIRY_BITS,
    FIN_LIFE,
    FORMATS,
    FRAGMENT_EXPIRY_BITS,
    FRAGMENT_LIFE,
    FRAGMENT_NUMBER_BITS,
    FRAGMENT_TAG_BITS,
    HALF_TIME,
    INDEX_BITS,
    LEGS,
    MAP,
    MAPS,
    MIX,
    NARROW_TRACKED,
    PROBE_PREFIX,
    REASON_STRIDE,
    RST_LIFE,
    SETTLING,
    SOURCE_FACTOR,
    SOURCE_PREFIX,
    SOURCE_SAMPLE,
    STRUCTS,
    TAG_BITS,
    TOO_BIG_RATE,
    TRACKED,
    WAYS,
    WORDS,
)
from appliance.dataplane.aside import DROP_OCTETS, DROP_REASONS, DROPS_A_SECOND, DROPS_CLOSED, DROPS_KEPT, DROPS_NUMBER
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import MapKind


def c_source(shape: Shape) -> str:
    """The C of all enums, sizes, structs and map addresses for one shape."""
    sizes = {
        "VC5_SERVICES": shape.services,
        "VC5_DESTINATIONS": shape.destinations,
        "VC5_SLOTS": shape.slots,
        "VC5_POSITION_BITS": shape.services.bit_length() - 1,
        "VC5_SETS": shape.sets,
        "VC5_SET_BITS": shape.sets.bit_length() - 1,
        "VC5_CPUS": shape.cpus,
        "VC5_WAYS": WAYS,
        "VC5_TAG_BITS": TAG_BITS,
        "VC5_INDEX_BITS": INDEX_BITS,
        "VC5_EXPIRY_BITS": EXPIRY_BITS,
        "VC5_CANDIDATE": CANDIDATE,
        "VC5_ASK_PREVIOUS": f"{ASK_PREVIOUS:#x}U",
        "VC5_HALF_TIME": HALF_TIME,
        "VC5_TRACKED": TRACKED if shape.wide else NARROW_TRACKED,
        "VC5_FIN_LIFE": FIN_LIFE,
        "VC5_RST_LIFE": RST_LIFE,
        "VC5_SETTLING": SETTLING,
        "VC5_REASON_STRIDE": REASON_STRIDE,
        "VC5_LEGS": LEGS,
        "VC5_TUNNELS": shape.tunnel_count,
        "VC5_FRAGMENT_SETS": shape.fragment_sets,
        "VC5_FRAGMENT_SET_BITS": shape.fragment_sets.bit_length() - 1,
        "VC5_FRAGMENT_TAG_BITS": FRAGMENT_TAG_BITS,
        "VC5_FRAGMENT_NUMBER_BITS": FRAGMENT_NUMBER_BITS,
        "VC5_FRAGMENT_EXPIRY_BITS": FRAGMENT_EXPIRY_BITS,
        "VC5_FRAGMENT_LIFE": FRAGMENT_LIFE,
        "VC5_TOO_BIG_RATE": TOO_BIG_RATE,
        "VC5_SOURCE_BITS": SOURCE_PREFIX,
        "VC5_SOURCE_SAMPLE": SOURCE_SAMPLE,
        "VC5_SOURCE_FACTOR": f"{SOURCE_FACTOR:#x}U",
        "VC5_DROP_REASONS": DROP_REASONS,
        "VC5_DROPS_KEPT": DROPS_KEPT,
        "VC5_DROPS_A_SECOND": DROPS_A_SECOND,
        "VC5_DROP_OCTETS": DROP_OCTETS,
        "VC5_DROPS_CLOSED": DROPS_CLOSED,
        "VC5_DROPS_NUMBER": DROPS_NUMBER,
        "VC5_NEWS_ROOM": shape.news,
        "VC5_WORDS": WORDS,
        "VC5_PROBE_PREFIX": f"{PROBE_PREFIX >> 96:#x}U",
    }
    parts = [f"enum {{ {name} = {value} }};" for name, value in sizes.items()]
    parts.append(f"#define VC5_MIX {MIX:#x}ULL")
    parts.append(f"typedef {MAP['vc5_slots'].element_name(shape)} vc5_slot;")
    for name, enum in ENUMS.items():
        members = ", ".join(f"VC5_{name.upper()}_{member.name} = {member.value}" for member in enum)
        parts.append(f"enum vc5_{name} {{ {members} }};")
    parts += [struct.c() for struct in STRUCTS]
    for layout in MAPS:
        kind = layout.element_name(shape)
        if layout.kind is MapKind.ARRAY:
            parts.append(
                f"/* {layout.comment} */\n#define {layout.name} (({kind} *)bpf_pseudo_fd(2, {layout.reference}))"
            )
        else:
            parts.append(f"/* {layout.comment} */\n#define {layout.name} bpf_pseudo_fd(1, {layout.reference})")
    return "\n".join(parts)


def layout_digest() -> str:
    """A word that changes whenever a pinned map or its meaning would: it names the pin directory."""
    text = [struct.c() for struct in STRUCTS]
    text += [f"{m.name} {m.kind} {m.element if isinstance(m.element, str) else m.element.name}" for m in MAPS]
    text += [f"{WAYS} {TAG_BITS} {INDEX_BITS} {EXPIRY_BITS} {TRACKED} {NARROW_TRACKED}"]
    text += [f"{FRAGMENT_TAG_BITS} {FRAGMENT_NUMBER_BITS} {FRAGMENT_EXPIRY_BITS}"]
    text += [f"{DROP_REASONS} {DROPS_KEPT} {DROPS_CLOSED} {DROPS_NUMBER}", f"{FORMATS}"]
    return hashlib.blake2b("\n".join(text).encode(), digest_size=6).hexdigest()
