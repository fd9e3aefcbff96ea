/* What an NVIDIA profiler sees of a run: NVTX ranges, and where to begin and end.  Without a
 * profiler attached NVTX does nothing. */
#include "model/cuda/profile.h"

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

void profile_range_begin(const char *name)
{
    (void)nvtxRangePushA(name);
}

void profile_range_end(void)
{
    (void)nvtxRangePop();
}

ls_status profile_switch(bool on)
{
    const cudaError_t error = on ? cudaProfilerStart() : cudaProfilerStop();
    if (error == cudaSuccess)
        return LS_OK;
    (void)cudaGetLastError(); /* a run can go on without its profile: nobody finds this again */
    return LS_FAIL(LS_DEVICE, "CUDA: profiler: %s", cudaGetErrorString(error));
}
