"""Small XDP programs of the lab, written as instructions and loaded through libbpf, so that no compiler is needed."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Sequence
from functools import cache
from typing import Final

from appliance.dataplane.kernel.libbpf import BPF_F_XDP_HAS_FRAGS, BPF_XDP, ProgLoadOpts
from tests.lab.namespace import LabError, Namespace

# include/uapi/linux/bpf.h and if_link.h
PROGRAM_TYPE_XDP: Final = 6
FLAGS_DRIVER_MODE: Final = 4
XDP_PASS: Final = 2
XDP_TX: Final = 3

# Operation codes: class | size or source | operation, as in Documentation/bpf/standardization/instruction-set.rst
ADD: Final = 0x07
CALL: Final = 0x85
EXIT: Final = 0x95
JUMP_EQUAL: Final = 0x15
JUMP_GREATER_REGISTER: Final = 0x2D
JUMP_NOT_EQUAL_32: Final = 0x56
LOAD_32: Final = 0x61
LOAD_64: Final = 0x79
LOAD_IMMEDIATE_64: Final = 0x18
MOVE: Final = 0xB7
MOVE_REGISTER: Final = 0xBF
STORE_32: Final = 0x62
STORE_REGISTER_64: Final = 0x7B


class Instruction(ctypes.Structure):
    """struct bpf_insn; the two register numbers are bit-fields, whose order follows the machine's byte order."""

    _fields_ = (
        ("code", ctypes.c_uint8),
        ("destination", ctypes.c_uint8, 4),
        ("source", ctypes.c_uint8, 4),
        ("offset", ctypes.c_int16),
        ("immediate", ctypes.c_int32),
    )


@cache
def libbpf() -> ctypes.CDLL:
    """Open libbpf 1.x. Raises LabError where it is not installed."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise LabError(f"{error}; install the package libbpf1") from None
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    number, word, text = ctypes.c_int, ctypes.c_uint32, ctypes.c_char_p
    library.bpf_map_create.argtypes = (number, text, word, word, word, pointer)
    library.bpf_prog_load.argtypes = (number, text, text, pointer, size, pointer)
    library.bpf_xdp_attach.argtypes = (number, number, word, pointer)
    library.bpf_map_lookup_elem.argtypes = (number, pointer, pointer)
    library.bpf_tc_hook_create.argtypes = (pointer,)
    library.bpf_tc_attach.argtypes = (pointer, pointer)
    return library


def checked(result: int, what: str) -> int:
    """Return what a libbpf function returned, or raise LabError: libbpf 1.x returns -errno."""
    if result < 0:
        raise LabError(f"{what}: {os.strerror(-result)}")
    return result


def attach(namespace: Namespace, interface: str, name: str, listing: Sequence[Instruction]) -> None:
    """Load a program and attach it in driver mode; it stays until the interface goes. Raises LabError."""
    instructions = (Instruction * len(listing))(*listing)
    # For frames of any length: with a program for one buffer, the other end of a veth could have no larger MTU.
    opts = ProgLoadOpts(ctypes.sizeof(ProgLoadOpts), expected_attach_type=BPF_XDP, prog_flags=BPF_F_XDP_HAS_FRAGS)
    arguments = (name.encode(), b"GPL", instructions, len(listing), ctypes.byref(opts))
    program = checked(
        libbpf().bpf_prog_load(PROGRAM_TYPE_XDP, *arguments),
        f"load the XDP program {name}",
    )

    def attach_here() -> int:
        index = socket.if_nametoindex(interface)
        return int(libbpf().bpf_xdp_attach(index, program, FLAGS_DRIVER_MODE, None))

    try:
        checked(namespace.call(attach_here), f"attach XDP to {interface} in {namespace.name}")
    finally:
        os.close(program)
