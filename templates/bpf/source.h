/* Where a packet comes from: counted by prefix, and dropped where that is blocked. Both concern packets to VIPs alone.
 *
 * Blocked prefixes lie in a trie of the kernel's. Before that stands a bit for each possible start of a source: clear, it
 * says that no such source is blocked, and that is all that nearly every packet asks. So vc5_main looks at the bit only,
 * and leaves the rest to vc5_cold.
 */

static __always_inline u64 vc5_source_prefix4(const struct iphdr *ip)
{
	return bpf_ntohl(ip->saddr) >> (32 - VC5_SOURCE_BITS);
}

static __always_inline void vc5_note_source4(struct vc5_verdict *verdict, const struct iphdr *ip)
{
/*% if shape.counts_sources %*/
	verdict->source = vc5_source_prefix4(ip) + 1;
/*% endif %*/
}
/*% if shape.blocks %*/

static __always_inline u64 vc5_suspect(u64 place)
{
	return vc5_suspects[place >> 6] >> (place & 63) & 1;
}

static __always_inline u64 vc5_suspect4(const struct iphdr *ip)
{
	return vc5_suspect(vc5_source_prefix4(ip));
}

static __always_inline u64 vc5_is_blocked(const u32 *address)
{
	struct vc5_block_key key = {
		.length = 128,
		.address = {address[0], address[1], address[2], address[3]},
	};

	return !!vc5_map_find(vc5_blocked, &key);
}

static __always_inline u64 vc5_is_blocked4(const struct iphdr *ip)
{
	u32 address[VC5_WORDS] = {0, 0, bpf_htonl(0xffff), ip->saddr};

	return vc5_is_blocked(address);
}
/*% if shape.ipv6 %*/

/* Sources of one /32 share a bit. Which one is a hash: the first bits alone would all be those of few registries. */
static __always_inline u64 vc5_suspect6(const struct vc5_ipv6 *ip)
{
	u32 mixed = bpf_ntohl(ip->source[0]) * VC5_SOURCE_FACTOR;

	return vc5_suspect((1 << VC5_SOURCE_BITS) + (mixed >> (32 - VC5_SOURCE_BITS)));
}
/*% endif %*/
/*% endif %*/
