/* SPDX-License-Identifier: MIT */
#include "base/test.h"
#include "tool/tool_addr.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const struct {
    const char *text;
    bool open;
} table[] = {
    {"1.1.1.1",                  true },
    {"8.8.8.8",                  true },
    {"93.184.216.34",            true },
    {"11.0.0.1",                 true },
    {"9.255.255.255",            true },
    {"100.63.255.255",           true },
    {"100.128.0.0",              true },
    {"172.15.255.255",           true },
    {"172.32.0.0",               true },
    {"192.167.255.255",          true },
    {"192.169.0.0",              true },
    {"198.17.255.255",           true },
    {"198.20.0.0",               true },
    {"223.255.255.255",          true },
    {"0.0.0.0",                  false},
    {"0.1.2.3",                  false},
    {"10.0.0.0",                 false},
    {"10.255.255.255",           false},
    {"100.64.0.0",               false},
    {"100.127.255.255",          false},
    {"127.0.0.1",                false},
    {"127.255.255.254",          false},
    {"169.254.0.1",              false},
    {"169.254.169.254",          false},
    {"172.16.0.0",               false},
    {"172.31.255.255",           false},
    {"192.0.0.8",                false},
    {"192.0.2.1",                false},
    {"192.88.99.1",              false},
    {"192.168.0.1",              false},
    {"192.168.255.255",          false},
    {"198.18.0.0",               false},
    {"198.19.255.255",           false},
    {"198.51.100.9",             false},
    {"203.0.113.9",              false},
    {"224.0.0.1",                false},
    {"239.255.255.250",          false},
    {"240.0.0.1",                false},
    {"255.255.255.255",          false},
    {"2606:4700:4700::1111",     true },
    {"2a00:1450:4001:80e::200e", true },
    {"2001:200::1",              true },
    {"3ffe::1",                  true },
    {"::",                       false},
    {"::1",                      false},
    {"::127.0.0.1",              false},
    {"::8.8.8.8",                false},
    {"::ffff:127.0.0.1",         false},
    {"::ffff:10.1.2.3",          false},
    {"::ffff:169.254.169.254",   false},
    {"::ffff:8.8.8.8",           true },
    {"::ffff:0:127.0.0.1",       false},
    {"64:ff9b::10.0.0.1",        false},
    {"64:ff9b::127.0.0.1",       false},
    {"64:ff9b::8.8.8.8",         true },
    {"64:ff9b:1::8.8.8.8",       false},
    {"100::1",                   false},
    {"2001::1",                  false},
    {"2001:0:5ef5:79fd::",       false},
    {"2001:10::1",               false},
    {"2001:20::1",               false},
    {"2001:1ff::1",              false},
    {"2001:db8::1",              false},
    {"2002:7f00:1::",            false},
    {"2002:0a01:0203::1",        false},
    {"2002:c0a8:1::1",           false},
    {"2002:0808:0808::1",        true },
    {"3fff::1",                  false},
    {"3fff:fff::1",              false},
    {"4000::1",                  false},
    {"fc00::1",                  false},
    {"fd12:3456::1",             false},
    {"fe80::1",                  false},
    {"febf::1",                  false},
    {"fec0::1",                  false},
    {"ff02::1",                  false},
    {"ff0e::1",                  false},
};

static void every_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(table); i++) {
        struct sockaddr_in a4 = {.sin_family = AF_INET};
        struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
        bool six = strchr(table[i].text, ':') != NULL;
        assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, table[i].text,
                                   six ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr),
                         1);
        const struct sockaddr *a = six ? (void *)&a6 : (void *)&a4;
        if (tool_addr_public(a) != table[i].open)
            fail_msg("%s", table[i].text);
    }
}

static void other_families(void **state)
{
    struct sockaddr a = {.sa_family = AF_UNIX};
    char text[64];
    (void)state;
    assert_false(tool_addr_public(&a));
    tool_addr_text(&a, text);
    assert_string_equal(text, "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_range),
        cmocka_unit_test(other_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
