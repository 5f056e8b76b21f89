"""Map specifications and the relocation of map references."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.spec import BPF_F_MMAPABLE, ByteOrder, MapKind, MapSpec, references, relocate
from appliance.errors import RenderError

LD_IMM64, MOV = 0x18, 0xB7
CONSTANT, MAP_FD, MAP_VALUE, BTF_ID = 0, 1, 2, 3


def instruction(
    opcode: int, immediate: int, *, source: int = 0, register: int = 1, order: ByteOrder = sys.byteorder
) -> bytes:
    """One instruction of linux/bpf.h `struct bpf_insn`, whose bit-fields turn round with the byte order."""
    registers = source << 4 | register if order == "little" else register << 4 | source
    return struct.pack("<BBhI" if order == "little" else ">BBhI", opcode, registers, 0, immediate)


def load(source: int, immediate: int, second: int = 0, order: ByteOrder = sys.byteorder) -> bytes:
    """A 64-bit load of two instructions."""
    return instruction(LD_IMM64, immediate, source=source, order=order) + instruction(
        0, second, register=0, order=order
    )


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([], [], set()),
        ([(MAP_FD, 5, 0)], [(MAP_FD, 105, 0)], {5}),
        ([(MAP_VALUE, 6, 24)], [(MAP_VALUE, 106, 24)], {6}),
        ([(CONSTANT, 5, 1)], [(CONSTANT, 5, 1)], set()),
        ([(BTF_ID, 5, 0)], [(BTF_ID, 5, 0)], set()),
        ([(MAP_FD, 5, 0), (MAP_FD, 5, 0), (MAP_VALUE, 6, 8)], [(MAP_FD, 105, 0)] * 2 + [(MAP_VALUE, 106, 8)], {5, 6}),
    ],
)
def test_references_become_descriptors(
    before: list[tuple[int, int, int]], after: list[tuple[int, int, int]], found: set[int], order: ByteOrder
) -> None:
    filler = instruction(MOV, 5, source=2, order=order)
    code = filler.join(load(*each, order=order) for each in before) + filler
    assert references(code, order) == found
    assert relocate(code, {5: 105, 6: 106}, order) == filler.join(load(*each, order=order) for each in after) + filler


def test_the_second_half_of_a_load_is_no_instruction() -> None:
    code = instruction(LD_IMM64, 1) + instruction(LD_IMM64, 5, source=MAP_FD)
    assert references(code) == set()
    assert relocate(code, {5: 105}) == code


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (load(MAP_FD, 7), "instruction 0 refers to map number 7"),
        (instruction(MOV, 0) + load(MAP_VALUE, 9), "instruction 1 refers to map number 9"),
        (load(MAP_FD, 5)[:8], "without its second half"),
        (load(MAP_FD, 5)[:11], "no whole number"),
    ],
)
def test_what_cannot_be_relocated_is_refused(code: bytes, says: str) -> None:
    with pytest.raises(RenderError, match=says):
        relocate(code, {5: 105})


@given(st.binary(max_size=400))
def test_any_bytes_are_relocated_or_refused(code: bytes) -> None:
    try:
        fds = {reference: reference ^ 1 for reference in references(code)}
    except RenderError:
        return
    moved = relocate(code, fds)
    assert len(moved) == len(code)
    assert references(moved) == set(fds.values())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "map name"),
        ({"name": "sixteen_letters_"}, "map name"),
        ({"name": "a-b"}, "map name"),
        ({"max_entries": 0}, "max_entries is 0"),
        ({"key_size": -1}, "key_size"),
        ({"flags": 1 << 32}, "flags"),
        ({"value_size": 1 << 20, "max_entries": 513}, "limit of one map"),
    ],
)
def test_impossible_maps_are_refused(changes: dict[str, int | str], says: str) -> None:
    fields: dict[str, int | str] = {"name": "m", "key_size": 4, "value_size": 8, "max_entries": 1, **changes}
    with pytest.raises(RenderError, match=says):
        MapSpec(kind=MapKind.ARRAY, **fields)  # type: ignore[arg-type]


def test_layout_is_all_but_the_name() -> None:
    spec = MapSpec("one", MapKind.ARRAY, 4, 12, 3, BPF_F_MMAPABLE)
    assert (spec.stride, spec.area) == (16, 48)
    assert spec.same_layout(MapSpec("two", MapKind.ARRAY, 4, 12, 3, BPF_F_MMAPABLE))
    assert not spec.same_layout(MapSpec("one", MapKind.ARRAY, 4, 16, 3, BPF_F_MMAPABLE))
    assert not spec.same_layout(MapSpec("one", MapKind.ARRAY, 4, 12, 3))
