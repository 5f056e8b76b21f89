"""Access ports of a switch without 802.1Q: small tc programs push a tag onto what comes in and pop it off what leaves.

A bridge without VLAN filtering carries tagged frames as they are, so a port without these programs is a trunk. A frame
that leaves an access port must have its tag, or it is dropped: the switch floods all ports.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Sequence
from typing import Final

from tests.lab import xdp
from tests.lab.namespace import Namespace
from tests.lab.xdp import Instruction, checked, libbpf

# include/uapi/linux/bpf.h, pkt_cls.h and if_ether.h
PROGRAM_TYPE_SCHED_CLS: Final = 3
HELPER_VLAN_PUSH: Final = 18
HELPER_VLAN_POP: Final = 19
VLAN_PRESENT: Final = 20
VLAN_TCI: Final = 24
ETH_P_8021Q: Final = 0x8100
ACCEPT, SHOT = 0, 2
INGRESS, EGRESS = 1, 2
AND: Final = 0x57
JUMP_EQUAL: Final = 0x15
JUMP_NOT_EQUAL: Final = 0x55


class _Hook(ctypes.Structure):
    """struct bpf_tc_hook of libbpf 1.x."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("index", ctypes.c_int),
        ("point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class _Options(ctypes.Structure):
    """struct bpf_tc_opts of libbpf 1.x."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


def push(vlan: int) -> tuple[Instruction, ...]:
    """Return the program for what comes in."""
    return (
        Instruction(xdp.MOVE, 2, 0, 0, socket.htons(ETH_P_8021Q)),
        Instruction(xdp.MOVE, 3, 0, 0, vlan),
        Instruction(xdp.CALL, 0, 0, 0, HELPER_VLAN_PUSH),
        Instruction(xdp.MOVE, 0, 0, 0, ACCEPT),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
    )


def pop(vlan: int) -> tuple[Instruction, ...]:
    """Return the program for what leaves."""
    return (
        Instruction(xdp.LOAD_32, 2, 1, VLAN_PRESENT, 0),
        Instruction(JUMP_EQUAL, 2, 0, 6, 0),
        Instruction(xdp.LOAD_32, 2, 1, VLAN_TCI, 0),
        Instruction(AND, 2, 0, 0, 0xFFF),
        Instruction(JUMP_NOT_EQUAL, 2, 0, 3, vlan),
        Instruction(xdp.CALL, 0, 0, 0, HELPER_VLAN_POP),
        Instruction(xdp.MOVE, 0, 0, 0, ACCEPT),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
        Instruction(xdp.MOVE, 0, 0, 0, SHOT),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
    )


def access_port(namespace: Namespace, interface: str, vlan: int) -> None:
    """Make a port of the switch an access port of a VLAN. Raises LabError."""
    namespace.call(lambda: _attach(interface, ((INGRESS, push(vlan)), (EGRESS, pop(vlan)))))


def _attach(interface: str, programs: Sequence[tuple[int, Sequence[Instruction]]]) -> None:
    index, library = socket.if_nametoindex(interface), libbpf()
    hook = _Hook(ctypes.sizeof(_Hook), index, INGRESS | EGRESS, 0)
    checked(library.bpf_tc_hook_create(ctypes.byref(hook)), f"make a clsact of {interface}")
    for point, listing in programs:
        instructions = (Instruction * len(listing))(*listing)
        program = checked(
            library.bpf_prog_load(PROGRAM_TYPE_SCHED_CLS, b"lab_port", b"GPL", instructions, len(listing), None),
            "load a program of an access port",
        )
        try:
            hook.point = point
            options = _Options(ctypes.sizeof(_Options), program, 0, 0, 1, 1)
            attached = library.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options))
            checked(attached, f"attach a program to {interface}")
        finally:
            os.close(program)
