/* The whole of V-JEPA 2's loss in double, by plain loops: one clip and one mask group at a time,
 * the target on all tokens, no sharing, no selection, no shortcuts.  What model/ computes is held
 * against this. */
#ifndef LOCKSTEP_TESTS_REFERENCE_JEPA_H
#define LOCKSTEP_TESTS_REFERENCE_JEPA_H

#include <stdint.h>

#include "model/jepa.h"
#include "model/parameters.h"

struct reference_jepa {
    const struct parameters *parameters;
    const struct jepa_batch *batch; /* pixels: float32 [B, 3, T, H, W] */
    int height, width, groups;
    double exponent;
};

/* The loss: mean over groups of mean |prediction - goal|^p / p.
 *
 *   weights  in   [flat_count]     encoder and predictor
 *   ema      in   [encoder_count]  target encoder
 *   groups   out  [groups] the groups' losses, or NULL
 *
 * Local.  Aborts when memory runs out. */
double reference_jepa_loss(const struct reference_jepa *jepa, const double *weights,
                           const double *ema, double *groups);

#endif
