/* The device that a rank computes on and how: chosen once at the start. */
#ifndef LOCKSTEP_WORKER_DEVICE_H
#define LOCKSTEP_WORKER_DEVICE_H

#include "core/config.h"
#include "model/device.h"

struct worker_device {
    struct model_device model;
    enum op_dtype dtype; /* of products and activations */
    int threads;         /* compute threads of the CPU */
    int bucket_tokens;   /* that sequences are padded to; 1: not padded */
};

/* Open what the config (or `asked`, from the command line) wants.  `local_size` ranks share this
 * node's cores.  A fallback is logged.  Local.  Errors: LS_DEVICE when the device that was asked
 * for by name cannot be had; LS_NOMEM. */
ls_status worker_device_open(struct worker_device *out, const struct config *config,
                             enum config_device asked, int local_rank,
                             int local_size) LS_MUST_CHECK;
void worker_device_close(struct worker_device *device);

/* Tokens to which a card pads mask lengths under this config.  Local. */
int worker_bucket_tokens(const struct config *config);

#endif
