/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Empty on purpose: bcc includes this header of a kernel source tree, and our programs need nothing of it.
 */
