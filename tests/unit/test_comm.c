/* comm/ in a process that no MPI launcher started: a group of one.  Several ranks:
 * tests/e2e/comm.sh. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm/buckets.h"
#include "comm/comm.h"

static struct comm_group *group;

/* Open MPI unloads its modules at the end; the leak checker could then not tell that what they left
 * is theirs (tests/support/leaks.supp).  So nothing is unloaded here. */
int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

/* Its libraries keep no frame pointers: only the slow unwinder sees through them. */
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier,cert-dcl37-c) */
const char *__asan_default_options(void)  /* NOLINT(bugprone-reserved-identifier,cert-dcl37-c) */
{
    return "fast_unwind_on_malloc=0";
}

static int open_group(void **state)
{
    (void)state;
    return comm_open(&group, &(struct comm_options){.timeout_s = 100}) == LS_OK ? 0 : -1;
}

static int close_group(void **state)
{
    (void)state;
    comm_close(&group);
    return group == NULL ? 0 : -1;
}

static void process_without_launcher_is_rank_0_of_1(void **state)
{
    (void)state;
    assert_int_equal(comm_rank(group), 0);
    assert_int_equal(comm_size(group), 1);
    assert_int_equal(comm_local_rank(group), 0);
    assert_int_equal(comm_local_size(group), 1);
}

static void collectives_of_one_rank_give_its_own_data(void **state)
{
    (void)state;
    float data[3] = {1.5F, -2, 3};
    double values[2] = {0.1, -7};
    int64_t mine = 42;
    int64_t all = 0;
    struct comm_request *request = NULL;
    assert_int_equal(comm_sum_start(group, &request, data, 3), LS_OK);
    assert_int_equal(comm_wait(group, &request), LS_OK);
    assert_null(request);
    assert_int_equal(comm_wait(group, &request), LS_OK); /* nothing to wait for */
    assert_true(data[0] == 1.5F && data[1] == -2 && data[2] == 3);
    assert_int_equal(comm_sum_f64(group, values, 2), LS_OK);
    assert_true(values[0] == 0.1 && values[1] == -7);
    assert_int_equal(comm_exchange(group, &mine, sizeof mine, &all), LS_OK);
    assert_int_equal(all, 42);
    assert_int_equal(comm_broadcast(group, &mine, sizeof mine, 0), LS_OK);
    assert_int_equal(mine, 42);
    assert_int_equal(comm_barrier(group), LS_OK);
}

static void agreement_of_one_rank_keeps_its_failure(void **state)
{
    (void)state;
    assert_int_equal(comm_agree(group, LS_OK), LS_OK);
    ls_status mine = LS_FAIL(LS_DATA, "bad clip");
    assert_int_equal(comm_agree(group, mine), LS_DATA);
    assert_string_equal(status_message(), "bad clip");
}

static void impossible_collectives_are_refused(void **state)
{
    (void)state;
    struct comm_request *request = NULL;
    int64_t value = 0;
    assert_int_equal(comm_sum_start(group, &request, NULL, -1), LS_USAGE);
    assert_null(request);
    assert_int_equal(comm_sum_f64(group, NULL, -1), LS_USAGE);
    assert_int_equal(comm_broadcast(group, &value, sizeof value, 1), LS_USAGE);
    assert_int_equal(comm_broadcast(group, &value, sizeof value, -1), LS_USAGE);
    assert_int_equal(comm_exchange(group, &value, (size_t)1 << 40, &value), LS_USAGE);
}

static void buckets_take_ranges_in_any_order(void **state)
{
    (void)state;
    float gradient[100];
    for (int i = 0; i < 100; i++)
        gradient[i] = (float)i;
    struct comm_buckets *buckets = NULL;
    assert_int_equal(comm_buckets_open(&buckets, group, NULL, gradient, 100, 132), LS_OK);
    for (int step = 0; step < 2; step++) {
        comm_buckets_begin(buckets);
        assert_int_equal(comm_buckets_ready(buckets, 10, 80), LS_OK);
        assert_int_equal(comm_buckets_ready(buckets, 0, 10), LS_OK);
        assert_int_equal(comm_buckets_ready(buckets, 95, 5), LS_OK);
        assert_int_equal(comm_buckets_ready(buckets, 90, 5), LS_OK);
        assert_int_equal(comm_buckets_wait(buckets), LS_OK);
    }
    assert_true(gradient[0] == 0 && gradient[99] == 99);
    comm_buckets_close(&buckets);
    assert_null(buckets);
}

static void buckets_name_a_range_that_is_missing_or_reported_twice(void **state)
{
    (void)state;
    float gradient[100] = {0};
    struct comm_buckets *buckets = NULL;
    assert_int_equal(comm_buckets_open(&buckets, group, NULL, gradient, 100, 1), LS_USAGE);
    assert_int_equal(comm_buckets_open(&buckets, group, NULL, gradient, 0, 400), LS_USAGE);
    assert_int_equal(comm_buckets_open(&buckets, group, NULL, gradient, 100, 40), LS_OK);
    comm_buckets_begin(buckets);
    assert_int_equal(comm_buckets_ready(buckets, 50, 50), LS_OK);
    assert_int_equal(comm_buckets_ready(buckets, 90, 11), LS_USAGE);
    assert_int_equal(comm_buckets_ready(buckets, -1, 1), LS_USAGE);
    assert_int_equal(comm_buckets_wait(buckets), LS_USAGE);
    assert_string_equal(status_message(),
                        "only 0 of 10 gradient elements from 40 on were reported");
    assert_int_equal(comm_buckets_ready(buckets, 95, 1), LS_USAGE);
    assert_string_equal(status_message(), "gradient elements [95, +1) were reported twice");
    comm_buckets_close(&buckets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_without_launcher_is_rank_0_of_1),
        cmocka_unit_test(collectives_of_one_rank_give_its_own_data),
        cmocka_unit_test(agreement_of_one_rank_keeps_its_failure),
        cmocka_unit_test(impossible_collectives_are_refused),
        cmocka_unit_test(buckets_take_ranges_in_any_order),
        cmocka_unit_test(buckets_name_a_range_that_is_missing_or_reported_twice),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
