/* vc5_probe_icmp: ICMP that comes from a VIP, or concerns none and may be from a backend behind NAT: the replies that echo
 * requests of the prober's wait for.
 */

/* `known`: whether it comes from a VIP. */
static __always_inline u32 vc5_probe_icmp_packet(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
						 const void *end, struct vc5_packet *packet, u32 known)
{
	u32 transport = vc5_own_note()->transport & VC5_MOST_HEADERS;

	vc5_decide(verdict, XDP_PASS, known ? VC5_REASON_VIP_SOURCE : VC5_REASON_NOT_VIP);
	if (!vc5_read_echo(packet, ip + transport, end, packet->octets - transport, 1))
		return 0;
	return vc5_probe_in(ctx, verdict, l2, ip, ip + transport, end, packet);
}

static __always_inline u32 vc5_probe_icmp_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;

	if ((void *)(ip + 1) > end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *header = frame + l2;

		if ((void *)(header + 1) > end)
			return 0;
		vc5_read_addresses6(&packet, header);
		packet.protocol = VC5_PROTOCOL_ICMP6;
		return vc5_probe_icmp_packet(ctx, verdict, l2, header, end, &packet,
					     vc5_known(vc5_find_vip6(vc5_halves(header->source[0], header->source[1]),
								     vc5_halves(header->source[2], header->source[3]))));
	}
/*% endif %*/
	vc5_read_addresses4(&packet, ip);
	packet.protocol = VC5_PROTOCOL_ICMP;
	return vc5_probe_icmp_packet(ctx, verdict, l2, ip, end, &packet, vc5_known(vc5_find_vip4(ip->saddr)));
}

int vc5_probe_icmp(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	return vc5_cold_leave(&verdict, vc5_cold_frame(ctx, &verdict, vc5_probe_icmp_frame));
}
