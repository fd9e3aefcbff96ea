/* What both directions of attention share: checking shapes, and loading rows of any dtype into
 * float32 blocks whose sides suit the inner loops. */
#include "model/cpu/attention.h"

#include <math.h>
#include <string.h>

int64_t round_up_to(int64_t count, int64_t unit)
{
    return (count + unit - 1) / unit * unit;
}

ls_status attention_shape_of(struct attention_shape *out, const struct op_device *device,
                             const char *name, struct op_matrix o, int heads, int head_width,
                             const struct op_sequences *queries, const struct op_sequences *keys)
{
    if (heads < 1 || head_width < 1 || (int64_t)heads * head_width != o.columns ||
        queries->rows != o.rows || queries->head_rows < queries->rows ||
        keys->head_rows < keys->rows || queries->count != keys->count)
        return LS_FAIL(LS_USAGE,
                       "%s: %d heads of %d, %d query and %d key sequences do not fit [%lld, %lld]",
                       name, heads, head_width, queries->count, keys->count, (long long)o.rows,
                       (long long)o.columns);
    for (int s = 0; s < queries->count; s++)
        if (queries->length[s] > queries->max_length || keys->length[s] > keys->max_length)
            return LS_FAIL(LS_USAGE, "%s: sequence %d is longer than max_length", name, s);
    *out = (struct attention_shape){.heads = heads,
                                    .head_width = head_width,
                                    .lanes_width = round_up_to(head_width, device->kernels->lanes),
                                    .dtype = o.dtype,
                                    .scale = (float)(1.0 / sqrt((double)head_width)),
                                    .log2_scale = (float)(1.0 / (M_LN2 * sqrt((double)head_width))),
                                    .queries = queries,
                                    .keys = keys};
    return LS_OK;
}

void attention_load(const struct op_device *device, float *out, int64_t out_rows, int64_t out_width,
                    struct op_matrix matrix, int64_t offset, int64_t stride, int64_t rows,
                    int64_t width, float factor)
{
    for (int64_t r = 0; r < rows; r++) {
        float *row = out + r * out_width;
        const float *from = cpu_read(device, matrix, offset + r * stride, width, row);
        device->kernels->scale(row, from, factor, width);
        memset(row + width, 0, (size_t)(out_width - width) * sizeof *row);
    }
    memset(out + rows * out_width, 0, (size_t)((out_rows - rows) * out_width) * sizeof *out);
}

const float *attention_rows(const struct op_device *device, const struct attention_shape *shape,
                            struct op_matrix matrix, int64_t offset, int64_t rows, float *buffer)
{
    if (matrix.dtype == OP_F32 && shape->lanes_width == shape->head_width)
        return (const float *)matrix.data_dev + offset;
    attention_load(device, buffer, rows, shape->lanes_width, matrix, offset, shape->head_width,
                   rows, shape->head_width, 1.0f);
    return buffer;
}

void attention_load_transposed(const struct op_device *device, float *panels, float *rows,
                               struct op_matrix matrix, int64_t offset, int64_t count,
                               int64_t width)
{
    const float *from = cpu_read(device, matrix, offset, count * width, rows);
    device->kernels->pack_transposed(panels, from, width, count, width);
}

bool attention_by_pairs(const struct op_device *device, enum op_dtype dtype, int head_width)
{
    return device->pairs != NULL && dtype == OP_BF16 && head_width % 2 == 0;
}

const float *attention_pairs(const void *pairs)
{
    return pairs;
}

void attention_copy_rows(uint16_t *to, const uint16_t *from, int64_t stride, int64_t rows,
                         int64_t padded, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * width, from + r * stride, (size_t)width * sizeof *to);
    memset(to + rows * width, 0, (size_t)((padded - rows) * width) * sizeof *to);
}

void attention_pack_pairs(const struct op_device *device, float *panels, const uint16_t *rows,
                          int64_t count, int64_t width)
{
    device->kernels->pack_transposed(panels, attention_pairs(rows), width / 2, count, width / 2);
}

float *attention_take(struct attention_arena *arena, int64_t count)
{
    float *taken = arena->memory != NULL ? arena->memory + arena->used : NULL;
    arena->used += count;
    return taken;
}
