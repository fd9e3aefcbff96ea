/* Shapes and buffers that both directions of attention share. */
#ifndef LOCKSTEP_MODEL_CPU_ATTENTION_H
#define LOCKSTEP_MODEL_CPU_ATTENTION_H

#include "model/cpu/device.h"

/* Heads of one width and the sequences that attend to each other. */
struct attention_shape {
    int heads, head_width;
    int64_t lanes_width; /* head_width, up to a multiple of the vector width */
    enum op_dtype dtype;
    float scale;      /* 1 / sqrt(head_width) */
    float log2_scale; /* scale / log(2): queries times this give scores in units of log(2) */
    const struct op_sequences *queries, *keys;
};

/* Errors: LS_USAGE: the matrix, heads and sequences do not fit. */
ls_status attention_shape_of(struct attention_shape *out, const struct op_device *device,
                             const char *name, struct op_matrix o, int heads, int head_width,
                             const struct op_sequences *queries,
                             const struct op_sequences *keys) LS_MUST_CHECK;

int64_t round_up_to(int64_t count, int64_t unit);

/* Copy `rows` x `width` elements of `matrix`, the first at `offset`, rows `stride` apart, into
 * float32 rows of `out_width`, times `factor`, filled up with zeros; add zero rows up to
 * `out_rows`. */
void attention_load(const struct op_device *device, float *out, int64_t out_rows, int64_t out_width,
                    struct op_matrix matrix, int64_t offset, int64_t stride, int64_t rows,
                    int64_t width, float factor);

/* The rows of one head, as many as `rows`, where they lie when that will do for a product's right
 * side (float32, a whole number of vectors wide), else copied to `buffer`, lanes_width wide. */
const float *attention_rows(const struct op_device *device, const struct attention_shape *shape,
                            struct op_matrix matrix, int64_t offset, int64_t rows, float *buffer);

/* The same for a block whose transpose is wanted: panels for `product`, [width][keys].  `rows` is a
 * buffer of [count][width]. */
void attention_load_transposed(const struct op_device *device, float *panels, float *rows,
                               struct op_matrix matrix, int64_t offset, int64_t count,
                               int64_t width);

/* Whether products of bf16 are taken by pairs here (cpu_pair_kernels): a float is then the room of
 * a pair. */
bool attention_by_pairs(const struct op_device *device, enum op_dtype dtype, int head_width);

/* What lies at `pairs`, as struct tile_product takes it. */
const float *attention_pairs(const void *pairs);

/* Copy `rows` rows of `width` that lie `stride` apart, and rows of zeros after them up to `padded`.
 */
void attention_copy_rows(uint16_t *to, const uint16_t *from, int64_t stride, int64_t rows,
                         int64_t padded, int64_t width);

/* Panels of the transpose of a block of `count` rows, of pairs along a row: [width / 2][panel]. */
void attention_pack_pairs(const struct op_device *device, float *panels, const uint16_t *rows,
                          int64_t count, int64_t width);

/* Backward by pairs. */
struct attention_pairs_call {
    const struct op_device *device;
    struct attention_shape shape;
    struct op_matrix o, d_o;
    const void *q, *k, *v;
    void *dq, *dk, *dv;
    const float *lse;
};
/* Head h of sequence s. */
void attention_pairs_bwd(const struct attention_pairs_call *call, int h, int s);

/* Cuts a slice of the workspace into buffers; with `memory` NULL it only counts. */
struct attention_arena {
    float *memory;
    int64_t used;
};
float *attention_take(struct attention_arena *arena, int64_t count);

#endif
