"""Another's opinion of a frame: scapy computes the checksums again."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply
from scapy.layers.l2 import Ether


def checksums_are_right(frame: bytes) -> bool:
    """Whether all checksums of a frame are what scapy makes of its other bytes. A UDP checksum of 0 is none."""
    packet = Ether(frame)
    for layer in (IP, TCP, UDP, ICMP, ICMPv6EchoReply):
        part = packet.getlayer(layer)
        if part is None:
            continue
        field = "cksum" if layer is ICMPv6EchoReply else "chksum"
        if not (layer is UDP and part.chksum == 0):
            delattr(part, field)
    return bytes(packet) == frame
