/* AdamW (Loshchilov and Hutter, ICLR 2019) and EMA, by definition. */
#include "tests/reference/update.h"

#include <math.h>

void reference_update(double *weights, double *moment1, double *moment2, double *ema,
                      const double *gradient, int64_t count, const struct reference_update *at)
{
    double correction1 = 1.0 - pow(at->beta1, at->step);
    double correction2 = 1.0 - pow(at->beta2, at->step);
    for (int64_t i = 0; i < count; i++) {
        if (at->step > 0) {
            double g = at->gradient_scale * gradient[i];
            moment1[i] = at->beta1 * moment1[i] + (1.0 - at->beta1) * g;
            moment2[i] = at->beta2 * moment2[i] + (1.0 - at->beta2) * g * g;
            weights[i] *= 1.0 - at->lr * (at->decay ? at->weight_decay : 0.0);
            weights[i] -=
                at->lr * (moment1[i] / correction1) / (sqrt(moment2[i] / correction2) + at->eps);
        }
        if (at->ema)
            ema[i] = at->ema_keep * ema[i] + (1.0 - at->ema_keep) * weights[i];
    }
}
