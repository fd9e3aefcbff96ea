/* Draws initial weights: in chunks of INIT_CHUNK elements, each from a generator opened at (seed,
 * name, chunk), so that they depend on no other parameter, on no thread count, and on no order. */
#include "model/parameters.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/random.h"

enum { INIT_CHUNK = 1 << 16 };

/* The generator's coordinates take 64 bits of the name's hash and the chunk's number. */
static void draw_normal(float *to, int64_t count, double std, uint64_t seed, const char *of)
{
    const struct hash128 hash = hash_buffer(of, strlen(of));
    const uint64_t step = hash.low & ((1ULL << 40) - 1);
    const uint32_t micro_batch = (uint32_t)(hash.low >> 40);
    const int64_t chunks = (count + INIT_CHUNK - 1) / INIT_CHUNK;
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        struct random_stream stream;
        random_open(&stream, seed, RANDOM_PARAMETER, step, micro_batch, (uint32_t)chunk);
        const int64_t end = count < (chunk + 1) * INIT_CHUNK ? count : (chunk + 1) * INIT_CHUNK;
        for (int64_t i = chunk * INIT_CHUNK; i < end; i++)
            to[i] = (float)(std * random_normal(&stream));
    }
}

static void draw_uniform(float *to, int64_t count, double bound, uint64_t seed, const char *of)
{
    const struct hash128 hash = hash_buffer(of, strlen(of));
    struct random_stream stream;
    random_open(&stream, seed, RANDOM_PARAMETER, hash.low & ((1ULL << 40) - 1),
                (uint32_t)(hash.low >> 40), 0);
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)random_uniform(&stream, -bound, bound);
}

void parameters_initialize(const struct parameters *parameters, float *weights, uint64_t seed)
{
    const double std = parameters->shape.init_std;
    memset(weights, 0, (size_t)parameters->flat_count * sizeof *weights);
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *q = &parameters->table[i];
        float *to = weights + q->offset;
        switch (q->kind) {
        case PARAMETER_WEIGHT:
            draw_normal(to, q->count, std, seed, q->name);
            break;
        case PARAMETER_OUTPUT:
            draw_normal(to, q->count, std / sqrt(2.0 * q->block), seed, q->name);
            break;
        case PARAMETER_MASK_TOKEN:
            if (!parameters->shape.zero_mask_tokens)
                draw_normal(to, q->count, std, seed, q->name);
            break;
        case PARAMETER_GAIN:
            for (int64_t k = 0; k < q->count; k++)
                to[k] = 1.0F;
            break;
        case PARAMETER_UNIFORM:
            draw_uniform(to, q->count, 1.0 / sqrt((double)q->inputs), seed, q->name);
            break;
        case PARAMETER_BIAS:
            break;
        }
    }
}
