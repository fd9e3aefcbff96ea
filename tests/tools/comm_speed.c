/* Measures of comm/ under mpirun:
 *
 *     comm_speed alone MIB REPEATS      time and bytes/s of an all-reduce, and of a small exchange
 *     comm_speed hidden MIB COMPUTE_MS  share of an all-reduce that a computing rank waits for; exit
 *                                       code 1 when it is more than 20 %
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/buckets.h"
#include "comm/comm.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/median.h"

enum { RANKS_MAX = 64 };

static ls_status all_reduce(struct comm_group *group, float *data, int64_t count, double *out_s)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    LS_TRY(comm_barrier(group));
    double start_s = clock_now_s();
    LS_TRY(comm_sum_start(group, &request, data, count));
    LS_TRY(comm_wait(group, &request));
    *out_s = clock_now_s() - start_s;
done:
    return st;
}

static ls_status measure_speed(struct comm_group *group, double mib, int repeats)
{
    ls_status st = LS_OK;
    int64_t count = (int64_t)(mib * 262144);
    float *data = NULL;
    double best_s = INFINITY;
    double exchange_s = clock_now_s();
    int64_t word = 0;
    int64_t all[RANKS_MAX];
    LS_TRY(core_alloc(&data, count));
    for (int i = 0; i < 200; i++)
        LS_TRY(comm_exchange(group, &word, sizeof word, all));
    exchange_s = (clock_now_s() - exchange_s) / 200;
    for (int i = 0; i < repeats; i++) {
        double seconds = 0;
        LS_TRY(all_reduce(group, data, count, &seconds));
        if (seconds < best_s)
            best_s = seconds;
    }
    int size = comm_size(group);
    if (comm_rank(group) == 0)
        (void)printf("ranks=%d mib=%g best_ms=%.2f bus_gb_s=%.2f exchange_us=%.0f\n", size, mib,
                     1e3 * best_s, 8e-9 * (double)count * (size - 1) / size / best_s,
                     1e6 * exchange_s);
done:
    free(data);
    return st;
}

/* Busy arithmetic for `seconds`, as backward of a layer would be. */
static double compute(double seconds)
{
    double value = 1.0;
    double end_s = clock_now_s() + seconds;
    while (clock_now_s() < end_s)
        for (int i = 0; i < 1000; i++)
            value = value * 0.999 + 0.5;
    return value;
}

/* A step: backward in 32 layers from the end of the gradient, then the wait.  `*wait_s` is that of
 * the rank that waited least: it came last, so that it waited for the link and for nobody. */
static ls_status hidden_step(struct comm_group *group, struct comm_buckets *buckets, int64_t count,
                             double compute_s, double *wait_s)
{
    enum { LAYERS = 32 };
    ls_status st = LS_OK;
    double waits[RANKS_MAX];
    comm_buckets_begin(buckets);
    int64_t end = count;
    for (int layer = 1; layer <= LAYERS; layer++) {
        int64_t begin = count - count * layer / LAYERS;
        if (compute(compute_s / LAYERS) < 0)
            return LS_FAIL(LS_FAILED, "arithmetic went wrong");
        LS_TRY(comm_buckets_ready(buckets, begin, end - begin));
        end = begin;
    }
    double start_s = clock_now_s();
    LS_TRY(comm_buckets_wait(buckets));
    *wait_s = clock_now_s() - start_s;
    LS_TRY(comm_exchange(group, wait_s, sizeof *wait_s, waits));
    for (int r = 0; r < comm_size(group); r++)
        if (waits[r] < *wait_s)
            *wait_s = waits[r];
done:
    return st;
}

/* The whole gradient's sum alone, then the same while computing for `compute_ms` (0: twice as long
 * as the sum alone); medians.  Fails when more than 20 % of it is waited for. */
static ls_status measure_hidden(struct comm_group *group, double mib, double compute_ms)
{
    enum { STEPS = 9 };
    ls_status st = LS_OK;
    int64_t count = (int64_t)(mib * 262144);
    float *data = NULL;
    struct comm_buckets *buckets = NULL;
    double alone[STEPS];
    double waited[STEPS];
    LS_TRY(core_alloc(&data, count));
    LS_TRY(comm_buckets_open(&buckets, group, NULL, data, count, count / 4));
    LS_TRY(all_reduce(group, data, count, &alone[0])); /* connections are made */
    for (int i = 0; i < STEPS; i++)
        LS_TRY(all_reduce(group, data, count, &alone[i]));
    double alone_s = median_of(alone, STEPS);
    double compute_s = compute_ms > 0 ? compute_ms / 1e3 : 2 * alone_s;
    LS_TRY(comm_broadcast(group, &compute_s, sizeof compute_s, 0));
    for (int i = 0; i < STEPS; i++)
        LS_TRY(hidden_step(group, buckets, count, compute_s, &waited[i]));
    double waited_s = median_of(waited, STEPS);
    double share = waited_s / alone_s;
    LS_TRY(comm_broadcast(group, &share, sizeof share, 0));
    if (comm_rank(group) == 0)
        (void)printf("ranks=%d mib=%g compute_s=%.3f all_reduce_alone_s=%.3f comm_wait_s=%.3f "
                     "share=%.3f\n",
                     comm_size(group), mib, compute_s, alone_s, waited_s, share);
    if (share > 0.2)
        st = LS_FAIL(LS_FAILED, "ranks wait for %.0f %% of an all-reduce, not for at most 20 %%",
                     100 * share);
done:
    comm_buckets_close(&buckets);
    free(data);
    return st;
}

int main(int argc, char **argv)
{
    struct comm_group *group = NULL;
    ls_status st = LS_OK;
    if (argc != 4) {
        (void)fprintf(stderr, "usage: comm_speed alone MIB REPEATS | hidden MIB COMPUTE_MS\n");
        return 2;
    }
    double mib = strtod(argv[2], NULL);
    LS_TRY(comm_open(&group, &(struct comm_options){.timeout_s = 60}));
    log_open(comm_rank(group), LOG_LEVEL_INFO);
    if (strcmp(argv[1], "hidden") == 0)
        LS_TRY(measure_hidden(group, mib, strtod(argv[3], NULL)));
    else
        LS_TRY(measure_speed(group, mib, (int)strtol(argv[3], NULL, 10)));
done:
    if (st != LS_OK) {
        log_error("comm_speed %s: %s", argv[1], status_text());
        comm_abort(group, status_exit_code(st));
    }
    comm_close(&group);
    return 0;
}
