/* Tells the daemon, and so the fleet, of a flow that is remembered anew, or confirmed. A flood makes candidates: those are
 * only told while the ring is less than half full, so that there is room for flows that are real.
 */
static __always_inline void vc5_tell(const struct vc5_service *service, u64 name, u32 slot, u32 index, u32 expiry,
				     u32 flags)
{
	struct vc5_flow_news news = {
		.name = name,
		.destination = service->destinations + index,
		.slot = slot,
		.expiry = expiry,
		.flags = flags,
	};

	if (flags & VC5_NEWS_FLAG_CANDIDATE && vc5_ask_news(vc5_news, BPF_RB_AVAIL_DATA) > VC5_NEWS_ROOM / 2)
		vc5_count(VC5_REASON_UNTOLD);
	else if (vc5_put_news(vc5_news, &news, sizeof(news), 0))
		vc5_count(VC5_REASON_UNTOLD);
}
