/* Forwarding to backends that do not hold the VIP: destination address and port become the backend's own. There is no
 * state: which backend is the service's choice as ever, and the answer is known by where it comes from (return.h), which
 * the configuration keeps unique. Sums are of 16-bit words as they lie in the frame (RFC 1071 section 2).
 */

enum {
	/* RFC 9293 section 3.2 */
	VC5_OPTION_END = 0,
	VC5_OPTION_NOTHING = 1,
	VC5_OPTION_MSS = 2,
	VC5_MSS_LENGTH = 4,
	VC5_OPTIONS = 40,
	VC5_OPTIONS_MASK = 63,
};

/* Lowers the largest segment that a SYN announces, if that is more; returns what it makes of the checksum's sum.
 * Where an option begins is always unknown to the verifier, and within the same bounds: so it walks the loop but once.
 */
static __always_inline u64 vc5_clamp_segment(struct tcphdr *tcp, const void *end, u32 most)
{
	u32 length = vc5_tcp_header(tcp) - sizeof(*tcp), at = 0, i;

#pragma clang loop unroll(disable)
	for (i = 0; i < VC5_OPTIONS; i++) {
		u8 *option = (u8 *)(tcp + 1) + at;
		u16 before, after;

		vc5_opaque(option);
		if (at + VC5_MSS_LENGTH > length || (void *)(option + VC5_MSS_LENGTH) > end)
			break;
		if (option[0] == VC5_OPTION_MSS && option[1] == VC5_MSS_LENGTH) {
			if ((u32)(option[2] << 8 | option[3]) <= most)
				break;
			before = *(u16 *)(option + 2);
			after = bpf_htons(most);
			*(u16 *)(option + 2) = after;
			/* At an odd offset both bytes change places in the sum (RFC 1071 section 2). */
			if (at & 1) {
				before = __builtin_bswap16(before);
				after = __builtin_bswap16(after);
			}
			return (u16)~before + (u64)after;
		}
		if (option[0] == VC5_OPTION_END || (option[0] != VC5_OPTION_NOTHING && option[1] < 2))
			break;
		/* That of no operation is one byte long, and its kind is 1. */
		at += *(const volatile u8 *)(option + (option[0] != VC5_OPTION_NOTHING));
		if (at > VC5_OPTIONS - VC5_MSS_LENGTH)
			break;
		vc5_opaque(at);
		at &= VC5_OPTIONS_MASK;
	}
	return 0;
}

/* One address of a packet becomes another, in network order, mapped; what it makes of the transport's sum is added to `sum`.
 * Returns 0, with nothing changed, where the header lies beyond the frame's end.
 */
static __always_inline int vc5_translate_address(const struct vc5_packet *packet, void *header, const void *end, u32 which,
						 const u32 *address, u64 *sum)
{
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		struct vc5_ipv6 *ip = header;
		u32 *place = which == VC5_SOURCE ? ip->source : ip->destination, i;

		if ((void *)(ip + 1) > end)
			return 0;
#pragma unroll
		for (i = 0; i < VC5_WORDS; i++) {
			*sum += (u64)(u32)~place[i] + address[i];
			place[i] = address[i];
		}
		return 1;
	}
/*% endif %*/
	struct iphdr *ip = header;
	u32 *place = which == VC5_SOURCE ? &ip->saddr : &ip->daddr;

	if ((void *)(ip + 1) > end)
		return 0;
	*sum += (u64)(u32)~*place + address[VC5_WORDS - 1];
	*place = address[VC5_WORDS - 1];
	ip->check = vc5_changed_checksum(ip->check, *sum);
	return 1;
}

/* One end of a packet becomes another, with the checksums that cover it: `which` address and port, both in network order,
 * the address mapped. A UDP checksum of 0 means none. `most`, if not 0, is the largest segment that SYNs may announce.
 * Returns 0, with nothing changed, where the transport header lies beyond the frame's end.
 */
static __always_inline int vc5_translate(const struct vc5_packet *packet, void *header, void *transport, const void *end,
					 u32 which, const u32 *address, u16 port, u32 most)
{
	u16 *ports = transport, *check = &((struct udphdr *)transport)->check;
	u32 udp = packet->protocol == VC5_PROTOCOL_UDP;
	u64 sum = 0;

	if (transport + sizeof(struct udphdr) > end)
		return 0;
	if (!udp) {
		check = &((struct tcphdr *)transport)->check;
		if (transport + sizeof(struct tcphdr) > end)
			return 0;
	}
	if (!vc5_translate_address(packet, header, end, which, address, &sum))
		return 0;
	sum += (u64)(u16)~ports[which] + port;
	ports[which] = port;
	if (!udp && most && packet->flags & VC5_TCP_SYN)
		sum += vc5_clamp_segment(transport, end, most);
	if (!udp || *check) {
		u16 checksum = vc5_changed_checksum(*check, sum);

		*check = udp && !checksum ? 0xffff : checksum;
	}
	return 1;
}

/* The destination that a packet belongs to is handed to vc5_nat in the place of its MAC addresses, which change anyway. All
 * else is read once more there: the verifier would follow it through every case of choosing. Until that program has the
 * packet, it counts as left behind.
 */
static __always_inline void vc5_hand_to_nat(struct vc5_verdict *verdict, void *frame)
{
	*(u32 *)frame = verdict->destination;
	verdict->destination = 0;
	vc5_decide(verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
}

/* Errors and fragments are translated by vc5_nat_part, which is told where everything is: what finds that out is as much as
 * the verifier follows. verdict->destination is whom it concerns; `transport` and `inner` are counted from the IP header, and
 * 0 in later fragments, `inner` in every fragment. Does not return, unless that program is missing.
 */
static __always_inline void vc5_hand_part(struct xdp_md *ctx, struct vc5_verdict *verdict, const struct vc5_packet *packet,
					  u32 transport, u32 inner, u32 back)
{
	struct vc5_note *note = vc5_own_note();

	note->destination = verdict->destination;
	note->transport = transport;
	note->inner = inner;
	note->protocol = packet->protocol;
	note->back = back;
	vc5_tail_call(ctx, vc5_tails, VC5_TAIL_NAT_PART);
	vc5_decide(verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
}
