/* Finding the service of a packet, and whether an address is a VIP: perfect hashes by displacement that the daemon builds.
 * A key is mixed to 64 bits; the high ones name a bucket, whose displacement, xor-ed onto lower ones, gives the only
 * position where the key can be. Two copies lie side by side; the daemon fills the idle one and switches by one store.
 */

static __always_inline u64 vc5_mix(u64 key, u64 multiplier)
{
	key *= multiplier;
	key ^= key >> 32;
	return key * VC5_MIX;
}

static __always_inline u32 vc5_position(u64 key, u32 table)
{
	u64 mixed = vc5_mix(key, vc5_multipliers[table]);
	u32 bucket = mixed >> (64 - VC5_POSITION_BITS);

	return ((mixed >> 16) ^ vc5_displacements[table * VC5_SERVICES + bucket]) & (VC5_SERVICES - 1);
}

static __always_inline const struct vc5_service *vc5_find_service(u32 vip, u32 port, u32 protocol)
{
	u64 key = (u64)vip << 32 | port << 16 | protocol;
	u32 copy = vc5_settings->lookup & 1;
	const struct vc5_service *service = &vc5_services[copy * VC5_SERVICES + vc5_position(key, copy * 2)];

	return service->key == key ? service : NULL;
}

static __always_inline const struct vc5_vip *vc5_find_vip(u32 address)
{
	u32 copy = vc5_settings->lookup & 1;
	const struct vc5_vip *vip = &vc5_vips[copy * VC5_SERVICES + vc5_position(address, copy * 2 + 1)];

	return vip->address == address && address ? vip : NULL;
}
