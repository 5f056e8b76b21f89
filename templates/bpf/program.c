/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The whole data plane, one text: the compiler sees every part, so every part is inlined.
 *
 * vc5_main   on the balancer's interfaces. Handles what nearly every packet is: TCP or UDP over IPv4 without options or
 *            fragments, for a service. It calls no helper but the one that names the CPU.
 * vc5_cold   everything else that concerns a VIP; entered from vc5_main by tail call, with the frame untouched.
 * vc5_icmp_error, vc5_fragment, vc5_quote, vc5_probe_icmp
 *            what takes more than fits there: errors about flows, fragments, answers "too big", ICMP for the prober;
 *            entered likewise.
 * vc5_nat    what goes to backends behind NAT; entered from either by tail call, and so is
 * vc5_return what concerns no VIP, where there are such backends;
 * vc5_nat_part, vc5_return_error, vc5_return_fragment
 *            errors about their packets, and fragments, likewise.
 * vc5_drop   what is dropped, while there is room to write it down; entered by tail call from all of them.
 * vc5_probe  on the balancer's end of the probe veth: sends probes to their backends.
 * vc5_pass   on the prober's end: does nothing, but without a program there the kernel drops redirected frames.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

/*{ abi }*/

/*% include "helpers.h" %*/
/*% include "verdict.h" %*/
/*% include "length.h" %*/
/*% include "headers.h" %*/
/*% include "lookup.h" %*/
/*% include "source.h" %*/
/*% if shape.fleet %*/
/*% include "news.h" %*/
/*% endif %*/
/*% include "tracking.h" %*/
/*% include "too_big.h" %*/
/*% if shape.tunnels %*/
/*% include "tunnel.h" %*/
/*% endif %*/
/*% if shape.nat %*/
/*% include "nat.h" %*/
/*% endif %*/
/*% include "forward.h" %*/
/*% include "echo.h" %*/
/*% if shape.resets %*/
/*% include "reset.h" %*/
/*% endif %*/
/*% include "probe.h" %*/
/*% include "cold.h" %*/
/*% include "icmp_error.h" %*/
/*% include "quoted.h" %*/
/*% include "probe_icmp.h" %*/
/*% include "fragment.h" %*/
/*% include "quote.h" %*/
/*% include "drop.h" %*/
/*% if shape.nat %*/
/*% include "return.h" %*/
/*% include "nat_part.h" %*/
/*% include "return_part.h" %*/
/*% else %*/

int vc5_nat(struct xdp_md *ctx)
{
	return XDP_DROP;
}

int vc5_nat_part(struct xdp_md *ctx)
{
	return XDP_DROP;
}

int vc5_return(struct xdp_md *ctx)
{
	return XDP_PASS;
}

int vc5_return_error(struct xdp_md *ctx)
{
	return XDP_PASS;
}

int vc5_return_fragment(struct xdp_md *ctx)
{
	return XDP_PASS;
}
/*% endif %*/
/*% include "main.h" %*/
