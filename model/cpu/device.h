/* What the files of the CPU twin share: the device, its workspace, float32 views of matrices of any
 * dtype, and the cached matrix products.
 *
 * Every operator splits its work into `threads` parts by shape alone, and sums what the parts found
 * in the order of the parts: bits depend on the thread count, never on timing. */
#ifndef LOCKSTEP_MODEL_CPU_DEVICE_H
#define LOCKSTEP_MODEL_CPU_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "model/cpu/kernels.h"
#include "model/ops.h"

struct products;

struct op_device {
    int threads;
    const struct cpu_kernels *kernels;
    const struct cpu_pair_kernels *pairs; /* NULL: no dot products of bf16 pairs here */
    struct products *products;
    char *workspace;    /* `threads` slices of `slice_bytes` each */
    size_t slice_bytes; /* a multiple of 4096 */
    char facts[96];
    bool fast_bf16;
};

enum {
    CPU_ALIGNMENT = 256,
    CPU_SPAN = 2048 /* elements that an elementwise operator takes at a time: they stay in L1 */
};

/* Part `part` of `parts` of [0, count), cut at multiples of `unit`. */
struct cpu_range {
    int64_t begin, end;
};
struct cpu_range cpu_share(int64_t count, int64_t unit, int part, int parts);

/* Whether work on this many elements is worth waking the other threads (tens of microseconds each
 * time).  If not, one thread does all parts in their order: the bits are the same. */
bool cpu_worth_threads(int64_t elements);

/* Slice of part `part`.  The operator has checked with cpu_workspace_check that it is large enough.
 */
void *cpu_slice(const struct op_device *device, int part);

/* Errors: LS_USAGE: `operator_name` was called with a shape beyond what was reserved. */
ls_status cpu_workspace_check(const struct op_device *device, size_t bytes,
                              const char *operator_name) LS_MUST_CHECK;

/* Bytes of a slice that operators need for these limits, one function per file. */
size_t cpu_rows_bytes(int64_t columns);
size_t cpu_attention_fwd_bytes(int head_width, int max_length);
size_t cpu_attention_bwd_bytes(int head_width, int max_length);
size_t cpu_attention_pairs_bytes(int head_width, int max_length); /* either direction */

/* Elements [offset, offset + count) of `matrix` as float32: in place, or converted to `buffer`. */
const float *cpu_read(const struct op_device *device, struct op_matrix matrix, int64_t offset,
                      int64_t count, float *buffer);

/* Where to write float32 elements of `matrix` from `offset`: in place, or `buffer`, which
 * cpu_written then converts. */
float *cpu_target(struct op_matrix matrix, int64_t offset, float *buffer);
void cpu_written(const struct op_device *device, struct op_matrix matrix, int64_t offset,
                 int64_t count, const float *buffer);

/* An array that has no op_matrix of its own, seen as one. */
struct op_matrix cpu_matrix(const void *data, int64_t rows, int64_t columns, enum op_dtype dtype);

size_t cpu_dtype_bytes(enum op_dtype dtype);

/* sums[columns] += column sums of `matrix`.  Uses the workspace. */
ls_status cpu_column_sums(struct op_device *device, float *sums, struct op_matrix matrix,
                          const char *operator_name) LS_MUST_CHECK;

/* One matrix product c[m,n] (+)= a[m,k] b[k,n] (+ bias[n]), row-major; a transposed operand is
 * stored as [k,m] or [n,k]. */
struct product {
    int64_t m, n, k;
    enum op_dtype a_dtype, b_dtype, c_dtype;
    bool a_transposed, b_transposed, bias, accumulate;
};
ls_status cpu_product(struct op_device *device, const struct product *product, void *c,
                      const void *a, const void *b, const float *bias) LS_MUST_CHECK;

ls_status cpu_products_open(struct products **out) LS_MUST_CHECK;
void cpu_products_close(struct products **products);

/* Instruction set that oneDNN uses (DNNL_MAX_CPU_ISA is obeyed) and our kernels with it. */
struct cpu_isa {
    const char *name;
    const struct cpu_kernels *kernels;
    const struct cpu_pair_kernels *pairs;
    bool fast_bf16;   /* bf16 products are faster than float32 */
    char version[24]; /* of oneDNN */
};
struct cpu_isa cpu_products_isa(void);

/* The entries of op_table_cpu. */
ls_status allocate_cpu(struct op_device *device, void **out_dev, size_t bytes);
void release_cpu(struct op_device *device, void *memory_dev);
ls_status copy_cpu(struct op_device *device, void *to, const void *from, size_t bytes);
ls_status zero_cpu(struct op_device *device, void *memory_dev, size_t bytes);
ls_status synchronize_cpu(struct op_device *device);
ls_status reserve_cpu(struct op_device *device, const struct op_limits *limits);
size_t scratch_bytes_cpu(const struct op_device *device, const struct op_limits *limits);
struct op_plan_counts plan_counts_cpu(const struct op_device *device);
ls_status select_cpu(struct op_device *device, enum op_queue queue);
ls_status event_open_cpu(struct op_device *device, struct op_event **out);
void event_close_cpu(struct op_device *device, struct op_event *event);
ls_status event_record_cpu(struct op_device *device, struct op_event *event);
ls_status event_wait_cpu(struct op_device *device, struct op_event *event);
ls_status event_synchronize_cpu(struct op_device *device, struct op_event *event);
ls_status host_pin_cpu(struct op_device *device, void *memory, size_t bytes);
void host_unpin_cpu(struct op_device *device, void *memory);
ls_status cast_cpu(struct op_device *device, struct op_matrix to, struct op_matrix from);
ls_status linear_fwd_cpu(struct op_device *device, struct op_matrix y, struct op_matrix x,
                         struct op_matrix w, const float *b_dev, bool accumulate);
ls_status linear_gelu_fwd_cpu(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                              struct op_matrix x, struct op_matrix w, const float *b_dev);
ls_status linear_bwd_data_cpu(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                              struct op_matrix w, bool accumulate);
ls_status linear_bwd_weight_cpu(struct op_device *device, float *dw_dev, float *db_dev,
                                struct op_matrix dy, struct op_matrix x);
ls_status gelu_bwd_cpu(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                       struct op_matrix pre);
ls_status layernorm_fwd_cpu(struct op_device *device, struct op_matrix y, float *mean_dev,
                            float *rstd_dev, struct op_matrix x, const float *gain_dev,
                            const float *bias_dev, float eps);
ls_status layernorm_bwd_cpu(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                            float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                            const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                            bool accumulate);
ls_status split_heads_fwd_cpu(struct op_device *device, void *heads_dev, int64_t head_rows,
                              struct op_matrix in, int64_t column, int heads, int head_width,
                              const struct op_rotary *rotary, const int32_t *positions_dev);
ls_status split_heads_bwd_cpu(struct op_device *device, struct op_matrix din, int64_t column,
                              const void *dheads_dev, int64_t head_rows, int heads, int head_width,
                              const struct op_rotary *rotary, const int32_t *positions_dev);
ls_status attention_fwd_cpu(struct op_device *device, struct op_matrix o, float *lse_dev,
                            const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                            int head_width, const struct op_sequences *queries,
                            const struct op_sequences *keys);
ls_status attention_bwd_cpu(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                            struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                            const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                            int head_width, const struct op_sequences *queries,
                            const struct op_sequences *keys);
ls_status gather_rows_cpu(struct op_device *device, struct op_matrix to, struct op_matrix from,
                          const int32_t *index_dev, const float *fill_dev);
ls_status scatter_rows_cpu(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                           struct op_matrix dto, const int32_t *index_dev, bool accumulate);
ls_status patchify_cpu(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                       const int32_t *index_dev);
ls_status loss_cpu(struct op_device *device, struct op_matrix dz, double *loss_dev,
                   struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                   double exponent, double weight, double loss_weight);
ls_status column_statistics_cpu(struct op_device *device, double *sum_dev, double *square_dev,
                                double *unit_dev, struct op_matrix x,
                                const struct op_sequences *rows);
ls_status gram_cpu(struct op_device *device, float *gram_dev, struct op_matrix x);
ls_status square_sum_cpu(struct op_device *device, double *out_dev, const float *x_dev,
                         int64_t count);
ls_status update_cpu(struct op_device *device, const struct op_update *update);

#endif
