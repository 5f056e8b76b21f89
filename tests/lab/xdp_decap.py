"""What a kernel with tunnel devices does at a backend, for one without: an XDP program takes the outer header off.

It knows ipip, gre, and fou and gue to UDP port 6080, either family outside and inside, and passes all else as it came.
"""

from __future__ import annotations

import os
import socket

from appliance.dataplane.compile import compile_text
from appliance.dataplane.kernel import Program
from tests.lab import xdp
from tests.lab.namespace import Namespace

PORT = 6080
TEXT = """
#include <linux/if_ether.h>
#include <linux/udp.h>
static long (*adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
int lab_decap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data, before;
	u8 *outer = (void *)(ethernet + 1), *inner = outer + 40;
	u8 protocol;
	int cut = 40;

	if ((void *)(inner + 12) > end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		protocol = outer[6];
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IP) && *outer == 0x45) {
		protocol = outer[9];
		inner = outer + 20;
		cut = 20;
	} else {
		return XDP_PASS;
	}
	if (protocol == 47) {
		if (*(u32 *)inner != bpf_htonl(0x0800) && *(u32 *)inner != bpf_htonl(0x86dd))
			return XDP_PASS;
		cut += 4;
	} else if (protocol == 17) {
		if (((struct udphdr *)inner)->dest != bpf_htons(6080))
			return XDP_PASS;
		cut += inner[8] >> 4 ? 8 : 12;
	} else if (protocol != 4 && protocol != 41) {
		return XDP_PASS;
	}
	before = *ethernet;
	if (adjust_head(ctx, cut))
		return XDP_DROP;
	ethernet = (void *)(long)ctx->data;
	outer = (void *)(ethernet + 1);
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	before.h_proto = *outer >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	*ethernet = before;
	return XDP_PASS;
}
"""


def take_off(host: Namespace, interface: str) -> None:
    """Attach the program in driver mode; it stays until the interface goes, or is replaced."""
    program = Program.load("lab_decap", compile_text(TEXT, ["lab_decap"]).code["lab_decap"])

    def attach_here() -> int:
        index = socket.if_nametoindex(interface)
        return int(xdp.libbpf().bpf_xdp_attach(index, program.fd, xdp.FLAGS_DRIVER_MODE, None))

    try:
        xdp.checked(host.call(attach_here), f"attach XDP to {interface} in {host.name}, by {os.getpid()}")
    finally:
        program.close()


def leave_on(host: Namespace, interface: str) -> None:
    """Detach the program: from now on packets in a tunnel reach nobody."""
    host.run("ip", "link", "set", "dev", interface, "xdpdrv", "off")
