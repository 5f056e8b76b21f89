/* `on_dead: reset`: a segment of a connection whose backend is dead is answered with RST from the VIP, as a host would that
 * does not know the connection (RFC 9293 section 3.10.7.1), so that the client fails at once and does not wait.
 */

enum { VC5_RESET_TTL = 64, VC5_LEAST_FRAME = 60 };

/* What the answer needs to know of a segment; both numbers in host order. */
struct vc5_segment {
	u32 next; /* sequence number of the byte behind it */
	u32 acknowledged;
};

/* `room` bytes of the packet from the TCP header on, all of which lies inside the frame. */
static __always_inline struct vc5_segment vc5_read_segment(const struct vc5_packet *packet, const struct tcphdr *tcp,
							   u32 room)
{
	struct vc5_segment segment = {.acknowledged = bpf_ntohl(tcp->ack_seq)};

	segment.next = bpf_ntohl(tcp->seq) + room - vc5_tcp_header(tcp);
	segment.next += !!(packet->flags & VC5_TCP_SYN);
	segment.next += !!(packet->flags & VC5_TCP_FIN);
	return segment;
}

static __always_inline u16 vc5_fold_sum(u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Writes the IPv4 header of the answer; returns the sum of its pseudo header. */
static __always_inline u64 vc5_reset_header4(struct iphdr *ip, const struct vc5_packet *packet)
{
	u64 sum = 0;
	u32 i;

	*(u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tcphdr));
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = VC5_RESET_TTL;
	ip->protocol = VC5_PROTOCOL_TCP;
	ip->check = 0;
	ip->saddr = vc5_le32(packet->vip);
	ip->daddr = vc5_le32(packet->source);
#pragma unroll
	for (i = 0; i < sizeof(*ip) / 2; i++)
		sum += ((u16 *)ip)[i];
	ip->check = vc5_fold_sum(sum);
	return (u64)ip->saddr + ip->daddr;
}

/*% if shape.ipv6 %*/
static __always_inline u64 vc5_reset_header6(struct vc5_ipv6 *ip, const struct vc5_packet *packet)
{
	u64 sum = 0;
	u32 i;

	ip->first = bpf_htonl(0x60000000);
	ip->length = bpf_htons(sizeof(struct tcphdr));
	ip->next = VC5_PROTOCOL_TCP;
	ip->hops = VC5_RESET_TTL;
	ip->source[0] = vc5_le32(packet->high);
	ip->source[1] = vc5_le32(packet->high >> 32);
	ip->source[2] = vc5_le32(packet->low);
	ip->source[3] = vc5_le32(packet->low >> 32);
#pragma unroll
	for (i = 0; i < VC5_WORDS; i++) {
		ip->destination[i] = vc5_le32(packet->words[i]);
		sum += (u64)ip->source[i] + ip->destination[i];
	}
	return sum;
}

/*% endif %*/
static __always_inline void vc5_reset(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2,
				      const struct vc5_packet *packet, const struct vc5_segment *segment)
{
	u32 known = packet->flags & VC5_TCP_ACK, length = l2 + sizeof(struct tcphdr), i;
	struct tcphdr *tcp;
	s32 surplus;
	void *frame;
	u64 sum;

	if (packet->flags & VC5_TCP_RST) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_DEAD);
		return;
	}
	length += packet->family == VC5_IPV6 ? sizeof(struct vc5_ipv6) : sizeof(struct iphdr);
	surplus = (s32)vc5_frame_length(ctx) - (length > VC5_LEAST_FRAME ? length : VC5_LEAST_FRAME);
	if (surplus > 0 && vc5_move_tail(ctx, -surplus))
		return;
	frame = (void *)(long)ctx->data;
	if (frame + length > (void *)(long)ctx->data_end)
		return;
	vc5_turn_macs(frame);
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		if (frame + l2 + sizeof(struct vc5_ipv6) + sizeof(*tcp) > (void *)(long)ctx->data_end)
			return;
		sum = vc5_reset_header6(frame + l2, packet);
		tcp = frame + l2 + sizeof(struct vc5_ipv6);
	} else
/*% endif %*/
	{
		if (frame + l2 + sizeof(struct iphdr) + sizeof(*tcp) > (void *)(long)ctx->data_end)
			return;
		sum = vc5_reset_header4(frame + l2, packet);
		tcp = frame + l2 + sizeof(struct iphdr);
	}
	tcp->source = vc5_destination_port(packet);
	tcp->dest = vc5_source_port(packet);
	tcp->seq = known ? bpf_htonl(segment->acknowledged) : 0;
	tcp->ack_seq = known ? 0 : bpf_htonl(segment->next);
	((u16 *)tcp)[6] = bpf_htons(sizeof(*tcp) / 4 << 12 | VC5_TCP_RST | (known ? 0 : VC5_TCP_ACK));
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
	sum += bpf_htons(VC5_PROTOCOL_TCP) + bpf_htons(sizeof(*tcp));
#pragma unroll
	for (i = 0; i < sizeof(*tcp) / 2; i++)
		sum += ((u16 *)tcp)[i];
	tcp->check = vc5_fold_sum(sum);
	verdict->action = XDP_TX;
}
