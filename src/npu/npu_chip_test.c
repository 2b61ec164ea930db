/* SPDX-License-Identifier: MIT
 * Chip files: that those which come along are read, and that faults are named with their line. */
#include "base/num.h"
#include "base/test.h"
#include "npu/npu_chip.h"

#include <dirent.h>
#include <string.h>

static const char good[] =
    "name: small\n"
    "title: A small chip\n"
    "vendor: nobody\n"
    "chip: {node_nm: 7}\n"
    "clock: {mhz: {value: 1000, assumed: yes, tolerance: 0.1, source: \"a guess\"}}\n"
    "core: {count: 2, sram_kib: 1024, link_bytes: 64, acc_kib: 64}\n"
    "matrix:\n"
    "  kind: dot\n"
    "  rows: 8\n"
    "  cols: 8\n"
    "  depth: 8\n"
    "  rate: {int8: 1}\n"
    "vector: {lanes: 32, macs: 32}\n"
    "noc: {bytes: 128}\n"
    "dram: {type: ddr4, gb: 8, channels: 1, bits: 64, mtps: 3200}\n"
    "host: {gb_s: 10}\n"
    "power: {tdp_w: 20, static_w: 2}\n"
    "runs:\n"
    "  - {workload: any, scenario: Offline, instances: 1, cores: 2, batch: 4}\n"
    "results:\n"
    "  - {workload: resnet50, scenario: Offline, per_s: 10, round: v1, system: x}\n";

static void test_good_file(void **state)
{
    struct npu_chip *c;
    struct errinfo e = {0};
    (void)state;
    assert_int_equal(npu_chip_parse(&c, good, sizeof good - 1, "good", &e), ERR_OK);
    assert_float_equal(c->v[NPU_CLOCK], 1000, 0);
    assert_true(c->source[NPU_CLOCK].assumed);
    assert_string_equal(c->source[NPU_CLOCK].text, "a guess");
    assert_false(c->source[NPU_CORES].assumed);
    assert_float_equal(npu_chip_macs(c, NPU_INT8), 2 * 512 * 1e9, 1);
    assert_float_equal(npu_chip_macs(c, NPU_BF16), 0, 0);
    assert_float_equal(npu_chip_dram_bytes(c), 25.6e9, 1);
    assert_non_null(npu_chip_setup(c, "resnet50", NPU_OFFLINE));
    assert_null(npu_chip_setup(c, "resnet50", NPU_SINGLE_STREAM));
    assert_int_equal(c->n_results, 1);
    assert_int_equal(npu_chip_set(c, NPU_CORES, 0, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "core.count is 0"));
    npu_chip_free(c);
}

/* `from` becomes `to`: what the error says, with its line. */
static const struct {
    const char *from, *to, *error;
} faults[] = {
    {"name: small",                  "name: [small]",                     "x:1: name is a text"                                     },
    {"node_nm: 7",                   "node_nm: seven",                    "x:4: chip.node_nm is a number, not \"seven\""            },
    {"node_nm: 7",                   "node_nm: 1",                        "x:4: chip.node_nm is 1, which is outside 2 to 130 nm"    },
    {"count: 2,",                    "",                                  "x:1: core.count is missing: cores"                       },
    {"count: 2",                     "count: 2.5",                        "core.count is a whole number, not 2.5"                   },
    {"count: 2",                     "count: 2, count: 3",                "x:6: core.count stands there twice"                      },
    {"title: A small chip",          "title: One\ntitle: Two",            "x:3: title stands there twice"                           },
    {"vector:",                      "matrix: {step_cycles: 1}\nvector:", "x:13: matrix stands there twice"                         },
    {"value: 1000",                  "valu: 1000",                        "x:5: clock.mhz has value, source, tolerance, assumed"    },
    {"assumed: yes",                 "assumed: true",                     "x:5: assumed is yes or no"                               },
    {"tolerance: 0.1",               "tolerance: -1",                     "x:5: tolerance is a share from 0 to 10"                  },
    {"kind: dot",                    "kind: round",                       "x:8: matrix.kind is one of systolic_ws, systolic_os, dot"},
    {"kind: dot",                    "kind: systolic_os",                 "matrix.depth is of dot units"                            },
    {"{int8: 1}",                    "{int8: 0}",                         "matrix.rate gives no format"                             },
    {"type: ddr4",                   "type: ddr9",                        "x:15: dram.type is one of ddr3, ddr4"                    },
    {"mtps: 3200",                   "speed: 3200",                       "x:15: there is no \"dram.speed\" in a chip file"         },
    {"static_w: 2",                  "static_w: 30",                      "power.static_w is 30 W and leaves nothing"               },
    {"vector:",                      "vectors:",                          "x:13: there is no \"vectors\" in a chip file"            },
    {"cores: 2, batch",              "cores: 3, batch",
     "x:19: 1 instances of 3 cores are more than the chip's 2"                                                                      },
    {"scenario: Offline, instances", "scenario: Late, instances",         "x:19: scenario is SingleStream"                          },
    {"batch: 4",                     "batch: 0",                          "x:19: batch is a whole number from 1 to 4096"            },
    {"per_s: 10,",                   "",                                  "x:21: a result needs workload"                           },
    {"per_s: 10",                    "per_s: 10, colour: red",            "x:21: a result has no \"colour\""                        },
    {"title: A small chip",          "title: \"A\\x07\"",
     "x:2: title is a text of 1 to 100 printable bytes"                                                                             },
    {"vendor: nobody",               "vendor: : nobody",                  "x:3: no YAML"                                            },
    {"vendor: nobody",               "vendor: *nobody",                   "x:3: no YAML"                                            },
};

static void test_faults_are_named(void **state)
{
    char text[sizeof good + 200];
    (void)state;
    for (size_t i = 0; i < N_ELEMS(faults); i++) {
        const char *at = strstr(good, faults[i].from);
        struct npu_chip *c;
        struct errinfo e = {0};
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, faults[i].to,
                 at + strlen(faults[i].from));
        assert_int_equal(npu_chip_parse(&c, text, strlen(text), "x", &e), ERR_CORRUPT);
        if (!strstr(e.text, faults[i].error))
            fail_msg("\"%s\" for \"%s\": %s", faults[i].to, faults[i].from, e.text);
    }
}

static void test_files_that_come_along(void **state)
{
    DIR *d = opendir("chips");
    size_t n = 0;
    (void)state;
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        static char bytes[65536];
        char path[300];
        struct npu_chip *c;
        struct errinfo e = {0};
        if (!strstr(x->d_name, ".yaml"))
            continue;
        snprintf(path, sizeof path, "chips/%s", x->d_name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t size = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        if (npu_chip_parse(&c, bytes, size, path, &e) != ERR_OK)
            fail_msg("%s", e.text);
        assert_memory_equal(c->name, x->d_name, strlen(c->name));
        size_t lines = 0;
        for (size_t i = 0; i < size; i++)
            lines += bytes[i] == '\n';
        assert_true(lines <= 80);
        npu_chip_free(c);
        n++;
    }
    closedir(d);
    assert_true(n >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_files_that_come_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
