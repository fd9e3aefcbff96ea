/* Fuzz target: hostile_list (tests/support/hostile.h). */
#include "tests/fuzz/fuzz.h"
#include "tests/support/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hostile_list(data, size);
    return 0;
}
