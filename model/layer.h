/* What blocks, encoder and predictor are made of: linear maps and layer norms bound to their ranges
 * of the flat space, and the report that a gradient is final. */
#ifndef LOCKSTEP_MODEL_LAYER_H
#define LOCKSTEP_MODEL_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/jepa.h"
#include "model/ops.h"
#include "model/parameters.h"

/* Whom to ask before weights are read (jepa_set_demand); NULL: they are there. */
struct layer_demand {
    jepa_demand ask;
    void *context;
};

/* Where the operators run, and the dtype of products and activations. */
struct layer_device {
    const struct op_table *ops;
    struct op_device *device;
    enum op_dtype dtype;
    const struct layer_demand *demand;
};

/* The arrays that a network's parameters lie in: the trained weights with their gradient, or the
 * EMA copy without one. */
struct layer_space {
    const struct parameters *parameters;
    float *weights_dev;
    void *compute_dev; /* weights in the dtype of products; weights_dev itself with float32 */
    enum op_dtype dtype;
    float *gradient_dev; /* NULL: not trained */
    /* Where weights_dev is not all here: what is read as float32 (biases, gains, mask tokens), and
     * where in it each parameter of the table begins. */
    const float *vectors_dev; /* NULL: weights_dev has them */
    const int64_t *vector_at; /* [parameters] */
};

struct layer_linear {
    struct op_matrix w; /* [out, in] */
    const float *b_dev;
    float *dw_dev, *db_dev; /* NULL: not trained */
    int64_t offset;         /* of the weight in the flat space */
};

struct layer_norm {
    const float *gain_dev, *bias_dev;
    float *dgain_dev, *dbias_dev; /* NULL: not trained */
    int64_t offset;               /* of the gain in the flat space */
};

/* Tells the caller of jepa_micro_batch which range of the gradient is final.  Backward goes from
 * the end of the flat space to its front, so one number says how far it has come. */
struct layer_report {
    jepa_gradient_ready ready; /* NULL: nobody asks */
    void *context;
    int64_t end; /* everything from here on has been reported */
    const struct op_table *ops;
    struct op_device *device;
    const float *gradient_dev;
    float *gradient_host; /* where ranges are copied to before they are reported; gradient_dev
                           * itself, or NULL: they are reported where they are */
};

struct op_matrix layer_matrix(const void *data_dev, int64_t rows, int64_t columns,
                              enum op_dtype dtype);

/* A parameter that is read as float32.  Local. */
const float *layer_vector(const struct layer_space *space, const struct parameter *parameter);

/* The weights (`which`) before element `end` of the flat space are about to be read.  Local.
 * Errors: those of whoever is asked. */
ls_status layer_want(const struct layer_device *on, enum jepa_copy which,
                     int64_t end) LS_MUST_CHECK;

/* Bind by name: PREFIX.weight and PREFIX.bias.  Local.  Errors: LS_FAILED if there is no such
 * parameter (our bug). */
ls_status layer_linear_bind(struct layer_linear *out, const struct layer_space *space,
                            const char *prefix) LS_MUST_CHECK;
ls_status layer_norm_bind(struct layer_norm *out, const struct layer_space *space,
                          const char *prefix) LS_MUST_CHECK;

/* The map onto `count` of the outputs, from `first` on: the q, or the k and v part of qkv. */
struct layer_linear layer_linear_outputs(const struct layer_linear *linear, int64_t first,
                                         int64_t count);

/* Gradients of weight and bias from dy and the map's input.  Local. */
ls_status layer_linear_bwd_weight(const struct layer_device *on, const struct layer_linear *linear,
                                  struct op_matrix dy, struct op_matrix x) LS_MUST_CHECK;

/* All gradients from `offset` of the flat space on are final.  Local.  Errors: the callback's. */
ls_status layer_gradient_final(struct layer_report *report, int64_t offset) LS_MUST_CHECK;

#endif
