/* A packet that is longer than the way to its backend allows is answered as a router would: ICMP "fragmentation needed"
 * (RFC 792 and RFC 1191 section 4), or ICMPv6 "packet too big" (RFC 4443 section 3.2), from the VIP. The clients' path MTU
 * discovery lives by that. Nothing in the middle cuts packets here, so IPv4 packets without don't-fragment are answered
 * as well, and hosts heed that.
 *
 * vc5_too_big, in any program, notes the MTU and hands the untouched frame to vc5_quote. Each CPU sends only so many
 * answers in one second of the coarse clock. While no daemon runs that clock stands still, and the budget is the last.
 */

enum {
	VC5_TOO_BIG_TTL = 64,
	VC5_QUOTE4 = 548, /* most bytes of the packet in an answer of 576, RFC 1812 section 4.3.2.3 */
	VC5_QUOTE6 = 1232, /* of 1280, RFC 4443 section 2.4 */
	VC5_QUOTE_STEP = 4,
};

/* Does not return, unless that program is missing. `mtu` bounds the packet as it came, verdict->destination is known. */
static __always_inline void vc5_too_big(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 mtu)
{
	struct vc5_note *note = vc5_own_note();

	note->mtu = mtu;
	note->destination = verdict->destination;
	vc5_tail_call(ctx, vc5_tails, VC5_TAIL_TOO_BIG);
	vc5_decide(verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
}
