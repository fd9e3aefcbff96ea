/* The wrappers have the operators' signatures, so that the compiler checks them against the table;
 * FLOPs are counted from true rows, as sequences give them, or from the matrices' rows. */
#include "tests/support/op_timing.h"

static const struct op_table *inner;
static double (*now)(void);
static struct op_table outer;
static struct op_account accounts[OP_FAMILY_COUNT];

static double best_flops, best_bytes;
static bool only_counts;

/* What a call does.  Bytes are of true matrices: padding moves too. */
struct cost {
    double flops; /* the model's, from true rows */
    double done;  /* operations that are really done; 0: as flops */
    double bytes;
    double after; /* bytes of a second pass */
};

static double floor_of(struct cost cost)
{
    if (best_flops <= 0.0 || best_bytes <= 0.0)
        return 0.0;
    const double compute = (cost.done > 0.0 ? cost.done : cost.flops) / best_flops;
    const double memory = cost.bytes / best_bytes;
    return (compute > memory ? compute : memory) + cost.after / best_bytes;
}

static ls_status account(struct op_device *device, enum op_family family, double begin,
                         struct cost cost, ls_status st)
{
    if (st == LS_OK)
        st = inner->synchronize(device);
    accounts[family].seconds += now() - begin;
    accounts[family].flops += cost.flops;
    accounts[family].bytes += cost.bytes + cost.after;
    accounts[family].floor += floor_of(cost);
    accounts[family].calls++;
    return st;
}

/* Evaluate `call` between two looks at the clock.  The rest are the fields of its cost. */
#define TIMED(family, call, ...)                                                                   \
    double begin = now();                                                                          \
    ls_status st = only_counts ? LS_OK : (call);                                                   \
    return account(device, family, begin, (struct cost){__VA_ARGS__}, st)

static double product(struct op_matrix of, int64_t inner_size)
{
    return 2.0 * (double)of.rows * (double)of.columns * (double)inner_size;
}

static double element_bytes(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 2.0 : 4.0;
}

static double bytes_of(struct op_matrix matrix)
{
    return element_bytes(matrix.dtype) * (double)matrix.rows * (double)matrix.columns;
}

/* What an accumulating output is read for, too. */
static double output_bytes(struct op_matrix matrix, bool accumulate)
{
    return (accumulate ? 2.0 : 1.0) * bytes_of(matrix);
}

static double pairs(const struct op_sequences *queries, const struct op_sequences *keys)
{
    double sum = 0.0;
    for (int s = 0; s < queries->count; s++)
        sum += (double)queries->length[s] * (double)keys->length[s];
    return sum;
}

/* Keys or values as wide as `like`. */
static double head_bytes(struct op_matrix like, const struct op_sequences *keys)
{
    return element_bytes(like.dtype) * (double)keys->rows * (double)like.columns;
}

/* Weights and moments are read and written, gradients read, target copies moved where there are
 * any, and both written once more in the compute type. */
static double update_bytes(const struct op_update *work)
{
    double bytes = 0.0;
    for (int i = 0; i < work->piece_count; i++) {
        double each = 7.0 * sizeof(float);
        if (work->pieces[i].ema)
            each += 2.0 * sizeof(float) + (work->ema_compute_dev != NULL ? 2.0 : 0.0);
        if (work->weights_compute_dev != NULL)
            each += 2.0;
        bytes += each * (double)work->pieces[i].count;
    }
    return bytes;
}

static ls_status copy(struct op_device *device, void *to_dev, const void *from_dev, size_t bytes)
{
    TIMED(OP_FAMILY_ROWS, inner->copy(device, to_dev, from_dev, bytes),
          .bytes = 2.0 * (double)bytes);
}

static ls_status zero(struct op_device *device, void *memory_dev, size_t bytes)
{
    TIMED(OP_FAMILY_ROWS, inner->zero(device, memory_dev, bytes), .bytes = (double)bytes);
}

static ls_status cast(struct op_device *device, struct op_matrix to, struct op_matrix from)
{
    TIMED(OP_FAMILY_ROWS, inner->cast(device, to, from), .bytes = bytes_of(to) + bytes_of(from));
}

static ls_status linear_fwd(struct op_device *device, struct op_matrix y, struct op_matrix x,
                            struct op_matrix w, const float *b_dev, bool accumulate)
{
    TIMED(OP_FAMILY_LINEAR, inner->linear_fwd(device, y, x, w, b_dev, accumulate),
          .flops = product(y, x.columns),
          .bytes = bytes_of(x) + bytes_of(w) + output_bytes(y, accumulate));
}

static ls_status linear_gelu_fwd(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                                 struct op_matrix x, struct op_matrix w, const float *b_dev)
{
    TIMED(OP_FAMILY_LINEAR_GELU, inner->linear_gelu_fwd(device, y, pre, x, w, b_dev),
          .flops = product(y, x.columns), .bytes = bytes_of(x) + bytes_of(w) + bytes_of(y),
          .after = 2.0 * bytes_of(y));
}

static ls_status linear_bwd_data(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                                 struct op_matrix w, bool accumulate)
{
    TIMED(OP_FAMILY_LINEAR_DATA, inner->linear_bwd_data(device, dx, dy, w, accumulate),
          .flops = product(dx, dy.columns),
          .bytes = bytes_of(dy) + bytes_of(w) + output_bytes(dx, accumulate));
}

static ls_status linear_bwd_weight(struct op_device *device, float *dw_dev, float *db_dev,
                                   struct op_matrix dy, struct op_matrix x)
{
    TIMED(OP_FAMILY_LINEAR_WEIGHT, inner->linear_bwd_weight(device, dw_dev, db_dev, dy, x),
          .flops = product(dy, x.columns),
          .bytes = bytes_of(dy) + bytes_of(x) + 8.0 * (double)dy.columns * (double)x.columns);
}

static ls_status gelu_bwd(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                          struct op_matrix pre)
{
    TIMED(OP_FAMILY_GELU, inner->gelu_bwd(device, dpre, dy, pre),
          .bytes = bytes_of(dpre) + bytes_of(dy) + bytes_of(pre));
}

static ls_status layernorm_fwd(struct op_device *device, struct op_matrix y, float *mean_dev,
                               float *rstd_dev, struct op_matrix x, const float *gain_dev,
                               const float *bias_dev, float eps)
{
    TIMED(OP_FAMILY_NORM,
          inner->layernorm_fwd(device, y, mean_dev, rstd_dev, x, gain_dev, bias_dev, eps),
          .bytes = bytes_of(y) + bytes_of(x));
}

static ls_status layernorm_bwd(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                               float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                               const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                               bool accumulate)
{
    TIMED(OP_FAMILY_NORM_BACK,
          inner->layernorm_bwd(device, dx, dgain_dev, dbias_dev, dy, x, mean_dev, rstd_dev,
                               gain_dev, accumulate),
          .bytes = bytes_of(dy) + bytes_of(x) + output_bytes(dx, accumulate));
}

static ls_status split_heads_fwd(struct op_device *device, void *heads_dev, int64_t head_rows,
                                 struct op_matrix in, int64_t column, int heads, int head_width,
                                 const struct op_rotary *rotary, const int32_t *positions_dev)
{
    TIMED(OP_FAMILY_HEADS,
          inner->split_heads_fwd(device, heads_dev, head_rows, in, column, heads, head_width,
                                 rotary, positions_dev),
          .bytes = 2.0 * element_bytes(in.dtype) * (double)in.rows * heads * head_width);
}

static ls_status split_heads_bwd(struct op_device *device, struct op_matrix din, int64_t column,
                                 const void *dheads_dev, int64_t head_rows, int heads,
                                 int head_width, const struct op_rotary *rotary,
                                 const int32_t *positions_dev)
{
    TIMED(OP_FAMILY_HEADS,
          inner->split_heads_bwd(device, din, column, dheads_dev, head_rows, heads, head_width,
                                 rotary, positions_dev),
          .bytes = 2.0 * element_bytes(din.dtype) * (double)din.rows * heads * head_width);
}

static ls_status attention_fwd(struct op_device *device, struct op_matrix o, float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys)
{
    TIMED(OP_FAMILY_ATTENTION,
          inner->attention_fwd(device, o, lse_dev, q_dev, k_dev, v_dev, heads, head_width, queries,
                               keys),
          .flops = 4.0 * pairs(queries, keys) * heads * head_width,
          .bytes = 2.0 * bytes_of(o) + 2.0 * head_bytes(o, keys));
}

static ls_status attention_bwd(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                               struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys)
{
    TIMED(OP_FAMILY_ATTENTION_BACK,
          inner->attention_bwd(device, dq_dev, dk_dev, dv_dev, d_o, o, lse_dev, q_dev, k_dev, v_dev,
                               heads, head_width, queries, keys),
          .flops = 8.0 * pairs(queries, keys) * heads * head_width,
          .done = 10.0 * pairs(queries, keys) * heads * head_width,
          .bytes = 4.0 * bytes_of(o) + 4.0 * head_bytes(o, keys));
}

static ls_status gather_rows(struct op_device *device, struct op_matrix to, struct op_matrix from,
                             const int32_t *index_dev, const float *fill_dev)
{
    TIMED(OP_FAMILY_ROWS, inner->gather_rows(device, to, from, index_dev, fill_dev),
          .bytes = bytes_of(to) + element_bytes(from.dtype) * (double)to.rows * (double)to.columns);
}

static ls_status scatter_rows(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                              struct op_matrix dto, const int32_t *index_dev, bool accumulate)
{
    TIMED(OP_FAMILY_ROWS, inner->scatter_rows(device, dfrom, dfill_dev, dto, index_dev, accumulate),
          .bytes = bytes_of(dto) + output_bytes(dfrom, accumulate));
}

static ls_status patchify(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                          const int32_t *index_dev)
{
    TIMED(OP_FAMILY_PATCHIFY, inner->patchify(device, patches, clips, index_dev),
          .bytes = bytes_of(patches) + (clips.kind == OP_PIXELS_U8_THWC ? 1.0 : 4.0) *
                                           (double)patches.rows * (double)patches.columns);
}

static ls_status loss(struct op_device *device, struct op_matrix dz, double *loss_dev,
                      struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                      double exponent, double weight, double loss_weight)
{
    TIMED(OP_FAMILY_LOSS,
          inner->loss(device, dz, loss_dev, z, h, rows, exponent, weight, loss_weight),
          .bytes = bytes_of(dz) + bytes_of(z) + bytes_of(h));
}

static ls_status column_statistics(struct op_device *device, double *sum_dev, double *square_dev,
                                   double *unit_dev, struct op_matrix x,
                                   const struct op_sequences *rows)
{
    TIMED(OP_FAMILY_LOSS, inner->column_statistics(device, sum_dev, square_dev, unit_dev, x, rows),
          .bytes = bytes_of(x));
}

static ls_status gram(struct op_device *device, float *gram_dev, struct op_matrix x)
{
    TIMED(OP_FAMILY_LOSS, inner->gram(device, gram_dev, x), .done = product(x, x.columns),
          .bytes = bytes_of(x) + 8.0 * (double)x.columns * (double)x.columns);
}

static ls_status square_sum(struct op_device *device, double *out_dev, const float *x_dev,
                            int64_t count)
{
    TIMED(OP_FAMILY_UPDATE, inner->square_sum(device, out_dev, x_dev, count),
          .bytes = sizeof(float) * (double)count);
}

static ls_status update(struct op_device *device, const struct op_update *work)
{
    TIMED(OP_FAMILY_UPDATE, inner->update(device, work), .bytes = update_bytes(work));
}

void op_timing_rates(double flops, double bytes)
{
    best_flops = flops;
    best_bytes = bytes;
}

void op_timing_only_counts(bool on)
{
    only_counts = on;
}

void op_timing_reset(void)
{
    for (int i = 0; i < OP_FAMILY_COUNT; i++)
        accounts[i] = (struct op_account){0};
}

const struct op_table *op_timing_table(const struct op_table *table, double (*clock)(void))
{
    inner = table;
    now = clock;
    outer = *table;
    outer.copy = copy;
    outer.zero = zero;
    outer.cast = cast;
    outer.linear_fwd = linear_fwd;
    outer.linear_gelu_fwd = linear_gelu_fwd;
    outer.linear_bwd_data = linear_bwd_data;
    outer.linear_bwd_weight = linear_bwd_weight;
    outer.gelu_bwd = gelu_bwd;
    outer.layernorm_fwd = layernorm_fwd;
    outer.layernorm_bwd = layernorm_bwd;
    outer.split_heads_fwd = split_heads_fwd;
    outer.split_heads_bwd = split_heads_bwd;
    outer.attention_fwd = attention_fwd;
    outer.attention_bwd = attention_bwd;
    outer.gather_rows = gather_rows;
    outer.scatter_rows = scatter_rows;
    outer.patchify = patchify;
    outer.loss = loss;
    outer.column_statistics = column_statistics;
    outer.gram = gram;
    outer.square_sum = square_sum;
    outer.update = update;
    op_timing_reset();
    return &outer;
}

struct op_account op_timing_read(enum op_family family)
{
    return accounts[family];
}

const char *op_family_name(enum op_family family)
{
    static const char *const names[OP_FAMILY_COUNT] = {
        [OP_FAMILY_LINEAR] = "linear",
        [OP_FAMILY_LINEAR_GELU] = "linear + gelu",
        [OP_FAMILY_LINEAR_DATA] = "linear, data gradient",
        [OP_FAMILY_LINEAR_WEIGHT] = "linear, weight gradient",
        [OP_FAMILY_GELU] = "gelu gradient",
        [OP_FAMILY_NORM] = "layer norm",
        [OP_FAMILY_NORM_BACK] = "layer norm gradient",
        [OP_FAMILY_HEADS] = "heads and rotary",
        [OP_FAMILY_ATTENTION] = "attention",
        [OP_FAMILY_ATTENTION_BACK] = "attention gradient",
        [OP_FAMILY_ROWS] = "rows, copies, zeros",
        [OP_FAMILY_PATCHIFY] = "patchify",
        [OP_FAMILY_LOSS] = "loss and statistics",
        [OP_FAMILY_UPDATE] = "norm and update",
    };
    return names[family];
}
