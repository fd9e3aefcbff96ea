#include <stdio.h>

static __global__ void set_kernel(int *value)
{
    *value = 1;
}

int main(void)
{
    int version = 0;
    if (cudaRuntimeGetVersion(&version) != cudaSuccess)
        return 1;
    printf("%d.%d\n", version / 1000, version % 1000 / 10);
    (void)set_kernel;
    return 0;
}
