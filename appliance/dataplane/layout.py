"""Structs that C and Python share: declared once, without implicit padding, and rendered with assertions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


@dataclass(frozen=True)
class Field:
    """A member of a struct: `count` elements of `type` (a primitive or another struct's name)."""

    name: str
    type: str
    comment: str
    count: int = 1


@dataclass(frozen=True)
class Struct:
    """A struct in the C ABI without implicit padding."""

    name: str
    comment: str
    fields: tuple[Field, ...]

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Byte offset of each field; raises ValueError where the compiler would pad."""
        offsets, at = {}, 0
        for field in self.fields:
            size = SIZES[field.type]
            if at % size:
                raise ValueError(f"struct {self.name}: {field.name} at {at} would be padded")
            offsets[field.name] = at
            at += size * field.count
        if at % max(SIZES[field.type] for field in self.fields):
            raise ValueError(f"struct {self.name}: {at} bytes would be padded at the end")
        return offsets

    @cached_property
    def size(self) -> int:
        """Bytes of one struct."""
        last = self.fields[-1]
        return self.offsets[last.name] + SIZES[last.type] * last.count

    def c(self) -> str:
        """The C definition and its assertions."""
        lines = [f"/* {self.comment} */", f"struct {self.name} {{"]
        for field in self.fields:
            array = f"[{field.count}]" if field.count > 1 else ""
            lines.append(f"\t{field.type} {field.name}{array}; /* {field.comment} */")
        lines.append("};")
        lines.append(f'_Static_assert(sizeof(struct {self.name}) == {self.size}, "size of {self.name}");')
        for field in self.fields:
            offset = f"__builtin_offsetof(struct {self.name}, {field.name})"
            lines.append(f'_Static_assert({offset} == {self.offsets[field.name]}, "{self.name}.{field.name}");')
        return "\n".join(lines)
