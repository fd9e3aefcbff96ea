/* Initial values of the parameters that core/parameters.h lays out. */
#ifndef LOCKSTEP_MODEL_PARAMETERS_H
#define LOCKSTEP_MODEL_PARAMETERS_H

#include "core/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Initial weights into host memory weights[flat_count]: a pure function of the seed and the names.
 * Local. */
void parameters_initialize(const struct parameters *parameters, float *weights, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
