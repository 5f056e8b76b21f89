/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * bcc force-includes this file of a kernel source tree before every program. An XDP program uses only the stable
 * user-space ABI (package linux-libc-dev), so all that is wanted here are the kernel's short type names.
 */
#ifndef VC5_STUB_KCONFIG_H
#define VC5_STUB_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#endif
