/* `on_dead: reset`: a segment of a connection whose backend is dead is answered with RST from the VIP, as a host would that
 * does not know the connection (RFC 9293 section 3.10.7.1), so that the client fails at once and does not wait.
 */

enum { VC5_RESET_TTL = 64, VC5_RESET_LENGTH = sizeof(struct iphdr) + sizeof(struct tcphdr), VC5_LEAST_FRAME = 60 };

static long (*vc5_move_tail)(void *ctx, s32 delta) = (void *)BPF_FUNC_xdp_adjust_tail;

static __always_inline u16 vc5_fold(u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* `sequence` is that of the byte behind the segment; both numbers in host order. */
static __always_inline void vc5_reset(struct xdp_md *ctx, struct vc5_verdict *verdict, const struct vc5_packet *packet,
				      u32 sequence, u32 acknowledgement)
{
	s32 surplus = (s32)vc5_frame_length(ctx) - VC5_LEAST_FRAME;
	u32 known = packet->flags & VC5_TCP_ACK, i;
	struct ethhdr *ethernet;
	struct tcphdr *tcp;
	struct iphdr *ip;
	u8 mac[ETH_ALEN];
	u64 sum = 0;

	if (packet->flags & VC5_TCP_RST) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_DEAD);
		return;
	}
	if (surplus > 0 && vc5_move_tail(ctx, -surplus))
		return;
	ethernet = (void *)(long)ctx->data;
	ip = (void *)(ethernet + 1);
	tcp = (void *)(ip + 1);
	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return;
	__builtin_memcpy(mac, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, mac, ETH_ALEN);

	*(u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(VC5_RESET_LENGTH);
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
	ip->check = vc5_fold(sum);

	tcp->source = vc5_destination_port(packet);
	tcp->dest = vc5_source_port(packet);
	tcp->seq = known ? bpf_htonl(acknowledgement) : 0;
	tcp->ack_seq = known ? 0 : bpf_htonl(sequence);
	((u16 *)tcp)[6] = bpf_htons(sizeof(*tcp) / 4 << 12 | VC5_TCP_RST | (known ? 0 : VC5_TCP_ACK));
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
	sum = (u64)ip->saddr + ip->daddr + bpf_htons(VC5_PROTOCOL_TCP) + bpf_htons(sizeof(*tcp));
#pragma unroll
	for (i = 0; i < sizeof(*tcp) / 2; i++)
		sum += ((u16 *)tcp)[i];
	tcp->check = vc5_fold(sum);
	verdict->action = XDP_TX;
}
