/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The floor: what no layer-2 balancer can do without. Bounds, ethertype, version and header length, fragment bits,
 * protocol, address and port against constants, TTL with its checksum, 12 bytes of MAC addresses, out again. No map.
 *
 * The compiler is given: BENCH_VIP the first of BENCH_VIPS addresses (a power of two, host byte order), BENCH_PORT,
 * BENCH_PROTOCOL TCP or UDP (whose ports lie alike), BENCH_MACS_HIGH and BENCH_MACS_LOW the first 8 and the last 4 bytes of the new addresses as stored in memory.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

int bench_floor(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	u32 check;

	if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (*(u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff) || ip->protocol != BENCH_PROTOCOL)
		return XDP_PASS;
	if ((ip->daddr & bpf_htonl(~(BENCH_VIPS - 1))) != bpf_htonl(BENCH_VIP) || tcp->dest != bpf_htons(BENCH_PORT))
		return XDP_PASS;
	if (ip->ttl <= 1)
		return XDP_DROP;
	ip->ttl--;
	check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >> 16);
	*(u64 *)data = BENCH_MACS_HIGH;
	*(u32 *)(data + 8) = BENCH_MACS_LOW;
	return XDP_TX;
}

/* The floor of encapsulation: room for an outer header of BENCH_GROWTH bytes, the addresses in front of it, out again. */
int bench_grow(struct xdp_md *ctx)
{
	static long (*adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
	void *data, *end;

	if (adjust_head(ctx, -BENCH_GROWTH))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETH_HLEN > end)
		return XDP_DROP;
	*(u64 *)data = BENCH_MACS_HIGH;
	*(u32 *)(data + 8) = BENCH_MACS_LOW;
	*(u16 *)(data + 12) = bpf_htons(ETH_P_IP);
	return XDP_TX;
}
