/* Every packet leaves through vc5_leave, which counts it: by destination where one is known, and by reason unless it was
 * simply forwarded (those are the sum over the destinations). Counters belong to one CPU each, so they need no atomics.
 */

struct vc5_verdict {
	u32 action; /* enum xdp_action */
	u32 reason; /* enum vc5_reason */
	u32 destination; /* 0: none is known */
	u32 octets; /* length of the IP packet */
	u32 flows; /* 1: the packet opens a TCP connection */
};

static __always_inline u64 *vc5_reason_counter(u32 reason)
{
	return &vc5_reasons[(vc5_this_cpu() & (VC5_CPUS - 1)) * VC5_REASON_STRIDE + (reason & 63)];
}

static __always_inline void vc5_count(u32 reason)
{
	*vc5_reason_counter(reason) += 1;
}

static __always_inline int vc5_leave(const struct vc5_verdict *verdict)
{
	u32 cpu = vc5_this_cpu() & (VC5_CPUS - 1);

	if (verdict->destination) {
		u32 place = cpu * VC5_DESTINATIONS + (verdict->destination & (VC5_DESTINATIONS - 1));
		struct vc5_counter *counter = &vc5_counters[place];

		if (verdict->reason == VC5_REASON_FORWARD) {
			counter->packets += 1;
			counter->octets += verdict->octets;
			if (verdict->flows)
				counter->flows += 1;
			return verdict->action;
		}
		counter->drops += 1;
	}
	vc5_reasons[cpu * VC5_REASON_STRIDE + (verdict->reason & 63)] += 1;
	return verdict->action;
}

static __always_inline void vc5_decide(struct vc5_verdict *verdict, u32 action, u32 reason)
{
	verdict->action = action;
	verdict->reason = reason;
}
