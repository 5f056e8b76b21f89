/* Everything that concerns a VIP and is not everyday traffic: options, fragments, ICMP, malformed packets, unknown ports,
 * answers to probes, frames too short for the quick way. It repeats the whole way of a packet from the start, for any
 * header length; on what both can handle, it and vc5_main decide alike.
 */

/* The packet's transport, after all header fields have been checked; NULL with the verdict set where it goes no further. */
static __always_inline void *vc5_check(struct vc5_verdict *verdict, struct vc5_packet *packet, struct iphdr *ip,
				       const struct vc5_cursor *cursor, u32 header)
{
	u32 length = vc5_length(ip->tot_len);
	void *at = (void *)ip + header;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
	if (ip->version != 4 || header < sizeof(*ip) || length < header || (void *)ip + length > cursor->end)
		return NULL;
	if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS)) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_FRAGMENT);
		return NULL;
	}
	if (ip->protocol != VC5_PROTOCOL_TCP && ip->protocol != VC5_PROTOCOL_UDP) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_PROTOCOL);
		return NULL;
	}
	packet->protocol = ip->protocol;
	packet->source = vc5_le32(ip->saddr);
	packet->vip = vc5_le32(ip->daddr);
	if (!vc5_read_transport(packet, at, cursor->end, length - header))
		return NULL;
	return at;
}

static __always_inline u32 vc5_cold_packet(struct xdp_md *ctx, struct vc5_verdict *verdict)
{
	struct vc5_cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct ethhdr *ethernet = vc5_read_ethernet(&cursor);
	const struct vc5_service *service;
	struct vc5_packet packet = {};
	struct iphdr *ip;
	void *transport;
	u32 header;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
	if (!ethernet)
		return 0;
	if (ethernet->h_proto != bpf_htons(ETH_P_IP)) {
		vc5_other_protocol(verdict, ethernet, cursor.end);
		return 0;
	}
	ip = vc5_read_ipv4(&cursor);
	if (!ip)
		return 0;
	header = ip->ihl * 4;
	if (!vc5_find_vip(vc5_le32(ip->daddr))) {
		if (!vc5_find_vip(vc5_le32(ip->saddr))) {
			vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
			return 0;
		}
		transport = vc5_check(verdict, &packet, ip, &cursor, header);
		vc5_decide(verdict, XDP_PASS, VC5_REASON_VIP_SOURCE);
		return transport ? vc5_probe_in(verdict, ethernet, ip, transport, cursor.end, &packet) : 0;
	}
	transport = vc5_check(verdict, &packet, ip, &cursor, header);
	if (!transport) {
		if (verdict->reason == VC5_REASON_PROTOCOL && ip->protocol == VC5_PROTOCOL_ICMP)
			vc5_icmp(verdict, ethernet, ip, (void *)ip + header, cursor.end, vc5_length(ip->tot_len) - header);
		return 0;
	}
	service = vc5_find_service(&packet);
	if (!service) {
		vc5_decide(verdict, vc5_settings->pass_unknown_port ? XDP_PASS : XDP_DROP, VC5_REASON_UNKNOWN_PORT);
		return 0;
	}
	if (ip->ttl <= 1) {
		verdict->destination = service->destinations & (VC5_DESTINATIONS - 1);
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return 0;
	}
	vc5_forward(verdict, ethernet, ip, service, &packet);
/*% if shape.resets %*/
	if (verdict->reason == VC5_REASON_RESET && transport + sizeof(struct tcphdr) <= cursor.end) {
		const struct tcphdr *tcp = transport;
		u32 data = vc5_length(ip->tot_len) - header - vc5_tcp_header(tcp);

		data += !!(packet.flags & VC5_TCP_FIN);
		vc5_reset(ctx, verdict, &packet, bpf_ntohl(tcp->seq) + data, bpf_ntohl(tcp->ack_seq));
	}
/*% endif %*/
	return 0;
}

int vc5_cold(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	u32 interface = vc5_cold_packet(ctx, &verdict);

	if (interface)
		verdict.action = vc5_redirect(interface, 0);
	return vc5_leave(&verdict);
}
