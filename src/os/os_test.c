/* SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "base/test.h"
#include "os/os_map.h"
#include "os/os_pool.h"
#include "os/os_sys.h"

#include <sched.h>
#include <string.h>

struct sum_job {
    struct os_pool *pool;
    unsigned char *seen; /* [n] */
    size_t n;
    long long per_thread[8];
    long long total;
};

/* Each item is taken exactly once, and after a barrier each thread sees what the others wrote. */
static void sum_all(void *arg, int thread, int n_threads)
{
    struct sum_job *j = arg;
    long long mine = 0;
    for (size_t i; (i = os_pool_take(j->pool, 3)) < j->n;)
        for (size_t k = i; k < MIN(i + 3, j->n); k++) {
            j->seen[k]++;
            mine += (long long)k;
        }
    j->per_thread[thread] = mine;
    os_pool_barrier(j->pool);
    long long total = 0;
    for (int i = 0; i < n_threads; i++)
        total += j->per_thread[i];
    if (thread == 0)
        j->total = total;
}

static void pool_divides_work(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n++) {
        struct sum_job j = {.pool = os_pool_new(n), .n = 1001};
        j.seen = calloc(j.n, 1);
        for (int round = 1; round <= 200; round++) {
            os_pool_run(j.pool, sum_all, &j);
            assert_int_equal(j.total, 1001 * 1000 / 2);
            for (size_t i = 0; i < j.n; i++)
                assert_int_equal(j.seen[i], round);
        }
        os_pool_free(j.pool);
        free(j.seen);
    }
}

static void system_answers(void **state)
{
    (void)state;
    assert_true(os_mem_total() >= os_mem_resident());
    assert_true(os_mem_available() > 0);
    assert_true(os_n_cpus() >= 1);
    assert_true(strlen(os_cpu_name()) > 0);
    uint64_t t = os_now_ns();
    assert_true(os_now_ns() >= t);
    assert_true(os_cache_bytes() < os_mem_total());
    size_t n = (size_t)64 << 20, peak = os_mem_resident_peak();
    char *p = os_pages_alloc(n);
    assert_non_null(p);
    memset(p, 1, n);
    os_pages_free(p, n);
    assert_true(os_mem_resident_peak() >= MAX(peak, n)); /* also when it is gone again */
}

static void pins(void **state)
{
    (void)state;
    int n = os_n_cpus(), seen = -1;
    for (int i = 0; i < MIN(n, 3); i++) {
        os_pin(i);
        assert_int_equal(os_n_cpus(), 1);
        assert_int_not_equal(sched_getcpu(), seen);
        seen = sched_getcpu();
        os_unpin();
        assert_int_equal(os_n_cpus(), n);
    }
    os_unpin(); /* once more does nothing */
    assert_int_equal(os_n_cpus(), n);
}

static void maps_name_what_is_wrong(void **state)
{
    (void)state;
    struct os_map m;
    struct errinfo e;
    assert_int_equal(os_map_open(&m, "/no/such/file", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/no/such/file"));
    assert_int_equal(os_map_open(&m, "/tmp", &e), ERR_IO);
    assert_int_equal(os_map_open(&m, "/dev/zero", &e), ERR_IO);
    assert_int_equal(os_map_open(&m, "/proc/self/exe", &e), ERR_OK);
    assert_memory_equal(m.data, "\177ELF", 4);
    os_map_forget(m.data, m.bytes);
    assert_memory_equal(m.data, "\177ELF", 4);
    os_map_close(&m);
    char *p = os_pages_alloc(5000000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % (2 << 20), 0);
    p[0] = p[4999999] = 1;
    os_pages_free(p, 5000000);
    assert_null(os_pages_alloc(SIZE_MAX - 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_divides_work),
        cmocka_unit_test(system_answers),
        cmocka_unit_test(pins),
        cmocka_unit_test(maps_name_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
