/* Time of a training step: vit_tiny and vit_small (predictor 384 wide, 12 blocks, 12 heads, the
 * public default) at 16 frames of 112 and 224 pixels, micro-batches of 2 clips, float32.
 *
 *   bench_step [--threads N] [--seconds S] [--only NAME] [--clock wall|cpu]
 *
 * A step is one micro-batch forward and backward, and the update.  Each line runs in a process of
 * its own, so that its peak memory is its own; masks are drawn as in training, from a few steps
 * that are run once before the clock starts.  The ceiling is the fastest product that this device
 * was seen to do in the same process, just before and after.  A second, accounted run gives the
 * time by family of operators.  On a machine that others use, `--clock cpu` measures the process's
 * CPU time over its threads, in the step and in the ceiling alike. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/random.h"
#include "data/mask.h"
#include "model/device.h"
#include "model/jepa.h"
#include "tests/support/ceiling.h"
#include "tests/support/op_timing.h"

enum { CLIPS = 2, FRAMES = 16, PATCH = 16, TUBELET = 2, MASKS = 2, REPEATS_MAX = 200, GROUPS = 2 };

struct subject {
    const char *name;
    int dim, depth, heads, pixels;
};

static int clock_threads; /* 0: wall time */

/* Seconds of the chosen clock. */
static double now(void)
{
    struct timespec time;
    if (clock_threads == 0)
        return clock_now_s();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return ((double)time.tv_sec + 1e-9 * (double)time.tv_nsec) / clock_threads;
}

static const struct subject subjects[] = {
    {"vit_tiny", 192, 12, 3, 112},
    {"vit_tiny", 192, 12, 3, 224},
    {"vit_small", 384, 12, 6, 112},
    {"vit_small", 384, 12, 6, 224},
};

struct settings {
    int threads;
    bool cpu_clock;
    double seconds; /* about how long a line is measured */
    const char *only;
};

struct bench {
    const struct subject *subject;
    const struct settings *settings;
    struct model_device device;
    struct jepa *jepa;
    uint8_t *pixels;
    int32_t *lists;
    struct jepa_batch batches[MASKS];
    double times[REPEATS_MAX];
    int repeats;
    double flops; /* of one step, mean over the masks */
};

static const struct config_mask masks[GROUPS] = {
    {.num_blocks = 8,
     .spatial_scale = {0.15, 0.15},
     .temporal_scale = {1.0, 1.0},
     .aspect_ratio = {0.75, 1.5},
     .max_temporal_keep = 1.0},
    {.num_blocks = 2,
     .spatial_scale = {0.7, 0.7},
     .temporal_scale = {1.0, 1.0},
     .aspect_ratio = {0.75, 1.5},
     .max_temporal_keep = 1.0},
};

static ls_status draw_batches(struct bench *bench)
{
    ls_status st = LS_OK;
    const int side = bench->subject->pixels / PATCH;
    const struct mask_grid grid = {FRAMES / TUBELET, side, side};
    const int64_t room = CLIPS * mask_grid_tokens(grid);
    const int64_t bytes =
        (int64_t)CLIPS * FRAMES * bench->subject->pixels * bench->subject->pixels * 3;
    struct random_stream stream;
    bench->lists = calloc((size_t)MASKS * GROUPS * 2 * (size_t)room, sizeof *bench->lists);
    bench->pixels = malloc((size_t)bytes);
    if (bench->lists == NULL || bench->pixels == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the clips");
    random_open(&stream, 1, RANDOM_TEST, 0, 0, 0);
    for (int64_t i = 0; i < bytes; i++)
        bench->pixels[i] = (uint8_t)random_u32(&stream);
    int32_t *list = bench->lists;
    for (int m = 0; m < MASKS; m++) {
        struct mask_lists drawn[GROUPS];
        for (int g = 0; g < GROUPS; g++, list += 2 * room)
            drawn[g] = (struct mask_lists){.context = list, .predicted = list + room};
        LS_TRY(mask_draw(drawn, masks, GROUPS, grid, CLIPS, 1, (uint64_t)m + 1, 0));
        bench->batches[m] =
            (struct jepa_batch){.pixels = bench->pixels, .clips = CLIPS, .frames = FRAMES};
        for (int g = 0; g < GROUPS; g++) {
            bench->batches[m].context[g] = drawn[g].context;
            bench->batches[m].predicted[g] = drawn[g].predicted;
            bench->batches[m].context_count[g] = drawn[g].context_count;
            bench->batches[m].predicted_count[g] = drawn[g].predicted_count;
        }
    }
done:
    return st;
}

static struct jepa_options options_of(const struct subject *subject)
{
    return (struct jepa_options){
        .shape = {.patch = PATCH,
                  .tubelet = TUBELET,
                  .dim = subject->dim,
                  .depth = subject->depth,
                  .heads = subject->heads,
                  .hidden = 4 * subject->dim,
                  .pred_dim = 384,
                  .pred_depth = 12,
                  .pred_heads = 12,
                  .pred_hidden = 4 * 384,
                  .mask_tokens = 2,
                  .init_std = 0.02,
                  .zero_mask_tokens = true},
        .clips = CLIPS,
        .frames = FRAMES,
        .height = subject->pixels,
        .width = subject->pixels,
        .groups = GROUPS,
        .loss_exponent = 1.0,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
    };
}

static ls_status step(struct bench *bench, int number, double *flops)
{
    ls_status st = LS_OK;
    struct jepa_result result;
    const struct jepa_update update = {
        .lr = 1e-4, .weight_decay = 0.04, .ema_keep = 0.999, .gradient_scale = 1.0};
    LS_TRY(jepa_begin_step(bench->jepa));
    LS_TRY(jepa_micro_batch(bench->jepa, &bench->batches[number % MASKS], 1.0, NULL, NULL));
    LS_TRY(jepa_update(bench->jepa, &update));
    LS_TRY(jepa_result(bench->jepa, &result));
    /* A wrong answer is fast: the loss of fresh weights on normed targets is near sqrt(2 / pi). */
    if (!isfinite(result.loss) || result.loss < 0.3 || result.loss > 1.5)
        st = LS_FAIL(LS_FAILED, "step %d: loss %g", number, result.loss);
    *flops = result.flops;
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
    double flops = 0.0;
    for (int i = 0; i < MASKS; i++) {
        LS_TRY(step(bench, i, &flops));
        bench->flops += flops / MASKS;
    }
    const double begin = now();
    while (bench->repeats < REPEATS_MAX && (bench->repeats % MASKS != 0 || bench->repeats == 0 ||
                                            now() - begin < bench->settings->seconds)) {
        const double before = now();
        LS_TRY(step(bench, bench->repeats, &flops));
        bench->times[bench->repeats++] = now() - before;
    }
    qsort(bench->times, (size_t)bench->repeats, sizeof *bench->times, by_value);
done:
    return st;
}

static void print_breakdown(double seconds, int steps)
{
    double accounted = 0.0;
    for (int i = 0; i < OP_FAMILY_COUNT; i++) {
        const struct op_account account = op_timing_read((enum op_family)i);
        accounted += account.seconds;
        (void)printf("    %-24s %8.2f ms %5.1f %%", op_family_name((enum op_family)i),
                     1e3 * account.seconds / steps, 100.0 * account.seconds / seconds);
        if (account.flops > 0.0)
            (void)printf("  %6.1f GFLOP/s", 1e-9 * account.flops / account.seconds);
        (void)printf("\n");
    }
    (void)printf("    %-24s %8.2f ms %5.1f %%\n", "outside operators",
                 1e3 * (seconds - accounted) / steps, 100.0 * (seconds - accounted) / seconds);
}

static ls_status account(struct bench *bench)
{
    ls_status st = LS_OK;
    double flops = 0.0;
    const struct jepa_options options = options_of(bench->subject);
    jepa_close(&bench->jepa);
    LS_TRY(jepa_open(&bench->jepa, &options, op_timing_table(bench->device.table, now),
                     bench->device.device));
    LS_TRY(jepa_initialize(bench->jepa, 1));
    LS_TRY(step(bench, 0, &flops));
    op_timing_reset();
    const double begin = now();
    for (int i = 0; i < MASKS; i++)
        LS_TRY(step(bench, i, &flops));
    print_breakdown(now() - begin, MASKS);
done:
    return st;
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    double ceiling = 0.0;
    struct rusage usage;
    const struct subject *subject = bench->subject;
    const struct jepa_options options = options_of(subject);
    LS_TRY(model_device_open(&bench->device, CONFIG_DEVICE_CPU, bench->settings->threads, 0, true));
    LS_TRY(draw_batches(bench));
    LS_TRY(jepa_open(&bench->jepa, &options, bench->device.table, bench->device.device));
    LS_TRY(jepa_initialize(bench->jepa, 1));
    LS_TRY(ceiling_products(&ceiling, bench->device.table, bench->device.device, now));
    LS_TRY(measure(bench));
    LS_TRY(ceiling_products(&ceiling, bench->device.table, bench->device.device, now));
    (void)getrusage(RUSAGE_SELF, &usage);
    const double median = bench->times[bench->repeats / 2];
    const double p95 = bench->times[bench->repeats * 95 / 100];
    (void)printf("%-10s %3d x %d x %d  %8.1f ms (p95 %8.1f, %d steps)  %6.2f clips/s  %6.1f GFLOP/s"
                 "  %4.1f %% of %.1f GFLOP/s  %5ld MiB\n",
                 subject->name, FRAMES, subject->pixels, subject->pixels, 1e3 * median, 1e3 * p95,
                 bench->repeats, CLIPS / median, 1e-9 * bench->flops / median,
                 100.0 * bench->flops / median / ceiling, 1e-9 * ceiling, usage.ru_maxrss / 1024);
    LS_TRY(account(bench));
done:
    jepa_close(&bench->jepa);
    model_device_close(&bench->device);
    free(bench->pixels);
    free(bench->lists);
    return st;
}

/* The line of one subject, in a child, so that threads and memory start from nothing. */
static int run_apart(const struct subject *subject, const struct settings *settings)
{
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        struct bench bench = {.subject = subject, .settings = settings};
        const ls_status st = run(&bench);
        if (st != LS_OK)
            (void)fprintf(stderr, "bench_step: %s\n", status_text());
        (void)fflush(stdout);
        _exit(status_exit_code(st));
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int read_settings(struct settings *out, int argc, char **argv)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *out = (struct settings){.threads = cores > 0 ? (int)cores : 1, .seconds = 5.0};
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1];
        if (value == NULL)
            return 2;
        if (strcmp(argv[i], "--threads") == 0)
            out->threads = (int)strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            out->seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--clock") == 0 &&
                 (strcmp(value, "cpu") == 0 || strcmp(value, "wall") == 0))
            out->cpu_clock = strcmp(value, "cpu") == 0;
        else if (strcmp(argv[i], "--only") == 0)
            out->only = value;
        else
            return 2;
    }
    return out->threads > 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct settings settings;
    if (read_settings(&settings, argc, argv) != 0) {
        (void)fprintf(
            stderr,
            "usage: bench_step [--threads N] [--seconds S] [--only NAME] [--clock wall|cpu]\n");
        return 2;
    }
    (void)printf(
        "training step, micro-batch of %d clips, float32, %d threads, predictor 384 x 12%s\n",
        CLIPS, settings.threads, settings.cpu_clock ? ", CPU time over threads" : "");
    clock_threads = settings.cpu_clock ? settings.threads : 0;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        char label[32];
        (void)snprintf(label, sizeof label, "%s-%d", subjects[i].name, subjects[i].pixels);
        if (settings.only != NULL && strcmp(settings.only, label) != 0)
            continue;
        const int code = run_apart(&subjects[i], &settings);
        if (code != 0)
            return code;
    }
    return 0;
}
