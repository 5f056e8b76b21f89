/* Finding the service of a packet, and whether an address is a VIP: perfect hashes that the daemon builds. A key times a
 * multiplier has well mixed high bits. With few keys and much room a multiplier is found for which those alone give each
 * key a position of its own. With many, they name a bucket, whose displacement, xor-ed onto lower bits, gives the only
 * position where the key can be. Two copies lie side by side; the daemon fills the idle one and switches by one store.
 */

static __always_inline u64 vc5_position(u64 key, const struct vc5_key_set *keys, u64 table)
{
	u64 mixed = key * keys->multiplier[table & 1];
	u64 high = mixed >> (64 - VC5_POSITION_BITS);

/*% if shape.direct %*/
	return high;
/*% else %*/
	return ((mixed >> 32) ^ vc5_displacements[table * VC5_SERVICES + high]) & (VC5_SERVICES - 1);
/*% endif %*/
}

static __always_inline const struct vc5_service *vc5_find_service(struct vc5_packet *packet)
{
	u64 key = packet->vip | (packet->ports >> 16) << 32 | packet->protocol << 48;
	u64 copy = vc5_settings->lookup & 1;
	const struct vc5_service *service;

	packet->keys = &vc5_keys[copy];
	service = &vc5_services[copy * VC5_SERVICES + vc5_position(key, packet->keys, copy * 2)];
	return service->key == key ? service : NULL;
}

static __always_inline const struct vc5_vip *vc5_find_vip(u64 address)
{
	u64 copy = vc5_settings->lookup & 1;
	const struct vc5_vip *vip = &vc5_vips[copy * VC5_SERVICES + vc5_position(address, &vc5_keys[copy], copy * 2 + 1)];

	return vip->address == address && address ? vip : NULL;
}
