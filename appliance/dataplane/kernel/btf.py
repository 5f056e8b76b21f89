"""The least BTF that names a program's functions (Documentation/bpf/btf.rst).

The kernel lets a subprogram make tail calls only if BTF says that it returns an int. So every function is described as
`int name(void *ctx)`; nothing else about the program is told.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_INT, _PTR, _FUNC, _FUNC_PROTO = (kind << 24 for kind in (1, 2, 12, 13))
_SIGNED_32 = 1 << 24 | 32
_INT_ID, _POINTER_ID, _PROTO_ID, _FIRST_FUNCTION_ID = 1, 2, 3, 4


def functions_btf(names: Sequence[str]) -> bytes:
    """Return BTF, in this machine's byte order, that declares the named functions as static."""
    strings = bytearray(1)

    def string(text: str) -> int:
        offset = len(strings)
        strings.extend(text.encode() + b"\0")
        return offset

    types = struct.pack("=IIII", string("int"), _INT, 4, _SIGNED_32)
    types += struct.pack("=III", 0, _PTR, 0)
    types += struct.pack("=IIIII", 0, _FUNC_PROTO | 1, _INT_ID, string("ctx"), _POINTER_ID)
    for name in names:
        types += struct.pack("=III", string(name), _FUNC, _PROTO_ID)
    header = _HEADER.pack(_MAGIC, 1, 0, _HEADER.size, 0, len(types), len(types), len(strings))
    return header + types + bytes(strings)


def function_info(offsets: Sequence[int]) -> bytes:
    """Return `func_info` for functions in the order of `functions_btf`: instruction offset and type number of each."""
    return b"".join(struct.pack("=II", offset, _FIRST_FUNCTION_ID + number) for number, offset in enumerate(offsets))
