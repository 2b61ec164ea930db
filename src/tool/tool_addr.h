/* SPDX-License-Identifier: MIT
 * tool_addr.h - which network addresses a page may come from.
 *
 * Does: tell addresses that anyone on the public internet can reach from those that only this
 *       machine or its network can: private, loopback, link-local, shared (CGNAT), documentation,
 *       multicast, unique local and reserved ones, also where IPv6 carries IPv4 (mapped, NAT64,
 *       6to4).  Source: IANA's registries of special-purpose addresses (RFC 6890).
 * Does not: resolve names.
 * Threads: any. */
#ifndef TOOL_TOOL_ADDR_H
#define TOOL_TOOL_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* False too for families that are neither IPv4 nor IPv6. */
bool tool_addr_public(const struct sockaddr *a);
/* "192.0.2.1" or "2001:db8::1"; "?" for what is neither. */
void tool_addr_text(const struct sockaddr *a, char out[64]);

#endif
