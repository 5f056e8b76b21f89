/* Sending a packet to its destination at layer 2: new MAC addresses, the tag of the destination's network, and out: of the
 * interface that it came from, or of that which leads to the destination. Time to live is the caller's business, before.
 */

static __always_inline void vc5_write_macs(void *frame, u64 head, u64 tail)
{
	vc5_opaque(tail);
	*(u64 *)frame = head;
	*(u32 *)(frame + 8) = tail;
}

/*% if shape.tagged %*/
/* The id changes, priority and drop eligibility stay. */
static __always_inline void vc5_write_tag(void *frame, u16 vlan)
{
	u16 *control = frame + ETH_HLEN;

	*control = (*control & (u16)~bpf_htons(VC5_TAG_ID)) | vlan;
}
/*% endif %*/
/*% if shape.tagged or shape.narrow %*/

static __always_inline const struct vc5_leg *vc5_leg(u64 number)
{
	return &vc5_legs[number & (VC5_LEGS - 1)];
}

static __always_inline const struct vc5_leg *vc5_leg_of(const struct vc5_destination *destination)
{
	return vc5_leg(destination->path);
}
/*% endif %*/
/*% if shape.tagged %*/

/* Makes room for a tag, or takes one away: then the type of the packet stands where it belongs, and the addresses do not.
 * Returns the frame's new beginning, NULL where there is no room.
 */
static __always_inline void *vc5_retag(struct xdp_md *ctx, u32 l2, u16 vlan)
{
	u16 *type;
	void *frame;

	if (vc5_move_head(ctx, l2 == ETH_HLEN ? -VC5_TAG_LENGTH : VC5_TAG_LENGTH))
		return NULL;
	frame = (void *)(long)ctx->data;
	if (frame + VC5_TAGGED_LENGTH > (void *)(long)ctx->data_end)
		return NULL;
	if (l2 == ETH_HLEN) {
		type = frame + ETH_HLEN - 2;
		type[0] = bpf_htons(VC5_TAG_8021Q);
		type[1] = vlan;
	}
	return frame;
}
/*% endif %*/

/* `frame` has a layer-2 header of `l2` bytes, which lie inside it. It leaves by a leg, with these MAC addresses. */
static __always_inline void vc5_send_by(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, u64 number,
					u64 head, u32 tail)
{
	u64 action = XDP_TX;
/*% if shape.tagged %*/
	const struct vc5_leg *leg = vc5_leg(number);
/*% endif %*/

/*% if shape.mixed %*/
	if (!leg->vlan != (l2 == ETH_HLEN)) {
		frame = vc5_retag(ctx, l2, leg->vlan);
		if (!frame) {
			vc5_decide(verdict, XDP_DROP, VC5_REASON_NO_ROOM);
			return;
		}
	} else if (l2 == VC5_TAGGED_LENGTH) {
		vc5_write_tag(frame, leg->vlan);
	}
/*% elif shape.tagged %*/
	vc5_write_tag(frame, leg->vlan);
/*% endif %*/
	vc5_write_macs(frame, head, tail);
/*% if shape.mixed %*/
	/* Members of a bond are one trunk: what comes tagged and goes tagged leaves where it came. */
	if ((l2 == ETH_HLEN || !leg->vlan) && leg->interface != ctx->ingress_ifindex)
		action = vc5_redirect_map(vc5_doors, number, XDP_DROP);
/*% elif shape.redirects %*/
	action = vc5_redirect_map(vc5_doors, number, XDP_DROP);
/*% endif %*/
	vc5_decide(verdict, action, VC5_REASON_FORWARD);
/*% if shape.redirects %*/
	if (action == XDP_DROP)
		verdict->reason = VC5_REASON_NO_INTERFACE;
/*% endif %*/
}

static __always_inline void vc5_send(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2,
				     const struct vc5_destination *destination)
{
	vc5_send_by(ctx, verdict, frame, l2, destination->path, destination->mac_head, destination->mac_tail);
}

static __always_inline int vc5_opens(u64 flags)
{
	return (flags & (VC5_TCP_SYN | VC5_TCP_ACK)) == VC5_TCP_SYN;
}

static __always_inline void vc5_one_hop_less(void *ip, u64 family)
{
/*% if shape.ipv6 %*/
	if (family == VC5_IPV6)
		((struct vc5_ipv6 *)ip)->hops -= 1;
	else
/*% endif %*/
		vc5_decrement_ttl(ip);
}

static __always_inline u64 vc5_chosen(const struct vc5_service *service, struct vc5_choice choice)
{
	return (service->destinations + choice.index) & (VC5_DESTINATIONS - 1);
}
/*% if shape.tunnels %*/

/* By a tunnel, into which the packet fits. */
static __always_inline void vc5_send_away(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
					  const struct vc5_destination *destination, const struct vc5_tunnel *tunnel,
					  const struct vc5_cargo *cargo)
{
	void *frame;

	vc5_one_hop_less(ip, cargo->family);
	frame = vc5_depart(ctx, verdict, l2, ip, tunnel, cargo);
	if (frame)
		vc5_send_by(ctx, verdict, frame, l2, tunnel->leg, destination->mac_head, destination->mac_tail);
}

static __always_inline void vc5_forward_away(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
					     u64 number, u64 hash, const struct vc5_packet *packet)
{
	const struct vc5_destination *destination = &vc5_destinations[number & (VC5_DESTINATIONS - 1)];
	const struct vc5_tunnel *tunnel = vc5_tunnel_at(destination->path);
	struct vc5_cargo cargo = {
		.family = packet->family,
		.octets = packet->octets,
		.hash = hash,
		.protocol = packet->carried,
		.headers = packet->headers,
		.unsummed = packet->unsummed,
		.sum = packet->sum,
	};

	if (!vc5_fits(tunnel, packet->octets)) {
		vc5_too_big(ctx, verdict, tunnel->room);
		return;
	}
	vc5_send_away(ctx, verdict, l2, ip, destination, tunnel, &cargo);
}

/*% endif %*/
/* `frame` and `ip` have been checked to lie inside the frame; `packet` is complete. `number` is the destination's, `hash`
 * what tells its flows apart. The verdict stands where the backend is behind NAT.
 */
static __always_inline void vc5_deliver(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, void *ip,
					const struct vc5_packet *packet, u64 number, u64 hash)
{
	const struct vc5_destination *destination = &vc5_destinations[number & (VC5_DESTINATIONS - 1)];

/*% if shape.tunnels %*/
	if (destination->refusal == VC5_REFUSAL_TUNNEL) {
		vc5_forward_away(ctx, verdict, l2, ip, number, hash, packet);
		return;
	}
/*% endif %*/
/*% if shape.nat %*/
	/* Its packets have been handed over: the service has just been changed to NAT. */
	if (destination->refusal == VC5_REFUSAL_NAT)
		return;
/*% endif %*/
	if (destination->refusal) {
		vc5_decide(verdict, XDP_DROP, destination->refusal);
		return;
	}
/*% if shape.narrow %*/
	if (packet->octets > vc5_leg_of(destination)->mtu) {
		vc5_too_big(ctx, verdict, vc5_leg_of(destination)->mtu);
		return;
	}
/*% endif %*/
	vc5_one_hop_less(ip, packet->family);
	vc5_send(ctx, verdict, frame, l2, destination);
}

/* As vc5_deliver, for a packet whose service has chosen. */
static __always_inline void vc5_deliver_choice(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2,
					       void *ip, const struct vc5_service *service,
					       const struct vc5_packet *packet, struct vc5_choice choice)
{
	u64 number = vc5_chosen(service, choice);

	verdict->destination = number;
	verdict->octets = packet->octets;
	verdict->flows = vc5_opens(packet->flags);
	if (choice.dead) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_DEAD);
/*% if shape.resets %*/
		if (service->on_dead == VC5_DEAD_POLICY_RESET)
			verdict->reason = VC5_REASON_RESET;
/*% endif %*/
		return;
	}
	vc5_deliver(ctx, verdict, frame, l2, ip, packet, number, vc5_hash(service, packet));
}
/*% if shape.nat %*/

static __always_inline int vc5_is_behind_nat(u64 number)
{
	return vc5_destinations[number & (VC5_DESTINATIONS - 1)].refusal == VC5_REFUSAL_NAT;
}

/* Whether the way to such a backend takes the packet; if not, that is the verdict. */
static __always_inline int vc5_fits_way(struct xdp_md *ctx, struct vc5_verdict *verdict, const struct vc5_packet *packet,
					u64 number)
{
	verdict->destination = number;
	verdict->octets = packet->octets;
/*% if shape.narrow %*/
	if (packet->octets > vc5_leg_of(&vc5_destinations[number])->mtu) {
		vc5_too_big(ctx, verdict, vc5_leg_of(&vc5_destinations[number])->mtu);
		return 0;
	}
/*% endif %*/
	return 1;
}
/*% endif %*/

static __always_inline void vc5_forward(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, void *ip,
					const struct vc5_service *service, const struct vc5_packet *packet)
{
	struct vc5_choice choice = vc5_choose(service, packet);
/*% if shape.nat %*/
	u64 number = vc5_chosen(service, choice);

	if (!choice.dead && vc5_is_behind_nat(number)) {
		if (vc5_fits_way(ctx, verdict, packet, number))
			vc5_hand_to_nat(verdict, frame);
		return;
	}
/*% endif %*/
	vc5_deliver_choice(ctx, verdict, frame, l2, ip, service, packet, choice);
}
