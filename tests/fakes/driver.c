/* A libcuda.so.1 without a card, for tests/cuda/test_cudnn.c: cuDNN wants the driver's library to
 * be there when it makes plans, though making one for a card described in JSON asks nothing of it
 * but to take the compiled kernels.  There is no device; calls that make handles give one that
 * nobody follows. */
enum { SUCCESS = 0, NO_DEVICE = 100, DRIVER_VERSION = 13000 };

static int handle_target;

int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

int cuDeviceGetCount(int *count);
int cuDeviceGetCount(int *count)
{
    *count = 0;
    return NO_DEVICE;
}

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = DRIVER_VERSION;
    return SUCCESS;
}

#define GIVES_HANDLE(name)                                                                         \
    int name(void **out);                                                                          \
    int name(void **out)                                                                           \
    {                                                                                              \
        *out = &handle_target;                                                                     \
        return SUCCESS;                                                                            \
    }

#define DOES_NOTHING(name)                                                                         \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return SUCCESS;                                                                            \
    }

GIVES_HANDLE(cuLibraryLoadData)
GIVES_HANDLE(cuLibraryLoadFromFile)
GIVES_HANDLE(cuLibraryGetKernel)
GIVES_HANDLE(cuLibraryGetModule)
GIVES_HANDLE(cuKernelGetFunction)
GIVES_HANDLE(cuModuleLoadData)
GIVES_HANDLE(cuModuleLoadDataEx)
GIVES_HANDLE(cuModuleLoadFatBinary)
GIVES_HANDLE(cuModuleGetFunction)

DOES_NOTHING(cuLaunchKernel)
DOES_NOTHING(cuLaunchCooperativeKernel)
DOES_NOTHING(cuLaunchKernelEx)
DOES_NOTHING(cuLinkDestroy)
DOES_NOTHING(cuLinkComplete)
DOES_NOTHING(cuLinkCreate)
DOES_NOTHING(cuLinkAddData)
DOES_NOTHING(cuLinkCreate_v2)
DOES_NOTHING(cuLinkAddFile_v2)
DOES_NOTHING(cuLinkAddData_v2)
DOES_NOTHING(cuGetErrorString)
DOES_NOTHING(cuGetErrorName)
DOES_NOTHING(cuDeviceGet)
DOES_NOTHING(cuCtxPushCurrent)
DOES_NOTHING(cuCtxPopCurrent)
DOES_NOTHING(cuCtxGetLimit)
DOES_NOTHING(cuCtxGetCurrent)
DOES_NOTHING(cuStreamGetCtx)
DOES_NOTHING(cuStreamSynchronize)
DOES_NOTHING(cuOccupancyMaxPotentialClusterSize)
DOES_NOTHING(cuOccupancyMaxActiveBlocksPerMultiprocessor)
DOES_NOTHING(cuLibraryUnload)
DOES_NOTHING(cuKernelSetAttribute)
DOES_NOTHING(cuKernelGetAttribute)
DOES_NOTHING(cuTensorMapEncodeTiled)
DOES_NOTHING(cuModuleUnload)
DOES_NOTHING(cuModuleGetGlobal_v2)
DOES_NOTHING(cuMemcpyDtoH_v2)
DOES_NOTHING(cuFuncSetAttribute)
DOES_NOTHING(cuFuncGetAttribute)
DOES_NOTHING(cuDevicePrimaryCtxRetain)
DOES_NOTHING(cuDevicePrimaryCtxReset)
DOES_NOTHING(cuDevicePrimaryCtxRelease)
DOES_NOTHING(cuDeviceGetAttribute)
DOES_NOTHING(cuCtxGetDevice)
