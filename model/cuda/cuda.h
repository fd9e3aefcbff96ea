/* The CUDA twin of the operators: how to open it.  Its table is op_table_cuda.
 *
 * In a build without CUDA this header's functions do not exist; model/cuda/gpu.c is the only
 * caller.
 */
#ifndef LOCKSTEP_MODEL_CUDA_CUDA_H
#define LOCKSTEP_MODEL_CUDA_CUDA_H

#include "model/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct op_table op_table_cuda;

/* Number of CUDA cards that this process sees; 0 without a driver.  Local. */
int op_cuda_count(void);

/* Open card `index`.  `deterministic` keeps to kernels whose sums have a fixed order.  Local.
 * Errors: LS_DEVICE naming the card and the reason. */
ls_status op_cuda_open(struct op_device **out, int index, bool deterministic) LS_MUST_CHECK;
void op_cuda_close(struct op_device **device);

/* "NVIDIA H100 80GB HBM3, sm_90, CUDA 13.0, attention=plain": valid as long as the device. */
const char *op_cuda_facts(const struct op_device *device);

/* The card's UUID, 16 bytes.  Local. */
void op_cuda_id(const struct op_device *device, unsigned char *out);

/* The compute stream, a cudaStream_t: lives as long as the device. */
void *op_cuda_stream(const struct op_device *device);

/* Seconds by events on the compute stream, behind all that is queued there; waits for it.  Only
 * differences mean something.  Local.  Errors: LS_DEVICE. */
ls_status op_cuda_clock(struct op_device *device, double *out) LS_MUST_CHECK;

/* Free and total memory of the card in bytes.  Local. */
ls_status op_cuda_memory(struct op_device *device, size_t *free_bytes,
                         size_t *total_bytes) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
