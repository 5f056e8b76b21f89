/* vc5_drop: writes down the first bytes of a packet that is dropped, for `vc5 drops`. Its reason is in the note.
 *
 * Records belong to one CPU and one reason; the newest takes the place of the oldest. Each CPU writes only so many
 * within one coarse second, and then says so beside its counter of the reason, where vc5_leave looks: in a flood, a
 * dropped packet costs that look. While no daemon runs the coarse clock stands still, and what it leaves room for is the
 * last.
 */

int vc5_drop(struct xdp_md *ctx)
{
	u64 cpu = vc5_this_cpu() & (VC5_CPUS - 1), reason = vc5_notes[cpu].reason & (VC5_DROP_REASONS - 1);
	u64 *counter = vc5_reason_counter(cpu, reason), number = counter[VC5_DROPS_NUMBER] + 1, kept;
	struct vc5_dropped *ring = &vc5_drops[cpu * VC5_DROP_REASONS * VC5_DROPS_KEPT], *record;
	u32 time = vc5_settings->time;

	vc5_opaque(ring);
	ring += reason * VC5_DROPS_KEPT;
	vc5_opaque(ring);
	record = ring + (number & (VC5_DROPS_KEPT - 1));
	/* Who reads meanwhile sees that this is neither the old nor the new one. */
	*(volatile u64 *)&record->number = 0;
	record->at = vc5_clock();
	record->time = time;
	record->interface = ctx->ingress_ifindex;
	record->length = vc5_frame_length(ctx);
	kept = record->length;
	if (kept > VC5_DROP_OCTETS)
		kept = VC5_DROP_OCTETS;
	record->kept = kept;
	/* The same number, since no frame is empty: the verifier of Linux 6.1 keeps no bound known by comparison alone. */
	kept -= 1;
	vc5_opaque(kept);
	vc5_load(ctx, 0, record->octets, (kept & (VC5_DROP_OCTETS - 1)) + 1);
	*(volatile u64 *)&record->number = number;
	counter[VC5_DROPS_NUMBER] = number;
	if (ring[(number + 1 - VC5_DROPS_A_SECOND) & (VC5_DROPS_KEPT - 1)].time == time)
		counter[VC5_DROPS_CLOSED] = time;
	return XDP_DROP;
}
