"""What the data plane asks the kernel for: map specifications, and how compiled code refers to maps.

The compiler never sees a map. The program text names map number N through bcc's builtin `bpf_pseudo_fd(kind, N)`, which
becomes one 16-byte `ld_imm64` instruction (Documentation/bpf/standardization/instruction-set.rst, "64-bit immediate
instructions"): opcode 0x18, the kind in the source register, N in the immediate. `relocate` puts the descriptor of the
real map in the place of N; the kernel turns that into an address when the program is loaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from appliance.errors import RenderError

ByteOrder = Literal["little", "big"]

MAX_MAP_BYTES = 512 << 20
"""The largest value area we ask for in one map; the kernel's own ceiling for arrays lies above it."""

# Map flags of linux/bpf.h.
BPF_F_NO_PREALLOC = 1 << 0
BPF_F_RDONLY_PROG = 1 << 7
BPF_F_MMAPABLE = 1 << 10

_INSTRUCTION = 8
_LD_IMM64 = 0x18
_MAP_FD = 1
"""BPF_PSEUDO_MAP_FD: the immediate becomes the map itself, as helpers want it."""
_MAP_VALUE = 2
"""BPF_PSEUDO_MAP_VALUE: the immediate becomes the address of the first value of an array."""
_NAME = re.compile(r"[A-Za-z0-9_.]{1,15}")
_U32 = 1 << 32


class MapKind(IntEnum):
    """The kinds of map in use, by the kernel's `enum bpf_map_type`."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    DEVMAP = 14
    DEVMAP_HASH = 25
    RINGBUF = 27

    @property
    def per_cpu(self) -> bool:
        """Whether user space sees one value for every possible CPU."""
        return self in (MapKind.PERCPU_HASH, MapKind.PERCPU_ARRAY, MapKind.LRU_PERCPU_HASH)


@dataclass(frozen=True)
class MapSpec:
    """A map as it should be. Sizes are bytes; `flags` are BPF_F_* bits; `name` has 1 to 15 of A-Z a-z 0-9 _ . (kernel).

    Raises RenderError where the kernel would refuse it without saying why.
    """

    name: str
    kind: MapKind
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RenderError(f"map name {self.name!r}: the kernel takes 1 to 15 letters, digits, _ or .")
        for field in ("key_size", "value_size", "max_entries", "flags"):
            if not 0 <= getattr(self, field) < _U32:
                raise RenderError(f"map {self.name}: {field} {getattr(self, field)} does not fit 32 bits")
        if not self.max_entries:
            raise RenderError(f"map {self.name}: max_entries is 0")
        if self.area > MAX_MAP_BYTES:
            raise RenderError(f"map {self.name}: {self.area} bytes of values; the limit of one map is {MAX_MAP_BYTES}")

    @property
    def stride(self) -> int:
        """Bytes from one value of an array to the next: the kernel pads elements to 8."""
        return self.value_size + 7 & ~7

    @property
    def area(self) -> int:
        """Bytes of all values of an array, as a mapping shows them."""
        return self.stride * self.max_entries

    def same_layout(self, other: MapSpec) -> bool:
        """Whether an existing map can be used in the place of this one: equal but for the name."""
        return (self.kind, self.key_size, self.value_size, self.max_entries, self.flags) == (
            other.kind,
            other.key_size,
            other.value_size,
            other.max_entries,
            other.flags,
        )


def references(code: bytes, byteorder: ByteOrder = sys.byteorder) -> set[int]:
    """Return the numbers of all maps that the compiled code refers to."""
    return {reference for _, reference in _references(code, byteorder)}


def relocate(code: bytes, fds: Mapping[int, int], byteorder: ByteOrder = sys.byteorder) -> bytes:
    """Return the code with every reference number replaced by the map descriptor that `fds` gives for it.

    The second half of a value reference is an offset into the value; it stays as compiled. Raises RenderError for a
    reference without a descriptor, and for code that is cut short.
    """
    patched = bytearray(code)
    for offset, reference in _references(code, byteorder):
        if reference not in fds:
            raise RenderError(
                f"instruction {offset // _INSTRUCTION} refers to map number {reference}, which is not given"
            )
        patched[offset + 4 : offset + 8] = fds[reference].to_bytes(4, byteorder)
    return bytes(patched)


def _references(code: bytes, byteorder: ByteOrder) -> Iterator[tuple[int, int]]:
    """Yield (byte offset of the instruction, reference number)."""
    if len(code) % _INSTRUCTION:
        raise RenderError(f"{len(code)} bytes of code are no whole number of {_INSTRUCTION}-byte instructions")
    offset = 0
    while offset < len(code):
        if code[offset] != _LD_IMM64:
            offset += _INSTRUCTION
            continue
        if offset + 2 * _INSTRUCTION > len(code):
            raise RenderError(f"instruction {offset // _INSTRUCTION} is a 64-bit load without its second half")
        # The registers are bit-fields, so the source register changes its half of the byte with the byte order.
        source = code[offset + 1] >> 4 if byteorder == "little" else code[offset + 1] & 15
        if source in (_MAP_FD, _MAP_VALUE):
            yield offset, int.from_bytes(code[offset + 4 : offset + 8], byteorder)
        offset += 2 * _INSTRUCTION
