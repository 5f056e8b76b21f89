/* vc5_quote: the answer that vc5_too_big (see there) is about. */

/* Only what is surely from one host is answered, and no error, nor any fragment but the first (RFC 1122 section 3.2.2,
 * RFC 4443 section 2.4 (e)).
 */
static __always_inline int vc5_answerable4(const struct ethhdr *ethernet, const struct iphdr *ip)
{
	u32 first = *(const u8 *)&ip->saddr;

	if (ethernet->h_dest[0] & 1 || ip->frag_off & bpf_htons(VC5_FRAGMENT_OFFSET))
		return 0;
	if (ip->protocol != VC5_PROTOCOL_TCP && ip->protocol != VC5_PROTOCOL_UDP)
		return 0;
	return first && first != 127 && first < 224;
}

static __always_inline int vc5_affordable(struct vc5_note *note)
{
	u32 time = vc5_settings->time;

	if (note->time != time) {
		note->time = time;
		note->spent = 0;
	}
	if (note->spent >= VC5_TOO_BIG_RATE)
		return 0;
	note->spent += 1;
	return 1;
}

/* Cuts the frame to `length` bytes of its packet, to be quoted, and makes room for `growth` bytes before them. Returns the
 * new beginning, with the layer-2 header turned; NULL where there is no room.
 */
static __always_inline void *vc5_make_room(struct xdp_md *ctx, u32 l2, u32 length, u32 growth)
{
	/* In 64 bits: a compiler that makes it of 32 shifts the pointers to do so, which the verifier forbids. */
	s64 surplus = (long)ctx->data_end - (long)ctx->data - (s64)(l2 + length);
	void *frame;

	if (surplus < 0 || (surplus && vc5_move_tail(ctx, -surplus)) || vc5_move_head(ctx, -(s32)growth))
		return NULL;
	frame = (void *)(long)ctx->data;
	if (frame + growth + l2 > (void *)(long)ctx->data_end)
		return NULL;
	__builtin_memcpy(frame, frame + growth, l2);
	vc5_turn_macs(frame);
	return frame;
}

/* The sum, not yet folded, of at most `most` bytes up to the frame's end. */
static __always_inline u64 vc5_sum_rest(const void *at, const void *end, u32 most)
{
	u64 sum = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < most; i += VC5_QUOTE_STEP) {
		if (at + VC5_QUOTE_STEP > end)
			break;
		sum += *(const u32 *)at;
		at += VC5_QUOTE_STEP;
	}
	return sum;
}

/* Sums of up to some hundred 32-bit words, and the checksum that they make. */
static __always_inline u16 vc5_fold_long(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void vc5_answer_big4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, u32 quoted,
					    u32 vip, u32 client, u32 mtu)
{
	const u32 growth = sizeof(struct iphdr) + sizeof(struct vc5_icmp_header);
	struct vc5_icmp_header *icmp;
	struct iphdr *ip;
	void *frame;
	u64 sum = 0;
	u32 i;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_NO_ROOM);
	frame = vc5_make_room(ctx, l2, quoted, growth);
	if (!frame)
		return;
	ip = frame + l2;
	icmp = (void *)(ip + 1);
	if ((void *)(icmp + 1) > (void *)(long)ctx->data_end)
		return;
	*(u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(growth + quoted);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = VC5_TOO_BIG_TTL;
	ip->protocol = VC5_PROTOCOL_ICMP;
	ip->check = 0;
	ip->saddr = vip;
	ip->daddr = client;
#pragma unroll
	for (i = 0; i < sizeof(*ip) / 4; i++)
		sum += ((u32 *)ip)[i];
	ip->check = vc5_fold_long(sum);
	icmp->type = VC5_ICMP_UNREACHABLE;
	icmp->code = VC5_ICMP_FRAGMENTATION_NEEDED;
	icmp->checksum = 0;
	icmp->rest = bpf_htonl(mtu > 0xffff ? 0xffff : mtu);
	icmp->checksum = vc5_fold_long(vc5_sum_rest(icmp, (void *)(long)ctx->data_end, sizeof(*icmp) + VC5_QUOTE4));
	vc5_decide(verdict, XDP_TX, VC5_REASON_TOO_BIG);
}

static __always_inline void vc5_quote4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, struct vc5_note *note)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;
	u32 quoted;

	if ((void *)(ip + 1) > end)
		return;
	vc5_note_source4(verdict, ip);
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	if (!walk.at)
		return;
	vc5_decide(verdict, XDP_DROP, VC5_REASON_TOO_BIG_LIMITED);
	if (!vc5_answerable4(frame, ip) || !vc5_affordable(note))
		return;
	quoted = bpf_ntohs(ip->tot_len);
	quoted = (quoted < VC5_QUOTE4 ? quoted : VC5_QUOTE4) & ~(VC5_QUOTE_STEP - 1);
	vc5_answer_big4(ctx, verdict, l2, quoted, ip->daddr, ip->saddr, note->mtu);
}

/*% if shape.ipv6 %*/
/* Neither from many, nor from nobody or oneself: ff00::/8, ::, ::1. */
static __always_inline int vc5_answerable6(const struct ethhdr *ethernet, const struct vc5_ipv6 *ip,
					   const struct vc5_packet *packet, const struct vc5_walk *walk)
{
	if (ethernet->h_dest[0] & 1 || walk->piece & bpf_htons(VC5_FRAGMENT6_OFFSET))
		return 0;
	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return 0;
	if (*(const u8 *)ip->source == 0xff)
		return 0;
	return ip->source[0] || ip->source[1] || ip->source[2] || bpf_ntohl(ip->source[3]) > 1;
}

static __always_inline void vc5_answer_big6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, u32 quoted, u32 mtu)
{
	const u32 growth = sizeof(struct vc5_ipv6) + sizeof(struct vc5_icmp_header);
	struct vc5_icmp_header *icmp;
	struct vc5_ipv6 *ip, *of;
	void *frame;
	u64 sum;
	u32 i;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_NO_ROOM);
	frame = vc5_make_room(ctx, l2, quoted, growth);
	if (!frame)
		return;
	ip = frame + l2;
	icmp = (void *)(ip + 1);
	of = (void *)(icmp + 1);
	if ((void *)(of + 1) > (void *)(long)ctx->data_end)
		return;
	ip->first = bpf_htonl(6U << 28);
	ip->length = bpf_htons(sizeof(*icmp) + quoted);
	ip->next = VC5_PROTOCOL_ICMP6;
	ip->hops = VC5_TOO_BIG_TTL;
	sum = bpf_htonl(sizeof(*icmp) + quoted) + (u64)bpf_htonl(VC5_PROTOCOL_ICMP6);
#pragma unroll
	for (i = 0; i < VC5_WORDS; i++) {
		ip->source[i] = of->destination[i];
		ip->destination[i] = of->source[i];
		sum += (u64)ip->source[i] + ip->destination[i];
	}
	icmp->type = VC5_ICMP6_TOO_BIG;
	icmp->code = 0;
	icmp->checksum = 0;
	icmp->rest = bpf_htonl(mtu);
	sum += vc5_sum_rest(icmp, (void *)(long)ctx->data_end, sizeof(*icmp) + VC5_QUOTE6);
	icmp->checksum = vc5_fold_long(sum);
	vc5_decide(verdict, XDP_TX, VC5_REASON_TOO_BIG);
}

static __always_inline void vc5_quote6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, struct vc5_note *note)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_ipv6 *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;
	u32 quoted;

	if ((void *)(ip + 1) > end)
		return;
	walk = vc5_walk6(ctx, l2, &packet, ip, end, 1);
	if (!walk.at)
		return;
	vc5_decide(verdict, XDP_DROP, VC5_REASON_TOO_BIG_LIMITED);
	if (!vc5_answerable6(frame, ip, &packet, &walk) || !vc5_affordable(note))
		return;
	quoted = sizeof(*ip) + bpf_ntohs(ip->length);
	quoted = (quoted < VC5_QUOTE6 ? quoted : VC5_QUOTE6) & ~(VC5_QUOTE_STEP - 1);
	vc5_answer_big6(ctx, verdict, l2, quoted, note->mtu);
}

/*% endif %*/
static __always_inline u32 vc5_quote_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data;
	struct vc5_note *note = vc5_own_note();

	verdict->destination = note->destination & (VC5_DESTINATIONS - 1);
	if (frame + l2 > (void *)(long)ctx->data_end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		vc5_quote6(ctx, verdict, l2, note);
		return 0;
	}
/*% endif %*/
	vc5_quote4(ctx, verdict, l2, note);
	return 0;
}

int vc5_quote(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_quote_frame);
	return vc5_leave(ctx, &verdict);
}
