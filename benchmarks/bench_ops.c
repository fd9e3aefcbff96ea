/* Each operator by itself at the shapes of one vit_small block over 2 clips of 784 tokens.
 *
 *   bench_ops [--threads N] [--clock wall|cpu]
 *
 * Each one's answer is checked first.  Then median and p95 of repeats, and what it does a second as
 * a share of what this device was seen to do at best in the same run: products and attention
 * against the fastest product, the rest (bytes that must be read and written, once each) against a
 * copy of 64 MiB, which what lies in the caches can pass. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/random.h"
#include "model/device.h"
#include "tests/support/ceiling.h"

enum {
    SEQUENCES = 2,
    LENGTH = 784,
    ROWS = SEQUENCES * LENGTH,
    WIDTH = 384,
    HIDDEN = 4 * WIDTH,
    QKV = 3 * WIDTH,
    HEADS = 6,
    HEAD_WIDTH = WIDTH / HEADS,
    PARAMETERS = 12 * WIDTH * WIDTH,
    REPEATS_MAX = 100,
    ARRAYS = 8
};

static int clock_threads; /* 0: wall time */

static double now(void)
{
    struct timespec time;
    if (clock_threads == 0)
        return clock_now_s();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return ((double)time.tv_sec + 1e-9 * (double)time.tv_nsec) / clock_threads;
}

/* Arrays are [ROWS, HIDDEN] floats each, of random numbers; what an operator takes them for is its
 * own affair. */
struct bench {
    const struct op_table *table;
    struct op_device *device;
    float *array[ARRAYS];
    struct op_sequences sequences;
    int32_t start[SEQUENCES], length[SEQUENCES];
    int output;              /* the array that the operator writes */
    double products, memory; /* ceilings */
};

static struct op_matrix matrix(const struct bench *b, int array, int64_t columns)
{
    return (struct op_matrix){b->array[array], ROWS, columns, OP_F32};
}

static struct op_matrix weight(const struct bench *b, int array, int64_t rows, int64_t columns)
{
    return (struct op_matrix){b->array[array], rows, columns, OP_F32};
}

static ls_status linear(struct bench *b)
{
    return b->table->linear_fwd(b->device, matrix(b, 0, HIDDEN), matrix(b, 1, WIDTH),
                                weight(b, 2, HIDDEN, WIDTH), b->array[3], false);
}

static ls_status linear_gelu(struct bench *b)
{
    return b->table->linear_gelu_fwd(b->device, matrix(b, 0, HIDDEN), matrix(b, 4, HIDDEN),
                                     matrix(b, 1, WIDTH), weight(b, 2, HIDDEN, WIDTH), b->array[3]);
}

static ls_status linear_data(struct bench *b)
{
    return b->table->linear_bwd_data(b->device, matrix(b, 0, WIDTH), matrix(b, 1, HIDDEN),
                                     weight(b, 2, HIDDEN, WIDTH), false);
}

static ls_status linear_weight(struct bench *b)
{
    return b->table->linear_bwd_weight(b->device, b->array[0], b->array[3], matrix(b, 1, HIDDEN),
                                       matrix(b, 2, WIDTH));
}

static ls_status gelu_gradient(struct bench *b)
{
    return b->table->gelu_bwd(b->device, matrix(b, 0, HIDDEN), matrix(b, 1, HIDDEN),
                              matrix(b, 2, HIDDEN));
}

static ls_status norm(struct bench *b)
{
    return b->table->layernorm_fwd(b->device, matrix(b, 0, WIDTH), b->array[4], b->array[5],
                                   matrix(b, 1, WIDTH), b->array[2], b->array[3], 1e-6f);
}

static ls_status norm_gradient(struct bench *b)
{
    return b->table->layernorm_bwd(b->device, matrix(b, 0, WIDTH), b->array[6], b->array[7],
                                   matrix(b, 1, WIDTH), matrix(b, 2, WIDTH), b->array[4],
                                   b->array[5], b->array[3], true);
}

static ls_status split_heads(struct bench *b)
{
    return b->table->split_heads_fwd(b->device, b->array[0], ROWS, matrix(b, 1, QKV), WIDTH, HEADS,
                                     HEAD_WIDTH, NULL, NULL);
}

static ls_status attention(struct bench *b)
{
    return b->table->attention_fwd(b->device, matrix(b, 0, WIDTH), b->array[4], b->array[1],
                                   b->array[2], b->array[3], HEADS, HEAD_WIDTH, &b->sequences,
                                   &b->sequences);
}

static ls_status attention_gradient(struct bench *b)
{
    return b->table->attention_bwd(b->device, b->array[5], b->array[6], b->array[7],
                                   matrix(b, 1, WIDTH), matrix(b, 0, WIDTH), b->array[4],
                                   b->array[1], b->array[2], b->array[3], HEADS, HEAD_WIDTH,
                                   &b->sequences, &b->sequences);
}

static ls_status update(struct bench *b)
{
    const struct op_update_piece piece = {.count = PARAMETERS,
                                          .decay = true,
                                          .ema = true,
                                          .first_correction = 0.5,
                                          .second_correction = 0.5};
    const struct op_update all = {.pieces = &piece,
                                  .piece_count = 1,
                                  .weights_dev = b->array[0],
                                  .moment1_dev = b->array[1],
                                  .moment2_dev = b->array[2],
                                  .ema_dev = b->array[3],
                                  .gradient_dev = b->array[4],
                                  .lr = 1e-4,
                                  .weight_decay = 0.04,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .ema_keep = 0.999,
                                  .gradient_scale = 1.0};
    return b->table->update(b->device, &all);
}

/* Checks: the largest error over a few elements, computed anew in double. */
static double dot(const float *x, int64_t x_step, const float *y, int64_t y_step, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i * x_step] * (double)y[i * y_step];
    return sum;
}

static double check_linear(const struct bench *b)
{
    double worst = 0.0;
    for (int64_t i = 0; i < ROWS; i += 173)
        for (int64_t j = 0; j < HIDDEN; j += 131) {
            double want = (double)b->array[3][j] +
                          dot(b->array[1] + i * WIDTH, 1, b->array[2] + j * WIDTH, 1, WIDTH);
            worst = fmax(worst, fabs((double)b->array[0][i * HIDDEN + j] - want));
        }
    return worst;
}

static double check_linear_gelu(const struct bench *b)
{
    double worst = 0.0;
    for (int64_t i = 0; i < ROWS; i += 173)
        for (int64_t j = 0; j < HIDDEN; j += 131) {
            double a = (double)b->array[3][j] +
                       dot(b->array[1] + i * WIDTH, 1, b->array[2] + j * WIDTH, 1, WIDTH);
            double want = 0.5 * a * erfc(-a / sqrt(2.0));
            worst = fmax(worst, fabs((double)b->array[0][i * HIDDEN + j] - want));
        }
    return worst;
}

static double check_linear_data(const struct bench *b)
{
    double worst = 0.0;
    for (int64_t i = 0; i < ROWS; i += 173)
        for (int64_t j = 0; j < WIDTH; j += 31) {
            double want = dot(b->array[1] + i * HIDDEN, 1, b->array[2] + j, WIDTH, HIDDEN);
            worst = fmax(worst, fabs((double)b->array[0][i * WIDTH + j] - want));
        }
    return worst;
}

/* Query 5 of head 1 in the second sequence. */
static double check_attention(const struct bench *b)
{
    double p[LENGTH], sum = 0.0, worst = 0.0;
    int64_t first = ((int64_t)ROWS + LENGTH) * HEAD_WIDTH;
    for (int64_t k = 0; k < LENGTH; k++) {
        p[k] = exp(dot(b->array[1] + first + (int64_t)5 * HEAD_WIDTH, 1,
                       b->array[2] + first + k * HEAD_WIDTH, 1, HEAD_WIDTH) /
                   sqrt((double)HEAD_WIDTH));
        sum += p[k];
    }
    for (int64_t c = 0; c < HEAD_WIDTH; c++) {
        double want = 0.0;
        for (int64_t k = 0; k < LENGTH; k++)
            want += p[k] / sum * (double)b->array[3][first + k * HEAD_WIDTH + c];
        double got = (double)b->array[0][((int64_t)LENGTH + 5) * WIDTH + HEAD_WIDTH + c];
        worst = fmax(worst, fabs(got - want));
    }
    return worst;
}

/* Operators that only tests/unit check: what they wrote must be finite and not all zero. */
static double check_alive(const struct bench *b)
{
    const float *x = b->array[b->output];
    double square = dot(x, 1, x, 1, (int64_t)ROWS * HEAD_WIDTH);
    return isfinite(square) && square > 0.0 ? 0.0 : INFINITY;
}

static const struct subject {
    const char *name;
    ls_status (*run)(struct bench *bench);
    double (*error)(const struct bench *bench);
    double flops; /* 0: bound by memory */
    double bytes;
    int output;
} subjects[] = {
    {"linear 384 -> 1536", linear, check_linear, 2.0 * ROWS *WIDTH *HIDDEN, 0, 0},
    {"linear + gelu", linear_gelu, check_linear_gelu, 2.0 * ROWS *WIDTH *HIDDEN, 0, 0},
    {"linear, data gradient", linear_data, check_linear_data, 2.0 * ROWS *WIDTH *HIDDEN, 0, 0},
    {"linear, weight gradient", linear_weight, check_alive, 2.0 * ROWS *WIDTH *HIDDEN, 0, 0},
    {"attention", attention, check_attention, 4.0 * ROWS *LENGTH *WIDTH, 0, 0},
    {"attention gradient", attention_gradient, check_alive, 8.0 * ROWS *LENGTH *WIDTH, 0, 0},
    {"gelu gradient", gelu_gradient, check_alive, 0, 12.0 * ROWS *HIDDEN, 0},
    {"layer norm", norm, check_alive, 0, 8.0 * ROWS *WIDTH, 0},
    {"layer norm gradient", norm_gradient, check_alive, 0, 16.0 * ROWS *WIDTH, 0},
    {"split heads", split_heads, check_alive, 0, 8.0 * ROWS *WIDTH, 0},
    {"update", update, check_alive, 0, 36.0 * PARAMETERS, 0},
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Fresh inputs: operators write into them.  Second moments must not be negative. */
static void fill(struct bench *b)
{
    struct random_stream stream;
    random_open(&stream, 1, RANDOM_TEST, 0, 0, 0);
    for (int64_t i = 0; i < (int64_t)ROWS * HIDDEN; i++)
        for (int a = 0; a < ARRAYS; a++)
            b->array[a][i] = (float)random_unit(&stream) - (a == 2 || a == 5 ? 0.0f : 0.5f);
}

static ls_status measure(struct bench *b, const struct subject *subject)
{
    ls_status st = LS_OK;
    double times[REPEATS_MAX];
    int repeats = 0;
    fill(b);
    b->output = subject->output;
    LS_TRY(subject->run(b));
    /* Sums of up to 1536 products of numbers below 1. */
    const double error = subject->error(b);
    if (!(error < 1e-4))
        return LS_FAIL(LS_FAILED, "%s: wrong by %g", subject->name, error);
    const double begin = now();
    while (repeats < REPEATS_MAX && (repeats < 5 || now() - begin < 0.5)) {
        const double before = now();
        LS_TRY(subject->run(b));
        LS_TRY(b->table->synchronize(b->device));
        times[repeats++] = now() - before;
    }
    qsort(times, (size_t)repeats, sizeof *times, by_value);
    const double median = times[repeats / 2], p95 = times[repeats * 95 / 100];
    const bool products = subject->flops > 0.0;
    const double rate = (products ? subject->flops : subject->bytes) / median;
    (void)printf("%-24s %8.3f ms (p95 %8.3f)  %7.1f %s  %4.0f %%\n", subject->name, 1e3 * median,
                 1e3 * p95, 1e-9 * rate, products ? "GFLOP/s" : "GB/s   ",
                 100.0 * rate / (products ? b->products : b->memory));
done:
    return st;
}

static ls_status run(struct bench *b)
{
    ls_status st = LS_OK;
    const struct op_limits limits = {.rows = ROWS,
                                     .columns = HIDDEN,
                                     .heads = HEADS,
                                     .head_width = HEAD_WIDTH,
                                     .max_length = LENGTH,
                                     .sequences = SEQUENCES};
    LS_TRY(b->table->reserve(b->device, &limits));
    for (int i = 0; i < ARRAYS; i++) {
        void *memory = NULL;
        LS_TRY(b->table->allocate(b->device, &memory, sizeof(float) * ROWS * HIDDEN));
        b->array[i] = memory;
    }
    for (int s = 0; s < SEQUENCES; s++) {
        b->start[s] = s * LENGTH;
        b->length[s] = LENGTH;
    }
    b->sequences = (struct op_sequences){.count = SEQUENCES,
                                         .rows = ROWS,
                                         .true_rows = ROWS,
                                         .head_rows = ROWS,
                                         .step = LENGTH,
                                         .max_length = LENGTH,
                                         .start = b->start,
                                         .length = b->length,
                                         .start_dev = b->start,
                                         .length_dev = b->length};
    LS_TRY(ceiling_products(&b->products, b->table, b->device, OP_F32, false, now));
    LS_TRY(ceiling_memory(&b->memory, b->table, b->device, now));
    (void)printf("ceilings: products %.1f GFLOP/s, copies %.1f GB/s\n", 1e-9 * b->products,
                 1e-9 * b->memory);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        LS_TRY(measure(b, &subjects[i]));
done:
    for (int i = 0; i < ARRAYS; i++)
        b->table->release(b->device, b->array[i]);
    return st;
}

int main(int argc, char **argv)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = cores > 0 ? (int)cores : 1;
    bool cpu = false;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--threads") == 0)
            threads = (int)strtol(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--clock") == 0)
            cpu = strcmp(argv[i + 1], "cpu") == 0;
        else
            threads = 0;
    }
    if (threads < 1) {
        (void)fprintf(stderr, "usage: bench_ops [--threads N] [--clock wall|cpu]\n");
        return 2;
    }
    clock_threads = cpu ? threads : 0;
    struct model_device device;
    struct bench bench = {0};
    ls_status st = model_device_open(&device, CONFIG_DEVICE_CPU, threads, 0, true);
    if (st == LS_OK) {
        bench.table = device.table;
        bench.device = device.device;
        (void)printf("operators, %d rows of %d, float32, %s%s\n", ROWS, WIDTH, device.facts,
                     cpu ? ", CPU time over threads" : "");
        st = run(&bench);
        model_device_close(&device);
    }
    if (st != LS_OK)
        (void)fprintf(stderr, "bench_ops: %s\n", status_text());
    return status_exit_code(st);
}
