/* The parameter table and the flat space in which all parameters of encoder and predictor lie.
 *
 * Order: encoder in forward order (patch_embed, blocks, norm), then predictor in forward order
 * (embed, mask tokens, blocks, norm, proj).  Backward finishes from the end to the front.  The EMA
 * target has the encoder's layout: offsets [0, encoder_count).  Gradients, moments, EMA, buckets,
 * checkpoint shards and the audit are ranges of this space. Every parameter starts at a multiple of
 * 64 elements; gaps hold zeros and stay zero. */
#ifndef LOCKSTEP_CORE_PARAMETERS_H
#define LOCKSTEP_CORE_PARAMETERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum parameter_class {                   /* for initial values and their tests */
                       PARAMETER_WEIGHT, /* normal(0, init_std) */
                       PARAMETER_OUTPUT, /* attn.proj, mlp.fc2 weights of block k: normal / sqrt(2k)
                                          */
                       PARAMETER_BIAS,   /* 0 */
                       PARAMETER_GAIN,   /* 1 */
                       PARAMETER_MASK_TOKEN, /* 0, or normal when zero_init_mask_tokens is false */
                       PARAMETER_UNIFORM /* uniform in +- 1 / sqrt(inputs): a classifier's last map
                                          */
};

struct parameter {
    char name[80]; /* "encoder.blocks.0.attn.qkv.weight", "predictor.mask_tokens.0" */
    int64_t offset, count;
    int dimensions;
    int64_t shape[5];
    enum parameter_class kind;
    int block;      /* 1.. for PARAMETER_OUTPUT */
    int64_t inputs; /* for PARAMETER_UNIFORM */
    bool decay;     /* weight decay applies: not for biases and 1-D parameters */
    bool encoder;
};

/* Shape of a model, resolved from a config (or from a golden file's attributes). */
struct model_shape {
    int patch, tubelet;
    int dim, depth, heads;
    int hidden; /* int(dim * mlp_ratio) */
    int pred_dim, pred_depth, pred_heads, pred_hidden;
    int mask_tokens;
    double init_std;
    bool zero_mask_tokens;
};

struct parameters {
    struct model_shape shape;
    struct parameter *table;
    int count;
    int64_t flat_count;    /* elements of the flat space, gaps included */
    int64_t encoder_count; /* elements of its encoder part */
    int64_t true_count;    /* parameters without gaps */
};

/* Resolve a config's model.  Local.  Errors: LS_USAGE. */
ls_status model_shape_of_config(struct model_shape *out, const struct config *config) LS_MUST_CHECK;

/* Lay out the table.  Local.  Errors: LS_NOMEM, LS_USAGE (heads do not divide the width). */
ls_status parameters_open(struct parameters **out, const struct model_shape *shape) LS_MUST_CHECK;
void parameters_close(struct parameters **parameters);

/* Shape of an attentive classifier: `depth` - 1 blocks over a video's tokens, a block in which one
 * learnt query attends to them, a linear map to the classes. */
struct classifier_shape {
    int dim, heads, depth;
    int hidden; /* of the blocks' MLPs */
    int classes;
    double init_std;
};

/* The same table for one classifier ("pooler.blocks.0.norm1.weight" ... "linear.bias"); no
 * parameter is of an encoder, and all decay.  Local.  Errors: LS_NOMEM, LS_USAGE (heads do not
 * divide the width). */
ls_status parameters_open_classifier(struct parameters **out,
                                     const struct classifier_shape *shape) LS_MUST_CHECK;

/* The parameter called `name`, or NULL.  Local. */
const struct parameter *parameters_find(const struct parameters *parameters, const char *name);

#ifdef __cplusplus
}
#endif
#endif
