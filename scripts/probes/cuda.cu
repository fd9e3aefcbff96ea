#include <cublasLt.h>
#include <stdio.h>

static __global__ void empty_kernel(void)
{
}

int main(void)
{
    int version = 0, devices = 0;
    if (cudaRuntimeGetVersion(&version) != cudaSuccess)
        return 1;
    if (cudaGetDeviceCount(&devices) != cudaSuccess)
        devices = 0;
    if (devices > 0)
        empty_kernel<<<1, 1>>>();
    printf("runtime %d.%d, cuBLASLt %zu, devices here: %d\n", version / 1000, version % 1000 / 10,
           cublasLtGetVersion(), devices);
    return 0;
}
