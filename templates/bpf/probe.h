/* Probes travel as clients' packets do, to the VIP on one particular backend. The prober knows each destination by a private
 * address, 10.0.0.0 plus its number, and sends to that through the veth. Here source and destination become the balancer's
 * own address and the VIP, and the frame leaves towards the backend. The answer, from the VIP to the balancer, is
 * recognised by its ports and changed back. The prober never has two probes under way with the same source port to the same
 * VIP and port, so an answer belongs to one destination.
 */

enum { VC5_PROBE_NET = 10 };

static __always_inline u16 *vc5_transport_checksum(void *transport, u32 protocol)
{
	if (protocol == VC5_PROTOCOL_TCP)
		return &((struct tcphdr *)transport)->check;
	return &((struct udphdr *)transport)->check;
}

/* Both addresses change; so do the checksums that cover them. Network order. A UDP checksum of 0 means none. Returns 0,
 * with nothing changed, where the transport header lies beyond the frame's end.
 */
static __always_inline int vc5_readdress(struct iphdr *ip, void *transport, const void *end, u32 source, u32 destination)
{
	u16 *check = vc5_transport_checksum(transport, ip->protocol);
	u16 sum;

	if ((void *)(check + 1) > end)
		return 0;
	sum = *check;
	if (sum || ip->protocol == VC5_PROTOCOL_TCP) {
		sum = vc5_adjust_checksum(sum, ip->saddr, source);
		sum = vc5_adjust_checksum(sum, ip->daddr, destination);
		*check = !sum && ip->protocol == VC5_PROTOCOL_UDP ? 0xffff : sum;
	}
	ip->check = vc5_adjust_checksum(ip->check, ip->saddr, source);
	ip->check = vc5_adjust_checksum(ip->check, ip->daddr, destination);
	ip->saddr = source;
	ip->daddr = destination;
	return 1;
}

static __always_inline u32 vc5_probe_out(struct vc5_verdict *verdict, struct xdp_md *ctx)
{
	struct vc5_cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct ethhdr *ethernet = vc5_read_ethernet(&cursor);
	struct iphdr *ip = vc5_read_ipv4(&cursor);
	struct vc5_packet packet = {};
	const struct vc5_destination *destination;
	const struct vc5_identity *identity;
	struct vc5_answer_key key;
	u32 address, number, length;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_PROBE_REFUSED);
	if (!ethernet || !ip || ethernet->h_proto != bpf_htons(ETH_P_IP) || *(u8 *)ip != 0x45)
		return 0;
	if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
		return 0;
	packet.protocol = ip->protocol;
	if (packet.protocol != VC5_PROTOCOL_TCP && packet.protocol != VC5_PROTOCOL_UDP)
		return 0;
	length = vc5_length(ip->tot_len);
	if (length < sizeof(*ip) || (void *)ip + length > cursor.end)
		return 0;
	if (!vc5_read_transport(&packet, cursor.at, cursor.end, length - sizeof(*ip)))
		return 0;
	address = bpf_ntohl(ip->daddr);
	number = address & 0xffffff;
	if (address >> 24 != VC5_PROBE_NET || !number || number >= VC5_DESTINATIONS)
		return 0;
	destination = &vc5_destinations[number];
	identity = &vc5_identities[number];
	if (!identity->vip || identity->freed)
		return 0;
	verdict->destination = number;
	if (!destination->mac_head || !identity->interface) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_UNRESOLVED);
		return 0;
	}
	key.vip = identity->vip;
	key.vip_port = vc5_destination_port(&packet);
	key.own_port = vc5_source_port(&packet);
	key.protocol = packet.protocol;
	if (vc5_map_store(vc5_answers, &key, &number, BPF_ANY))
		return 0;
	if (!vc5_readdress(ip, cursor.at, cursor.end, identity->own, identity->vip))
		return 0;
	vc5_write_macs(ethernet, destination->mac_head, destination->mac_tail);
	verdict->destination = 0;
	vc5_decide(verdict, XDP_REDIRECT, VC5_REASON_PROBE_SENT);
	return identity->interface;
}

/* A packet whose source is a VIP. */
static __always_inline u32 vc5_probe_in(struct vc5_verdict *verdict, struct ethhdr *ethernet, struct iphdr *ip,
					void *transport, const void *end, const struct vc5_packet *packet)
{
	const struct vc5_identity *identity;
	struct vc5_answer_key key = {
		.vip = ip->saddr,
		.vip_port = vc5_source_port(packet),
		.own_port = vc5_destination_port(packet),
		.protocol = packet->protocol,
	};
	const u32 *found = vc5_map_find(vc5_answers, &key);
	u32 number;

	if (!found || !vc5_settings->probe_interface)
		return 0;
	number = *found & (VC5_DESTINATIONS - 1);
	identity = &vc5_identities[number];
	if (identity->own != ip->daddr || identity->vip != ip->saddr)
		return 0;
	if (!vc5_readdress(ip, transport, end, bpf_htonl(VC5_PROBE_NET << 24 | number), vc5_settings->probe_address))
		return 0;
	__builtin_memcpy(ethernet, vc5_settings->probe_mac, 2 * ETH_ALEN);
	vc5_decide(verdict, XDP_REDIRECT, VC5_REASON_PROBE_ANSWER);
	return vc5_settings->probe_interface;
}

int vc5_probe(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	u32 interface = vc5_probe_out(&verdict, ctx);

	if (interface)
		verdict.action = vc5_redirect(interface, 0);
	return vc5_leave(&verdict);
}

int vc5_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
