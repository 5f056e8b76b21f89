"""What a Linux backend has to be told so that it takes the outer headers of tunnels off. Pure.

ip-tunnel(8), ip-link(8), ip-fou(8); that the device of a module takes packets from everybody is the kernel's rule
(net/ipv4/ipip.c, net/ipv6/sit.c, net/ipv6/ip6_tunnel.c).
"""

from __future__ import annotations

from appliance.control.subjects import Subject

_NUMBERS = {4: 4, 6: 41}
"""The protocol number of a packet of either family inside another (RFC 2003, RFC 2473)."""


def commands(subject: Subject) -> str:
    """The commands that make a Linux host take the outer header off."""
    outer, inner = subject.backend.version, subject.vip.version
    if subject.tunnel == "ipip":
        device, make = _ipip(outer, inner)
    elif subject.tunnel == "gre":
        device = "vc5" if outer == 4 else "vc56"
        make = f"ip link add {device} type {'gre' if outer == 4 else 'ip6gre'} local {subject.backend}"
    else:
        family = "-6 " if outer == 6 else ""
        tail = "gue" if subject.tunnel == "gue" else f"ipproto {_NUMBERS[inner]}"
        device = _ipip(outer, inner)[0]
        make = f"modprobe fou; ip {family}fou add port {subject.tunnel_port} {tail}; {_ipip(outer, inner)[1]}"
    loose = f"; sysctl -w net.ipv4.conf.{device}.rp_filter=0 net.ipv4.conf.all.rp_filter=0" if inner == 4 else ""
    return f"{make}; ip link set {device} up{loose}"


def _ipip(outer: int, inner: int) -> tuple[str, str]:
    """The device that the kernel makes by itself for packets of one family inside another, and how it comes to be."""
    if outer == 6:
        return "ip6tnl0", "modprobe ip6_tunnel"
    return ("tunl0", "modprobe ipip") if inner == 4 else ("sit0", "modprobe sit")


def outer_name(subject: Subject) -> str:
    """What a firewall would call the outer packets."""
    numbers = {"ipip": f"IP protocol {_NUMBERS[subject.vip.version]}", "gre": "IP protocol 47"}
    return numbers.get(subject.tunnel, f"UDP to port {subject.tunnel_port}")
