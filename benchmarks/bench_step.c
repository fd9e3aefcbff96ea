/* Time of a training step.
 *
 *   bench_step [--device cpu|cuda|emulated] [--dtype float32|bfloat16] [--threads N] [--seconds S]
 *              [--only NAME | --like DIMxDEPTHxHEADS:FRAMESxPIXELS:CLIPS] [--clock wall|cpu]
 *
 * On the CPU: vit_tiny, vit_small and vit_base (predictor 384 wide, 12 blocks, 12 heads, the public
 * default) at 16 frames of 112 and 224 pixels, and the demo's model, 2 clips, float32.  On a card,
 * in bf16: what queueing a step of ViT-L's depth takes; ViT-L, H and g at the sizes and batch sizes
 * of the public configs; where the card is too
 * small, with activation checkpointing, then with half the clips, until it fits, and the line says
 * so.
 *
 * A step is one micro-batch forward and backward, and the update.  Each line runs in a process of
 * its own, so that its peak memory is its own; masks are drawn as in training, from a few steps
 * that are run once before the clock starts.  FLOPs are those of the true tokens of both mask
 * groups (model/flops.c): padding and what checkpointing computes again do not count.  The ceiling
 * is the fastest product of the same dtype that this device was seen to do in the same process,
 * just before and after.  A second, accounted run gives the time by family of operators, on a card
 * by its own events.  On a machine that others use, `--clock cpu` measures the process's CPU time
 * over its threads, in the step and in the ceiling alike. */
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
#include "model/device.h"
#include "model/jepa.h"
#include "tests/support/ceiling.h"
#include "tests/support/op_timing.h"
#include "tests/support/step_subject.h"

enum { MASKS = 2, REPEATS_MAX = 200 };

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

static struct model_device *clock_card; /* of card_now */

/* Seconds of the card's events. */
static double card_now(void)
{
    double seconds = 0.0;
    if (gpu_build.clock(clock_card, &seconds) != LS_OK)
        (void)fprintf(stderr, "bench_step: %s\n", status_text());
    return seconds;
}

struct settings {
    enum config_device device;
    enum op_dtype dtype;
    int threads;
    bool cpu_clock;
    double seconds; /* about how long a line is measured */
    const char *only;
    struct step_subject own; /* clips 0: none */
};

struct bench {
    const struct step_subject *subject;
    const struct settings *settings;
    struct model_device device;
    struct jepa *jepa;
    int clips; /* that fit */
    bool checkpointing;
    struct step_batches batches;
    double times[MASKS][REPEATS_MAX / MASKS];
    int repeats;  /* of all masks together */
    double flops; /* of one step, mean over the masks */
};

static struct jepa_options options_of(const struct bench *bench)
{
    struct jepa_options options =
        step_subject_options(bench->subject, bench->clips, bench->settings->dtype);
    options.activation_checkpointing = bench->checkpointing;
    options.bucket_tokens =
        bench->device.gpu ? jepa_bucket_tokens(step_subject_tokens(bench->subject)) : 1;
    return options;
}

/* The model with as many clips as asked for; on a card that is too small first with activation
 * checkpointing, then with fewer clips. */
static ls_status open_model(struct bench *bench)
{
    ls_status st = LS_OK;
    bench->clips = bench->subject->clips;
    for (;;) {
        const struct jepa_options options = options_of(bench);
        st = jepa_open(&bench->jepa, &options, bench->device.table, bench->device.device);
        if (st != LS_DEVICE || !bench->device.gpu || (bench->clips == 1 && bench->checkpointing))
            break;
        if (bench->checkpointing)
            bench->clips /= 2;
        bench->checkpointing = true;
        status_clear();
    }
    LS_TRY(st);
    LS_TRY(jepa_initialize(bench->jepa, 1));
done:
    return st;
}

static ls_status step(struct bench *bench, int number, double *flops)
{
    ls_status st = LS_OK;
    struct jepa_result result;
    const struct jepa_update update = {
        .lr = 1e-4, .weight_decay = 0.04, .ema_keep = 0.999, .gradient_scale = 1.0};
    LS_TRY(jepa_begin_step(bench->jepa));
    LS_TRY(jepa_micro_batch(bench->jepa, &bench->batches.batches[number % MASKS], 1.0, NULL, NULL));
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
        bench->times[bench->repeats % MASKS][bench->repeats / MASKS] = now() - before;
        bench->repeats++;
    }
    for (int m = 0; m < MASKS; m++)
        qsort(bench->times[m], (size_t)(bench->repeats / MASKS), sizeof **bench->times, by_value);
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
    double (*const clock)(void) = bench->device.gpu ? card_now : now;
    const struct jepa_options options = options_of(bench);
    jepa_close(&bench->jepa);
    LS_TRY(jepa_open(&bench->jepa, &options, op_timing_table(bench->device.table, clock),
                     bench->device.device));
    LS_TRY(jepa_initialize(bench->jepa, 1));
    LS_TRY(step(bench, 0, &flops));
    op_timing_reset();
    const double begin = clock();
    for (int i = 0; i < MASKS; i++)
        LS_TRY(step(bench, i, &flops));
    print_breakdown(clock() - begin, MASKS);
done:
    return st;
}

/* MiB: on a card what is in use there now, where nothing is given back before the end; else the
 * process's peak. */
static ls_status memory_mib(struct bench *bench, long *out)
{
    ls_status st = LS_OK;
    struct rusage usage;
    size_t free_bytes = 0;
    size_t total = 0;
    (void)getrusage(RUSAGE_SELF, &usage);
    *out = usage.ru_maxrss / 1024;
    if (bench->device.gpu) {
        LS_TRY(gpu_build.memory(&bench->device, &free_bytes, &total));
        *out = (long)((total - free_bytes) >> 20);
    }
done:
    return st;
}

/* Masks differ in their FLOPs: the mean over them of what is in place `share` of each one's sorted
 * times, as `flops` is the mean.  Of all times together the middle one would be the slower mask's.
 */
static double time_at(const struct bench *bench, double share)
{
    const int steps = bench->repeats / MASKS;
    double sum = 0.0;
    for (int m = 0; m < MASKS; m++)
        sum += bench->times[m][(int)(share * (double)(steps - 1) + 0.5)];
    return sum / MASKS;
}

static void print_line(const struct bench *bench, double ceiling, long mib)
{
    const struct step_subject *subject = bench->subject;
    const double median = time_at(bench, 0.5);
    const double p95 = time_at(bench, 0.95);
    const double unit = bench->device.gpu ? 1e-12 : 1e-9;
    const char *name = bench->device.gpu ? "TFLOP/s" : "GFLOP/s";
    (void)printf("%-10s %3d x %d x %d  %8.1f ms (p95 %8.1f, %d steps)  %6.2f clips/s  %6.1f %s"
                 "  %4.1f %% of %.1f %s  %5ld MiB\n",
                 subject->name, subject->frames, subject->pixels, subject->pixels, 1e3 * median,
                 1e3 * p95, bench->repeats, bench->clips / median, unit * bench->flops / median,
                 name, 100.0 * bench->flops / median / ceiling, unit * ceiling, name, mib);
    (void)printf("    tokens (context,predicted of both groups)");
    for (int m = 0; m < MASKS; m++) {
        const struct jepa_batch *batch = &bench->batches.batches[m];
        (void)printf(" %d,%d,%d,%d", batch->context_count[0], batch->predicted_count[0],
                     batch->context_count[1], batch->predicted_count[1]);
    }
    (void)printf("\n");
    if (bench->clips < subject->clips || bench->checkpointing)
        (void)printf("    %d clips of %d, activation checkpointing: %s (memory of the card)\n",
                     bench->clips, subject->clips, bench->checkpointing ? "yes" : "no");
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    double ceiling = 0.0;
    long mib = 0;
    const struct settings *settings = bench->settings;
    LS_TRY(model_device_open(&bench->device, settings->device, settings->threads, 0, true));
    const bool large = settings->device == CONFIG_DEVICE_CUDA;
    const struct op_table *table = bench->device.table;
    struct op_device *device = bench->device.device;
    clock_card = &bench->device;
    LS_TRY(ceiling_products(&ceiling, table, device, settings->dtype, large, now));
    LS_TRY(open_model(bench));
    LS_TRY(step_batches_draw(&bench->batches, bench->subject, bench->clips, MASKS));
    LS_TRY(measure(bench));
    LS_TRY(memory_mib(bench, &mib));
    if (!bench->device.gpu) /* a card has no room for both */
        LS_TRY(ceiling_products(&ceiling, table, device, settings->dtype, large, now));
    print_line(bench, ceiling, mib);
    LS_TRY(account(bench));
    if (bench->device.gpu) {
        jepa_close(&bench->jepa);
        const double before = ceiling;
        LS_TRY(ceiling_products(&ceiling, table, device, settings->dtype, large, now));
        (void)printf("    ceiling after it: %.1f %% of the one before\n", 100.0 * ceiling / before);
    }
done:
    jepa_close(&bench->jepa);
    model_device_close(&bench->device);
    step_batches_free(&bench->batches);
    return st;
}

/* The line of one subject, in a child, so that threads and memory start from nothing. */
static int run_apart(const struct step_subject *subject, const struct settings *settings)
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

static bool read_device(struct settings *out, const char *value)
{
    static const char *const names[] = {"auto", "cpu", "cuda", "emulated"};
    for (int i = 1; i < 4; i++)
        if (strcmp(value, names[i]) == 0) {
            out->device = (enum config_device)i;
            return true;
        }
    return false;
}

static bool read_setting(struct settings *out, const char *name, const char *value)
{
    if (strcmp(name, "--threads") == 0)
        out->threads = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        out->seconds = strtod(value, NULL);
    else if (strcmp(name, "--only") == 0)
        out->only = value;
    else if (strcmp(name, "--like") == 0)
        return step_subject_read(&out->own, value);
    else if (strcmp(name, "--device") == 0)
        return read_device(out, value);
    else if (strcmp(name, "--clock") == 0 &&
             (strcmp(value, "cpu") == 0 || strcmp(value, "wall") == 0))
        out->cpu_clock = strcmp(value, "cpu") == 0;
    else if (strcmp(name, "--dtype") == 0 &&
             (strcmp(value, "bfloat16") == 0 || strcmp(value, "float32") == 0))
        out->dtype = strcmp(value, "bfloat16") == 0 ? OP_BF16 : OP_F32;
    else
        return false;
    return true;
}

static int read_settings(struct settings *out, int argc, char **argv)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool dtype_given = false;
    *out = (struct settings){
        .device = CONFIG_DEVICE_CPU, .threads = cores > 0 ? (int)cores : 1, .seconds = 5.0};
    for (int i = 1; i < argc; i += 2) {
        if (argv[i + 1] == NULL || !read_setting(out, argv[i], argv[i + 1]))
            return 2;
        dtype_given = dtype_given || strcmp(argv[i], "--dtype") == 0;
    }
    if (!dtype_given && out->device != CONFIG_DEVICE_CPU)
        out->dtype = OP_BF16;
    return out->threads > 0 ? 0 : 2;
}

/* All subjects of the device, or those called `only`. */
static int run_list(enum step_subjects which, const struct settings *settings, int *ran)
{
    int count = 0;
    const struct step_subject *list = step_subjects(which, &count);
    for (int i = 0; i < count; i++) {
        if (settings->only != NULL && !step_subject_called(&list[i], settings->only))
            continue;
        (*ran)++;
        const int code = run_apart(&list[i], settings);
        if (code != 0)
            return code;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct settings settings;
    int ran = 0;
    if (read_settings(&settings, argc, argv) != 0) {
        (void)fprintf(stderr, "usage: bench_step [--device cpu|cuda|emulated] [--dtype "
                              "float32|bfloat16] [--threads N] [--seconds S] [--only NAME | "
                              "--like DIMxDEPTHxHEADS:FRAMESxPIXELS:CLIPS] "
                              "[--clock wall|cpu]\n");
        return 2;
    }
    const bool cpu = settings.device == CONFIG_DEVICE_CPU;
    (void)printf("training step, %s, %s",
                 settings.own.clips > 0 ? "its own sizes"
                 : cpu                  ? "micro-batch of 2 clips"
                                        : "micro-batches of the public configs",
                 settings.dtype == OP_BF16 ? "bfloat16" : "float32");
    if (cpu)
        (void)printf(", %d threads%s", settings.threads,
                     settings.cpu_clock ? ", CPU time over threads" : "");
    (void)printf("\n");
    clock_threads = settings.cpu_clock ? settings.threads : 0;
    if (settings.own.clips > 0)
        return run_apart(&settings.own, &settings);
    int code = 0;
    if (cpu || settings.only != NULL)
        code = run_list(STEP_CPU, &settings, &ran);
    if (code == 0 && (!cpu || settings.only != NULL))
        code = run_list(STEP_CARD, &settings, &ran);
    if (code == 0 && settings.only != NULL)
        code = run_list(STEP_CHECK, &settings, &ran);
    if (code == 0 && ran == 0) {
        (void)fprintf(stderr, "bench_step: no subject is called '%s'\n", settings.only);
        return 2;
    }
    return code;
}
