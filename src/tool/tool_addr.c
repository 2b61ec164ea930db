/* SPDX-License-Identifier: MIT */
#include "tool/tool_addr.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct block4 {
    uint32_t base;
    int bits;
};

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static const struct block4 not_public4[] = {
    {IP4(0,   0,   0,   0), 8 }, /* this network */
    {IP4(10,  0,   0,   0), 8 }, /* private */
    {IP4(100, 64,  0,   0), 10}, /* shared, behind a carrier's NAT */
    {IP4(127, 0,   0,   0), 8 }, /* loopback */
    {IP4(169, 254, 0,   0), 16}, /* link-local: clouds keep secrets here */
    {IP4(172, 16,  0,   0), 12}, /* private */
    {IP4(192, 0,   0,   0), 24}, /* protocol assignments */
    {IP4(192, 0,   2,   0), 24}, /* documentation */
    {IP4(192, 88,  99,  0), 24}, /* 6to4 relays of old */
    {IP4(192, 168, 0,   0), 16}, /* private */
    {IP4(198, 18,  0,   0), 15}, /* benchmarks */
    {IP4(198, 51,  100, 0), 24}, /* documentation */
    {IP4(203, 0,   113, 0), 24}, /* documentation */
    {IP4(224, 0,   0,   0), 4 }, /* multicast */
    {IP4(240, 0,   0,   0), 4 }, /* reserved, broadcast */
};

static bool public4(uint32_t a)
{
    for (size_t i = 0; i < N_ELEMS(not_public4); i++) {
        uint32_t mask = ~(uint32_t)0 << (32 - not_public4[i].bits);
        if ((a & mask) == not_public4[i].base)
            return false;
    }
    return true;
}

struct block6 {
    uint8_t base[16];
    int bits;
};

/* Within 2000::/3, outside of which nothing is public. */
static const struct block6 not_public6[] = {
    {{0x20, 0x01},             23}, /* protocol assignments: Teredo, ORCHID, benchmarks */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff},             20}, /* documentation */
};

static bool within6(const uint8_t a[16], const uint8_t *base, int bits)
{
    size_t whole = (size_t)bits / 8;
    int rest = bits % 8;
    if (memcmp(a, base, whole) != 0)
        return false;
    return !rest || (a[whole] ^ base[whole]) >> (8 - rest) == 0;
}

static uint32_t inner4(const uint8_t *p)
{
    return IP4(p[0], p[1], p[2], p[3]);
}

static bool public6(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
        return public4(inner4(a + 12));
    if (a[0] >> 5 != 1)
        return false;
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
        return public4(inner4(a + 2));
    for (size_t i = 0; i < N_ELEMS(not_public6); i++)
        if (within6(a, not_public6[i].base, not_public6[i].bits))
            return false;
    return true;
}

bool tool_addr_public(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return public4(ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
    if (a->sa_family == AF_INET6)
        return public6(((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr);
    return false;
}

void tool_addr_text(const struct sockaddr *a, char out[64])
{
    const void *p = a->sa_family == AF_INET
                        ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
                        : (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    if ((a->sa_family != AF_INET && a->sa_family != AF_INET6) ||
        !inet_ntop(a->sa_family, p, out, 64))
        snprintf(out, 64, "?");
}
