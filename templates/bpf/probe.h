/* Probes travel as clients' packets do, to the VIP on one particular backend. The prober knows each destination by a private
 * address, 10.0.0.0 or VC5_PROBE_PREFIX plus its number, and sends to that through the veth. Here source and destination
 * become the balancer's own address and the VIP, and the frame leaves towards the backend. The answer, from the VIP to the
 * balancer, is recognised by its ports and changed back. The prober never has two probes under way with the same source
 * port to the same VIP and port, so an answer belongs to one destination. Of an echo request the identifier is the source
 * port, and there is no other.
 *
 * With VC5_PROBE_STEERED in the address the number names only the balancer's address to come from, and the service: the packet
 * goes where the slots send a client that has this address, as a drill needs (control/drill.py). What is known of the answer
 * then says by how much the number of the destination that was chosen is above the one called.
 */

enum {
	VC5_PROBE_NET = 10,
	VC5_PROBE_STEERED = 1 << 23, /* above all numbers: a map cannot hold so many */
	VC5_CHOSEN_SHIFT = 48,
};

static __always_inline u16 *vc5_transport_checksum(void *transport, u32 protocol)
{
	if (protocol == VC5_PROTOCOL_TCP)
		return &((struct tcphdr *)transport)->check;
	if (protocol == VC5_PROTOCOL_UDP)
		return &((struct udphdr *)transport)->check;
	return &((struct vc5_icmp_header *)transport)->checksum;
}

static __always_inline int vc5_is_mapped(const u32 *address)
{
	return !address[0] && !address[1] && address[2] == bpf_htonl(0xffff);
}

static __always_inline int vc5_same(const u32 *one, const u32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

/* Both addresses change; so do the checksums that cover them. Network order, IPv4 mapped. A UDP checksum of 0 means none,
 * and that of ICMP covers no addresses, as ICMPv6's does.
 * Returns 0, with nothing changed, where the transport header lies beyond the frame's end.
 */
static __always_inline int vc5_readdress(const struct vc5_packet *packet, void *header, void *transport, const void *end,
					 const u32 *source, const u32 *destination)
{
	u16 *check = vc5_transport_checksum(transport, packet->protocol);
	u32 udp = packet->protocol == VC5_PROTOCOL_UDP;
	u16 sum;

	if ((void *)(check + 1) > end)
		return 0;
	sum = *check;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		struct vc5_ipv6 *ip = header;
		u16 before = sum;
		u32 i;

		/* Never true, but the verifier of Linux 6.1 may have lost sight of the family. */
		if ((void *)(ip + 1) > end)
			return 0;
#pragma unroll
		for (i = 0; i < VC5_WORDS; i++) {
			sum = vc5_adjust_checksum(sum, ip->source[i], source[i]);
			sum = vc5_adjust_checksum(sum, ip->destination[i], destination[i]);
			ip->source[i] = source[i];
			ip->destination[i] = destination[i];
		}
		if (before || !udp)
			*check = !sum && udp ? 0xffff : sum;
		return 1;
	}
/*% endif %*/
	struct iphdr *ip = header;

	if ((sum || !udp) && packet->protocol != VC5_PROTOCOL_ICMP) {
		sum = vc5_adjust_checksum(sum, ip->saddr, source[3]);
		sum = vc5_adjust_checksum(sum, ip->daddr, destination[3]);
		*check = !sum && udp ? 0xffff : sum;
	}
	ip->check = vc5_adjust_checksum(ip->check, ip->saddr, source[3]);
	ip->check = vc5_adjust_checksum(ip->check, ip->daddr, destination[3]);
	ip->saddr = source[3];
	ip->daddr = destination[3];
	return 1;
}

/* What a probe is known by. Returns 0 where its headers contradict, or it is none. */
static __always_inline int vc5_read_probe(struct vc5_packet *packet, const void *at, const void *end, u64 room)
{
	if (vc5_is_icmp(packet))
		return vc5_read_echo(packet, at, end, room, 0);
	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return 0;
	return vc5_read_transport(packet, at, end, room);
}

/* The number of the destination that the slots give a packet from `caller`'s own address to its VIP; 0 where there is none, which
 * is the verdict then.
 */
static __always_inline u64 vc5_probe_steered(struct vc5_verdict *verdict, struct vc5_packet *packet,
					     const struct vc5_identity *caller)
{
	const struct vc5_service *service;
	struct vc5_choice choice;
	u64 number, refusal;

	packet->source = vc5_le32(caller->own[3]);
	packet->vip = vc5_le32(caller->vip[3]);
/*% if shape.ipv6 %*/
	packet->words[0] = vc5_le32(caller->own[0]);
	packet->words[1] = vc5_le32(caller->own[1]);
	packet->words[2] = vc5_le32(caller->own[2]);
	packet->words[3] = vc5_le32(caller->own[3]);
	packet->high = vc5_half(&caller->vip[0]);
	packet->low = vc5_half(&caller->vip[2]);
/*% endif %*/
	service = vc5_find_service(packet);
	if (!service)
		return 0;
	choice = vc5_choose(service, packet);
	number = vc5_chosen(service, choice);
	refusal = vc5_destinations[number].refusal;
	if (choice.dead)
		refusal = VC5_REASON_DEAD;
	if (refusal && refusal != VC5_REFUSAL_TUNNEL && refusal != VC5_REFUSAL_NAT) {
		verdict->destination = number;
		vc5_decide(verdict, XDP_DROP, refusal);
		return 0;
	}
	return number;
}

static __always_inline u32 vc5_probe_out(struct vc5_verdict *verdict, struct xdp_md *ctx)
{
	struct vc5_cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct ethhdr *ethernet = vc5_read_ethernet(&cursor);
	struct vc5_packet packet = {};
	const struct vc5_destination *destination;
	const struct vc5_identity *identity;
/*% if shape.tagged %*/
	u64 leg;
/*% endif %*/
	struct vc5_answer_key key = {};
	void *header = cursor.at, *frame = ethernet;
	u64 head, number, value, steered, chosen;
	u32 length, tail, interface;
	const u32 *target, *own;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_PROBE_REFUSED);
	if (!ethernet)
		return 0;
/*% if shape.ipv6 %*/
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct vc5_ipv6 *ip = vc5_read_ipv6(&cursor);

		if (!ip || (*(u8 *)ip & 0xf0) != 0x60 || ip->destination[0] != bpf_htonl(VC5_PROBE_PREFIX) ||
		    ip->destination[1] || ip->destination[2])
			return 0;
		vc5_read_addresses6(&packet, ip);
		packet.protocol = ip->next;
		length = vc5_length(ip->length);
		number = bpf_ntohl(ip->destination[3]);
		if ((void *)(ip + 1) + length > cursor.end)
			return 0;
	} else
/*% endif %*/
	{
		struct iphdr *ip = vc5_read_ipv4(&cursor);

		if (!ip || ethernet->h_proto != bpf_htons(ETH_P_IP) || *(u8 *)ip != 0x45)
			return 0;
		if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
			return 0;
		vc5_read_addresses4(&packet, ip);
		packet.protocol = ip->protocol;
		length = vc5_length(ip->tot_len);
		if (length < sizeof(*ip) || (void *)ip + length > cursor.end)
			return 0;
		length -= sizeof(*ip);
		number = bpf_ntohl(ip->daddr);
		if (number >> 24 != VC5_PROBE_NET)
			return 0;
		number &= 0xffffff;
	}
	if (!vc5_read_probe(&packet, cursor.at, cursor.end, length))
		return 0;
	value = number;
	steered = number & VC5_PROBE_STEERED;
	number &= ~(u64)VC5_PROBE_STEERED;
	if (!number || number >= VC5_DESTINATIONS)
		return 0;
	vc5_opaque(number);
	number &= VC5_DESTINATIONS - 1;
	identity = &vc5_identities[number];
	if (!identity->used || identity->freed)
		return 0;
	if (vc5_is_mapped(identity->vip) != (packet.family == VC5_IPV4))
		return 0;
	own = identity->own;
	if (steered) {
		if (!(own[0] | own[1] | own[2] | own[3])) {
			verdict->destination = number;
			vc5_decide(verdict, XDP_DROP, VC5_REASON_UNRESOLVED);
			return 0;
		}
		chosen = vc5_probe_steered(verdict, &packet, identity);
		if (!chosen)
			return 0;
		value |= (chosen - number) << VC5_CHOSEN_SHIFT;
		number = chosen & (VC5_DESTINATIONS - 1);
		identity = &vc5_identities[number];
	}
	destination = &vc5_destinations[number];
	verdict->destination = number;
	interface = identity->interface;
	if (!destination->mac_head || !interface) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_UNRESOLVED);
		return 0;
	}
	target = identity->vip;
	key.vip_port = vc5_destination_port(&packet);
/*% if shape.nat %*/
	if (identity->mapped) {
		value |= (u64)key.vip_port << 32;
		target = identity->backend;
		if (key.vip_port == bpf_htons(identity->port) && packet.protocol == identity->protocol)
			key.vip_port = identity->mapped;
	}
/*% endif %*/
	__builtin_memcpy(key.vip, target, sizeof(key.vip));
	key.own_port = vc5_source_port(&packet);
	key.protocol = packet.protocol;
	if (vc5_map_store(vc5_answers, &key, &value, BPF_ANY))
		return 0;
/*% if shape.nat %*/
	if (identity->mapped && !vc5_is_icmp(&packet) &&
	    !vc5_translate(&packet, header, cursor.at, cursor.end, VC5_DESTINATION, target, key.vip_port, identity->clamp))
		return 0;
/*% endif %*/
	if (!vc5_readdress(&packet, header, cursor.at, cursor.end, own, target))
		return 0;
	head = destination->mac_head;
	tail = destination->mac_tail;
/*% if shape.tagged %*/
	leg = destination->path;
/*% endif %*/
/*% if shape.tunnels %*/
	if (identity->tunnel) {
		const struct vc5_tunnel *tunnel = vc5_tunnel_at(identity->tunnel - 1);
		struct vc5_cargo cargo = {
			.family = packet.family,
			.octets = packet.octets,
			.hash = (u64)bpf_ntohs(key.own_port) << 32,
			.protocol = packet.protocol == VC5_PROTOCOL_ICMP ? 0 : packet.protocol,
			.headers = vc5_plain_headers(packet.family),
			.unsummed = vc5_is_icmp(&packet) || vc5_lacks_checksum(packet.protocol, cursor.at, cursor.end),
		};

/*% if shape.udp_tunnels %*/
		if (cargo.unsummed)
			cargo.sum = vc5_whole_sum(ctx, ETH_HLEN, packet.octets);
/*% endif %*/
		if (!vc5_fits(tunnel, packet.octets)) {
			vc5_decide(verdict, XDP_DROP, VC5_REASON_TOO_BIG_LIMITED);
			return 0;
		}
		frame = vc5_depart(ctx, verdict, ETH_HLEN, header, tunnel, &cargo);
		if (!frame)
			return 0;
/*% if shape.tagged %*/
		leg = tunnel->leg;
/*% endif %*/
	}
/*% endif %*/
/*% if shape.tagged %*/
	if (vc5_leg(leg)->vlan) {
		frame = vc5_retag(ctx, ETH_HLEN, vc5_leg(leg)->vlan);
		if (!frame)
			return 0;
	}
/*% endif %*/
	vc5_write_macs(frame, head, tail);
	verdict->destination = 0;
	vc5_decide(verdict, XDP_REDIRECT, VC5_REASON_PROBE_SENT);
	return interface;
}

/* What is known of the probe that waits for a packet with this key; NULL where none does. `header` is that of IP, and goes to
 * the balancer. The destination as the prober calls it becomes `source`, the prober's own address `prober`.
 */
static __always_inline const u64 *vc5_find_probe(const struct vc5_packet *packet, const void *header,
						 const struct vc5_answer_key *key, u32 *source, u32 *prober)
{
	const u64 *found = vc5_map_find(vc5_answers, key);
	const struct vc5_identity *identity;
	const u32 *answerer;
	u64 number;

	if (!found || !vc5_settings->probe_interface)
		return NULL;
	number = *found & (VC5_DESTINATIONS - 1);
	identity = &vc5_identities[number];
	answerer = identity->vip;
/*% if shape.nat %*/
	if (identity->mapped)
		answerer = vc5_identities[(number + ((s64)*found >> VC5_CHOSEN_SHIFT)) & (VC5_DESTINATIONS - 1)].backend;
/*% endif %*/
	if (!vc5_same(answerer, key->vip))
		return NULL;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		if (!vc5_same(identity->own, ((const struct vc5_ipv6 *)header)->destination))
			return NULL;
		__builtin_memcpy(prober, vc5_settings->probe_address6, VC5_WORDS * sizeof(*prober));
		source[0] = bpf_htonl(VC5_PROBE_PREFIX);
		source[3] = bpf_htonl((u32)*found);
		return found;
	}
/*% endif %*/
	if (identity->own[3] != ((const struct iphdr *)header)->daddr)
		return NULL;
	prober[3] = vc5_settings->probe_address;
	source[3] = bpf_htonl(VC5_PROBE_NET << 24 | (u32)*found);
	return found;
}

/* Once all else is as the prober expects it. */
static __always_inline u32 vc5_give_to_prober(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data;

/*% if shape.tagged %*/
	if (l2 == VC5_TAGGED_LENGTH) {
		frame = vc5_retag(ctx, l2, 0);
		if (!frame)
			return 0;
	}
/*% endif %*/
	if (frame + ETH_HLEN > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(frame, vc5_settings->probe_mac, 2 * ETH_ALEN);
	vc5_decide(verdict, XDP_REDIRECT, VC5_REASON_PROBE_ANSWER);
	return vc5_settings->probe_interface;
}

/* A packet whose source is a VIP, or anybody's behind NAT; `header` is that of IP, in a frame with `l2` bytes before it. */
static __always_inline u32 vc5_probe_in(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					void *transport, const void *end, const struct vc5_packet *packet)
{
	u32 source[VC5_WORDS] = {}, prober[VC5_WORDS] = {};
	struct vc5_answer_key key = {
		.vip_port = vc5_source_port(packet),
		.own_port = vc5_destination_port(packet),
		.protocol = packet->protocol,
	};
	const u64 *found;

/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		__builtin_memcpy(key.vip, ((struct vc5_ipv6 *)header)->source, sizeof(key.vip));
	} else
/*% endif %*/
	{
		key.vip[2] = bpf_htonl(0xffff);
		key.vip[3] = ((struct iphdr *)header)->saddr;
	}
	found = vc5_find_probe(packet, header, &key, source, prober);
	if (!found)
		return 0;
/*% if shape.nat %*/
	if (vc5_identities[*found & (VC5_DESTINATIONS - 1)].mapped && !vc5_is_icmp(packet) &&
	    !vc5_translate(packet, header, transport, end, VC5_SOURCE, source, *found >> 32, 0))
		return 0;
/*% endif %*/
	if (!vc5_readdress(packet, header, transport, end, source, prober))
		return 0;
	return vc5_give_to_prober(ctx, verdict, l2);
}

int vc5_probe(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	u32 interface = vc5_probe_out(&verdict, ctx);

	if (interface)
		verdict.action = vc5_redirect(interface, 0);
	return vc5_leave(ctx, &verdict);
}

int vc5_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
