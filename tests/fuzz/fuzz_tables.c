/* Fuzz target: hostile_part, with mutations of the tables of packets and frames, the blob and the
 * video's row only; the packets stay as an encoder made them. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hostile_part(data, size);
    return 0;
}

/* One mutation of a stretch of 64 bytes somewhere in the tables: it keeps its length, so that the
 * rest stays where the head says. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    enum { STRETCH = 64 };
    const struct hostile_tables tables = hostile_part_tables(data, size);
    const size_t bytes = tables.end - tables.begin;
    uint8_t stretch[STRETCH];
    if (bytes == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    const size_t count = bytes < STRETCH ? bytes : STRETCH;
    uint8_t *place = data + tables.begin + seed % (bytes - count + 1);
    memcpy(stretch, place, count);
    const size_t mutated = LLVMFuzzerMutate(stretch, count, count);
    memcpy(place, stretch, mutated);
    return size;
}
