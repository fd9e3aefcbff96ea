/* Fuzz target: hostile_shard with the real HDF5, which dies in its child process now and then. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hostile_shard(data, size);
    return 0;
}
