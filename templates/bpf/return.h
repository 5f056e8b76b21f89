/* The way back from backends behind NAT: the balancer is their default route, and gives their answers the VIP's address
 * and port again. Which way the client lies is a question for the host's routes. What the program cannot or need not decide
 * is left to the host, which is the backends' router: answers for the host itself, and whatever is the answer of no service,
 * as it came; and answers whose next hop is not resolved, translated, so that forwarding them resolves it.
 */

static long (*vc5_find_way)(void *ctx, void *way, int size, u32 flags) = (void *)BPF_FUNC_fib_lookup;

enum { VC5_AF_INET = 2, VC5_AF_INET6 = 10, VC5_HEADERS_MASK = 0x3fff, VC5_AS_IT_CAME = VC5_LEGS };

/* The same walk with the numbers forgotten that it came by. Where the transport begins is told by lengths: a difference of
 * pointers the compiler would take apart.
 */
static __always_inline struct vc5_walk vc5_walked(const struct vc5_packet *packet, const struct vc5_walk *from, void *ip)
{
	struct vc5_walk walk = *from;

	if (walk.at) {
		walk.at = ip + (vc5_forgotten(packet->octets - walk.room, ip) & VC5_HEADERS_MASK);
		walk.room = vc5_forgotten(walk.room, ip);
	}
	return walk;
}

static __always_inline void vc5_ask_way(const struct vc5_packet *packet, const void *header,
					const struct vc5_identity *identity, struct bpf_fib_lookup *way)
{
	way->l4_protocol = packet->protocol;
	way->sport = bpf_htons(identity->port);
	way->dport = vc5_destination_port(packet);
	way->tot_len = packet->octets;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		const struct vc5_ipv6 *ip = header;

		way->family = VC5_AF_INET6;
		way->flowinfo = ip->first & bpf_htonl(0x0fffffff);
		__builtin_memcpy(way->ipv6_src, identity->vip, sizeof(way->ipv6_src));
		__builtin_memcpy(way->ipv6_dst, ip->destination, sizeof(way->ipv6_dst));
		return;
	}
/*% endif %*/
	const struct iphdr *ip = header;

	way->family = VC5_AF_INET;
	way->tos = ip->tos;
	way->ipv4_src = identity->vip[VC5_WORDS - 1];
	way->ipv4_dst = ip->daddr;
}

static __always_inline int vc5_to_own(const struct vc5_packet *packet, const void *header,
				      const struct vc5_identity *identity)
{
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6)
		return vc5_same(identity->own, ((const struct vc5_ipv6 *)header)->destination);
/*% endif %*/
	return identity->own[VC5_WORDS - 1] == ((const struct iphdr *)header)->daddr;
}

/* Whether a frame was sent to the balancer: to the address that it uses towards this backend. */
static __always_inline int vc5_is_mine(const struct ethhdr *ethernet, const struct vc5_destination *destination)
{
	u64 head = destination->mac_head;
	u32 tail = destination->mac_tail, first, second;
	u16 middle;

	__builtin_memcpy(&middle, (u8 *)&head + ETH_ALEN, sizeof(middle));
	__builtin_memcpy(&first, ethernet->h_dest + 2, sizeof(first));
	second = *(u16 *)ethernet->h_dest;
	return second == middle && first == tail;
}

/* By which leg an answer leaves; 0: the host forwards it, once it is translated; VC5_AS_IT_CAME: it need not be. */
static __always_inline u64 vc5_find_leg(struct xdp_md *ctx, struct vc5_verdict *verdict, struct bpf_fib_lookup *way)
{
	long found = vc5_find_way(ctx, way, sizeof(*way), 0);
	const u32 *outlet = NULL;

	/* For the host itself, or nowhere. */
	if (found == BPF_FIB_LKUP_RET_NOT_FWDED)
		return VC5_AS_IT_CAME;
	vc5_decide(verdict, XDP_PASS, VC5_REASON_NO_ROUTE);
	if (found == BPF_FIB_LKUP_RET_SUCCESS)
		outlet = vc5_map_find(vc5_outlets, &way->ifindex);
	else if (found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return VC5_AS_IT_CAME;
	return outlet ? *outlet & (VC5_LEGS - 1) : 0;
}

/* Once it is translated. */
static __always_inline void vc5_send_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					  const struct vc5_packet *packet, u64 leg, const struct bpf_fib_lookup *way)
{
	u8 macs[16] __attribute__((aligned(8))) = {};

	vc5_one_hop_less(header, packet->family);
	__builtin_memcpy(macs, way->dmac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, way->smac, ETH_ALEN);
	vc5_send_by(ctx, verdict, header - l2, l2, leg, *(u64 *)macs, *(u32 *)(macs + 8));
	if (verdict->reason != VC5_REASON_FORWARD)
		return;
	verdict->reason = VC5_REASON_RETURN;
/*% if shape.mode == "simple" %*/
	if (vc5_legs[leg].interface != ctx->ingress_ifindex)
		verdict->action = vc5_redirect(vc5_legs[leg].interface, 0);
/*% endif %*/
}

/* An answer of a destination, to somebody who is not the balancer. */
static __always_inline void vc5_give_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					  void *transport, const void *end, const struct vc5_packet *packet, u32 hops,
					  u64 number)
{
	const struct vc5_identity *identity = &vc5_identities[number];
	struct bpf_fib_lookup way = {.ifindex = ctx->ingress_ifindex};
	u64 leg;

	if (!vc5_is_mine(header - l2, &vc5_destinations[number]))
		return;
	if (hops <= 1) {
		verdict->destination = number;
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return;
	}
	vc5_ask_way(packet, header, identity, &way);
	leg = vc5_find_leg(ctx, verdict, &way);
	if (leg == VC5_AS_IT_CAME)
		return;
	if (!vc5_translate(packet, header, transport, end, VC5_SOURCE, identity->vip, bpf_htons(identity->port),
			   identity->clamp))
		return;
	if (leg)
		vc5_send_back(ctx, verdict, l2, header, packet, leg & (VC5_LEGS - 1), &way);
}

static __always_inline void vc5_source_of(const struct vc5_packet *packet, const void *header, u32 *address)
{
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		__builtin_memcpy(address, ((const struct vc5_ipv6 *)header)->source, VC5_WORDS * sizeof(*address));
		return;
	}
/*% endif %*/
	address[2] = bpf_htonl(0xffff);
	address[3] = ((const struct iphdr *)header)->saddr;
}

/* A packet that is neither to a VIP nor from one. Answers to probes are for the balancer itself. */
static __always_inline u32 vc5_from_backend(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					    const void *end, struct vc5_packet *packet, const struct vc5_walk *from,
					    u32 hops)
{
	struct vc5_endpoint endpoint = {.protocol = packet->protocol};
	struct vc5_walk walk;
	const u32 *found;
	u64 number;

	if (!from->at)
		return 0;
	if (from->fragment) {
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_RETURN_FRAGMENT);
		return 0;
	}
	if (vc5_is_icmp(packet)) {
		vc5_own_note()->transport = packet->octets - from->room;
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_RETURN_ERROR);
		return 0;
	}
	walk = vc5_walked(packet, from, header);
	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return 0;
	if (!vc5_read_transport(packet, walk.at, end, walk.room))
		return 0;
	endpoint.port = vc5_source_port(packet);
	vc5_source_of(packet, header, endpoint.address);
	found = vc5_map_find(vc5_returns, &endpoint);
	if (found) {
		number = *found & (VC5_DESTINATIONS - 1);
		if (!vc5_to_own(packet, header, &vc5_identities[number])) {
			vc5_give_back(ctx, verdict, l2, header, walk.at, end, packet, hops, number);
			return 0;
		}
	}
	return vc5_probe_in(ctx, verdict, l2, header, walk.at, end, packet);
}

static __always_inline u32 vc5_return4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;
	struct vc5_walk walk;

	if ((void *)(ip + 1) > end)
		return 0;
	vc5_read_addresses4(&packet, ip);
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	return vc5_from_backend(ctx, verdict, l2, ip, end, &packet, &walk, ip->ttl);
}

/*% if shape.ipv6 %*/
static __always_inline u32 vc5_return6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_packet packet = {};
	struct vc5_ipv6 *ip = frame + l2;
	struct vc5_walk walk;

	if ((void *)(ip + 1) > end)
		return 0;
	vc5_read_addresses6(&packet, ip);
	walk = vc5_walk6(ctx, l2, &packet, ip, end, 0);
	return vc5_from_backend(ctx, verdict, l2, ip, end, &packet, &walk, ip->hops);
}

/*% endif %*/
static __always_inline u32 vc5_return_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data;

	vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
	if (frame + l2 > (void *)(long)ctx->data_end)
		return 0;
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV4))
		return vc5_return4(ctx, verdict, l2);
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6))
		return vc5_return6(ctx, verdict, l2);
/*% endif %*/
	return 0;
}

/* The way there: the packet has been checked, and its destination found. While a service is being changed from or to NAT
 * there may be no port, and nothing changes.
 */
static __always_inline void vc5_nat_packet(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
					   const void *end, struct vc5_packet *packet, const struct vc5_walk *from)
{
	struct vc5_walk walk = vc5_walked(packet, from, ip);
	u64 number = *(u32 *)(ip - l2) & (VC5_DESTINATIONS - 1);
	const struct vc5_identity *identity = &vc5_identities[number];

	if (!walk.at || !vc5_read_transport(packet, walk.at, end, walk.room))
		return;
	if (identity->mapped && !vc5_translate(packet, ip, walk.at, end, VC5_DESTINATION, identity->backend,
					       identity->mapped, identity->clamp))
		return;
	vc5_one_hop_less(ip, packet->family);
	verdict->destination = number;
	verdict->octets = packet->octets;
	verdict->flows = vc5_opens(packet->flags);
	vc5_send(ctx, verdict, ip - l2, l2, &vc5_destinations[number]);
}

static __always_inline u32 vc5_nat_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;

	if (ip + sizeof(struct iphdr) > end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		if (ip + sizeof(struct vc5_ipv6) > end)
			return 0;
		vc5_read_addresses6(&packet, ip);
		walk = vc5_walk6(ctx, l2, &packet, ip, end, 0);
		vc5_nat_packet(ctx, verdict, l2, ip, end, &packet, &walk);
		return 0;
	}
/*% endif %*/
	vc5_note_source4(verdict, ip);
	vc5_read_addresses4(&packet, ip);
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	vc5_nat_packet(ctx, verdict, l2, ip, end, &packet, &walk);
	return 0;
}

int vc5_nat(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_nat_frame);
	return vc5_leave(ctx, &verdict);
}

int vc5_return(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	return vc5_cold_leave(ctx, &verdict, vc5_cold_frame(ctx, &verdict, vc5_return_frame));
}
