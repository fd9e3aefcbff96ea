/* The clips' products with each other have the same largest eigenvalue as the covariance of their
 * features, and are small: 64 x 64, whatever the width. */
#include "worker/pooled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { PIXEL_STRIDE = 5, ROUNDS = 50 };

const char *const pooled_look_names[POOLED_LOOKS] = {"brightness", "contrast", "motion"};

struct pooled {
    int64_t dim;
    int count, next;
    float *features; /* [POOLED_CLIPS, dim] */
    double *mean;    /* [dim] */
    struct pooled_clip clips[POOLED_CLIPS];
    double products[POOLED_CLIPS][POOLED_CLIPS];
};

ls_status pooled_open(struct pooled **out, int64_t dim)
{
    ls_status st = LS_OK;
    struct pooled *pooled = NULL;
    LS_TRY(core_alloc(&pooled, 1));
    pooled->dim = dim;
    LS_TRY(core_alloc(&pooled->features, POOLED_CLIPS * dim));
    LS_TRY(core_alloc(&pooled->mean, dim));
    *out = pooled;
    pooled = NULL;
done:
    pooled_close(&pooled);
    return st;
}

void pooled_close(struct pooled **pooled)
{
    if (*pooled == NULL)
        return;
    free((*pooled)->features);
    free((*pooled)->mean);
    free(*pooled);
    *pooled = NULL;
}

static double grey(const uint8_t *pixel)
{
    return (pixel[0] + pixel[1] + pixel[2]) / 3.0;
}

struct pooled_clip pooled_look_at(const uint8_t *pixels, int frames, int height, int width)
{
    struct pooled_clip out = {{0}};
    const int64_t frame = (int64_t)height * width;
    double sum = 0;
    double square = 0;
    double change = 0;
    int64_t looked = 0;
    for (int f = 0; f < frames; f++)
        for (int64_t p = 0; p < frame; p += PIXEL_STRIDE) {
            const uint8_t *pixel = pixels + 3 * (f * frame + p);
            double level = grey(pixel);
            sum += level;
            square += level * level;
            if (f > 0)
                change += fabs(level - grey(pixel - 3 * frame));
            looked++;
        }
    double mean = sum / (double)looked;
    out.looks[POOLED_BRIGHTNESS] = mean;
    out.looks[POOLED_CONTRAST] = sqrt(fmax(square / (double)looked - mean * mean, 0));
    out.looks[POOLED_MOTION] = frames > 1 ? change * frames / ((double)looked * (frames - 1)) : 0;
    return out;
}

void pooled_add(struct pooled *pooled, const float *features, const struct pooled_clip *clips,
                int count)
{
    for (int i = 0; i < count; i++) {
        memcpy(pooled->features + pooled->next * pooled->dim, features + i * pooled->dim,
               (size_t)pooled->dim * sizeof *features);
        pooled->clips[pooled->next] = clips[i];
        pooled->next = (pooled->next + 1) % POOLED_CLIPS;
        if (pooled->count < POOLED_CLIPS)
            pooled->count++;
    }
}

/* Products of the clips' features around their mean; the trace is what they vary in all. */
static double fill_products(struct pooled *pooled)
{
    double trace = 0;
    memset(pooled->mean, 0, (size_t)pooled->dim * sizeof *pooled->mean);
    for (int i = 0; i < pooled->count; i++)
        for (int64_t c = 0; c < pooled->dim; c++)
            pooled->mean[c] += pooled->features[i * pooled->dim + c] / (double)pooled->count;
    for (int i = 0; i < pooled->count; i++)
        for (int k = 0; k <= i; k++) {
            double sum = 0;
            const float *left = pooled->features + i * pooled->dim;
            const float *right = pooled->features + k * pooled->dim;
            for (int64_t c = 0; c < pooled->dim; c++)
                sum += (left[c] - pooled->mean[c]) * (right[c] - pooled->mean[c]);
            pooled->products[i][k] = pooled->products[k][i] = sum;
            trace += i == k ? sum : 0;
        }
    return trace;
}

/* The largest eigenvalue; its vector are the clips' places along the first direction. */
static double first_direction(const struct pooled *pooled, double *places)
{
    double value = 0;
    for (int i = 0; i < pooled->count; i++)
        places[i] = 1.0 + 0.5 * sin(i + 1.0); /* has a part of any direction */
    for (int round = 0; round < ROUNDS; round++) {
        double next[POOLED_CLIPS];
        double square = 0;
        for (int i = 0; i < pooled->count; i++) {
            next[i] = 0;
            for (int k = 0; k < pooled->count; k++)
                next[i] += pooled->products[i][k] * places[k];
            square += next[i] * next[i];
        }
        double length = sqrt(square);
        if (!(length > 0))
            return 0;
        double before = 0;
        for (int i = 0; i < pooled->count; i++)
            before += places[i] * places[i];
        value = length / sqrt(before);
        for (int i = 0; i < pooled->count; i++)
            places[i] = next[i] / length;
    }
    return value;
}

static double correlation(const struct pooled *pooled, const double *places, enum pooled_look look)
{
    double n = pooled->count;
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < pooled->count; i++) {
        x += places[i] / n;
        y += pooled->clips[i].looks[look] / n;
    }
    for (int i = 0; i < pooled->count; i++) {
        double a = places[i] - x;
        double b = pooled->clips[i].looks[look] - y;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

struct pooled_verdict pooled_judge(struct pooled *pooled)
{
    struct pooled_verdict out = {0};
    double places[POOLED_CLIPS] = {0};
    if (pooled->count < POOLED_LEAST)
        return out;
    out.clips = pooled->count;
    double trace = fill_products(pooled);
    out.share = trace > 0 ? first_direction(pooled, places) / trace : 0;
    if (out.share <= 0)
        return out;
    for (int look = 0; look < POOLED_LOOKS; look++) {
        out.correlations[look] = correlation(pooled, places, (enum pooled_look)look);
        if (fabs(out.correlations[look]) > fabs(out.correlations[out.nearest]))
            out.nearest = (enum pooled_look)look;
    }
    return out;
}
