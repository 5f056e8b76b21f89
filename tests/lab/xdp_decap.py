"""What a kernel with tunnel devices does at a backend, for one without: an XDP program takes the outer header off.

It knows ipip, gre, fou and gue over IPv4, around IPv4, to UDP port 6080, and passes all else as it came.
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
#include <linux/ip.h>
#include <linux/udp.h>
static long (*adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
int lab_decap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data, before;
	struct iphdr *ip = (void *)(ethernet + 1);
	u8 *inner = (void *)(ip + 1);
	int cut = 20;

	if ((void *)(inner + 12) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || *(u8 *)ip != 0x45)
		return XDP_PASS;
	if (ip->protocol == 47) {
		if (*(u32 *)inner != bpf_htonl(0x0800))
			return XDP_PASS;
		cut = 24;
	} else if (ip->protocol == 17) {
		if (((struct udphdr *)inner)->dest != bpf_htons(6080))
			return XDP_PASS;
		cut = inner[8] >> 4 == 4 ? 28 : 32;
	} else if (ip->protocol != 4) {
		return XDP_PASS;
	}
	before = *ethernet;
	if (adjust_head(ctx, cut))
		return XDP_DROP;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
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
