/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC 2011, "Parallel random numbers:
 * as easy as 1, 2, 3").
 *
 * Everything that lockstep draws is a pure function of (seed, purpose, step, micro-batch, sample):
 * a stream is opened at these coordinates and drawn from in order.  No sampler state exists, so
 * none can be lost. */
#ifndef LOCKSTEP_CORE_RANDOM_H
#define LOCKSTEP_CORE_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a stream is for.  The numbers are part of the run format: append, never renumber. */
enum random_purpose {
    RANDOM_VIDEO = 1,         /* which dataset and video, and its replacements */
    RANDOM_WINDOW = 2,        /* which frames of it */
    RANDOM_CROP = 3,          /* crop box and flip */
    RANDOM_MASK_SIZE = 4,     /* block size of a step */
    RANDOM_MASK_POSITION = 5, /* block positions of a sample */
    RANDOM_PERMUTATION = 6,   /* key of an epoch's permutation */
    RANDOM_PARAMETER = 7,     /* initial parameters */
    RANDOM_GROUP = 8,         /* which frames-per-clip group a micro-batch takes */
    RANDOM_ERASE = 9,         /* which box of a clip is erased, and its noise */
    RANDOM_TEST = 100
};

struct random_stream {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    int used; /* words of `block` already handed out */
};

/* Philox 4x32 with 10 rounds: out[4] from counter[4] and key[2].  Local. */
void random_philox(uint32_t *out, const uint32_t *counter, const uint32_t *key);

/* Open a stream.  `micro_batch` is the global micro-batch number of the step (0 .. M-1), not one of
 * this rank; purposes that do not vary by micro-batch or sample pass 0.  `step` < 2^40, `purpose` <
 * 256, `micro_batch` < 2^24, sample < 2^24.  A stream gives 2^34 words. Local, cannot fail. */
void random_open(struct random_stream *out, uint64_t seed, enum random_purpose purpose,
                 uint64_t step, uint32_t micro_batch, uint32_t sample);

/* Next 32 bits. */
uint32_t random_u32(struct random_stream *stream);

/* Uniform in [0, 1) with 53 bits. */
double random_unit(struct random_stream *stream);

/* Uniform in [low, high). */
double random_uniform(struct random_stream *stream, double low, double high);

/* Uniform integer in [0, count), without modulo bias; count >= 1. */
uint64_t random_below(struct random_stream *stream, uint64_t count);

/* Standard normal (Box-Muller; two uniforms a draw). */
double random_normal(struct random_stream *stream);

/* Element `index` of a keyed permutation of [0, count): a bijection for every key, computed without
 * a table (a Feistel network with cycle walking).  Local. */
uint64_t random_permute(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
