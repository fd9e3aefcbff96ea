/* Philox 4x32-10 and what is drawn from it.  The counter of a stream is (block number, sample |
 * purpose << 24, micro-batch | step high << 24, step low): no two streams of a run share a counter.
 */
#include "core/random.h"

#include <math.h>

static const uint32_t philox_multiplier[2] = {0xD2511F53U, 0xCD9E8D57U};
static const uint32_t philox_weyl[2] = {0x9E3779B9U, 0xBB67AE85U};

void random_philox(uint32_t *out, const uint32_t *counter, const uint32_t *key)
{
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint32_t k[2] = {key[0], key[1]};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)philox_multiplier[0] * c[0];
        uint64_t p1 = (uint64_t)philox_multiplier[1] * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k[0];
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k[1];
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        c[0] = n0;
        c[2] = n2;
        k[0] += philox_weyl[0];
        k[1] += philox_weyl[1];
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

void random_open(struct random_stream *out, uint64_t seed, enum random_purpose purpose,
                 uint64_t step, uint32_t micro_batch, uint32_t sample)
{
    out->key[0] = (uint32_t)seed;
    out->key[1] = (uint32_t)(seed >> 32);
    out->counter[0] = 0;
    out->counter[1] = (sample & 0xFFFFFFU) | ((uint32_t)purpose << 24);
    out->counter[2] = (micro_batch & 0xFFFFFFU) | ((uint32_t)(step >> 32) << 24);
    out->counter[3] = (uint32_t)step;
    out->used = 4;
}

uint32_t random_u32(struct random_stream *stream)
{
    if (stream->used == 4) {
        random_philox(stream->block, stream->counter, stream->key);
        stream->counter[0]++;
        stream->used = 0;
    }
    return stream->block[stream->used++];
}

double random_unit(struct random_stream *stream)
{
    uint64_t high = random_u32(stream) >> 5;
    uint64_t low = random_u32(stream) >> 6;
    return (double)((high << 26) | low) * 0x1p-53;
}

double random_uniform(struct random_stream *stream, double low, double high)
{
    return low + (high - low) * random_unit(stream);
}

uint64_t random_below(struct random_stream *stream, uint64_t count)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % count;
    for (;;) {
        uint64_t value = ((uint64_t)random_u32(stream) << 32) | random_u32(stream);
        if (value < limit)
            return value % count;
    }
}

double random_normal(struct random_stream *stream)
{
    double radius = sqrt(-2.0 * log(1.0 - random_unit(stream)));
    return radius * cos(2.0 * acos(-1.0) * random_unit(stream));
}

/* One pass of an 8-round Feistel network over 2 * half_bits bits. */
static uint64_t feistel(uint64_t value, int half_bits, uint64_t seed, uint64_t epoch)
{
    uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = value >> half_bits;
    uint64_t right = value & mask;
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (uint32_t round = 0; round < 8; round++) {
        uint32_t word[4];
        uint32_t counter[4] = {(uint32_t)right, (uint32_t)RANDOM_PERMUTATION << 24 | round,
                               (uint32_t)(epoch >> 32), (uint32_t)epoch};
        random_philox(word, counter, key);
        uint64_t next = left ^ (word[0] & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t random_permute(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t index)
{
    int half_bits = 1;
    while (half_bits < 32 && ((uint64_t)1 << (2 * half_bits)) < count)
        half_bits++;
    uint64_t value = index;
    do {
        value = feistel(value, half_bits, seed, epoch);
    } while (value >= count);
    return value;
}
