/* What the tensors of the flat space are called elsewhere.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_EXPORT_NAMES_H
#define LOCKSTEP_CHECKPOINT_EXPORT_NAMES_H

#include "core/parameters.h"

enum { EXPORT_NAME_BYTES = 112 };

enum export_array { EXPORT_WEIGHTS = 1, EXPORT_EMA = 2 }; /* bits */

/* A tensor and where its values lie: `pieces` consecutive parameters stacked (mask tokens), or a
 * part of one (query, key, value are thirds of qkv). */
struct export_tensor {
    char name[EXPORT_NAME_BYTES];
    int dimensions;
    int64_t shape[5];
    int64_t count;   /* elements */
    unsigned arrays; /* EXPORT_WEIGHTS and EXPORT_EMA: which it fills when it is imported */
    int parameter;   /* the first one's place in the table */
    int pieces;
    int64_t skip; /* elements of the parameter before it */
};

struct export_tensors {
    struct export_tensor *list; /* sorted by name */
    int count;
};

/* The tensors of transformers' VJEPA2Model.  Free with export_tensors_free.  Local.  Errors:
 * LS_NOMEM. */
ls_status export_tensors_transformers(struct export_tensors *out,
                                      const struct parameters *parameters) LS_MUST_CHECK;

/* The tensors of a checkpoint of the public V-JEPA 2 code, with "encoder.", "predictor." and, when
 * it has one of its own, "target_encoder." before them.  Local.  Errors: LS_NOMEM. */
ls_status export_tensors_public(struct export_tensors *out, const struct parameters *parameters,
                                bool target) LS_MUST_CHECK;
void export_tensors_free(struct export_tensors *tensors);

#endif
