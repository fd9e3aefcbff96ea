/* The all-reduce between ranks by size, every result checked.
 *
 *   mpirun -n W bench_allreduce [--csv] [--seconds S] [--most BYTES] [--buckets N]
 *
 * Bus bandwidth is 2 (W - 1) / W x bytes / time: what a rank sends, and receives, a second.  CPU is
 * the time that all threads of a rank spend on it, mean over ranks: where the cores also compute,
 * it is theirs that it costs.  With --buckets each size is cut into N requests that are queued
 * together, as a gradient is.  Medians of at least 5 repeats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/median.h"

enum {
    REPEATS_LEAST = 5,
    REPEATS_MOST = 200,
    SIZES = 11,
    SMALLEST_BYTES = 65536,
    BUCKETS_MOST = 64
};

struct bench {
    struct comm_group *group;
    float *data;
    int rank, size;
    double seconds; /* about, for each size */
    int64_t most;   /* bytes */
    long buckets;
    bool csv;
};

static double cpu_now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Small whole numbers, whose sums are exact in any order. */
static float value_of(int rank, int64_t i)
{
    return (float)((i * 7 + (int64_t)rank * 13) % 64);
}

static ls_status check(const struct bench *bench, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float wanted = 0;
        for (int r = 0; r < bench->size; r++)
            wanted += value_of(r, i);
        if (bench->data[i] != wanted)
            return LS_FAIL(LS_COMM, "element %lld of %lld is %g, not %g", (long long)i,
                           (long long)count, (double)bench->data[i], (double)wanted);
    }
    return LS_OK;
}

static ls_status once(const struct bench *bench, int64_t count, double *wall_s, double *cpu_s)
{
    ls_status st = LS_OK;
    struct comm_request *requests[BUCKETS_MOST] = {NULL};
    for (int64_t i = 0; i < count; i++)
        bench->data[i] = value_of(bench->rank, i);
    LS_TRY(comm_barrier(bench->group));
    double start_s = clock_now_s();
    double start_cpu_s = cpu_now_s();
    for (long b = 0; b < bench->buckets; b++) {
        int64_t first = count * b / bench->buckets;
        int64_t end = count * (b + 1) / bench->buckets;
        LS_TRY(comm_sum_start(bench->group, &requests[b], bench->data + first, end - first));
    }
    for (long b = 0; b < bench->buckets; b++)
        LS_TRY(comm_wait(bench->group, &requests[b]));
    *wall_s = clock_now_s() - start_s;
    *cpu_s = cpu_now_s() - start_cpu_s;
    LS_TRY(check(bench, count));
done:
    return st;
}

/* All ranks do the same number of repeats: rank 0 says when it is enough. */
static ls_status measure(const struct bench *bench, int64_t count)
{
    ls_status st = LS_OK;
    double wall_s[REPEATS_MOST];
    double cpu_s[REPEATS_MOST];
    int repeats = 0;
    double begin_s = clock_now_s();
    for (int32_t more = 1; more != 0 && repeats < REPEATS_MOST; repeats++) {
        LS_TRY(once(bench, count, &wall_s[repeats], &cpu_s[repeats]));
        more = repeats + 1 < REPEATS_LEAST || clock_now_s() - begin_s < bench->seconds;
        LS_TRY(comm_broadcast(bench->group, &more, sizeof more, 0));
    }
    double cpu = median_of(cpu_s, repeats) / bench->size;
    LS_TRY(comm_sum_f64(bench->group, &cpu, 1));
    double wall = median_of(wall_s, repeats);
    double bytes = (double)count * sizeof(float);
    double bus = 2.0 * (bench->size - 1) / bench->size * bytes / wall;
    if (bench->rank == 0)
        printf(bench->csv ? "%d,%.0f,%.6f,%.6f,%.4f\n"
                          : "%5d ranks %10.0f bytes %10.6f s %10.6f CPU s %9.4f GB/s\n",
               bench->size, bytes, wall, cpu, bus / 1e9);
done:
    return st;
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    LS_TRY(core_alloc(&bench->data, ((int64_t)SMALLEST_BYTES << (SIZES - 1)) / 4));
    if (bench->rank == 0 && bench->csv)
        printf("ranks,bytes,seconds,cpu_seconds,bus_gb_s\n");
    for (int s = 0; s < SIZES && (int64_t)SMALLEST_BYTES << s <= bench->most; s++)
        LS_TRY(measure(bench, ((int64_t)SMALLEST_BYTES << s) / 4));
done:
    free(bench->data);
    return st;
}

static bool read_settings(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--csv") == 0)
            bench->csv = true;
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            bench->seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--most") == 0 && i + 1 < argc)
            bench->most = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--buckets") == 0 && i + 1 < argc)
            bench->buckets = strtol(argv[++i], NULL, 10);
        else
            return false;
    return bench->buckets >= 1 && bench->buckets <= BUCKETS_MOST;
}

int main(int argc, char **argv)
{
    struct bench bench = {.seconds = 0.5, .most = INT64_MAX, .buckets = 1};
    if (!read_settings(&bench, argc, argv)) {
        (void)fputs("usage: mpirun -n W bench_allreduce [--csv] [--seconds S] [--most BYTES] "
                    "[--buckets N]\n",
                    stderr);
        return 2;
    }
    log_open(0, LOG_LEVEL_WARN);
    ls_status st = comm_open(&bench.group, &(struct comm_options){.timeout_s = 300});
    if (st == LS_OK) {
        bench.rank = comm_rank(bench.group);
        bench.size = comm_size(bench.group);
        st = run(&bench);
    }
    if (st != LS_OK) {
        log_error("%s", status_text());
        comm_abort(bench.group, status_exit_code(st));
    }
    comm_close(&bench.group);
    return 0;
}
