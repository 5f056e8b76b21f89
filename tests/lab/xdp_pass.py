"""A passing XDP program that counts frames per CPU, written as instructions and loaded through libbpf.

The veth peer of an interface that sends XDP frames must itself run an XDP program, or the frames are silently dropped:
veth_xdp_xmit() queues them to the peer's NAPI, which exists only while a program is attached (drivers/net/veth.c).
Being in that place it can also tell on which CPUs the balancer's frames were processed: NAPI runs on the sender's CPU.
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final

from tests.lab.namespace import LabError, Namespace

# include/uapi/linux/bpf.h
BPF_MAP_TYPE_PERCPU_ARRAY: Final = 6
BPF_PROG_TYPE_XDP: Final = 6
BPF_PSEUDO_MAP_FD: Final = 1
BPF_FUNC_MAP_LOOKUP_ELEM: Final = 1
XDP_PASS: Final = 2
XDP_FLAGS_DRV_MODE: Final = 4  # include/uapi/linux/if_link.h

# Operation codes: class | source | operation, as in include/uapi/linux/bpf_common.h and bpf.h
MOVE_IMMEDIATE: Final = 0xB7
MOVE_REGISTER: Final = 0xBF
ADD_IMMEDIATE: Final = 0x07
STORE_WORD_IMMEDIATE: Final = 0x62
LOAD_DOUBLE: Final = 0x79
STORE_DOUBLE: Final = 0x7B
LOAD_IMMEDIATE_64: Final = 0x18
JUMP_IF_EQUAL: Final = 0x15
CALL: Final = 0x85
EXIT: Final = 0x95


class Instruction(ctypes.Structure):
    """struct bpf_insn; the two register numbers are bit-fields, whose order follows the machine's byte order."""

    _fields_ = (
        ("code", ctypes.c_uint8),
        ("destination", ctypes.c_uint8, 4),
        ("source", ctypes.c_uint8, 4),
        ("offset", ctypes.c_int16),
        ("immediate", ctypes.c_int32),
    )


def program(counter: int) -> ctypes.Array[Instruction]:
    """Return the program: add one to element 0 of the per-CPU array `counter` (a file descriptor), then pass."""
    listing = (
        Instruction(STORE_WORD_IMMEDIATE, 10, 0, -4, 0),  # key = 0, on the stack
        Instruction(MOVE_REGISTER, 2, 10, 0, 0),
        Instruction(ADD_IMMEDIATE, 2, 0, 0, -4),
        Instruction(LOAD_IMMEDIATE_64, 1, BPF_PSEUDO_MAP_FD, 0, counter),
        Instruction(0, 0, 0, 0, 0),  # the upper half of the 64-bit immediate
        Instruction(CALL, 0, 0, 0, BPF_FUNC_MAP_LOOKUP_ELEM),
        Instruction(JUMP_IF_EQUAL, 0, 0, 3, 0),  # no element: only pass
        Instruction(LOAD_DOUBLE, 1, 0, 0, 0),
        Instruction(ADD_IMMEDIATE, 1, 0, 0, 1),
        Instruction(STORE_DOUBLE, 0, 1, 0, 0),
        Instruction(MOVE_IMMEDIATE, 0, 0, 0, XDP_PASS),
        Instruction(EXIT, 0, 0, 0, 0),
    )
    return (Instruction * len(listing))(*listing)


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
    return library


def checked(result: int, what: str) -> int:
    """Return what a libbpf function returned, or raise LabError: libbpf 1.x returns -errno."""
    if result < 0:
        raise LabError(f"{what}: {os.strerror(-result)}")
    return result


class XdpPass:
    """The program attached to one interface in driver mode. It stays attached until the interface goes."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._library = libbpf()
        self._cpus = checked(self._library.libbpf_num_possible_cpus(), "count CPUs")
        self._counter = checked(
            self._library.bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, b"lab_frames", 4, 8, 1, None), "create the counter"
        )
        try:
            self._attach(namespace, interface)
        except BaseException:
            self.close()
            raise

    def _attach(self, namespace: Namespace, interface: str) -> None:
        instructions = program(self._counter)
        handle = checked(
            self._library.bpf_prog_load(BPF_PROG_TYPE_XDP, b"lab_pass", b"GPL", instructions, len(instructions), None),
            "load the passing XDP program",
        )

        def attach() -> int:
            index = socket.if_nametoindex(interface)
            return int(self._library.bpf_xdp_attach(index, handle, XDP_FLAGS_DRV_MODE, None))

        try:
            checked(namespace.call(attach), f"attach XDP to {interface} in {namespace.name}")
        finally:
            os.close(handle)

    def frames(self) -> tuple[int, ...]:
        """Return the number of frames that arrived at the interface, per CPU."""
        key = ctypes.c_uint32(0)
        values = (ctypes.c_uint64 * self._cpus)()
        checked(
            self._library.bpf_map_lookup_elem(self._counter, ctypes.byref(key), ctypes.byref(values)),
            "read the counter",
        )
        return tuple(values)

    def close(self) -> None:
        """Give the counter back; the program goes on passing frames."""
        if self._counter >= 0:
            os.close(self._counter)
            self._counter = -1
