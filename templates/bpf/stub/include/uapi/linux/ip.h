/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inside a kernel source tree this is the user-space header; outside it is the one of linux-libc-dev.
 */
#include_next <linux/ip.h>
