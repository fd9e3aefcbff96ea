/* The device that a process computes on: the one place that knows which operator twins this build
 * has. */
#ifndef LOCKSTEP_MODEL_DEVICE_H
#define LOCKSTEP_MODEL_DEVICE_H

#include "core/config.h"
#include "core/status.h"
#include "model/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DEVICE_ID_BYTES = 16 };

struct model_device {
    const struct op_table *table;
    struct op_device *device;
    bool gpu;
    int card;                               /* index of the GPU */
    unsigned char card_id[DEVICE_ID_BYTES]; /* the same for all who use that GPU; zero for a CPU */
    void *stream;                           /* a GPU's compute stream (cudaStream_t), else NULL */
    char facts[512]; /* what determines its bits besides the input, as key=value words */
};

/* Open the device that was asked for.
 *
 *   wanted       CONFIG_DEVICE_AUTO takes a card where there is one and says what it took
 *   threads      compute threads of the CPU twin, at least 1
 *   local_rank   chooses the card: local_rank modulo the number of visible cards
 *   deterministic  keep to kernels whose sums have a fixed order (the CPU twin has no others)
 *
 * Local.  Errors: LS_DEVICE when a card is asked for and there is none, or this build has no CUDA.
 */
ls_status model_device_open(struct model_device *out, enum config_device wanted, int threads,
                            int local_rank, bool deterministic) LS_MUST_CHECK;
void model_device_close(struct model_device *device);

/* Free and total memory of the card in bytes.  Local.  Errors: LS_DEVICE; LS_USAGE for the CPU,
 * whose memory nobody plans. */
ls_status model_device_memory(const struct model_device *device, size_t *free_bytes,
                              size_t *total_bytes) LS_MUST_CHECK;

/* How the build's GPU part answers (model/gpu_none.c, or model/cuda/gpu.c in CUDA and emulated
 * builds). */
struct gpu_build {
    const char *name; /* "none", "cuda", "emulated" */
    int (*count)(void);
    ls_status (*open)(struct model_device *out, int index, bool deterministic);
    void (*close)(struct model_device *device);
    /* Seconds by the card's own events, behind everything that is queued, which it waits for; only
     * differences mean something. */
    ls_status (*clock)(struct model_device *device, double *out);
    ls_status (*memory)(const struct model_device *device, size_t *free_bytes, size_t *total_bytes);
    /* Parts of the run, for the vendor's profiler (core/trace.h), and the span it shall look at.
     * NULL in a build without cards. */
    void (*range_begin)(const char *name);
    void (*range_end)(void);
    ls_status (*profiler)(bool on);
};
extern const struct gpu_build gpu_build;

#ifdef __cplusplus
}
#endif
#endif
