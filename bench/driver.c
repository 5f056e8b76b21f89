/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drives a program under test: for each packet of a batch it writes fresh headers over the frame, with the next flow's
 * source address in them, and hands the frame to the program. Why like this stands in driver.py.
 *
 * The compiler is given: BENCH_BATCH packets in a run, BENCH_LENGTH bytes of frame, BENCH_WORDS 8-byte words of headers,
 * BENCH_FRAMES different headers (a power of two), BENCH_OWN 8-byte words of each that the others do not have,
 * BENCH_SOURCE offset of the 32-bit word that tells flows apart, BENCH_CHECK offset of the IPv4 header checksum (0: there
 * is none), BENCH_STORES what the headers are made of: a BENCH_COMMON for what all have, a BENCH_ITS for what one has,
 * BENCH_STEP the call that becomes bench_step.
 */
#define BENCH_AREA 1
#define BENCH_PROGRAMS 2

struct bench_area {
	u32 next; /* flow of the next packet */
	u32 flows;
	u32 source; /* the address of flow 0, host byte order; its low 24 bits are 0 */
	u32 sum; /* one's complement sum of any IPv4 header, checksum and source taken as 0 */
	u32 spare[12];
	u64 common[BENCH_WORDS];
	u64 own[BENCH_FRAMES * BENCH_OWN];
};

static u32 (*bench_call_step)(struct xdp_md *ctx) = (void *)BENCH_STEP;
static long (*bench_adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
static long (*bench_tail_call)(void *ctx, u64 programs, u32 position) = (void *)BPF_FUNC_tail_call;

#define BENCH_COMMON(at, type) *(type *)(data + at) = *(const type *)((const void *)area->common + at)
#define BENCH_ITS(at, type, index) *(type *)(data + at) = *(const type *)(own + index)

/* Two halves as they lie in memory. */
static __always_inline u32 bench_pair(u16 first, u16 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (u32)second << 16 | first;
#else
	return (u32)first << 16 | second;
#endif
}

int bench_driver(struct xdp_md *ctx)
{
	struct bench_area *area = (struct bench_area *)bpf_pseudo_fd(2, BENCH_AREA);
	u32 flow = area->next, verdict = XDP_ABORTED;

	for (int packet = 0; packet < BENCH_BATCH; packet++) {
		void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
		long grown = end - data - BENCH_LENGTH;
		const u64 *own = area->own + (flow & (BENCH_FRAMES - 1)) * BENCH_OWN;
		u32 source = bpf_htonl(area->source | (flow * 0x9e3779b1 & 0xffffff));

		if (grown) { /* the program under test put a header on: take it off again */
			bench_adjust_head(ctx, grown);
			data = (void *)(long)ctx->data;
			end = (void *)(long)ctx->data_end;
		}
		if (data + BENCH_WORDS * 8 > end)
			return XDP_ABORTED;
		/* Some fields lie across two words. Stored once more in one piece, a program can read them from the store
		 * buffer; else it would wait for all earlier packets, as it never does with a frame from a NIC. Likewise the
		 * checksum, with time to live and protocol in front of it.
		 */
		BENCH_STORES;
		*(u32 *)(data + BENCH_SOURCE) = source;
		if (BENCH_CHECK) { /* RFC 1624: the sum of the rest is known, only the source is new */
			u32 sum = area->sum + (source & 0xffff) + (source >> 16);

			sum = (sum & 0xffff) + (sum >> 16);
			sum += sum >> 16;
			*(u32 *)(data + BENCH_CHECK - 2) = bench_pair(*(const u16 *)((const void *)area->common + BENCH_CHECK - 2), ~sum);
		}
		flow++;
		if (flow >= area->flows)
			flow = 0;
		verdict = bench_call_step(ctx);
	}
	area->next = flow;
	return verdict;
}

/* A tail call from a subprogram ends in the subprogram's caller: so the driver gets the frame back. */
int bench_step(struct xdp_md *ctx)
{
	bench_tail_call(ctx, bpf_pseudo_fd(1, BENCH_PROGRAMS), 0);
	return XDP_ABORTED;
}

/* The least program there is: what remains is the driver's own cost. */
int bench_idle(struct xdp_md *ctx)
{
	return XDP_TX;
}
