/* Ceilings: the best of a few repeats of shapes that leave the device nothing to wait for. */
#include "tests/support/ceiling.h"

#include <stdlib.h>

#include "core/random.h"

enum { REPEATS = 6 };

struct product_size {
    int64_t rows, columns, terms;
};

static const struct product_size small_sizes[] = {
    {2048, 1536, 384}, {2048, 384, 1536}, {2048, 1024, 1024}, {1536, 1536, 1536}};
static const struct product_size large_sizes[] = {
    {8192, 8192, 8192}, {16384, 4096, 4096}, {49152, 4096, 1024}, {49152, 1024, 4096}};

/* `count` numbers of about normal size: products of zeros run faster than those of data. */
static ls_status fill(const struct op_table *table, struct op_device *device, void *memory_dev,
                      int64_t count, enum op_dtype dtype)
{
    ls_status st = LS_OK;
    void *values_dev = NULL;
    struct random_stream stream;
    float *values = malloc((size_t)count * sizeof *values);
    if (values == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %lld numbers", (long long)count);
    random_open(&stream, 1, RANDOM_TEST, 0, 0, 0);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)random_u32(&stream) * 0x1p-31F - 1.0F;
    LS_TRY(table->allocate(device, &values_dev, (size_t)count * sizeof *values));
    LS_TRY(table->upload(device, values_dev, values, (size_t)count * sizeof *values));
    LS_TRY(table->cast(device, (struct op_matrix){memory_dev, 1, count, dtype},
                       (struct op_matrix){values_dev, 1, count, OP_F32}));
    LS_TRY(table->synchronize(device));
done:
    table->release(device, values_dev);
    free(values);
    return st;
}

static ls_status run_size(double *best, const struct op_table *table, struct op_device *device,
                          struct product_size s, enum op_dtype dtype, double (*clock)(void))
{
    ls_status st = LS_OK;
    const size_t bytes = dtype == OP_BF16 ? 2 : 4;
    const int64_t counts[3] = {s.rows * s.columns, s.rows * s.terms, s.columns * s.terms};
    void *memory[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++)
        LS_TRY(table->allocate(device, &memory[i], (size_t)counts[i] * bytes));
    for (int i = 1; i < 3; i++)
        LS_TRY(fill(table, device, memory[i], counts[i], dtype));
    const struct op_matrix y = {memory[0], s.rows, s.columns, dtype};
    const struct op_matrix x = {memory[1], s.rows, s.terms, dtype};
    const struct op_matrix w = {memory[2], s.columns, s.terms, dtype};
    for (int i = 0; i < REPEATS; i++) {
        const double begin = clock();
        LS_TRY(table->linear_fwd(device, y, x, w, NULL, false));
        LS_TRY(table->synchronize(device));
        const double seconds = clock() - begin;
        const double rate = 2.0 * (double)s.rows * (double)s.columns * (double)s.terms / seconds;
        *best = rate > *best ? rate : *best;
    }
done:
    for (int i = 0; i < 3; i++)
        table->release(device, memory[i]);
    return st;
}

ls_status ceiling_products(double *best, const struct op_table *table, struct op_device *device,
                           enum op_dtype dtype, bool large, double (*clock)(void))
{
    enum { SIZES = sizeof small_sizes / sizeof *small_sizes };
    _Static_assert(sizeof large_sizes == sizeof small_sizes, "as many of both");
    ls_status st = LS_OK;
    for (int i = 0; i < SIZES; i++)
        LS_TRY(
            run_size(best, table, device, large ? large_sizes[i] : small_sizes[i], dtype, clock));
done:
    return st;
}

ls_status ceiling_memory(double *best, const struct op_table *table, struct op_device *device,
                         double (*clock)(void))
{
    enum { ROWS = 4096, COLUMNS = 4096 };
    const size_t bytes = (size_t)ROWS * COLUMNS * sizeof(float);
    ls_status st = LS_OK;
    void *memory[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        LS_TRY(table->allocate(device, &memory[i], bytes));
    for (int i = 0; i < REPEATS; i++) {
        const double begin = clock();
        LS_TRY(table->cast(device, (struct op_matrix){memory[0], ROWS, COLUMNS, OP_F32},
                           (struct op_matrix){memory[1], ROWS, COLUMNS, OP_F32}));
        LS_TRY(table->synchronize(device));
        const double rate = 2.0 * (double)bytes / (clock() - begin);
        *best = rate > *best ? rate : *best;
    }
done:
    for (int i = 0; i < 2; i++)
        table->release(device, memory[i]);
    return st;
}
