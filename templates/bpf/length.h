/* How long a frame is. With an MTU above what one buffer takes, a frame comes in several, and only the first, which holds
 * all headers, lies between `data` and `data_end`; the length of the whole must be asked for.
 */

/*% if shape.multi_buffer %*/
static u64 (*vc5_all_buffers)(void *ctx) = (void *)BPF_FUNC_xdp_get_buff_len;
/*% endif %*/

static __always_inline u64 vc5_frame_length(struct xdp_md *ctx)
{
/*% if shape.multi_buffer %*/
	return vc5_all_buffers(ctx);
/*% else %*/
	return (long)ctx->data_end - (long)ctx->data;
/*% endif %*/
}

/* Whether `length` bytes of the frame follow its layer-2 header of `l2` bytes, `packet` being what does. */
static __always_inline int vc5_complete(struct xdp_md *ctx, u32 l2, const void *packet, u64 length,
					const void *end)
{
	if (packet + length <= end)
		return 1;
/*% if shape.multi_buffer %*/
	return l2 + length <= vc5_frame_length(ctx);
/*% else %*/
	return 0;
/*% endif %*/
}
