/* Sending a packet to its destination at layer 2: new MAC addresses, one hop less to live, out of the interface that it
 * came from.
 */

static __always_inline void vc5_write_macs(void *frame, u64 head, u64 tail)
{
	vc5_opaque(tail);
	*(u64 *)frame = head;
	*(u32 *)(frame + 8) = tail;
}

static __always_inline void vc5_send(struct vc5_verdict *verdict, void *frame, struct iphdr *ip,
				     const struct vc5_destination *destination)
{
	vc5_decrement_ttl(ip);
	vc5_write_macs(frame, destination->mac_head, destination->mac_tail);
	vc5_decide(verdict, XDP_TX, VC5_REASON_FORWARD);
}

static __always_inline int vc5_opens(u64 flags)
{
	return (flags & (VC5_TCP_SYN | VC5_TCP_ACK)) == VC5_TCP_SYN;
}

/* `frame` and `ip` have been checked to lie inside the frame; `packet` is complete. */
static __always_inline void vc5_forward(struct vc5_verdict *verdict, void *frame, struct iphdr *ip,
					const struct vc5_service *service, const struct vc5_packet *packet)
{
	struct vc5_choice choice = vc5_choose(service, packet);
	u64 number = (service->destinations + choice.index) & (VC5_DESTINATIONS - 1);
	const struct vc5_destination *destination = &vc5_destinations[number];

	verdict->destination = number;
	verdict->octets = bpf_ntohs(ip->tot_len);
	verdict->flows = vc5_opens(packet->flags);
	if (choice.dead) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_DEAD);
/*% if shape.resets %*/
		if (service->on_dead == VC5_DEAD_POLICY_RESET)
			verdict->reason = VC5_REASON_RESET;
/*% endif %*/
		return;
	}
	if (destination->refusal) {
		vc5_decide(verdict, XDP_DROP, destination->refusal);
		return;
	}
	vc5_send(verdict, frame, ip, destination);
}
