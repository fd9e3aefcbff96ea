/* AdamW and EMA of one piece of parameters, by definition. */
#ifndef LOCKSTEP_TESTS_REFERENCE_UPDATE_H
#define LOCKSTEP_TESTS_REFERENCE_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

struct reference_update {
    double lr, weight_decay, beta1, beta2, eps, ema_keep, gradient_scale;
    int step; /* of this piece, from 1; 0: no gradient, only the EMA moves */
    bool decay, ema;
};

void reference_update(double *weights, double *moment1, double *moment2, double *ema,
                      const double *gradient, int64_t count, const struct reference_update *at);

#endif
