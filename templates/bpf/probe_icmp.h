/* vc5_probe_icmp: ICMP that comes from a VIP, or concerns none and may be from a backend behind NAT: replies to echo requests
 * of the prober's, and errors that say why a probe is not answered. Such an error quotes the probe as it left, and the prober
 * gets it as if it quoted what the prober sent: so its socket learns of it.
 */

/* Only of destinations that cannot be reached: others would tell the prober's kernel about paths that it does not see. */
static __always_inline int vc5_is_unreachable(const struct vc5_packet *packet, const u8 *icmp)
{
	if (packet->family == VC5_IPV6)
		return icmp[0] == VC5_ICMP6_UNREACHABLE;
	return icmp[0] == VC5_ICMP_UNREACHABLE && icmp[1] != VC5_ICMP_FRAGMENTATION_NEEDED;
}

/* The probe that an error quotes has been read: it has the balancer's address, to which the error goes, and its port. */
static __always_inline u32 vc5_probe_error(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					   const void *end, const struct vc5_packet *packet, u32 transport)
{
	struct vc5_part part = {.transport = transport, .inner = transport + VC5_ICMP_LEAST + packet->quoted};
	u32 source[VC5_WORDS] = {}, prober[VC5_WORDS] = {};
	u16 called = vc5_destination_port(packet);
	struct vc5_answer_key key = {
		.vip_port = called,
		.own_port = vc5_source_port(packet),
		.protocol = packet->protocol,
	};
	const u64 *found;

	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return 0;
	vc5_quoted_destination(packet, key.vip);
	found = vc5_find_probe(packet, header, &key, source, prober);
	if (!found)
		return 0;
/*% if shape.nat %*/
	if (vc5_identities[*found & (VC5_DESTINATIONS - 1)].mapped)
		called = *found >> 32;
/*% endif %*/
	if (!vc5_translate_error(packet, header, end, &part, VC5_SOURCE, prober, key.own_port) ||
	    !vc5_translate_error(packet, header, end, &part, VC5_DESTINATION, source, called))
		return 0;
	return vc5_give_to_prober(ctx, verdict, l2);
}

/* `known`: whether it comes from a VIP. */
static __always_inline u32 vc5_probe_icmp_packet(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
						 const void *end, struct vc5_packet *packet, u32 known)
{
	u32 transport = vc5_own_note()->transport & VC5_MOST_HEADERS, room = packet->octets - transport;
	void *icmp = ip + transport, *inner = icmp + VC5_ICMP_LEAST;

	vc5_decide(verdict, XDP_PASS, known ? VC5_REASON_VIP_SOURCE : VC5_REASON_NOT_VIP);
	if (vc5_read_echo(packet, icmp, end, room, 1))
		return vc5_probe_in(ctx, verdict, l2, ip, icmp, end, packet);
	if (inner > end || room < VC5_ICMP_LEAST || !vc5_is_unreachable(packet, icmp))
		return 0;
	room -= VC5_ICMP_LEAST;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6)
		return vc5_read_inner6(packet, inner, end, room) ?
			       vc5_probe_error(ctx, verdict, l2, ip, end, packet, transport) :
			       0;
/*% endif %*/
	return vc5_read_inner4(packet, inner, end, room) ?
		       vc5_probe_error(ctx, verdict, l2, ip, end, packet, transport) :
		       0;
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
					     vc5_known(vc5_find_vip6(vc5_half(&header->source[0]), vc5_half(&header->source[2]))));
	}
/*% endif %*/
	vc5_read_addresses4(&packet, ip);
	packet.protocol = VC5_PROTOCOL_ICMP;
	return vc5_probe_icmp_packet(ctx, verdict, l2, ip, end, &packet, vc5_known(vc5_find_vip4(ip->saddr)));
}

int vc5_probe_icmp(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	return vc5_cold_leave(ctx, &verdict, vc5_cold_frame(ctx, &verdict, vc5_probe_icmp_frame));
}
