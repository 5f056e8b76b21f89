/* Every packet leaves through vc5_leave, which counts it: by destination where one is known, and by reason unless it was
 * simply forwarded (those are the sum over the destinations). Counters belong to one CPU each, so they need no atomics.
 */

struct vc5_verdict {
	u64 action; /* enum xdp_action */
	u64 reason; /* enum vc5_reason */
	u64 destination; /* 0: none is known */
	u64 octets; /* length of the IP packet */
	u64 flows; /* 1: the packet opens a TCP connection */
/*% if shape.counts_sources %*/
	u64 source; /* 0: not to be counted; else the first bits of an IPv4 source, plus 1 */
/*% endif %*/
};

static __always_inline u64 *vc5_reason_counter(u64 cpu, u32 reason)
{
	u64 *row = &vc5_reasons[cpu * VC5_REASON_STRIDE];

	vc5_opaque(row); /* as in lookup.h: no OR */
	return row + (reason & 63);
}

static __always_inline void vc5_count(u32 reason)
{
	*vc5_reason_counter(vc5_this_cpu() & (VC5_CPUS - 1), reason) += 1;
}

static __always_inline struct vc5_counter *vc5_counter_of(u64 cpu, u64 destination)
{
	struct vc5_counter *row = &vc5_counters[cpu * 2 * VC5_DESTINATIONS];

	vc5_opaque(row);
	return row + (destination & (VC5_DESTINATIONS - 1));
}

static __always_inline struct vc5_event *vc5_event_counter(u64 cpu, u64 destination)
{
	return (struct vc5_event *)(vc5_counter_of(cpu, destination) + VC5_DESTINATIONS);
}

/*% if shape.counts_sources %*/
/* Shared by all CPUs, and not atomic: an increment that meets another one may be lost, of which the sample has plenty. */
static __always_inline void vc5_count_source(const struct vc5_verdict *verdict, u64 counted)
{
	if (!(counted & (VC5_SOURCE_SAMPLE - 1)) && verdict->source)
		vc5_sources[(verdict->source - 1) & ((1 << VC5_SOURCE_BITS) - 1)] += 1;
}

/*% endif %*/
/* A connection that begins, at once, so that nothing has to be kept for vc5_leave. */
static __always_inline void vc5_count_open(const struct vc5_verdict *verdict)
{
	if (verdict->reason == VC5_REASON_FORWARD)
		vc5_event_counter(vc5_this_cpu() & (VC5_CPUS - 1), verdict->destination)->flows += 1;
}

/* What is dropped is written down, by a program of its own, as long as that is not too much within one coarse second. */
static __always_inline void vc5_tell_drop(struct xdp_md *ctx, u64 cpu, u64 reason, const u64 *counter)
{
	if (counter[VC5_DROPS_CLOSED] == vc5_settings->time)
		return;
	vc5_notes[cpu].reason = reason;
	vc5_tail_call(ctx, vc5_tails, VC5_TAIL_DROP);
}

static __always_inline int vc5_leave(struct xdp_md *ctx, const struct vc5_verdict *verdict)
{
	u64 cpu, *reason;

	if (verdict->reason == VC5_REASON_FORWARD) {
		struct vc5_counter *counter;

		cpu = vc5_this_cpu() & (VC5_CPUS - 1);
		counter = vc5_counter_of(cpu, verdict->destination);
		counter->packets += 1;
		counter->octets += verdict->octets;
		if (verdict->flows)
			vc5_event_counter(cpu, verdict->destination)->flows += 1;
/*% if shape.counts_sources %*/
		vc5_count_source(verdict, counter->packets);
/*% endif %*/
		return verdict->action;
	}
	/* Or the compiler would join this call and that above, and have forwarded packets keep what only drops need. */
	asm volatile("");
	cpu = vc5_this_cpu() & (VC5_CPUS - 1);
	if (verdict->destination)
		vc5_event_counter(cpu, verdict->destination)->drops += 1;
	reason = vc5_reason_counter(cpu, verdict->reason);
	*reason += 1;
/*% if shape.counts_sources %*/
	vc5_count_source(verdict, *reason);
/*% endif %*/
	if (verdict->action == XDP_DROP)
		vc5_tell_drop(ctx, cpu, verdict->reason, reason);
	return verdict->action;
}

static __always_inline void vc5_decide(struct vc5_verdict *verdict, u32 action, u32 reason)
{
	verdict->action = action;
	verdict->reason = reason;
}

static __always_inline struct vc5_note *vc5_own_note(void)
{
	return &vc5_notes[vc5_this_cpu() & (VC5_CPUS - 1)];
}
