/* Packets to backends elsewhere: they leave in another packet, whose header the daemon has built but for what differs from
 * packet to packet (lengths, checksums, traffic class, and what spreads flows over queues and links: the source port of
 * UDP, the flow label of IPv6). With dscp they get no header, but the backend's address and a code that names the service.
 *
 * The checksum of an outer UDP header covers the whole packet inside, but to know its sum nobody has to look at it: a TCP
 * or UDP checksum makes its own part come to what its pseudo header promises, and an IPv4 header comes to nothing. So a
 * packet that was damaged on its way arrives with an outer checksum that is as wrong as its own. Only what has no such
 * checksum is summed up, by vc5_cold.
 */

enum {
	VC5_ENTROPY_PORTS = 0xc000, /* the dynamic ports, RFC 6335 section 6 */
	VC5_FLOW_LABEL = 0xfffff,
	VC5_DSCP = 0xfc, /* of the traffic class; the rest is ECN */
	VC5_SUM_CHUNK = 64,
	VC5_SUM_CHUNKS = 150, /* no frame is longer than a page, or than 9,600 bytes in several */
};

/* A packet on its way into a tunnel; all its lengths have been checked. */
struct vc5_cargo {
	u64 family;
	u64 octets;
	u64 hash;
	u64 protocol; /* of the transport whose checksum covers addresses; 0: there is none */
	u64 headers; /* bytes before its transport */
	u64 unsummed; /* its checksum says nothing about its sum, if it has one at all */
	u64 sum; /* then, as it came */
};

static __always_inline const struct vc5_tunnel *vc5_tunnel_at(u64 number)
{
	const struct vc5_tunnel *tunnel = &vc5_tunnels[number & (VC5_TUNNELS - 1)];

	/* Else the compiler would keep what it is made of. */
	vc5_opaque(tunnel);
	return tunnel;
}

/* One sum of 16 bits, of one below 2^46. */
static __always_inline u64 vc5_fold16(u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* UDP with a checksum of 0 has none. */
static __always_inline int vc5_lacks_checksum(u64 protocol, void *transport, const void *end)
{
	struct udphdr *udp = transport;

	if (protocol != VC5_PROTOCOL_UDP)
		return 0;
	vc5_opaque(udp);
	return (void *)(udp + 1) > end || !udp->check;
}

static __always_inline u32 vc5_traffic_class(const void *ip, u64 family)
{
	if (family == VC5_IPV6)
		return bpf_ntohs(*(const u16 *)ip) >> 4 & 0xff;
	return ((const u8 *)ip)[1];
}

/*% if shape.udp_tunnels or "dscp" in shape.tunnels %*/
static long (*vc5_load_bytes)(struct xdp_md *ctx, u32 offset, void *to, u32 size) = (void *)BPF_FUNC_xdp_load_bytes;
/*% endif %*/

static __always_inline u64 vc5_plain_headers(u64 family)
{
	return family == VC5_IPV6 ? sizeof(struct vc5_ipv6) : sizeof(struct iphdr);
}

/*% if shape.udp_tunnels %*/
static s64 (*vc5_sum_words)(const void *from, u32 from_size, const void *to, u32 to_size, u32 seed) =
	(void *)BPF_FUNC_csum_diff;

/* The sum of a packet with a correct TCP or UDP checksum. */
static __always_inline u64 vc5_promised_sum(const void *packet, u64 family, u64 octets)
{
	const struct iphdr *ip = packet;
	u64 pseudo;

	if (family == VC5_IPV6) {
		const struct vc5_ipv6 *header = packet;

		/* Addresses and length stand in both headers. */
		return (u64)header->first + *(const u16 *)&header->next + (0xffff ^ bpf_htons(header->next));
	}
	pseudo = (u64)ip->saddr + ip->daddr + bpf_htons(ip->protocol) + bpf_htons(octets - sizeof(*ip));
	/* Its complement: what makes it come to a multiple of 0xffff. */
	return (0xffffULL << 20) - pseudo;
}

/* Adds `size` bytes from an offset of the frame on. They are copied first: where they lie is then only a number to the
 * verifier, which need not follow every way there.
 */
static __always_inline u64 vc5_sum_part(struct xdp_md *ctx, u32 offset, u64 *words, u32 size, u64 sum)
{
	if (size < 4)
		words[0] = 0;
	vc5_load_bytes(ctx, offset, words, size);
	return (u32)vc5_sum_words(NULL, 0, words, size < 4 ? 4 : size, sum);
}

/* The sum of any packet, behind `l2` bytes; all of it lies inside the frame. */
static __always_inline u64 vc5_whole_sum(struct xdp_md *ctx, u32 l2, u32 octets)
{
	u64 words[VC5_SUM_CHUNK / 8] = {}, sum = 0;
	u32 end = l2 + octets, i;

	for (i = 0; i < VC5_SUM_CHUNKS; i++) {
		/* Else the compiler would count up to a number that the verifier does not know. */
		vc5_opaque(i);
		vc5_opaque(octets);
		if (octets < VC5_SUM_CHUNK)
			break;
		sum = vc5_sum_part(ctx, end - octets, words, VC5_SUM_CHUNK, sum);
		octets -= VC5_SUM_CHUNK;
	}
#pragma unroll
	for (i = VC5_SUM_CHUNK / 2; i; i /= 2) {
		if (octets & i) {
			sum = vc5_sum_part(ctx, end - octets, words, i, sum);
			octets -= i;
		}
	}
	return sum;
}

/* Likewise as the packet leaves, with one hop less. The sum of an IPv4 header stays. */
static __always_inline u64 vc5_sum_once_sent(struct xdp_md *ctx, u32 l2, const struct vc5_packet *packet)
{
	u64 sum = vc5_whole_sum(ctx, l2, packet->octets);

	return packet->family == VC5_IPV6 ? sum + (0xffff ^ bpf_htons(1)) : sum;
}

/*% endif %*/
/* Of fragments and errors: what a tunnel has to know of them. */
static __always_inline void vc5_sum_up(struct xdp_md *ctx, u32 l2, struct vc5_packet *packet, u64 headers, u64 carried)
{
	packet->headers = headers;
	packet->carried = carried;
	packet->unsummed = 1;
/*% if shape.udp_tunnels %*/
	packet->sum = vc5_sum_once_sent(ctx, l2, packet);
/*% endif %*/
}

/* Writes an outer header of `length` bytes, of which the first `ip` are those of IP, in front of a packet. */
static __always_inline void vc5_write_outer(void *at, const struct vc5_tunnel *tunnel, const struct vc5_cargo *inside,
					    u32 ip, u32 length)
{
	u32 traffic = vc5_traffic_class(at + length, inside->family), i;
	const void *header = tunnel;

#pragma unroll
	for (i = 0; i + 8 <= length; i += 8)
		*(u64 *)(at + i) = *(const u64 *)(header + i);
	if (length & 4)
		*(u32 *)(at + i) = *(const u32 *)(header + i);
	if (ip == sizeof(struct iphdr)) {
		u16 total = bpf_htons(inside->octets + length);
		u32 sum = tunnel->ip_sum + bpf_htons(traffic) + total;

		((u8 *)at)[1] = traffic;
		*(u16 *)(at + 2) = total;
		sum = (sum & 0xffff) + (sum >> 16);
		*(u16 *)(at + 10) = ~(sum + (sum >> 16));
	} else {
		u32 label = inside->hash >> 32 & VC5_FLOW_LABEL;

		*(u32 *)at = bpf_htonl(6U << 28 | traffic << 20 | label);
		*(u16 *)(at + 4) = bpf_htons(inside->octets + length - ip);
	}
	if (length - ip >= sizeof(struct udphdr)) {
		u16 port = bpf_htons(VC5_ENTROPY_PORTS | (inside->hash >> 32 & (0xffff & ~VC5_ENTROPY_PORTS)));
		u16 datagram = bpf_htons(inside->octets + length - ip);

		*(u16 *)(at + ip) = port;
		*(u16 *)(at + ip + 4) = datagram;
/*% if shape.udp_tunnels %*/
		if (tunnel->option) {
			u64 sum = inside->sum;

			if (!inside->unsummed)
				sum = vc5_promised_sum(at + length, inside->family, inside->octets);
			/* The length counts twice: in the header, and in the pseudo header. */
			sum = vc5_fold16(sum + tunnel->udp_sum + port + 2 * (u64)datagram);
			*(u16 *)(at + ip + 6) = sum == 0xffff ? 0xffff : ~sum;
		}
/*% endif %*/
	}
}

/* Puts an outer header between that of layer 2, of `l2` bytes, and the packet. Returns the frame's new beginning, NULL with
 * the verdict set where there is no room.
 */
static __always_inline void *vc5_wrap(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2,
				      const struct vc5_tunnel *tunnel, const struct vc5_cargo *inside, u32 ip, u32 length)
{
	void *frame = (void *)(long)ctx->data;
/*% if shape.tagged %*/
	u32 tag = 0;

	if (l2 == VC5_TAGGED_LENGTH && frame + VC5_TAGGED_LENGTH <= (void *)(long)ctx->data_end)
		tag = *(u32 *)(frame + ETH_HLEN - 2);
/*% endif %*/
	if (vc5_move_head(ctx, -(s32)length))
		return NULL;
	frame = (void *)(long)ctx->data;
	if (frame + l2 + length + vc5_plain_headers(inside->family) > (void *)(long)ctx->data_end)
		return NULL;
/*% if shape.tagged %*/
	if (l2 == VC5_TAGGED_LENGTH)
		*(u32 *)(frame + ETH_HLEN - 2) = tag;
/*% endif %*/
	*(u16 *)(frame + l2 - 2) = ip == sizeof(struct iphdr) ? bpf_htons(VC5_IPV4) : bpf_htons(VC5_IPV6);
	vc5_write_outer(frame + l2, tunnel, inside, ip, length);
	return frame;
}
/*% if "dscp" in shape.tunnels %*/

static long (*vc5_store_bytes)(struct xdp_md *ctx, u32 offset, const void *from, u32 size) =
	(void *)BPF_FUNC_xdp_store_bytes;

static __always_inline u16 vc5_changed_sum(u16 checksum, u64 difference)
{
	return ~vc5_fold16((u16)~checksum + difference);
}

/* Likewise a transport's; a UDP checksum of 0 means none. */
static __always_inline u16 vc5_changed_transport(u16 checksum, u64 difference, u64 protocol)
{
	u16 sum;

	if (protocol != VC5_PROTOCOL_UDP)
		return vc5_changed_sum(checksum, difference);
	if (!checksum)
		return 0;
	sum = vc5_changed_sum(checksum, difference);
	return sum ? sum : 0xffff;
}

static __always_inline u32 vc5_checksum_field(u64 protocol)
{
	if (protocol == VC5_PROTOCOL_TCP)
		return 16;
	return protocol == VC5_PROTOCOL_UDP ? 6 : 2;
}

/* The backend's address in the place of the VIP, and the code in that of what the packet had; checksums follow. */
static __always_inline void vc5_readdress_dscp(struct xdp_md *ctx, u32 l2, const struct vc5_tunnel *tunnel, void *packet,
					       const struct vc5_cargo *cargo)
{
	u32 plain = vc5_plain_headers(cargo->family), field = vc5_checksum_field(cargo->protocol);
	const void *end = (void *)(long)ctx->data_end;
	const u32 *address = tunnel->header;
	u64 difference = 0;
	u16 sum = 0;

/*% if shape.ipv6 %*/
	if (cargo->family == VC5_IPV6) {
		struct vc5_ipv6 *ip = packet;
		u32 i;

		vc5_opaque(ip);
		if ((void *)(ip + 1) > end)
			return;
#pragma unroll
		for (i = 0; i < VC5_WORDS; i++) {
			difference += (u64)(u32)~ip->destination[i] + address[i];
			ip->destination[i] = address[i];
		}
		*(u16 *)ip = (*(u16 *)ip & bpf_htons(0xf03f)) | bpf_htons(tunnel->option << 4);
	} else
/*% endif %*/
	{
		struct iphdr *ip = packet;
		u16 before = *(u16 *)ip, after = (before & bpf_htons(0xff03)) | bpf_htons(tunnel->option);

		difference = (u64)(u32)~ip->daddr + address[3];
		ip->check = vc5_changed_sum(ip->check, difference + (u16)~before + after);
		ip->daddr = address[3];
		*(u16 *)ip = after;
	}
	if (!cargo->protocol)
		return;
	if (cargo->headers == plain) {
		u16 *check;

		/* Else the compiler takes `headers`, which the verifier has no bounds of. */
		vc5_opaque(plain);
		check = packet + (plain & 63);
		vc5_opaque(check); /* as in lookup.h: no OR */
		check = (void *)check + field;
		vc5_opaque(check);
		if ((void *)(check + 1) <= end)
			*check = vc5_changed_transport(*check, difference, cargo->protocol);
		return;
	}
	/* Behind options or extensions: somewhere, and the verifier need not know where. */
	vc5_load_bytes(ctx, l2 + cargo->headers + field, &sum, sizeof(sum));
	sum = vc5_changed_transport(sum, difference, cargo->protocol);
	vc5_store_bytes(ctx, l2 + cargo->headers + field, &sum, sizeof(sum));
}
/*% endif %*/

/* Whether a packet is short enough for the way. */
static __always_inline int vc5_fits(const struct vc5_tunnel *tunnel, u64 octets)
{
	return octets <= tunnel->room;
}

/* Makes of a packet that fits, with its time to live already decremented, what leaves for the backend at layer 3. `packet`
 * is its header, inside a frame with `l2` bytes before it. Returns the frame's new beginning, NULL with the verdict set.
 */
static __always_inline void *vc5_depart(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *packet,
					const struct vc5_tunnel *tunnel, const struct vc5_cargo *cargo)
{
	u64 surplus = vc5_frame_length(ctx);

	/* The verifier knows a difference of pointers only as a number. */
	vc5_opaque(surplus);
	surplus -= l2 + cargo->octets;
	vc5_decide(verdict, XDP_DROP, VC5_REASON_NO_ROOM);
/*% if "dscp" in shape.tunnels %*/
	if (tunnel->kind == VC5_ENCAPSULATION_DSCP) {
		void *frame;

		vc5_readdress_dscp(ctx, l2, tunnel, packet, cargo);
		frame = (void *)(long)ctx->data;
		return frame + VC5_TAGGED_LENGTH <= (void *)(long)ctx->data_end ? frame : NULL;
	}
/*% endif %*/
	/* Padding would lie between the packet and its end. */
	if (surplus && vc5_move_tail(ctx, -(s32)surplus))
		return NULL;
	/* Read here, or it would have to be kept. */
	switch (*(const volatile u8 *)&tunnel->kind) {
/*% for name, ip, length in shape.wraps %*/
	case VC5_ENCAPSULATION_/*{ name }*/:
		return vc5_wrap(ctx, verdict, l2, tunnel, cargo, /*{ ip }*/, /*{ length }*/);
/*% endfor %*/
	}
	vc5_decide(verdict, XDP_DROP, VC5_REASON_UNRESOLVED);
	return NULL;
}

/* What goes into a tunnel of a packet without options or extensions, whose transport header lies inside the frame. */
static __always_inline struct vc5_cargo vc5_plain_cargo(void *packet, u64 family, u64 octets, u64 hash)
{
	struct vc5_cargo cargo = {.family = family, .octets = octets, .hash = hash, .headers = vc5_plain_headers(family)};
	struct udphdr *udp = packet + vc5_plain_headers(family);

	cargo.protocol = family == VC5_IPV6 ? ((struct vc5_ipv6 *)packet)->next : ((struct iphdr *)packet)->protocol;
	if (cargo.protocol == VC5_PROTOCOL_UDP)
		cargo.unsummed = !udp->check;
	return cargo;
}
