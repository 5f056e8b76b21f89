/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The floor: what no layer-2 balancer can do without. Bounds, ethertype, version and header length, fragment bits,
 * protocol, address and port against constants, TTL with its checksum, 12 bytes of MAC addresses, the id of a tag where
 * there is one, out again: where it came from, or by a door. No other map.
 *
 * The compiler is given: BENCH_FAMILY 4 or 6, BENCH_VIP the first of BENCH_VIPS addresses (a power of two, host byte order;
 * of IPv6 the last word, before it BENCH_PREFIX_0 to 2), BENCH_PORT, BENCH_PROTOCOL TCP or UDP (whose ports lie alike),
 * BENCH_MACS_HIGH and BENCH_MACS_LOW the first 8 and the last 4 bytes of the new addresses as stored in memory, BENCH_L2
 * length of the layer-2 header, BENCH_DOORS 1 where packets are redirected by entry 0 of a device map, BENCH_LINES how
 * many cache lines a table has, 0 where there is none.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#define BENCH_NEW_ID 10

static __always_inline int bench_leave(void *data)
{
#if BENCH_DOORS
	static long (*redirect_map)(u64 map, u64 key, u64 flags) = (void *)BPF_FUNC_redirect_map;
#endif

#if BENCH_L2 > ETH_HLEN
	u16 *control = data + ETH_HLEN;

	*control = (*control & (u16)~bpf_htons(0x0fff)) | bpf_htons(BENCH_NEW_ID);
#endif
	*(u64 *)data = BENCH_MACS_HIGH;
	*(u32 *)(data + 8) = BENCH_MACS_LOW;
#if BENCH_DOORS
	return redirect_map(bpf_pseudo_fd(1, 1), 0, XDP_DROP);
#else
	return XDP_TX;
#endif
}

#if BENCH_FAMILY == 6
static __always_inline int bench_forward(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 *vip = data + BENCH_L2 + 24;
	u8 *ip = data + BENCH_L2;
	struct tcphdr *tcp = (void *)(ip + 40);

	if ((void *)(tcp + 1) > end || *(u16 *)(data + BENCH_L2 - 2) != bpf_htons(ETH_P_IPV6))
		return XDP_PASS;
#if BENCH_L2 > ETH_HLEN
	if (*(u16 *)(data + 12) != bpf_htons(0x8100))
		return XDP_PASS;
#endif
	if ((ip[0] & 0xf0) != 0x60 || ip[6] != BENCH_PROTOCOL)
		return XDP_PASS;
	if (vip[0] != bpf_htonl(BENCH_PREFIX_0) || vip[1] != bpf_htonl(BENCH_PREFIX_1) || vip[2] != bpf_htonl(BENCH_PREFIX_2))
		return XDP_PASS;
	if ((vip[3] & bpf_htonl(~(BENCH_VIPS - 1))) != bpf_htonl(BENCH_VIP) || tcp->dest != bpf_htons(BENCH_PORT))
		return XDP_PASS;
	if (ip[7] <= 1)
		return XDP_DROP;
	ip[7]--;
	return bench_leave(data);
}
#else
static __always_inline int bench_forward(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + BENCH_L2;
	struct tcphdr *tcp = (void *)(ip + 1);
	u32 check;

	if ((void *)(tcp + 1) > end || *(u16 *)(data + BENCH_L2 - 2) != bpf_htons(ETH_P_IP))
		return XDP_PASS;
#if BENCH_L2 > ETH_HLEN
	if (*(u16 *)(data + 12) != bpf_htons(0x8100))
		return XDP_PASS;
#endif
	if (*(u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff) || ip->protocol != BENCH_PROTOCOL)
		return XDP_PASS;
	if ((ip->daddr & bpf_htonl(~(BENCH_VIPS - 1))) != bpf_htonl(BENCH_VIP) || tcp->dest != bpf_htons(BENCH_PORT))
		return XDP_PASS;
	if (ip->ttl <= 1)
		return XDP_DROP;
	ip->ttl--;
	check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >> 16);
	return bench_leave(data);
}
#endif

int bench_floor(struct xdp_md *ctx)
{
	return bench_forward(ctx);
}

#if BENCH_LINES
/* The floor of remembering flows: as above, and one cache line of a table of BENCH_LINES, a power of two, which only the
 * flow tells.
 */
int bench_line(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const u64 *lines = (const u64 *)bpf_pseudo_fd(2, 2);
	struct iphdr *ip = data + BENCH_L2;
	u64 line;

	if ((void *)(ip + 1) + 4 > end)
		return XDP_PASS;
	line = (u64)ip->saddr * 0xd1342543de82ef95ULL;
	line = (line ^ line >> 29) * 0x9e3779b97f4a7c15ULL >> 40 & (BENCH_LINES - 1);
	if (*(const volatile u64 *)&lines[line << 3])
		return XDP_DROP;
	return bench_forward(ctx);
}
#endif

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
