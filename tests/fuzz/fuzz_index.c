/* Fuzz target: hostile_index (tests/support/hostile.h), with what HDF5 says chosen by the fuzzer
 * too. */
#include "tests/fuzz/fake_locate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/hostile.h"

enum { TABLES = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t head = TABLES * FAKE_EXTENT_BYTES;
    if (size < head)
        return 0;
    fake_locate_set(data, TABLES);
    hostile_index(data + head, size - head);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return fake_locate_mutate(data, size, max_size, seed, TABLES);
}
