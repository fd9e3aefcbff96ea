/* Fuzz target: hostile_part, with mutations anywhere: unpacking and decoding as a whole. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hostile_part(data, size);
    return 0;
}

/* Every second mutation keeps the length, since one that does not moves the head and with it all
 * tables. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (seed % 2 == 0 || size < 2)
        return LLVMFuzzerMutate(data, size, max_size);
    const size_t begin = (seed / 2) % size;
    (void)LLVMFuzzerMutate(data + begin, size - begin < 256 ? size - begin : 256,
                           size - begin < 256 ? size - begin : 256);
    return size;
}
