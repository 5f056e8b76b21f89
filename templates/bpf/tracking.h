/* Which destination a packet of a service belongs to.
 *
 * Theory of operation. A service has a table of slots; the keyed hash of a packet's addresses and ports names one. Nearly
 * always the slot is settled: the destination it holds (`now`) is the answer, and nothing is written. Only when the
 * control plane changes a slot's answer does it set the slot's tracked bit and keep the former answer (`was`). Packets
 * of a tracked slot look into the flow table, which is shared by all CPUs:
 *
 *   remembered    the flow's own destination, while that lives;
 *   new flow      (TCP SYN) `now`, and the flow is remembered where `now` and `was` differ;
 *   older flow    (anything else) `was`, and remembered likewise.
 *
 * A service that remembers all flows has all its slots tracked for ever, and remembers every flow whatever `now` and `was`
 * are: so its slots may change as often as the scheduler likes. A flow for which there is no room follows `now`.
 *
 * UDP has no first packet, so every unknown flow is taken as an older one. A remembered flow is a candidate until a second
 * packet other than a SYN confirms it: candidates are evicted first, confirmed flows never before they expire, so floods
 * cannot push out real flows. The control plane makes `was` follow `now`, and un-tracks the slot, once no flow can depend
 * on the difference; for that it reads `diverted`, the time of the last packet that went elsewhere than `now`.
 *
 * A way of the flow table is one word, written by one store, so it needs no lock and is never torn. Two CPUs that remember
 * two flows in the same way within the same few nanoseconds lose one of them.
 *
 * In a fleet a flow may come by another balancer with its next packet. So every flow of a tracked slot is remembered, whether
 * or not `now` and `was` are the same here, and a ring tells the daemon of each when it is remembered, when it is
 * confirmed, and when it goes on after a long silence; slotshare.py has the theory.
 *
 * Time is the daemon's coarse clock. It stands still while no daemon runs, and then nothing expires.
 */

enum {
	VC5_WAY_INDEX_SHIFT = VC5_EXPIRY_BITS + 1,
	VC5_WAY_TAG_SHIFT = VC5_WAY_INDEX_SHIFT + VC5_INDEX_BITS,
	VC5_INDEX_MASK = (1 << VC5_INDEX_BITS) - 1,
	VC5_EXPIRY_MASK = (1 << VC5_EXPIRY_BITS) - 1,
};

/* Multilinear hashing with half the multiplications (Lemire and Kaser, "Strongly universal string hashing is fast",
 * section 3): with random 64-bit coefficients the high 32 bits are strongly universal over all packets. What it is made of:
 *
 *	IPv4	k[0] + (k[1] + source) * (k[2] + vip) + (k[3] + ports) * (k[4] + protocol)
 *	IPv6	k[0] + sum of wide[i] * source[i] + sum of wide_vip[i] * vip[i] + (k[3] + ports) * (k[4] + protocol)
 *
 * The first half of an IPv6 source is one word of 64 bits, with an odd coefficient. Sources that differ elsewhere collide
 * as if it were not there; those that only differ there, with at most twice that chance (Dietzfelbinger and others, "A
 * reliable randomized algorithm for the closest-pair problem", lemma 2.4).
 *
 * VIP and protocol are the service's, so the daemon multiplies out as much as it can. `sticky` services have no ports in
 * their hash: that factor is 0.
 */
static __always_inline u64 vc5_hash4(const struct vc5_service *service, u64 source, u64 ports)
{
	return source * service->source_factor + ports * service->ports_factor + service->rest;
}

/* What an IPv6 source adds to the hash: half of it, and two words. */
static __always_inline u64 vc5_source_part(const u64 *wide, u64 half, u64 third, u64 fourth)
{
	return half * wide[0] + third * wide[1] + fourth * wide[2];
}

static __always_inline u64 vc5_source_sum(const struct vc5_packet *packet, const u64 *wide)
{
	const u64 *words = packet->words;

	return vc5_source_part(wide, words[0] | words[1] << 32, words[2], words[3]);
}

/* Likewise an IPv6 VIP, where that has not been multiplied out. */
static __always_inline u64 vc5_vip_sum(const struct vc5_packet *packet, const u64 *wide)
{
	return (u32)packet->high * wide[0] + (packet->high >> 32) * wide[1] + (u32)packet->low * wide[2] +
	       (packet->low >> 32) * wide[3];
}

static __always_inline u64 vc5_hash6(const struct vc5_service *service, u64 source, u64 ports)
{
	return source + ports * service->ports_factor + service->rest;
}

static __always_inline u64 vc5_hash(const struct vc5_service *service, const struct vc5_packet *packet)
{
	if (packet->family == VC5_IPV6)
		return vc5_hash6(service, vc5_source_sum(packet, packet->keys->wide), packet->ports);
	return vc5_hash4(service, packet->source, packet->ports);
}

/* What ports and protocol add to the hash. */
static __always_inline u64 vc5_ports_part(const u64 *k, const struct vc5_packet *packet)
{
	return (k[3] + packet->ports) * (k[4] + packet->protocol);
}

/* A sticky service's flows share their client's slot, but each is remembered for itself, so its name has the ports. Were a
 * client remembered as one, its new connection to `now` would take along its older ones, which belong to `was`.
 */
static __always_inline u64 vc5_whole_hash(const struct vc5_service *service, const struct vc5_packet *packet, u64 hash)
{
	return service->ports_factor ? hash : hash + vc5_ports_part(packet->keys->coefficient, packet);
}

/* Spreads the hash over set number (high bits) and tag (low bits). */
static __always_inline u64 vc5_flow_name(u64 hash)
{
	return (hash ^ hash >> 29) * VC5_MIX;
}

static __always_inline u32 vc5_state(const struct vc5_service *service, u32 index)
{
	return vc5_destinations[(service->destinations + index) & (VC5_DESTINATIONS - 1)].state;
}

static __always_inline int vc5_lives(u32 state)
{
	return state >= VC5_STATE_DRAINING;
}

/* Seconds for which a flow is remembered after this packet. */
static __always_inline u32 vc5_life(u32 flags)
{
	u32 life = vc5_settings->idle;

	if (flags & VC5_TCP_RST && life > VC5_RST_LIFE)
		return VC5_RST_LIFE;
	if (flags & VC5_TCP_FIN && life > VC5_FIN_LIFE)
		return VC5_FIN_LIFE;
	return life;
}

static __always_inline int vc5_expired(u64 way, u32 time)
{
	return ((way - time - 1) & VC5_EXPIRY_MASK) >= VC5_HALF_TIME;
}

static __always_inline u32 vc5_way_index(u64 way)
{
	return (way >> VC5_WAY_INDEX_SHIFT) & VC5_INDEX_MASK;
}

static __always_inline u64 vc5_make_way(u64 tag, u32 index, u32 candidate, u32 expiry)
{
	return tag << VC5_WAY_TAG_SHIFT | (u64)index << VC5_WAY_INDEX_SHIFT | candidate | (expiry & VC5_EXPIRY_MASK);
}

/* The best way for a new entry: an empty or expired one, else a candidate's; VC5_WAYS where all are living flows'. */
static __always_inline u32 vc5_victim(const u64 *set, u32 time)
{
	u32 victim = VC5_WAYS, candidate = VC5_WAYS, i;

#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 way = set[i];

		if (!way || vc5_expired(way, time))
			victim = i;
		else if (way & VC5_CANDIDATE)
			candidate = i;
	}
	return victim < VC5_WAYS ? victim : candidate;
}

static __always_inline void vc5_write_way(u64 *set, u32 place, u64 way)
{
	vc5_opaque(place);
	*(volatile u64 *)&set[place & (VC5_WAYS - 1)] = way;
}

/*% if shape.tracks_all or shape.fleet %*/
/* Who a way stands for, so that the daemon can count the flows of each backend of a service that remembers all; 0 for
 * others, but in a fleet, whose other nodes are told of every remembered flow. The way itself may be ahead of it by a
 * moment.
 */
static __always_inline void vc5_own(u64 first, u32 place, u16 owner)
{
	u16 *at;

	vc5_opaque(place);
	at = &vc5_owners[first + (place & (VC5_WAYS - 1))];
	if (*at != owner)
		*at = owner;
}
/*% endif %*/

/*% if shape.fleet %*/
/* Whether a flow lives on after so long a silence that others may forget it before the daemon tells them again. */
static __always_inline int vc5_was_silent(u64 way, u64 fresh)
{
	u64 longer = (fresh - way) & VC5_EXPIRY_MASK;

	return longer > vc5_settings->idle / 4 && longer < VC5_HALF_TIME;
}

/*% endif %*/
static __always_inline void vc5_remember(const struct vc5_service *service, u64 name, u32 slot, u64 first, u32 place,
					 u32 index, u32 opened, u32 expiry, u32 time)
{
	u64 tag = name & ((1ULL << VC5_TAG_BITS) - 1);
	u64 *set = &vc5_flows[first];

	if (place >= VC5_WAYS)
		place = vc5_victim(set, time);
	if (place >= VC5_WAYS) {
		vc5_count(VC5_REASON_REFUSED);
		return;
	}
	vc5_write_way(set, place, vc5_make_way(tag, index, VC5_CANDIDATE, expiry));
/*% if shape.fleet %*/
	vc5_own(first, place, service->destinations + index);
	vc5_tell(service, name, slot, index, expiry, VC5_NEWS_FLAG_CANDIDATE | opened);
/*% elif shape.tracks_all %*/
	vc5_own(first, place, service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL ? service->destinations + index : 0);
/*% endif %*/
	vc5_count(VC5_REASON_REMEMBERED);
}

/* What a tracked slot decides: an index inside the service, or `dead` set where the flow's own destination is dead and
 * the packet does not choose again.
 */
struct vc5_choice {
	u64 index;
	u64 dead;
};

/* The hash is linear in each word: a client's successive ports would walk over the slots in even steps, which under a few seeds
 * are always the same few. See slot_of in hashing.py.
 */
static __always_inline u64 vc5_slot_of(u64 first, u64 count, u64 hash)
{
	return (first + ((hash * (hash + 1) >> 32) * count >> 32)) & (VC5_SLOTS - 1);
}

/*% if shape.previous %*/
/* Nothing has been multiplied out for the hash of before. This is what the addresses have in it. */
static __always_inline u64 vc5_previous_hash(const struct vc5_packet *packet)
{
	const u64 *k = packet->keys->previous;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6)
		return k[0] + vc5_source_sum(packet, packet->keys->previous_wide) +
		       vc5_vip_sum(packet, packet->keys->previous_wide_vip);
/*% endif %*/
	return k[0] + (k[1] + packet->source) * (k[2] + packet->vip);
}

/* After a change of the hash (its seed, a service's number of slots, `sticky`) older flows belong where the slots and the hash of
 * before send them: to what they remember, else to `was` of a slot that was tracked, else to its `now`.
 */
static __always_inline u32 vc5_ask_previous(const struct vc5_service *service, const struct vc5_packet *packet, u32 time)
{
	u64 hash = vc5_previous_hash(packet), whole = hash + vc5_ports_part(packet->keys->previous, packet);
	u64 name = vc5_flow_name(whole), sticky = service->flags & VC5_SERVICE_FLAG_PREVIOUS_STICKY;
	u64 slot = vc5_slot_of(service->previous_slots, service->previous_count, sticky ? hash : whole);
	u64 word = *(volatile vc5_slot *)&vc5_slots[slot], tag = name & ((1ULL << VC5_TAG_BITS) - 1);
	const u64 *set = &vc5_flows[(name >> (64 - VC5_SET_BITS)) * VC5_WAYS];
	u32 index = word & (VC5_TRACKED - 1), i;

	if (!(word & VC5_TRACKED))
		return index;
	if (vc5_histories[slot].was != VC5_ASK_PREVIOUS)
		index = vc5_histories[slot].was;
#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 way = *(volatile u64 *)&set[i];

		if (way && way >> VC5_WAY_TAG_SHIFT == tag && !vc5_expired(way, time))
			if (vc5_way_index(way) < service->capacity)
				index = vc5_way_index(way);
	}
	return index & VC5_INDEX_MASK;
}
/*% endif %*/

static __always_inline struct vc5_choice vc5_choose_tracked(const struct vc5_service *service, u32 slot, u32 now,
							    u64 hash, const struct vc5_packet *packet)
{
	struct vc5_choice choice = {.index = now};
	u64 name = vc5_flow_name(vc5_whole_hash(service, packet, hash));
	u64 tag = name & ((1ULL << VC5_TAG_BITS) - 1), first = (name >> (64 - VC5_SET_BITS)) * VC5_WAYS, way = 0;
	u64 *set = &vc5_flows[first];
	u32 time = vc5_settings->time, place = VC5_WAYS, flags = packet->flags, was;
	u32 udp = packet->protocol == VC5_PROTOCOL_UDP, syn = (flags & (VC5_TCP_SYN | VC5_TCP_ACK)) == VC5_TCP_SYN;
	u32 expiry = time + vc5_life(flags), asked = 0, all = 0, known, i;

/*% if shape.fleet %*/
	/* What is the same answer here may be another one at a node that learns of the change at another moment. */
	all = 1;
/*% elif shape.tracks_all %*/
	all = service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL;
/*% endif %*/
#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 seen = *(volatile u64 *)&set[i];

		if (seen && seen >> VC5_WAY_TAG_SHIFT == tag) {
			place = i;
			way = seen;
		}
	}
	/* An index beyond the service's destinations is left from a larger service of the same name. */
	known = way && !vc5_expired(way, time) && vc5_way_index(way) < service->capacity;
	if (known) {
		u32 index = vc5_way_index(way);
		u32 state = vc5_state(service, index);

		if (vc5_lives(state) && !(syn && state == VC5_STATE_DRAINING)) {
			u64 fresh = vc5_make_way(tag, index, syn ? way & VC5_CANDIDATE : 0, expiry);

			/* Once a second for each flow: nothing else of its packets needs the history, a cache line
			 * that nobody has.
			 */
			if (fresh != way) {
				vc5_write_way(set, place, fresh);
/*% if shape.tracks_all or shape.fleet %*/
				if (all)
					vc5_own(first, place, service->destinations + index);
/*% endif %*/
/*% if shape.fleet %*/
				if (!(fresh & VC5_CANDIDATE) && (way & VC5_CANDIDATE || vc5_was_silent(way, fresh)))
					vc5_tell(service, name, slot, index, expiry, 0);
/*% endif %*/
				if (index != now && !(fresh & VC5_CANDIDATE) && vc5_histories[slot].diverted != time)
					vc5_histories[slot].diverted = time;
			}
			choice.index = index;
			vc5_count(VC5_REASON_TRACKED_HIT);
			return choice;
		}
		if (!vc5_lives(state) && !syn && !udp) {
			choice.dead = service->on_dead != VC5_DEAD_POLICY_RESELECT;
			choice.index = choice.dead ? index : now;
			return choice;
		}
	}
	was = vc5_histories[slot].was;
/*% if shape.previous %*/
	/* What is remembered under the hash of before is never refreshed: so whoever asks is remembered under today's. */
	asked = was == VC5_ASK_PREVIOUS;
	if (asked)
		was = vc5_ask_previous(service, packet, time);
/*% endif %*/
	was &= VC5_INDEX_MASK;
	if (!known && !syn) {
		u32 state = vc5_state(service, was);

		if (vc5_lives(state)) {
			choice.index = was;
			vc5_count(VC5_REASON_TRACKED_OLD);
/*% if shape.fleet %*/
			/* After `idle` every living connection has sent a packet, and is remembered; most of them soon
			 * after the change.
			 */
			if (!udp && !(flags & VC5_TCP_RST)) {
				u32 age = time - vc5_histories[slot].changed;

				if (age > vc5_settings->idle)
					vc5_count(VC5_REASON_TRACKED_UNKNOWN);
				else if (age > VC5_SETTLING)
					vc5_count(VC5_REASON_TRACKED_FIRST);
			}
/*% endif %*/
			if ((was != now || asked || all) && !(flags & VC5_TCP_RST))
				vc5_remember(service, name, slot, first, place, was, 0, expiry, time);
			return choice;
		}
		if (!udp) {
			choice.dead = was && service->on_dead != VC5_DEAD_POLICY_RESELECT;
			choice.index = choice.dead ? was : now;
			return choice;
		}
	}
	vc5_count(VC5_REASON_TRACKED_NEW);
	if (now && (now != was || way || asked || all))
		vc5_remember(service, name, slot, first, place, now, VC5_NEWS_FLAG_OPENED, expiry, time);
	return choice;
}

static __always_inline u64 vc5_read_slot(const struct vc5_service *service, u64 hash)
{
	return *(volatile vc5_slot *)&vc5_slots[vc5_slot_of(service->slots, service->slot_count, hash)];
}

static __always_inline struct vc5_choice vc5_choose(const struct vc5_service *service, const struct vc5_packet *packet)
{
	u64 hash = vc5_hash(service, packet);
	u64 slot = vc5_slot_of(service->slots, service->slot_count, hash);
	u64 word = vc5_read_slot(service, hash);
	struct vc5_choice choice = {.index = word & (VC5_TRACKED - 1)};

	if (word & VC5_TRACKED)
		return vc5_choose_tracked(service, slot, choice.index, hash, packet);
	return choice;
}
