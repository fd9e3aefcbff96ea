/* The operators of the model: one table of function pointers, filled by model/cpu/ and by
 * model/cuda/.
 *
 * The rest of model/ is written once against this table.  The definition of every operator is its
 * plain loop in double precision under tests/reference/.
 *
 * Conventions.  All matrices are row-major and contiguous.  `*_dev` memory is the device's (for the
 * CPU: host memory). Work is queued on the device's compute queue (or the one that `select` chose)
 * and done in order; `synchronize` waits for the compute queue.  The CPU twin finishes before it
 * returns.  No operator allocates: scratch comes from the workspace that `reserve` laid out.  Sums
 * of float32 are accumulated in float32 or better
 * in an order that depends on shapes and thread count only: repeats are bit-equal. "Accumulates"
 * means the output is added to; everything else overwrites.
 *
 * Errors of every operator: LS_USAGE for shapes it does not take, LS_DEVICE when the device
 * refuses. */
#ifndef LOCKSTEP_MODEL_OPS_H
#define LOCKSTEP_MODEL_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum op_dtype { OP_F32, OP_BF16 };

/* A contiguous row-major matrix in device memory.  Passed by value; owns nothing. */
struct op_matrix {
    void *data_dev;
    int64_t rows, columns;
    enum op_dtype dtype;
};

/* Sequences of tokens that lie one after another in the rows of a matrix.  Rows that belong to no
 * sequence are padding: operators may compute rubbish there but never let it reach a true row, a
 * sum, a loss or a gradient.  The host arrays and their device copies hold the same numbers (on the
 * CPU the pointers are equal). */
struct op_sequences {
    int count;
    int64_t rows;      /* of the matrix, padding included */
    int64_t true_rows; /* sum of lengths */
    int64_t head_rows; /* from one head to the next where they lie apart: q, k, v, their gradients
                        * and lse; at least `rows`.  Attention only. */
    int64_t step;      /* from one sequence to the next, whatever the micro-batch; 0: only `start`
                        * tells */
    int max_length;    /* bound on lengths that the launch is planned for */
    const int32_t *start, *length;         /* [count] host: first row and true length */
    const int32_t *start_dev, *length_dev; /* [count] */
};

/* 3D rotary positions (design section 4).  Angles are float32 from a table made in double. */
struct op_rotary {
    int axis_width; /* w: channels of each of time, row, column; the rest of the head is not turned
                     */
    int grid_rows, grid_columns; /* tokens; token number = (time * rows + row) * columns + column */
    const float *cos_dev, *sin_dev; /* [positions, w]: entry c is of frequency c mod (w/2) */
    int positions;                  /* table rows: max of grid time, rows, columns */
};

enum op_pixels { OP_PIXELS_U8_THWC, OP_PIXELS_F32_CTHW };

/* Clips as they come: uint8 [B, T, H, W, 3], or float32 [B, 3, T, H, W] that is normalised already.
 */
struct op_clips {
    const void *pixels_dev;
    enum op_pixels kind;
    int clips, frames, height, width;
    int tubelet, patch;
    float mean[3], inverse_std[3]; /* of pixel / 255; used for uint8 */
};

/* Limits that `reserve` plans workspaces for. */
struct op_limits {
    int64_t rows;    /* of any activation matrix */
    int64_t columns; /* widest activation or weight side */
    int heads, head_width, max_length, sequences;
};

/* One parameter's piece of an update range. */
struct op_update_piece {
    int64_t offset, count; /* in the flat space, inside the range */
    bool decay;
    bool ema; /* the piece is part of the encoder: has a target copy at the same offset */
    double first_correction,
        second_correction; /* 1 - beta1^t, 1 - beta2^t of this parameter's own step count t */
};

struct op_update {
    const struct op_update_piece
        *pieces; /* host, read before the call returns; pieces without gradient this step are left
                  * out, but an encoder piece of theirs still moves its EMA: then first_correction
                  * is 0 */
    int piece_count;
    float *weights_dev, *moment1_dev, *moment2_dev,
        *ema_dev; /* flat, float32; ema covers the encoder, which is first */
    /* Where these hold only a part of the flat space: which element of it is the first of weights
     * and EMA, and of the moments.  Pieces, gradient and copies count from the space's own. */
    int64_t masters_from, moments_from;
    const float *gradient_dev;
    void *weights_compute_dev,
        *ema_compute_dev; /* bf16 copies to refresh, or NULL with float32 compute */
    /* Double, because 1 - beta2 and 1 - ema_keep of float32 numbers are wrong by 1e-5 and more. */
    double lr, weight_decay, beta1, beta2, eps;
    double ema_keep;       /* share of the old target kept */
    double gradient_scale; /* multiplies the gradient first (clipping) */
};

/* Queues of a device.  Work of one is done in order; work of two is ordered by events alone. */
enum op_queue { OP_QUEUE_COMPUTE, OP_QUEUE_COPY, OP_QUEUE_COUNT };

/* What was made for a shape: plans of products, and of fused attention. */
struct op_plan_counts {
    int64_t prepared;     /* plans of products made ahead */
    int64_t hits, misses; /* products whose plan was there; was not */
    int64_t attention_prepared, attention_hits, attention_misses; /* likewise, of fused attention */
    int64_t attention_refused; /* plans that there are not: plain attention runs */
};

struct op_device;
struct op_event; /* a point in a queue's work */

struct op_table {
    const char *name; /* "cpu", "cuda" */
    bool host_memory; /* device memory can be read and written by the host at any time, and host
                       * pointers can stand where device pointers are asked for (the CPU) */
    bool rounds_bias; /* where y is bf16, biases are rounded to bf16 too before they are added:
                       * cuBLASLt's epilogue takes no others (and autocast does it) */
    int row_multiple; /* rows of activation matrices are padded to a multiple of this; 1 on the CPU
                       */

    /* The same operators, which make what depends on the shapes of their arguments (plans,
     * algorithms) and compute nothing: only what has a plan is looked at, not the memory.  NULL:
     * this device makes nothing by shape. */
    const struct op_table *prepare;

    /* Memory.  `allocate` gives device memory aligned to 256 bytes, filled with zero; host_allocate
     * gives memory that uploads are fast from.  upload/download are queued; the host side must stay
     * untouched until synchronize. */
    ls_status (*allocate)(struct op_device *device, void **out_dev, size_t bytes);
    void (*release)(struct op_device *device, void *memory_dev);
    ls_status (*host_allocate)(struct op_device *device, void **out, size_t bytes);
    void (*host_release)(struct op_device *device, void *memory);
    ls_status (*upload)(struct op_device *device, void *to_dev, const void *from, size_t bytes);
    ls_status (*download)(struct op_device *device, void *to, const void *from_dev, size_t bytes);
    ls_status (*copy)(struct op_device *device, void *to_dev, const void *from_dev, size_t bytes);
    ls_status (*zero)(struct op_device *device, void *memory_dev, size_t bytes);
    ls_status (*synchronize)(struct op_device *device);
    ls_status (*reserve)(struct op_device *device, const struct op_limits *limits);
    /* Bytes that `reserve` takes for these limits. */
    size_t (*scratch_bytes)(const struct op_device *device, const struct op_limits *limits);

    /* Counts since the device was opened. */
    struct op_plan_counts (*plan_counts)(const struct op_device *device);

    /* Queues.  `select` says where work goes from now on: OP_QUEUE_COMPUTE after opening, and
     * whoever selects another one goes back to it.  The copy queue takes copies only.  An event
     * that was never recorded has happened.  The CPU twin's work is done at once: nothing to do. */
    ls_status (*select)(struct op_device *device, enum op_queue queue);
    ls_status (*event_open)(struct op_device *device, struct op_event **out);
    void (*event_close)(struct op_device *device, struct op_event *event);
    /* The event happens when all that is on the selected queue now is done. */
    ls_status (*event_record)(struct op_device *device, struct op_event *event);
    /* What is put on the selected queue from now on waits for the event's last record. */
    ls_status (*event_wait)(struct op_device *device, struct op_event *event);
    /* The calling thread waits. */
    ls_status (*event_synchronize)(struct op_device *device, struct op_event *event);
    /* Host memory of the caller that copies to the device shall be fast and asynchronous from;
     * unpinned before it is freed. */
    ls_status (*host_pin)(struct op_device *device, void *memory, size_t bytes);
    void (*host_unpin)(struct op_device *device, void *memory);

    /* to = from in another dtype; same shape. */
    ls_status (*cast)(struct op_device *device, struct op_matrix to, struct op_matrix from);

    /* y[M,N] (+)= x[M,K] w[N,K]^T + b[N].  `b_dev` float32 or NULL.  x, w, of one dtype; y of any.
     * b is added in float32 and the sum is rounded once, to y's dtype; where y is bf16 and the
     * table says rounds_bias, b itself is rounded to bf16 before. */
    ls_status (*linear_fwd)(struct op_device *device, struct op_matrix y, struct op_matrix x,
                            struct op_matrix w, const float *b_dev, bool accumulate);
    /* pre[M,N] = x w^T + b;  y = gelu(pre), gelu(a) = a Phi(a) exactly (erf).  `pre` is kept for
     * backward (data NULL: not kept).  Phi is taken so that a small negative tail keeps its
     * relative accuracy. */
    ls_status (*linear_gelu_fwd)(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                                 struct op_matrix x, struct op_matrix w, const float *b_dev);
    /* dx[M,K] (+)= dy[M,N] w[N,K]. */
    ls_status (*linear_bwd_data)(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                                 struct op_matrix w, bool accumulate);
    /* Accumulates dw[N,K] += dy^T x and db[N] += column sums of dy, float32; db may be NULL.  Rows
     * beyond the sequences must hold zeros in dy: the caller sees to it (backward operators write
     * zeros to padding rows). */
    ls_status (*linear_bwd_weight)(struct op_device *device, float *dw_dev, float *db_dev,
                                   struct op_matrix dy, struct op_matrix x);
    /* dpre = dy * gelu'(pre); in place allowed (dpre.data_dev == dy.data_dev). */
    ls_status (*gelu_bwd)(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                          struct op_matrix pre);

    /* y = (x - mean) / sqrt(var + eps) * gain + bias by rows, two-pass variance.  gain and bias
     * NULL: 1 and 0.  mean, rstd [rows] float32, kept for backward (NULL: not kept). */
    ls_status (*layernorm_fwd)(struct op_device *device, struct op_matrix y, float *mean_dev,
                               float *rstd_dev, struct op_matrix x, const float *gain_dev,
                               const float *bias_dev, float eps);
    /* dx (+)= gradient by x; dgain, dbias accumulate (NULL: not wanted).  dy rows of padding are
     * zero. */
    ls_status (*layernorm_bwd)(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                               float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                               const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                               bool accumulate);

    /* heads[h][row][c] = turn(in[row][column + h * head_width + c]) for `heads` heads: the columns
     * of q, k or v of a qkv matrix into per-head buffers, `head_rows` rows from one to the next.
     * rotary NULL: no turn (v).  positions_dev[row] is the row's token number.  LS_USAGE for an odd
     * head_width, and for heads, rows or axes that do not fit. */
    ls_status (*split_heads_fwd)(struct op_device *device, void *heads_dev, int64_t head_rows,
                                 struct op_matrix in, int64_t column, int heads, int head_width,
                                 const struct op_rotary *rotary, const int32_t *positions_dev);
    /* The transpose of split_heads_fwd: din[row][column + ...] = turn^T(dheads[h][row][...]). */
    ls_status (*split_heads_bwd)(struct op_device *device, struct op_matrix din, int64_t column,
                                 const void *dheads_dev, int64_t head_rows, int heads,
                                 int head_width, const struct op_rotary *rotary,
                                 const int32_t *positions_dev);

    /* o[q_row][h * head_width + c]: softmax(q k^T / sqrt(head_width)) v within each pair of
     * sequences (query sequence s attends to key sequence s).  q [heads][q head_rows][head_width],
     * k and v [heads][kv head_rows][head_width], dtype of `o`. lse [heads][q head_rows] float32:
     * log of the softmax denominator, for backward (NULL: not kept).  Padding rows of o are finite,
     * rows of queries without a key zero; what lse holds for both is not read.  Never stores an N x
     * N matrix. */
    ls_status (*attention_fwd)(struct op_device *device, struct op_matrix o, float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys);
    /* dq, dk, dv in the layouts of q, k, v; overwritten, zero in padding rows, for queries without
     * a key and for keys without a query. */
    ls_status (*attention_bwd)(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                               struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys);

    /* to[r] = index[r] >= 0 ? from[index[r]] : fill (index -1) or zero (index -2: padding).  fill
     * [columns] float32, may be NULL when no index is -1.  Dtypes may differ. */
    ls_status (*gather_rows)(struct op_device *device, struct op_matrix to, struct op_matrix from,
                             const int32_t *index_dev, const float *fill_dev);
    /* The transpose: dfrom is zeroed (unless accumulate), dfrom[index[r]] += dto[r] (each row named
     * at most once), and dfill += sum of dto rows with index -1 (NULL: not wanted). */
    ls_status (*scatter_rows)(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                              struct op_matrix dto, const int32_t *index_dev, bool accumulate);

    /* patches[r] = the tubelet of token index[r] = clip * tokens_per_clip + token (-2: zero row),
     * as the columns (channel, time, row, column) of the patch embedding's weight; normalised. */
    ls_status (*patchify)(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                          const int32_t *index_dev);

    /* Group loss and its gradient over true rows: loss_dev[0] += weight * sum |z - h|^p / p;  dz =
     * weight * |z - h|^(p-1) sign(z - h), 0 where equal, NaN where z or h is NaN, zero in padding
     * rows.  The caller puts 1 /
     * (count * D), the groups' and micro-batches' shares into `weight` for dz and into
     * `loss_weight` for the loss.  z dtype any, h float32, dz dtype any; loss double. */
    ls_status (*loss)(struct op_device *device, struct op_matrix dz, double *loss_dev,
                      struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                      double exponent, double weight, double loss_weight);

    /* Accumulates over true rows, all in double [columns]: sum of x, sum of x^2, and (not NULL) sum
     * of x / |x|, where |x| is the row's length. */
    ls_status (*column_statistics)(struct op_device *device, double *sum_dev, double *square_dev,
                                   double *unit_dev, struct op_matrix x,
                                   const struct op_sequences *rows);
    /* Accumulates gram[columns, columns] += x^T x over true rows (padding rows of x are zero),
     * float32. */
    ls_status (*gram)(struct op_device *device, float *gram_dev, struct op_matrix x);

    /* out_dev[0] = sum of x^2 in double: the gradient norm.  A value that is not finite stays so. */
    ls_status (*square_sum)(struct op_device *device, double *out_dev, const float *x_dev,
                            int64_t count);

    /* AdamW, EMA and the casts to compute dtype in one pass over the pieces:
     *   g = scale * gradient;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
     *   w = w - w * (lr * decay) - lr / c1 * m / (sqrt(v) / sqrt(c2) + eps)
     *   ema = ema + (1-keep) * (w - ema)
     * PyTorch's order of operations but for the decay and the EMA: written as moves, they keep the
     * digits that a float32 factor near 1 would lose.  1-keep and lr * decay are taken in double.
     * Pieces with first_correction 0 only move their EMA. */
    ls_status (*update)(struct op_device *device, const struct op_update *update);
};

/* The CPU twin on `threads` compute threads.  It calls omp_set_num_threads, which oneDNN obeys.
 * Whoever starts the process sets OMP_WAIT_POLICY=passive where ranks may share cores: threads that
 * spin for work cost the other ranks more than half of their speed (measured).  bf16 products are
 * refused (LS_DEVICE) on CPUs without AVX-512; DNNL_MAX_CPU_ISA limits our kernels as well as
 * oneDNN.  The scratch memory of products grows when a shape is met for the first time.  Local.
 * Errors: LS_USAGE for less than one thread, LS_NOMEM, LS_DEVICE. */
extern const struct op_table op_table_cpu;
ls_status op_cpu_open(struct op_device **out, int threads) LS_MUST_CHECK;
void op_cpu_close(struct op_device **device);

/* What determines the CPU twin's bits besides the input: threads and instruction set, as text for
 * the log and the checkpoint.  Valid as long as the device. */
const char *op_cpu_facts(const struct op_device *device);

/* Whether bf16 products are faster than float32 here (AMX, or AVX-512 of AMD); else the caller
 * falls back to float32 and says so. */
bool op_cpu_has_fast_bf16(const struct op_device *device);

#ifdef __cplusplus
}
#endif
#endif
