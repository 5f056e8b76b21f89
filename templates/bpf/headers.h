/* Reading a frame. Each reader takes the cursor, checks that its header lies inside the frame, moves the cursor behind it
 * and returns it; NULL where the frame is too short.
 */

enum {
	VC5_FRAGMENT_BITS = 0x3fff, /* more-fragments and offset, RFC 791 section 3.1 */
	VC5_FRAGMENT_OFFSET = 0x1fff,
	VC5_PROTOCOL_ICMP = 1,
	VC5_PROTOCOL_TCP = 6,
	VC5_PROTOCOL_UDP = 17,
	VC5_PROTOCOL_ICMP6 = 58,
	VC5_TCP_FIN = 0x01,
	VC5_TCP_SYN = 0x02,
	VC5_TCP_RST = 0x04,
	VC5_TCP_ACK = 0x10,
	VC5_IPV4 = 0x0800,
	VC5_IPV6 = 0x86dd,
	VC5_TAG_8021Q = 0x8100,
	VC5_TAG_8021AD = 0x88a8,
	VC5_TAG_LENGTH = 4,
	VC5_TAG_ID = 0x0fff, /* of a tag's control word; before it stand priority and drop eligibility */
	VC5_TAGGED_LENGTH = ETH_HLEN + VC5_TAG_LENGTH,
	/* The ends of a packet. */
	VC5_SOURCE = 0,
	VC5_DESTINATION = 1,
};

struct vc5_cursor {
	void *at;
	void *end;
};

/* What steering needs to know of a packet: addresses, and both ports in one word, the source's lower, as vc5_le32 reads
 * them. Whole registers: the compiler would clear the upper half of narrower ones after every step.
 */
struct vc5_packet {
	u64 family; /* VC5_IPV4 or VC5_IPV6 */
	u64 source; /* of IPv4 */
	u64 vip;
	u64 words[VC5_WORDS]; /* of IPv6: the source's, as vc5_le32 reads them */
	u64 high; /* and the VIP's halves, as vc5_le64 reads them */
	u64 low;
	u64 ports;
	u64 protocol;
	u64 flags; /* of TCP; 0 for UDP */
	u64 octets; /* of the IP packet */
	const struct vc5_key_set *keys; /* of the copy in which the service was found */
	u64 quoted; /* of what an error quotes: bytes before the transport */
/*% if shape.tunnels %*/
	u64 headers; /* bytes before the transport */
	u64 carried; /* these three as in struct vc5_cargo, this one its protocol */
	u64 unsummed;
	u64 sum;
/*% endif %*/
};

struct vc5_ipv6 {
	u32 first; /* version, traffic class, flow label */
	u16 length; /* of what follows this header */
	u8 next;
	u8 hops;
	u32 source[VC5_WORDS];
	u32 destination[VC5_WORDS];
};

/* A port in network order, to be stored. */
static __always_inline u16 vc5_source_port(const struct vc5_packet *packet)
{
	return vc5_le16(packet->ports);
}

static __always_inline u16 vc5_destination_port(const struct vc5_packet *packet)
{
	return vc5_le16(packet->ports >> 16);
}

/* ICMP of the packet's own family. */
static __always_inline int vc5_is_icmp(const struct vc5_packet *packet)
{
	return packet->protocol == (packet->family == VC5_IPV6 ? VC5_PROTOCOL_ICMP6 : VC5_PROTOCOL_ICMP);
}

static __always_inline struct ethhdr *vc5_read_ethernet(struct vc5_cursor *cursor)
{
	struct ethhdr *ethernet = cursor->at;

	if ((void *)(ethernet + 1) > cursor->end)
		return NULL;
	cursor->at = ethernet + 1;
	return ethernet;
}

static __always_inline int vc5_is_tag(u16 type)
{
	return type == bpf_htons(VC5_TAG_8021Q) || type == bpf_htons(VC5_TAG_8021AD);
}

/* The type of what follows a layer-2 header of this length. Read anew each time, so that what seldom asks for it takes no
 * register from what always does.
 */
static __always_inline u16 vc5_frame_type(const void *frame, u32 l2)
{
	return *(const volatile u16 *)(frame + l2 - 2);
}

/* What becomes of a frame that holds no IP where this program looks for it. A service tag, or a tag behind a tag, is QinQ;
 * a tag with id 0 carries a priority only, and the frame counts as untagged (IEEE 802.1Q section 6.9).
 */
static __always_inline void vc5_other_protocol(struct vc5_verdict *verdict, const void *frame, const void *end)
{
	u16 type = vc5_frame_type(frame, ETH_HLEN), inner = 0;
	u32 reason = VC5_REASON_NOT_IP;

	if (vc5_is_tag(type)) {
		if (frame + VC5_TAGGED_LENGTH <= end)
			inner = vc5_frame_type(frame, VC5_TAGGED_LENGTH);
/*% if shape.tagged %*/
		if (inner == bpf_htons(VC5_IPV4) || inner == bpf_htons(VC5_IPV6)) {
			/* A family that nothing is served in, or no tag but a priority. */
			reason = VC5_REASON_NOT_VIP;
			if (frame + VC5_TAGGED_LENGTH <= end && !(*(const u16 *)(frame + ETH_HLEN) & bpf_htons(VC5_TAG_ID)))
				reason = VC5_REASON_UNTAGGED;
		}
/*% else %*/
		reason = VC5_REASON_TAGGED;
/*% endif %*/
		if (type == bpf_htons(VC5_TAG_8021AD) || vc5_is_tag(inner))
			reason = VC5_REASON_QINQ;
	}
/*% if shape.tagged and not shape.mixed %*/
	else if (type == bpf_htons(VC5_IPV4) || type == bpf_htons(VC5_IPV6)) {
		reason = VC5_REASON_UNTAGGED;
	}
/*% else %*/
	else if (type == bpf_htons(VC5_IPV6)) {
		reason = VC5_REASON_NOT_VIP;
	}
/*% endif %*/
	vc5_decide(verdict, XDP_PASS, reason);
}

/* Length of the layer-2 header of a frame that this program looks into, 0 for others. */
static __always_inline u32 vc5_layer2(const void *frame, const void *end)
{
/*% if shape.tagged %*/
	if (frame + VC5_TAGGED_LENGTH <= end && vc5_frame_type(frame, ETH_HLEN) == bpf_htons(VC5_TAG_8021Q))
		if (*(const u16 *)(frame + ETH_HLEN) & bpf_htons(VC5_TAG_ID))
			return VC5_TAGGED_LENGTH;
/*% endif %*/
/*% if shape.mixed or not shape.tagged %*/
	if (frame + ETH_HLEN <= end && !vc5_is_tag(vc5_frame_type(frame, ETH_HLEN)))
		return ETH_HLEN;
/*% endif %*/
	return 0;
}

static __always_inline struct iphdr *vc5_read_ipv4(struct vc5_cursor *cursor)
{
	struct iphdr *ip = cursor->at;

	if ((void *)(ip + 1) > cursor->end)
		return NULL;
	cursor->at = ip + 1;
	return ip;
}

static __always_inline struct vc5_ipv6 *vc5_read_ipv6(struct vc5_cursor *cursor)
{
	struct vc5_ipv6 *ip = cursor->at;

	if ((void *)(ip + 1) > cursor->end)
		return NULL;
	cursor->at = ip + 1;
	return ip;
}

/* Length of the TCP header: the high half of byte 12 counts words of four bytes (RFC 9293 section 3.1). */
static __always_inline u64 vc5_tcp_header(const struct tcphdr *tcp)
{
	return ((const u8 *)tcp)[12] >> 2 & 0x3c;
}

static __always_inline void vc5_read_addresses4(struct vc5_packet *packet, const struct iphdr *ip)
{
	packet->family = VC5_IPV4;
	packet->source = vc5_le32(ip->saddr);
	packet->vip = vc5_le32(ip->daddr);
	packet->octets = vc5_length(ip->tot_len);
}

static __always_inline void vc5_read_addresses6(struct vc5_packet *packet, const struct vc5_ipv6 *ip)
{
	packet->family = VC5_IPV6;
	packet->words[0] = vc5_le32(ip->source[0]);
	packet->words[1] = vc5_le32(ip->source[1]);
	packet->words[2] = vc5_le32(ip->source[2]);
	packet->words[3] = vc5_le32(ip->source[3]);
	packet->high = vc5_half(&ip->destination[0]);
	packet->low = vc5_half(&ip->destination[2]);
	packet->octets = sizeof(*ip) + vc5_length(ip->length);
}

/* The transport header at `at`, `room` bytes of the IP packet from there on: 0 where its length fields contradict. */
static __always_inline int vc5_read_transport(struct vc5_packet *packet, const void *at, const void *end, u64 room)
{
	const struct udphdr *udp = at;
	const struct tcphdr *tcp = at;
	u64 length;

	if ((void *)(udp + 1) > end || room < sizeof(*udp))
		return 0;
	packet->ports = vc5_le32(*(const u32 *)at);
	packet->flags = 0;
	if (packet->protocol == VC5_PROTOCOL_UDP) {
		length = bpf_ntohs(udp->len);
		return length >= sizeof(*udp) && length <= room;
	}
	if ((void *)(tcp + 1) > end)
		return 0;
	length = vc5_tcp_header(tcp);
	packet->flags = ((const u8 *)tcp)[13];
	return length >= sizeof(*tcp) && length <= room;
}

/* Ones' complement arithmetic on a checksum field, RFC 1624 equation 3: the field after `before` became `after`. */
static __always_inline u16 vc5_adjust_checksum(u16 checksum, u32 before, u32 after)
{
	u64 sum = (u16)~checksum;

	sum += (u32)~before;
	sum += after;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A checksum after words that it covers have become others, `sum` being the new ones and the complement of the old. */
static __always_inline u16 vc5_changed_checksum(u16 checksum, u64 sum)
{
	sum += (u16)~checksum;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Time to live, protocol and checksum lie in one word. One less on the first byte, and for that 0x0100 more in the checksum
 * (RFC 1141), are one addition, unless the sum carries.
 */
static __always_inline void vc5_decrement_ttl(struct iphdr *ip)
{
	u64 word = vc5_le32(*(u32 *)&ip->ttl);
	u64 high = word >> 17;

	/* A branch nearly never taken is cheaper than a choice; the compiler would not leave it. */
	vc5_opaque(high);
	if (high == 0x7fff) {
		word += 0x10000;
		vc5_opaque(word);
	}
	*(u32 *)&ip->ttl = vc5_le32(word + 0x10000 - 1);
}
