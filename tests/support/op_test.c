/* Support for tests of operators. */
#include "tests/support/op_test.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "tests/support/test_device.h"

enum { GUARD_BYTES = 256, GUARD_VALUE = 0x5a };

/* LOCKSTEP_TEST_DETERMINISTIC=0: a card may add in any order, and repeats may differ. */
static bool fixed_order(void)
{
    const char *given = getenv("LOCKSTEP_TEST_DETERMINISTIC");
    return given == NULL || strcmp(given, "0") != 0;
}

static ls_status open_device(struct op_test *test, int threads)
{
    ls_status st = LS_OK;
    enum config_device wanted;
    LS_TRY(test_device_wanted(&wanted));
    LS_TRY(model_device_open(&test->opened, wanted, threads, 0, fixed_order()));
    test->table = test->opened.table;
    test->device = test->opened.device;
done:
    return st;
}

static void case_end(struct op_test *test)
{
    for (int i = 0; i < test->array_count; i++)
        test->table->release(test->device, test->arrays[i].memory_dev);
    for (int i = 0; i < test->host_count; i++)
        free(test->memory_host[i]);
    test->array_count = 0;
    test->host_count = 0;
}

static uint64_t run_case(struct op_test *test,
                         void (*one)(struct op_test *test, const void *argument),
                         const void *argument, uint64_t first_seed)
{
    test->digest = 0xcbf29ce484222325u;
    test->seed = first_seed;
    one(test, argument);
    case_end(test);
    return test->digest;
}

void op_test_repeat(void (*one)(struct op_test *test, const void *argument), const void *argument)
{
    static const struct op_limits limits = {.rows = 4096,
                                            .columns = 4096,
                                            .heads = 16,
                                            .head_width = 128,
                                            .max_length = 1600,
                                            .sequences = 64};
    bool more = true; /* a card has no such threads */
    for (int threads = 1; threads <= 3 && more; threads++) {
        struct op_test test = {0};
        op_test_ok(open_device(&test, threads));
        if (test.table == NULL) /* op_test_ok has ended the test */
            return;
        more = test.table->host_memory;
        op_test_ok(test.table->reserve(test.device, &limits));
        const uint64_t seed = 1000 * (uint64_t)threads;
        uint64_t first = run_case(&test, one, argument, seed);
        uint64_t second = run_case(&test, one, argument, seed);
        model_device_close(&test.opened);
        if (first != second && fixed_order())
            fail_msg("two runs on %d threads differ", threads);
    }
}

static void *keep(struct op_test *test, void *memory)
{
    assert_non_null(memory);
    assert_true(test->host_count < OP_TEST_ARRAYS_MAX);
    test->memory_host[test->host_count++] = memory;
    return memory;
}

double *op_test_doubles(struct op_test *test, int64_t count)
{
    return keep(test, calloc((size_t)count + 1, sizeof(double)));
}

int32_t *op_test_integers(struct op_test *test, int64_t count)
{
    return keep(test, calloc((size_t)count + 1, sizeof(int32_t)));
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

double *op_test_random(struct op_test *test, int64_t count, enum op_dtype dtype, double scale)
{
    struct random_stream stream;
    double *values = op_test_doubles(test, count);
    random_open(&stream, test->seed++, RANDOM_TEST, 0, 0, 0);
    for (int64_t i = 0; i < count; i++) {
        float x = (float)(random_normal(&stream) * scale);
        values[i] = (double)(dtype == OP_BF16 ? from_bf16(to_bf16(x)) : x);
    }
    return values;
}

double *op_test_rounded(struct op_test *test, const double *values, int64_t count,
                        enum op_dtype dtype)
{
    double *rounded = op_test_doubles(test, count);
    for (int64_t i = 0; i < count; i++)
        rounded[i] = dtype == OP_BF16 ? (double)from_bf16(to_bf16((float)values[i])) : values[i];
    return rounded;
}

static size_t element_bytes(const struct op_test_array *array)
{
    if (array->is_double)
        return sizeof(double);
    return array->dtype == OP_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Allocate with guards and upload `bytes` of `values` between them. */
static char *guarded(struct op_test *test, struct op_test_array array, const void *values)
{
    size_t bytes = (size_t)array.count * element_bytes(&array);
    char *host = malloc(bytes + 2 * GUARD_BYTES);
    assert_non_null(host);
    memset(host, GUARD_VALUE, bytes + 2 * GUARD_BYTES);
    if (bytes > 0)
        memcpy(host + GUARD_BYTES, values, bytes);
    assert_true(test->array_count < OP_TEST_ARRAYS_MAX);
    op_test_ok(test->table->allocate(test->device, &array.memory_dev, bytes + 2 * GUARD_BYTES));
    op_test_ok(test->table->upload(test->device, array.memory_dev, host, bytes + 2 * GUARD_BYTES));
    op_test_ok(test->table->synchronize(test->device));
    free(host);
    test->arrays[test->array_count++] = array;
    return (char *)array.memory_dev + GUARD_BYTES;
}

void *op_test_array(struct op_test *test, const double *values, int64_t count, enum op_dtype dtype)
{
    struct op_test_array array = {.count = count, .dtype = dtype};
    void *host = malloc((size_t)count * sizeof(float) + 1);
    assert_non_null(host);
    for (int64_t i = 0; i < count; i++) {
        float x = values != NULL ? (float)values[i] : NAN;
        if (dtype == OP_BF16)
            ((uint16_t *)host)[i] = to_bf16(x);
        else
            ((float *)host)[i] = x;
    }
    void *data_dev = guarded(test, array, host);
    free(host);
    return data_dev;
}

double *op_test_double_array(struct op_test *test, const double *values, int64_t count)
{
    struct op_test_array array = {.count = count, .is_double = true};
    return (double *)(void *)guarded(test, array, values);
}

int32_t *op_test_integer_array(struct op_test *test, const int32_t *values, int64_t count)
{
    struct op_test_array array = {.count = count, .dtype = OP_F32}; /* four bytes each, too */
    return (int32_t *)(void *)guarded(test, array, values);
}

struct op_matrix op_test_matrix(struct op_test *test, const double *values, int64_t rows,
                                int64_t columns, enum op_dtype dtype)
{
    return (struct op_matrix){op_test_array(test, values, rows * columns, dtype), rows, columns,
                              dtype};
}

static const struct op_test_array *find_array(const struct op_test *test, const void *array_dev)
{
    for (int i = 0; i < test->array_count; i++)
        if ((const char *)test->arrays[i].memory_dev + GUARD_BYTES == (const char *)array_dev)
            return &test->arrays[i];
    fail_msg("not an array of this test");
    return NULL;
}

static void check_guards(const char *host, size_t bytes)
{
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (host[i] != GUARD_VALUE || host[GUARD_BYTES + bytes + i] != GUARD_VALUE)
            fail_msg("written outside of the array: guard byte %zu", i);
}

double *op_test_read(struct op_test *test, const void *array_dev)
{
    const struct op_test_array *array = find_array(test, array_dev);
    size_t bytes = (size_t)array->count * element_bytes(array);
    char *host = malloc(bytes + 2 * GUARD_BYTES);
    assert_non_null(host);
    op_test_ok(
        test->table->download(test->device, host, array->memory_dev, bytes + 2 * GUARD_BYTES));
    op_test_ok(test->table->synchronize(test->device));
    check_guards(host, bytes);
    for (size_t i = 0; i < bytes; i++)
        test->digest = (test->digest ^ (uint8_t)host[GUARD_BYTES + i]) * 0x100000001b3u;
    double *values = op_test_doubles(test, array->count);
    const void *data = host + GUARD_BYTES;
    for (int64_t i = 0; i < array->count; i++) {
        if (array->is_double)
            values[i] = ((const double *)data)[i];
        else if (array->dtype == OP_BF16)
            values[i] = (double)from_bf16(((const uint16_t *)data)[i]);
        else
            values[i] = (double)((const float *)data)[i];
    }
    free(host);
    return values;
}

static double root_mean_square(const double *x, int64_t count)
{
    double square = 0.0;
    for (int64_t i = 0; i < count; i++)
        square += x[i] * x[i];
    return count > 0 ? sqrt(square / (double)count) : 0.0;
}

void op_test_compare(const char *what, const double *got, const double *want, int64_t count,
                     double relative, double absolute, const double *scale)
{
    double rms = root_mean_square(want, count), worst = 0.0, worst_bound = 0.0;
    rms = rms > 0.0 ? rms : 1.0; /* zeros that are differences of numbers of size 1 */
    int64_t at = -1;
    for (int64_t i = 0; i < count; i++) {
        double bound = relative * fabs(want[i]) + absolute * (scale != NULL ? scale[i] : rms);
        double error = fabs(got[i] - want[i]);
        if (error > bound || !isfinite(got[i])) {
            double excess = isfinite(got[i]) ? error - bound : INFINITY;
            if (at < 0 || excess > worst) {
                worst = excess;
                worst_bound = bound;
                at = i;
            }
        }
    }
    if (at >= 0)
        fail_msg("%s[%lld of %lld]: got %.9g, want %.9g (rms %.3g), error %.3g of rms, bound %.3g",
                 what, (long long)at, (long long)count, got[at], want[at], rms,
                 fabs(got[at] - want[at]) / rms, worst_bound / rms);
}

void op_test_expect(struct op_test *test, const char *what, const void *array_dev,
                    const double *want, double relative, double absolute)
{
    const double *got = op_test_read(test, array_dev);
    op_test_compare(what, got, want, find_array(test, array_dev)->count, relative, absolute, NULL);
}

void op_test_ok(ls_status status)
{
    if (status != LS_OK)
        fail_msg("%s", status_text());
}

bool op_test_product_ok(const struct op_test *test, enum op_dtype dtype, ls_status status)
{
    const char *facts = test->opened.facts;
    bool old_cpu = strstr(facts, "isa=") != NULL && strstr(facts, "isa=avx512") == NULL;
    if (dtype == OP_F32 || !old_cpu) {
        op_test_ok(status);
        return true;
    }
    assert_int_equal(status, LS_DEVICE);
    assert_non_null(strstr(status_message(), "float32"));
    return false;
}

double op_test_epsilon(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 0x1p-8 : 0x1p-24;
}

void op_test_differences(const char *what, double (*loss)(void *context), void *context, double *x,
                         const double *gradient, int64_t count)
{
    double rms = root_mean_square(gradient, count);
    for (int64_t i = 0; i < count; i++) {
        const double step = 1e-4, kept = x[i];
        /* Five points: the error is of the fourth order in the step. */
        double value[4];
        const double shift[4] = {-2.0, -1.0, 1.0, 2.0};
        for (int j = 0; j < 4; j++) {
            x[i] = kept + shift[j] * step;
            value[j] = loss(context);
        }
        x[i] = kept;
        double slope = (value[0] - 8.0 * value[1] + 8.0 * value[2] - value[3]) / (12.0 * step);
        if (!(fabs(slope - gradient[i]) <= 1e-7 * (fabs(gradient[i]) + rms)))
            fail_msg("%s[%lld]: gradient %.12g, by differences %.12g", what, (long long)i,
                     gradient[i], slope);
    }
}
