/* Checks of comm/ that need several ranks; tests/e2e/comm.sh runs it under
 * mpirun.
 *
 *     comm_check [sums] [buckets] [slices] [agree]   every rank exits 0, or prints what is wrong and exits 1
 *     comm_check timeout|deaf|killed|abort   rank 1 misbehaves; the others must leave by themselves
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/buckets.h"
#include "comm/comm.h"
#include "comm/gathers.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/random.h"

enum { REPEATS = 20 };

/* Element `i` of rank `rank`'s contribution: values of very different size, so that another order
 * of additions gives other bits. */
static float contribution(int rank, int64_t i)
{
    struct random_stream stream;
    random_open(&stream, 7, RANDOM_TEST, (uint64_t)i, (uint32_t)rank, 0);
    double magnitude = random_uniform(&stream, -6, 6);
    return (float)(random_uniform(&stream, -1, 1) * pow(10.0, magnitude));
}

static void fill(float *data, int64_t count, int rank)
{
    for (int64_t i = 0; i < count; i++)
        data[i] = contribution(rank, i);
}

/* Compare with the serial sum in double: each of size - 1 additions may round by half an ulp of the
 * sum of magnitudes. */
static ls_status compare_with_serial(const struct comm_group *group, const float *sum,
                                     int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double serial = 0;
        double magnitude = 0;
        float in_order = contribution(0, i);
        for (int r = 0; r < comm_size(group); r++) {
            float part = contribution(r, i);
            serial += part;
            magnitude += fabs((double)part);
            if (r > 0)
                in_order += part;
        }
        double bound = comm_size(group) * 0x1p-24 * magnitude;
        if (!(fabs(sum[i] - serial) <= bound))
            return LS_FAIL(LS_FAILED, "element %lld of %lld: %.9g, serial sum %.17g, bound %g",
                           (long long)i, (long long)count, (double)sum[i], serial, bound);
        if (sum[i] != in_order)
            return LS_FAIL(LS_FAILED, "element %lld of %lld is not the sum in rank order",
                           (long long)i, (long long)count);
    }
    return LS_OK;
}

/* All ranks hold the same bits, and the same as in the first repeat (`*first` is set then). */
static ls_status compare_bits(struct comm_group *group, const float *data, int64_t count,
                              int repeat, struct hash128 *first)
{
    ls_status st = LS_OK;
    struct hash128 all[64];
    struct hash128 mine = hash_buffer(data, (size_t)count * sizeof *data);
    if (repeat == 0)
        *first = mine;
    LS_TRY(comm_exchange(group, &mine, sizeof mine, all));
    for (int r = 0; r < comm_size(group); r++)
        if (!hash_equal(all[r], *first)) {
            st = LS_FAIL(LS_FAILED, "repeat %d of %lld elements: rank %d has other bits", repeat,
                         (long long)count, r);
            goto done;
        }
done:
    return st;
}

static ls_status check_sums(struct comm_group *group)
{
    static const int64_t counts[] = {0, 1, 2, 3, 17, 1000, 65537, (1 << 20) + 5, 3 << 20};
    ls_status st = LS_OK;
    float *data = NULL;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        int64_t count = counts[c];
        struct hash128 first;
        LS_TRY(core_alloc(&data, count + 1));
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            struct comm_request *request = NULL;
            fill(data, count, comm_rank(group));
            data[count] = 12345.0F;
            clock_sleep_s(1e-3 * ((comm_rank(group) * 7 + repeat * 3) % 5)); /* shuffle arrivals */
            LS_TRY(comm_sum_start(group, &request, data, count));
            LS_TRY(comm_wait(group, &request));
            if (repeat == 0)
                LS_TRY(compare_with_serial(group, data, count));
            LS_TRY(compare_bits(group, data, count, repeat, &first));
            if (data[count] != 12345.0F) {
                st = LS_FAIL(LS_FAILED, "a sum of %lld wrote past its end", (long long)count);
                goto done;
            }
            if (count > 100000 && repeat == 4)
                break;
        }
        free(data);
        data = NULL;
    }
done:
    free(data);
    return st;
}

/* Sums in doubles, exchange, broadcast, while a large sum is in flight. */
static ls_status check_others(struct comm_group *group)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    int size = comm_size(group);
    int rank = comm_rank(group);
    int64_t count = 6 << 20;
    float *data = NULL;
    LS_TRY(core_alloc(&data, count));
    fill(data, 1000, rank);
    (void)comm_counters(group); /* from here on */
    LS_TRY(comm_sum_start(group, &request, data, count));
    for (int repeat = 0; repeat < 50; repeat++) {
        double values[2] = {rank + 0.25, repeat};
        int64_t mine = rank * 1000 + repeat;
        int64_t all[64];
        char text[32] = "";
        if (rank == size - 1)
            (void)snprintf(text, sizeof text, "from the last, %d", repeat);
        LS_TRY(comm_sum_f64(group, values, 2));
        LS_TRY(comm_exchange(group, &mine, sizeof mine, all));
        LS_TRY(comm_broadcast(group, text, sizeof text, size - 1));
        char expected[32];
        (void)snprintf(expected, sizeof expected, "from the last, %d", repeat);
        bool good = strcmp(text, expected) == 0 && values[1] == (double)repeat * size &&
                    values[0] == size * (size - 1) / 2.0 + 0.25 * size;
        for (int r = 0; r < size; r++)
            good = good && all[r] == r * 1000 + repeat;
        if (!good) {
            st = LS_FAIL(LS_FAILED, "repeat %d: an exchange, broadcast or sum is wrong", repeat);
            goto done;
        }
    }
    LS_TRY(comm_wait(group, &request));
    LS_TRY(compare_with_serial(group, data, 1000));
    struct comm_counters counters = comm_counters(group);
    if (size > 1 && (counters.bytes != count * 4 || !(counters.busy_s > 0)))
        st = LS_FAIL(LS_FAILED, "counters say %lld bytes in %g s", (long long)counters.bytes,
                     counters.busy_s);
done:
    free(data);
    return st;
}

/* Ranges reported in another order on every rank, of odd sizes that straddle bucket borders. */
static ls_status check_buckets(struct comm_group *group)
{
    enum { COUNT = 100003, PIECE = 977 };
    ls_status st = LS_OK;
    struct comm_buckets *buckets = NULL;
    float *data = NULL;
    struct hash128 first;
    int pieces = (COUNT + PIECE - 1) / PIECE;
    LS_TRY(core_alloc(&data, COUNT));
    LS_TRY(comm_buckets_open(&buckets, group, NULL, data, COUNT, 28004));
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        fill(data, COUNT, comm_rank(group));
        comm_buckets_begin(buckets);
        for (int i = 0; i < pieces; i++) {
            int64_t piece = (int64_t)random_permute((uint64_t)repeat, (uint64_t)comm_rank(group),
                                                    (uint64_t)pieces, (uint64_t)i);
            int64_t offset = piece * PIECE;
            LS_TRY(comm_buckets_ready(buckets, offset,
                                      offset + PIECE < COUNT ? PIECE : COUNT - offset));
        }
        LS_TRY(comm_buckets_wait(buckets));
        if (repeat == 0)
            LS_TRY(compare_with_serial(group, data, COUNT));
        LS_TRY(compare_bits(group, data, COUNT, repeat, &first));
    }
done:
    comm_buckets_close(&buckets);
    free(data);
    return st;
}

/* Slices of a divided space: summed as the whole would be, then given to all.  Nobody else's slice
 * is touched by the sum. */
static ls_status check_division(struct comm_group *group, int64_t count, int64_t bucket)
{
    ls_status st = LS_OK;
    int rank = comm_rank(group);
    struct comm_buckets *buckets = NULL;
    struct comm_gathers *gathers = NULL;
    float *data = NULL;
    struct hash128 first;
    const struct division division = division_make(count, bucket, comm_size(group));
    LS_TRY(core_alloc(&data, count + 1));
    LS_TRY(comm_buckets_open_divided(&buckets, group, NULL, data, &division));
    LS_TRY(comm_gathers_open(&gathers, &(struct comm_gathers_options){.group = group,
                                                                      .data = data,
                                                                      .total = count,
                                                                      .element_bytes = sizeof *data,
                                                                      .division = division}));
    for (int repeat = 0; repeat < 2; repeat++) {
        fill(data, count, rank);
        data[count] = 12345.0F;
        comm_buckets_begin(buckets);
        LS_TRY(comm_buckets_ready(buckets, count / 3, count - count / 3));
        clock_sleep_s(1e-3 * ((rank * 7 + repeat * 3) % 5));
        LS_TRY(comm_buckets_ready(buckets, 0, count / 3));
        LS_TRY(comm_buckets_wait(buckets));
        for (int64_t i = 0; i < count; i += 61)
            if (i / division.slice % division.ranks != rank && data[i] != contribution(rank, i)) {
                st = LS_FAIL(LS_FAILED, "element %lld of another rank was touched", (long long)i);
                goto done;
            }
        for (int64_t b = 0; b < comm_gathers_count(gathers); b++)
            LS_TRY(comm_gathers_start(gathers, b));
        LS_TRY(comm_gathers_reach(gathers, 0));
        LS_TRY(comm_gathers_reach(gathers, comm_gathers_count(gathers))); /* there is none */
        LS_TRY(comm_gathers_wait(gathers));
        LS_TRY(compare_with_serial(group, data, count));
        LS_TRY(compare_bits(group, data, count, repeat, &first));
        if (data[count] != 12345.0F) {
            st = LS_FAIL(LS_FAILED, "slices of %lld wrote past their end", (long long)count);
            goto done;
        }
    }
done:
    comm_gathers_close(&gathers);
    comm_buckets_close(&buckets);
    free(data);
    return st;
}

static ls_status check_slices(struct comm_group *group)
{
    static const int64_t counts[] = {1, 16384, 100003, 300000};
    ls_status st = LS_OK;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        LS_TRY(check_division(group, counts[c], 1));
    LS_TRY(check_division(group, 3 << 19, 3 << 19)); /* slices of several pieces */
done:
    return st;
}

static ls_status check_agree(struct comm_group *group)
{
    ls_status st = LS_OK;
    int size = comm_size(group);
    LS_TRY(comm_agree(group, LS_OK));
    for (int culprit = 0; culprit < size; culprit++) {
        /* A stop asked elsewhere is less than the failure. */
        ls_status mine = comm_rank(group) == (culprit + 1) % size && size > 1 ? LS_STOP : LS_OK;
        if (comm_rank(group) == culprit)
            mine = LS_FAIL(LS_IO, "disk of %d is gone", culprit);
        ls_status agreed = comm_agree(group, mine);
        char expected[64];
        (void)snprintf(expected, sizeof expected,
                       size > 1 ? "rank %d: disk of %d is gone" : "%.0ddisk of %d is gone", culprit,
                       culprit);
        if (agreed != LS_IO || strcmp(status_message(), expected) != 0) {
            st = LS_FAIL(LS_FAILED, "agreed on '%s: %s', not on '%s'", status_name(agreed),
                         status_message(), expected);
            goto done;
        }
    }
    if (comm_agree(group, comm_rank(group) == size - 1 ? LS_STOP : LS_OK) != LS_STOP)
        st = LS_FAIL(LS_FAILED, "a stop of one rank was not agreed on");
done:
    return st;
}

/* Rank 1 sleeps for ever: the others must come back with LS_TIMEOUT that names it. */
static ls_status check_timeout(struct comm_group *group)
{
    ls_status st = LS_OK;
    float data[1000] = {0};
    struct comm_request *request = NULL;
    LS_TRY(comm_barrier(group));
    comm_set_timeout(group, 1.0);
    if (comm_rank(group) == 1)
        for (;;)
            clock_sleep_s(60);
    double start_s = clock_now_s();
    LS_TRY(comm_sum_start(group, &request, data, 1000));
    st = comm_wait(group, &request);
    double waited_s = clock_now_s() - start_s;
    if (st != LS_TIMEOUT || waited_s < 1.0 || waited_s > 30.0 ||
        strcmp(status_message(),
               "sum number 0 of 4000 bytes did not end within 1 s: nothing from rank 1") != 0)
        return LS_FAIL(LS_FAILED, "waited %g s and got '%s: %s'", waited_s, status_name(st),
                       status_message());
    if (comm_barrier(group) != LS_TIMEOUT)
        return LS_FAIL(LS_FAILED, "a broken group still works");
    (void)printf("rank %d: timeout named rank 1\n", comm_rank(group));
    (void)fflush(stdout);
    comm_abort(group, status_exit_code(st));
done:
    return st;
}

/* Rank 1 takes nothing of what is sent to all: the sender, whom nobody owes anything, names it. */
static ls_status check_deaf(struct comm_group *group)
{
    enum { BYTES = 8 << 20 };
    ls_status st = LS_OK;
    char *data = NULL;
    LS_TRY(core_alloc(&data, BYTES));
    LS_TRY(comm_barrier(group));
    if (comm_rank(group) == 1)
        for (;;)
            clock_sleep_s(60);
    comm_set_timeout(group, 2.0);
    st = comm_broadcast(group, data, BYTES, 0);
    if (comm_rank(group) != 0) {
        LS_TRY(st);
        clock_sleep_s(90); /* rank 0 ends the job */
    }
    if (st != LS_TIMEOUT || strstr(status_message(), ": not taken by rank 1") == NULL)
        return LS_FAIL(LS_FAILED, "got '%s: %s'", status_name(st), status_message());
    (void)printf("rank 0: timeout named rank 1\n");
    (void)fflush(stdout);
    comm_abort(group, status_exit_code(st)); /* the data is still being sent */
done:
    free(data);
    return st;
}

/* Rank 1 dies by a signal or aborts while the others wait. */
static ls_status check_death(struct comm_group *group, bool abort)
{
    ls_status st = LS_OK;
    LS_TRY(comm_barrier(group));
    if (comm_rank(group) == 1) {
        if (abort)
            comm_abort(group, 11);
        (void)raise(SIGKILL);
    }
    LS_TRY(comm_barrier(group));
    st = LS_FAIL(LS_FAILED, "a barrier went through without rank 1");
done:
    return st;
}

static ls_status run_mode(struct comm_group *group, const char *mode)
{
    ls_status st = LS_OK;
    if (strcmp(mode, "sums") == 0) {
        LS_TRY(check_sums(group));
        LS_TRY(check_others(group));
    } else if (strcmp(mode, "buckets") == 0) {
        LS_TRY(check_buckets(group));
    } else if (strcmp(mode, "slices") == 0) {
        LS_TRY(check_slices(group));
    } else if (strcmp(mode, "agree") == 0) {
        LS_TRY(check_agree(group));
    } else if (strcmp(mode, "timeout") == 0) {
        LS_TRY(check_timeout(group));
    } else if (strcmp(mode, "deaf") == 0) {
        LS_TRY(check_deaf(group));
    } else if (strcmp(mode, "killed") == 0) {
        LS_TRY(check_death(group, false));
    } else if (strcmp(mode, "abort") == 0) {
        LS_TRY(check_death(group, true));
    } else {
        st = LS_FAIL(LS_USAGE, "unknown mode '%s'", mode);
    }
done:
    return st;
}

int main(int argc, char **argv)
{
    struct comm_group *group = NULL;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: comm_check MODE...\n");
        return 2;
    }
    ls_status st = comm_open(&group, &(struct comm_options){.timeout_s = 100});
    if (st == LS_OK)
        log_open(comm_rank(group), LOG_LEVEL_INFO);
    int mode = 0;
    while (st == LS_OK && ++mode < argc)
        st = run_mode(group, argv[mode]);
    if (st != LS_OK) {
        log_error("comm_check %s: %s", argv[mode], status_text());
        comm_abort(group, status_exit_code(st));
    }
    comm_close(&group);
    return 0;
}
