/* Ceilings: the best of a few repeats of shapes that leave the device nothing to wait for. */
#include "tests/support/ceiling.h"

enum { REPEATS = 6 };

ls_status ceiling_products(double *best, const struct op_table *table, struct op_device *device,
                           double (*clock)(void))
{
    /* rows, columns, terms */
    static const int shapes[][3] = {
        {2048, 1536, 384}, {2048, 384, 1536}, {2048, 1024, 1024}, {1536, 1536, 1536}};
    enum { LARGEST = 2048 * 1536 };
    ls_status st = LS_OK;
    void *memory[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++)
        LS_TRY(table->allocate(device, &memory[i], LARGEST * sizeof(float)));
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int *shape = shapes[s];
        const struct op_matrix y = {memory[0], shape[0], shape[1], OP_F32};
        const struct op_matrix x = {memory[1], shape[0], shape[2], OP_F32};
        const struct op_matrix w = {memory[2], shape[1], shape[2], OP_F32};
        for (int i = 0; i < REPEATS; i++) {
            const double begin = clock();
            LS_TRY(table->linear_fwd(device, y, x, w, NULL, false));
            LS_TRY(table->synchronize(device));
            const double rate = 2.0 * shape[0] * shape[1] * shape[2] / (clock() - begin);
            *best = rate > *best ? rate : *best;
        }
    }
done:
    for (int i = 0; i < 3; i++)
        table->release(device, memory[i]);
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
