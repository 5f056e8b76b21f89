/* The kernel's helpers that the program calls, by their stable numbers (linux/bpf.h, __BPF_FUNC_MAPPER). */

#ifndef NULL
#define NULL ((void *)0)
#endif

static void *(*vc5_map_find)(u64 map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*vc5_map_store)(u64 map, const void *key, const void *value, u64 flags) = (void *)BPF_FUNC_map_update_elem;
static u32 (*vc5_this_cpu)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static u64 (*vc5_clock)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*vc5_load)(void *ctx, u32 offset, void *to, u32 length) = (void *)BPF_FUNC_xdp_load_bytes;
static long (*vc5_tail_call)(void *ctx, u64 programs, u32 position) = (void *)BPF_FUNC_tail_call;
static long (*vc5_redirect)(u32 interface, u64 flags) = (void *)BPF_FUNC_redirect;
/*% if shape.redirects %*/
static long (*vc5_redirect_map)(u64 map, u64 key, u64 flags) = (void *)BPF_FUNC_redirect_map;
/*% endif %*/
/*% if shape.fleet %*/
static long (*vc5_put_news)(u64 ring, void *news, u64 size, u64 flags) = (void *)BPF_FUNC_ringbuf_output;
static u64 (*vc5_ask_news)(u64 ring, u64 what) = (void *)BPF_FUNC_ringbuf_query;
/*% endif %*/
static long (*vc5_move_head)(void *ctx, s32 delta) = (void *)BPF_FUNC_xdp_adjust_head;
static long (*vc5_move_tail)(void *ctx, s32 delta) = (void *)BPF_FUNC_xdp_adjust_tail;

/* Words of the packet as both keyed hash and lookup take them: the bytes as they lie in the frame, the first one lowest.
 * So they cost nothing here, and balancers of either byte order agree.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define vc5_le64(word) ((u64)(word))
#define vc5_le32(word) ((u32)(word))
#define vc5_le16(word) ((u16)(word))
#define vc5_halves(first, second) ((u64)(first) | (u64)(second) << 32)
#else
#define vc5_le64(word) __builtin_bswap64(word)
#define vc5_le32(word) __builtin_bswap32(word)
#define vc5_le16(word) __builtin_bswap16(word)
#define vc5_halves(first, second) ((u64)__builtin_bswap32(first) | (u64)__builtin_bswap32(second) << 32)
#endif

/* Half of an IPv6 address. Of an array's element the compiler would only believe what alignment that has. */
static __always_inline u64 vc5_half(const void *words)
{
	return vc5_le64(*(const u64 *)words);
}

/* The second half of an IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2); the first is 0. */
#define vc5_mapped(address) vc5_halves(bpf_htonl(0xffff), address)

/* Keeps the compiler from reasoning about a value, and so from dropping the bound that the verifier wants to see. */
#define vc5_opaque(value) asm volatile("" : "+r"(value))

/* 1 where one number is below another, both below 2^63, else 0. A comparison would be a branch, and of what is chosen by it
 * newer compilers make constants on one side: then the verifier follows both sides to the end.
 */
static __always_inline u64 vc5_below(u64 one, u64 other)
{
	u64 difference = one - other;

	vc5_opaque(difference);
	return difference >> 63;
}

/* Likewise 1 where a number is not 0. */
static __always_inline u64 vc5_nonzero(u64 number)
{
	u64 sign = number | -number;

	vc5_opaque(sign);
	return sign >> 63;
}

/* A length field of the packet. The verifier of Linux 6.1 knows no bounds of a number whose bytes were swapped. */
static __always_inline u32 vc5_length(u16 word)
{
	u64 length = bpf_ntohs(word);

	vc5_opaque(length);
	return length & 0xffff;
}
