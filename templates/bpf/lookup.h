/* Finding the service of a packet, and whether an address is a VIP: perfect hashes that the daemon builds. A key times a
 * multiplier has well mixed high bits. With few keys and much room a multiplier is found for which those alone give each
 * key a position of its own. With many, they name a bucket, whose displacement, xor-ed onto lower bits, gives the only
 * position where the key can be. Two copies lie side by side; the daemon fills the idle one and switches by one store:
 * that of the services' multiplier, whose lowest bit names the copy.
 *
 * The copy and the position are added to a pointer one after the other, with the pointer opaque in between: the compiler
 * makes one OR of a sum whose parts share no bits, and the verifier of Linux 6.1 forgets all bounds at an OR of two
 * values that it does not know.
 *
 * A key has 32 bits for the VIP. Those of an IPv6 address are folded from it by multipliers under which no two VIPs are
 * alike; strangers may be, so there the address itself is compared as well.
 */

enum { VC5_FAMILY_BIT = 8 }; /* of the protocol's half-word in a key: the VIP is folded from an IPv6 address */

static __always_inline u64 vc5_position(u64 key, u64 multiplier, u64 table)
{
	u64 mixed = key * multiplier;
	u64 high = mixed >> (64 - VC5_POSITION_BITS);

/*% if shape.direct %*/
	return high;
/*% else %*/
	const typeof(vc5_displacements[0]) *row = &vc5_displacements[table * VC5_SERVICES];

	vc5_opaque(row);
	return ((mixed >> 32) ^ row[high]) & (VC5_SERVICES - 1);
/*% endif %*/
}

static __always_inline u64 vc5_key(u64 vip, u64 protocol, u64 port)
{
	return vip | protocol << 32 | port << 48;
}

/* Opaque, or the compiler would need a register for the bit in its final place. */
static __always_inline u64 vc5_protocol6(u64 protocol)
{
	protocol |= 1 << VC5_FAMILY_BIT;
	vc5_opaque(protocol);
	return protocol;
}

static __always_inline u64 vc5_fold(const struct vc5_key_set *keys, u64 high, u64 low)
{
	return (high * keys->fold[0] + low * keys->fold[1]) >> 32;
}

/* The only service that a packet with this key can be for. */
static __always_inline const struct vc5_service *vc5_candidate(u64 key, u64 lookup)
{
	u64 copy = lookup & 1;
	const struct vc5_service *service = &vc5_services[copy * VC5_SERVICES];

	vc5_opaque(service);
	service += vc5_position(key, lookup, copy * 2);
	vc5_opaque(service);
	return service;
}

static __always_inline const struct vc5_service *vc5_find_service(struct vc5_packet *packet)
{
	u64 lookup = vc5_lookup->multiplier;
	const struct vc5_service *service;
	u64 key;

	packet->keys = &vc5_keys[lookup & 1];
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		key = vc5_key(vc5_fold(packet->keys, packet->high, packet->low), vc5_protocol6(packet->protocol),
			      packet->ports >> 16);
		service = vc5_candidate(key, lookup);
		if (service->key != key || service->source_factor != packet->high || service->vip_low != packet->low)
			return NULL;
		return service;
	}
/*% endif %*/
	key = vc5_key(packet->vip, packet->protocol, packet->ports >> 16);
	service = vc5_candidate(key, lookup);
	return service->key == key ? service : NULL;
}

static __always_inline const struct vc5_vip *vc5_find_vip4(u32 address)
{
	u64 copy = vc5_lookup->multiplier & 1;
	u64 position = vc5_position(vc5_le32(address), vc5_keys[copy].vip_multiplier, copy * 2 + 1);
	const struct vc5_vip *vip = &vc5_vips[copy * VC5_SERVICES];

	vc5_opaque(vip);
	vip += position;
	return !vip->high && vip->low == vc5_mapped(address) ? vip : NULL;
}

/*% if shape.ipv6 %*/
static __always_inline const struct vc5_vip *vc5_find_vip6(u64 high, u64 low)
{
	u64 copy = vc5_lookup->multiplier & 1;
	u64 key = vc5_fold(&vc5_keys[copy], high, low) | 1ULL << (32 + VC5_FAMILY_BIT);
	u64 position = vc5_position(key, vc5_keys[copy].vip_multiplier, copy * 2 + 1);
	const struct vc5_vip *vip = &vc5_vips[copy * VC5_SERVICES];

	vc5_opaque(vip);
	vip += position;
	return vip->high == high && vip->low == low && (high | low) ? vip : NULL;
}
/*% endif %*/
