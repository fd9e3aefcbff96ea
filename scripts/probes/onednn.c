#include <dnnl.h>
#include <stdio.h>

int main(void)
{
    const dnnl_version_t *version = dnnl_version();
    if (version->cpu_runtime != DNNL_RUNTIME_OMP) {
        (void)fputs("built without OpenMP\n", stderr);
        return 1;
    }
    printf("%d.%d.%d\n", version->major, version->minor, version->patch);
    return 0;
}
