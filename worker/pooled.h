/* What clips differ in: the directions of the pooled target features of the last clips that were
 * looked at, and what the first of them correlates with in the pixels.
 *
 * A model whose pooled features lie along one direction has learnt one thing of a clip, and often
 * one that needs no learning: how bright it is. */
#ifndef LOCKSTEP_WORKER_POOLED_H
#define LOCKSTEP_WORKER_POOLED_H

#include <stdint.h>

#include "core/status.h"

enum { POOLED_CLIPS = 64, POOLED_LEAST = 32 };

enum pooled_look { POOLED_BRIGHTNESS, POOLED_CONTRAST, POOLED_MOTION, POOLED_LOOKS };
extern const char *const pooled_look_names[POOLED_LOOKS];

struct pooled_clip { /* means over pixels: grey level, its deviation, change between frames */
    double looks[POOLED_LOOKS];
};

/* The looks of a clip, uint8 [frames, height, width, 3], from every 5th pixel.  Local. */
struct pooled_clip pooled_look_at(const uint8_t *pixels, int frames, int height, int width);

struct pooled;

/* Local.  Errors: LS_NOMEM. */
ls_status pooled_open(struct pooled **out, int64_t dim) LS_MUST_CHECK;
void pooled_close(struct pooled **pooled);

/* Take pooled features [clips, dim] of clips that were looked at; the oldest make room. */
void pooled_add(struct pooled *pooled, const float *features, const struct pooled_clip *clips,
                int count);

struct pooled_verdict {
    int clips;                         /* 0: too few yet */
    double share;                      /* of the variance, in the first direction */
    double correlations[POOLED_LOOKS]; /* of the clips' places along it with each look */
    enum pooled_look nearest;
};
struct pooled_verdict pooled_judge(struct pooled *pooled);

#endif
