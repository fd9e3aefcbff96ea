/* Time of a training step of several workers, with their all-reduce: what `lockstep train` does
 * but for reading videos, votes and saves.
 *
 *   [mpirun -n W] bench_workers --only NAME-PIXELS | --like DIMxDEPTHxHEADS:FRAMESxPIXELS:CLIPS
 *                 [--dtype float32|bfloat16] [--threads N] [--seconds S] [--clock wall|cpu]
 *
 * Each worker does one micro-batch of one set of masks, the same in every step, sums gradients over
 * the workers by buckets while backward runs, and updates.  A step has taken as long as the slowest
 * worker of it; --clock cpu: as the mean CPU time over threads.  The last line is JSON: median and
 * least of the steps, FLOPs of all workers (model/flops.c), the fastest product that each worker
 * was seen to do while all did one, summed, and the largest worker's peak memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "comm/buckets.h"
#include "core/clock.h"
#include "model/device.h"
#include "model/jepa.h"
#include "tests/support/ceiling.h"
#include "tests/support/step_subject.h"

enum { STEPS_MAX = 400, STEPS_LEAST = 2, WARM_UP = 1, BUCKET_BYTES = 4 << 20 };

static int clock_threads; /* 0: wall time */

static double now(void)
{
    struct timespec time;
    if (clock_threads == 0)
        return clock_now_s();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return ((double)time.tv_sec + 1e-9 * (double)time.tv_nsec) / clock_threads;
}

struct bench {
    struct step_subject subject;
    enum op_dtype dtype;
    int threads;
    double seconds;
    struct comm_group *group;
    struct comm_buckets *buckets;
    struct model_device device;
    struct jepa *jepa;
    struct step_batches batches;
    double times[STEPS_MAX];
    int steps;
    double flops, ceiling; /* of all workers */
};

static ls_status ready(void *context, int64_t offset, int64_t count)
{
    struct bench *bench = context;
    return comm_buckets_ready(bench->buckets, offset, count);
}

static ls_status step(struct bench *bench)
{
    ls_status st = LS_OK;
    struct jepa_result result;
    const int workers = comm_size(bench->group);
    const struct jepa_update update = {
        .lr = 1e-4, .weight_decay = 0.04, .ema_keep = 0.999, .gradient_scale = 1.0};
    LS_TRY(jepa_begin_step(bench->jepa));
    if (bench->buckets != NULL)
        comm_buckets_begin(bench->buckets);
    LS_TRY(jepa_micro_batch(bench->jepa, &bench->batches.batches[0], 1.0 / workers,
                            bench->buckets != NULL ? ready : NULL, bench));
    LS_TRY(jepa_result(bench->jepa, &result));
    if (bench->buckets != NULL)
        LS_TRY(comm_buckets_wait(bench->buckets));
    LS_TRY(jepa_update(bench->jepa, &update));
    bench->flops = result.flops * workers;
    /* A wrong answer is fast: the loss of fresh weights on normed targets is near sqrt(2 / pi). */
    if (!isfinite(result.loss) || result.loss * workers < 0.3 || result.loss * workers > 1.5)
        st = LS_FAIL(LS_FAILED, "loss %g", result.loss * workers);
done:
    return st;
}

/* Sum, or largest, of a number that each worker has. */
static ls_status over_workers(struct bench *bench, double *value, bool largest)
{
    ls_status st = LS_OK;
    double all[64] = {0};
    const int workers = comm_size(bench->group);
    const double mine = *value;
    if (workers > (int)(sizeof all / sizeof *all))
        return LS_FAIL(LS_USAGE, "more than 64 workers");
    LS_TRY(comm_exchange(bench->group, &mine, sizeof mine, all));
    *value = 0.0;
    for (int r = 0; r < workers; r++)
        *value = largest ? fmax(*value, all[r]) : *value + all[r];
done:
    return st;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static ls_status measure(struct bench *bench)
{
    ls_status st = LS_OK;
    const bool largest = clock_threads == 0;
    double spent = 0.0;
    for (int i = 0; i < WARM_UP; i++)
        LS_TRY(step(bench));
    while (bench->steps < STEPS_MAX && (bench->steps < STEPS_LEAST || spent < bench->seconds)) {
        LS_TRY(comm_barrier(bench->group));
        const double before = now();
        LS_TRY(step(bench));
        double seconds = now() - before;
        LS_TRY(over_workers(bench, &seconds, largest));
        seconds /= largest ? 1 : comm_size(bench->group);
        bench->times[bench->steps++] = seconds;
        spent += seconds;
    }
    qsort(bench->times, (size_t)bench->steps, sizeof *bench->times, by_value);
done:
    return st;
}

static ls_status print_json(struct bench *bench)
{
    ls_status st = LS_OK;
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    double mib = (double)usage.ru_maxrss / 1024;
    LS_TRY(over_workers(bench, &mib, true));
    LS_TRY(over_workers(bench, &bench->ceiling, false));
    if (comm_rank(bench->group) != 0)
        goto done;
    const struct jepa_batch *batch = &bench->batches.batches[0];
    const double middle =
        0.5 * (bench->times[(bench->steps - 1) / 2] + bench->times[bench->steps / 2]);
    (void)printf("{\"model\": \"%s\", \"frames\": %d, \"pixels\": %d, \"clips\": %d, "
                 "\"dtype\": \"%s\", \"workers\": %d, \"threads\": %d, \"clock\": \"%s\", "
                 "\"counts\": \"%d,%d,%d,%d\", \"steps\": %d, \"ms\": %.3f, \"least_ms\": %.3f, "
                 "\"gflop\": %.3f, "
                 "\"ceiling_gflops\": %.1f, \"peak_mib\": %.0f}\n",
                 bench->subject.name, bench->subject.frames, bench->subject.pixels,
                 bench->subject.clips, bench->dtype == OP_BF16 ? "bfloat16" : "float32",
                 comm_size(bench->group), bench->threads, clock_threads == 0 ? "wall" : "cpu",
                 batch->context_count[0], batch->predicted_count[0], batch->context_count[1],
                 batch->predicted_count[1], bench->steps, 1e3 * middle, 1e3 * bench->times[0],
                 1e-9 * bench->flops, 1e-9 * bench->ceiling, mib);
done:
    return st;
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    const struct jepa_options options =
        step_subject_options(&bench->subject, bench->subject.clips, bench->dtype);
    LS_TRY(comm_open(&bench->group, &(struct comm_options){0}));
    LS_TRY(model_device_open(&bench->device, CONFIG_DEVICE_CPU, bench->threads, 0,
                             comm_rank(bench->group) == 0));
    LS_TRY(comm_barrier(bench->group));
    LS_TRY(ceiling_products(&bench->ceiling, bench->device.table, bench->device.device,
                            bench->dtype, false, now));
    LS_TRY(jepa_open(&bench->jepa, &options, bench->device.table, bench->device.device));
    LS_TRY(jepa_initialize(bench->jepa, 1));
    LS_TRY(step_batches_draw(&bench->batches, &bench->subject, bench->subject.clips, 1));
    if (comm_size(bench->group) > 1)
        LS_TRY(comm_buckets_open(&bench->buckets, bench->group, NULL,
                                 jepa_gradient_host(bench->jepa),
                                 jepa_parameters(bench->jepa)->flat_count, BUCKET_BYTES));
    LS_TRY(measure(bench));
    LS_TRY(print_json(bench));
done:
    comm_buckets_close(&bench->buckets);
    jepa_close(&bench->jepa);
    model_device_close(&bench->device);
    step_batches_free(&bench->batches);
    if (st != LS_OK) {
        (void)fprintf(stderr, "bench_workers: %s\n", status_text());
        comm_abort(bench->group, status_exit_code(st));
    }
    comm_close(&bench->group);
    return st;
}

static bool find_subject(struct step_subject *out, const char *name)
{
    int count = 0;
    const struct step_subject *list = step_subjects(STEP_CPU, &count);
    for (int i = 0; i < count; i++)
        if (step_subject_called(&list[i], name)) {
            *out = list[i];
            return true;
        }
    return false;
}

static bool read_setting(struct bench *out, const char *name, const char *value)
{
    if (strcmp(name, "--only") == 0)
        return find_subject(&out->subject, value);
    if (strcmp(name, "--like") == 0)
        return step_subject_read(&out->subject, value);
    if (strcmp(name, "--dtype") == 0) {
        out->dtype = strcmp(value, "bfloat16") == 0 ? OP_BF16 : OP_F32;
        return out->dtype == OP_BF16 || strcmp(value, "float32") == 0;
    }
    if (strcmp(name, "--threads") == 0)
        out->threads = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        out->seconds = strtod(value, NULL);
    else if (strcmp(name, "--clock") == 0)
        clock_threads = strcmp(value, "cpu") == 0;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct bench bench = {.dtype = OP_F32, .threads = 1, .seconds = 3.0};
    bool good = argc % 2 == 1;
    for (int i = 1; good && i < argc; i += 2)
        good = read_setting(&bench, argv[i], argv[i + 1]);
    if (!good || bench.subject.clips == 0 || bench.threads < 1) {
        (void)fprintf(stderr, "usage: bench_workers --only NAME-PIXELS | --like "
                              "DIMxDEPTHxHEADS:FRAMESxPIXELS:CLIPS [--dtype float32|bfloat16] "
                              "[--threads N] [--seconds S] [--clock wall|cpu]\n");
        return 2;
    }
    clock_threads *= bench.threads;
    return status_exit_code(run(&bench));
}
