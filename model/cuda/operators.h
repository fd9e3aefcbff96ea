/* The functions behind op_table_cuda; each has the meaning that model/ops.h gives its slot. */
#ifndef LOCKSTEP_MODEL_CUDA_OPERATORS_H
#define LOCKSTEP_MODEL_CUDA_OPERATORS_H

#include "model/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The prepare table (prepare.cu). */
extern const struct op_table op_table_cuda_prepare;

ls_status allocate_cuda(struct op_device *device, void **out_dev, size_t bytes);
void release_cuda(struct op_device *device, void *memory_dev);
ls_status host_allocate_cuda(struct op_device *device, void **out, size_t bytes);
void host_release_cuda(struct op_device *device, void *memory);
ls_status upload_cuda(struct op_device *device, void *to_dev, const void *from, size_t bytes);
ls_status download_cuda(struct op_device *device, void *to, const void *from_dev, size_t bytes);
ls_status copy_cuda(struct op_device *device, void *to_dev, const void *from_dev, size_t bytes);
ls_status zero_cuda(struct op_device *device, void *memory_dev, size_t bytes);
ls_status synchronize_cuda(struct op_device *device);
ls_status reserve_cuda(struct op_device *device, const struct op_limits *limits);
size_t scratch_bytes_cuda(const struct op_device *device, const struct op_limits *limits);
struct op_plan_counts plan_counts_cuda(const struct op_device *device);
ls_status select_cuda(struct op_device *device, enum op_queue queue);
ls_status event_open_cuda(struct op_device *device, struct op_event **out);
void event_close_cuda(struct op_device *device, struct op_event *event);
ls_status event_record_cuda(struct op_device *device, struct op_event *event);
ls_status event_wait_cuda(struct op_device *device, struct op_event *event);
ls_status event_synchronize_cuda(struct op_device *device, struct op_event *event);
ls_status host_pin_cuda(struct op_device *device, void *memory, size_t bytes);
void host_unpin_cuda(struct op_device *device, void *memory);
ls_status cast_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from);
ls_status linear_fwd_cuda(struct op_device *device, struct op_matrix y, struct op_matrix x,
                          struct op_matrix w, const float *b_dev, bool accumulate);
ls_status linear_gelu_fwd_cuda(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                               struct op_matrix x, struct op_matrix w, const float *b_dev);
ls_status linear_bwd_data_cuda(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                               struct op_matrix w, bool accumulate);
ls_status linear_bwd_weight_cuda(struct op_device *device, float *dw_dev, float *db_dev,
                                 struct op_matrix dy, struct op_matrix x);
ls_status gelu_bwd_cuda(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                        struct op_matrix pre);
ls_status layernorm_fwd_cuda(struct op_device *device, struct op_matrix y, float *mean_dev,
                             float *rstd_dev, struct op_matrix x, const float *gain_dev,
                             const float *bias_dev, float eps);
ls_status layernorm_bwd_cuda(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                             float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                             const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                             bool accumulate);
ls_status split_heads_fwd_cuda(struct op_device *device, void *heads_dev, int64_t head_rows,
                               struct op_matrix in, int64_t column, int heads, int head_width,
                               const struct op_rotary *rotary, const int32_t *positions_dev);
ls_status split_heads_bwd_cuda(struct op_device *device, struct op_matrix din, int64_t column,
                               const void *dheads_dev, int64_t head_rows, int heads, int head_width,
                               const struct op_rotary *rotary, const int32_t *positions_dev);
ls_status attention_fwd_cuda(struct op_device *device, struct op_matrix o, float *lse_dev,
                             const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                             int head_width, const struct op_sequences *queries,
                             const struct op_sequences *keys);
ls_status attention_bwd_cuda(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                             struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                             const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                             int head_width, const struct op_sequences *queries,
                             const struct op_sequences *keys);
ls_status gather_rows_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from,
                           const int32_t *index_dev, const float *fill_dev);
ls_status scatter_rows_cuda(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                            struct op_matrix dto, const int32_t *index_dev, bool accumulate);
ls_status patchify_cuda(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                        const int32_t *index_dev);
ls_status loss_cuda(struct op_device *device, struct op_matrix dz, double *loss_dev,
                    struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                    double exponent, double weight, double loss_weight);
ls_status column_statistics_cuda(struct op_device *device, double *sum_dev, double *square_dev,
                                 double *unit_dev, struct op_matrix x,
                                 const struct op_sequences *rows);
ls_status gram_cuda(struct op_device *device, float *gram_dev, struct op_matrix x);
ls_status square_sum_cuda(struct op_device *device, double *out_dev, const float *x_dev,
                          int64_t count);
ls_status update_cuda(struct op_device *device, const struct op_update *update);

#ifdef __cplusplus
}
#endif
#endif
