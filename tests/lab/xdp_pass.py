"""A passing XDP program that counts frames per CPU.

The veth peer of an interface that sends XDP frames must itself run an XDP program, or the frames are silently dropped:
veth_xdp_xmit() queues them to the peer's NAPI, which exists only while a program is attached (drivers/net/veth.c).
Being in that place it can also tell on which CPUs the balancer's frames were processed: NAPI runs on the sender's CPU.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from tests.lab import xdp
from tests.lab.namespace import Namespace
from tests.lab.xdp import Instruction, checked, libbpf

# include/uapi/linux/bpf.h
MAP_TYPE_PERCPU_ARRAY: Final = 6
PSEUDO_MAP_FD: Final = 1
HELPER_MAP_LOOKUP: Final = 1


def program(counter: int) -> tuple[Instruction, ...]:
    """Return the program: add one to element 0 of the per-CPU array `counter` (a file descriptor), then pass."""
    return (
        Instruction(xdp.STORE_32, 10, 0, -4, 0),  # key = 0, on the stack
        Instruction(xdp.MOVE_REGISTER, 2, 10, 0, 0),
        Instruction(xdp.ADD, 2, 0, 0, -4),
        Instruction(xdp.LOAD_IMMEDIATE_64, 1, PSEUDO_MAP_FD, 0, counter),
        Instruction(0, 0, 0, 0, 0),  # the upper half of the 64-bit immediate
        Instruction(xdp.CALL, 0, 0, 0, HELPER_MAP_LOOKUP),
        Instruction(xdp.JUMP_EQUAL, 0, 0, 3, 0),  # no element: only pass
        Instruction(xdp.LOAD_64, 1, 0, 0, 0),
        Instruction(xdp.ADD, 1, 0, 0, 1),
        Instruction(xdp.STORE_REGISTER_64, 0, 1, 0, 0),
        Instruction(xdp.MOVE, 0, 0, 0, xdp.XDP_PASS),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
    )


class XdpPass:
    """The program on one interface. It stays attached until the interface goes, even after `close`."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._cpus = checked(libbpf().libbpf_num_possible_cpus(), "count CPUs")
        self._counter = checked(
            libbpf().bpf_map_create(MAP_TYPE_PERCPU_ARRAY, b"lab_frames", 4, 8, 1, None), "create the counter"
        )
        try:
            xdp.attach(namespace, interface, "lab_pass", program(self._counter))
        except BaseException:
            self.close()
            raise

    def frames(self) -> tuple[int, ...]:
        """Return the number of frames that arrived at the interface, per CPU."""
        key = ctypes.c_uint32(0)
        values = (ctypes.c_uint64 * self._cpus)()
        checked(
            libbpf().bpf_map_lookup_elem(self._counter, ctypes.byref(key), ctypes.byref(values)), "read the counter"
        )
        return tuple(values)

    def close(self) -> None:
        """Give the counter back; the program goes on passing frames."""
        if self._counter >= 0:
            os.close(self._counter)
            self._counter = -1
