"""The smallest balancer: an XDP program that sends every packet for one address to one host on the same segment.

It stands in for the product where the lab itself is tested.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address

from tests.lab import xdp
from tests.lab.namespace import Namespace
from tests.lab.xdp import Instruction

ETHERNET_HEADER = 14
DESTINATION_ADDRESS = ETHERNET_HEADER + 16  # RFC 791, section 3.1


def _word(data: bytes) -> int:
    """Return bytes as the signed number that the program must store or compare to have them in this order."""
    return int.from_bytes(data, sys.byteorder, signed=True)


def program(vip: IPv4Address, own_mac: str, target_mac: str) -> tuple[Instruction, ...]:
    """Return the program; what is not an IPv4 packet for `vip` is passed."""
    macs = bytes.fromhex((target_mac + own_mac).replace(":", ""))
    return (
        Instruction(xdp.LOAD_32, 2, 1, 0, 0),  # r2 = data
        Instruction(xdp.LOAD_32, 3, 1, 4, 0),  # r3 = data_end
        Instruction(xdp.MOVE_REGISTER, 4, 2, 0, 0),
        Instruction(xdp.ADD, 4, 0, 0, DESTINATION_ADDRESS + 4),
        Instruction(xdp.JUMP_GREATER_REGISTER, 4, 3, 7, 0),  # too short: pass
        Instruction(xdp.LOAD_32, 5, 2, DESTINATION_ADDRESS, 0),
        Instruction(xdp.JUMP_NOT_EQUAL_32, 5, 0, 5, _word(vip.packed)),
        Instruction(xdp.STORE_32, 2, 0, 0, _word(macs[0:4])),
        Instruction(xdp.STORE_32, 2, 0, 4, _word(macs[4:8])),
        Instruction(xdp.STORE_32, 2, 0, 8, _word(macs[8:12])),
        Instruction(xdp.MOVE, 0, 0, 0, xdp.XDP_TX),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
        Instruction(xdp.MOVE, 0, 0, 0, xdp.XDP_PASS),
        Instruction(xdp.EXIT, 0, 0, 0, 0),
    )


def steer(balancer: Namespace, interface: str, vip: IPv4Address, own_mac: str, target_mac: str) -> None:
    """Attach the program in driver mode; it stays until the interface goes."""
    xdp.attach(balancer, interface, "lab_steer", program(vip, own_mac, target_mac))
