#include "tests/support/test_device.h"

#include <stdlib.h>
#include <string.h>

ls_status test_device_wanted(enum config_device *out)
{
    const char *name = getenv("LOCKSTEP_TEST_DEVICE");
    *out = CONFIG_DEVICE_CPU;
    if (name == NULL || strcmp(name, "cpu") == 0)
        return LS_OK;
    if (strcmp(name, "cuda") == 0)
        *out = CONFIG_DEVICE_CUDA;
    else if (strcmp(name, "emulated") == 0)
        *out = CONFIG_DEVICE_EMULATED;
    else
        return LS_FAIL(LS_USAGE, "LOCKSTEP_TEST_DEVICE=%s: cpu, cuda or emulated", name);
    return LS_OK;
}
