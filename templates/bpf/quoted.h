/* What an error quotes gets other addresses and ports, with all checksums: those of the quoted headers, and that of the error
 * by the words that changed. Of a TCP header cut after 8 bytes there is no checksum to keep right.
 */

enum { VC5_MOST_QUOTED = 0x7fff }; /* bytes before the transport header that an error quotes: more than all of them */

/* What vc5_nat_part has been told, each read but once. */
struct vc5_part {
	u64 number;
	u32 transport;
	u32 inner;
};

/* What has a checksum of its own, in an error whose bytes have another one. Words are added to `moved` as the inner header's
 * checksums need them, and to `content` for that of the error.
 */
struct vc5_quote_sums {
	u64 moved;
	u64 content;
};

/* One end of an IPv4 packet that an error quotes, and the other of the error if it is the same. */
static __always_inline struct vc5_quote_sums vc5_translate_quoted4(struct iphdr *ip, struct iphdr *inner, u32 which,
								   u32 address)
{
	u32 *place = which == VC5_SOURCE ? &inner->saddr : &inner->daddr;
	u32 *outer = which == VC5_SOURCE ? &ip->daddr : &ip->saddr;
	struct vc5_quote_sums sums = {.moved = (u64)(u32)~*place + address};
	u16 before = inner->check;

	if (*outer == *place) {
		*outer = address;
		ip->check = vc5_changed_checksum(ip->check, sums.moved);
	}
	*place = address;
	inner->check = vc5_changed_checksum(before, sums.moved);
	sums.content = sums.moved + (u16)~before + inner->check;
	return sums;
}
/*% if shape.ipv6 %*/

/* Of IPv6, where the checksum of the error covers its own addresses too. */
static __always_inline struct vc5_quote_sums vc5_translate_quoted6(struct vc5_ipv6 *ip, struct vc5_ipv6 *inner, u32 which,
								   const u32 *address)
{
	u32 *place = which == VC5_SOURCE ? inner->source : inner->destination;
	u32 *outer = which == VC5_SOURCE ? ip->destination : ip->source;
	int same = vc5_same(outer, place);
	struct vc5_quote_sums sums = {};
	u32 i;

#pragma unroll
	for (i = 0; i < VC5_WORDS; i++) {
		sums.moved += (u64)(u32)~place[i] + address[i];
		place[i] = address[i];
	}
	sums.content = sums.moved;
	if (same) {
		sums.content += sums.moved;
#pragma unroll
		for (i = 0; i < VC5_WORDS; i++)
			outer[i] = address[i];
	}
	return sums;
}
/*% endif %*/

/* `which` end of the packet that an error quotes becomes another, as in vc5_translate. At least the first 8 bytes of its
 * transport header are there. Returns 0, with nothing changed, where they lie beyond the frame's end.
 */
static __always_inline int vc5_translate_error(const struct vc5_packet *packet, void *header, const void *end,
					       const struct vc5_part *part, u32 which, const u32 *address, u16 port)
{
	struct vc5_icmp_header *icmp = header + (part->transport & VC5_MOST_HEADERS);
	u16 *ports = header + (part->inner & VC5_MOST_QUOTED), *check = NULL;
	u32 udp = packet->protocol == VC5_PROTOCOL_UDP;
	struct vc5_quote_sums sums;
	u64 turned;
	u16 before;

	if ((void *)(icmp + 1) + sizeof(struct iphdr) > end || (void *)ports + VC5_ICMP_LEAST > end)
		return 0;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		if (header + sizeof(struct vc5_ipv6) > end || (void *)(icmp + 1) + sizeof(struct vc5_ipv6) > end)
			return 0;
		sums = vc5_translate_quoted6(header, (void *)(icmp + 1), which, address);
	} else
/*% endif %*/
	{
		if (header + sizeof(struct iphdr) > end)
			return 0;
		sums = vc5_translate_quoted4(header, (void *)(icmp + 1), which, address[VC5_WORDS - 1]);
	}
	turned = (u64)(u16)~ports[which] + port;
	ports[which] = port;
	sums.moved += turned;
	sums.content += turned;
	if (udp && ports[3])
		check = ports + 3;
	/* Of TCP it may have been cut off. */
	if (!udp && part->inner + 18 <= packet->octets && (void *)(ports + 9) <= end)
		check = ports + 8;
	if (check) {
		before = *check;
		*check = vc5_changed_checksum(before, sums.moved);
		if (udp && !*check)
			*check = 0xffff;
		sums.content += (u64)(u16)~before + *check;
	}
	icmp->checksum = vc5_changed_checksum(icmp->checksum, sums.content);
	return 1;
}
