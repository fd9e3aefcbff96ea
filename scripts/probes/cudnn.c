#include <cudnn_graph.h>
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    size_t (*version)(void) = NULL;
    void *library = dlopen("libcudnn.so.9", RTLD_NOW);
    if (library != NULL)
        *(void **)&version = dlsym(library, "cudnnGetVersion");
    if (version != NULL)
        printf("headers %d, libcudnn.so.9 %zu\n", CUDNN_VERSION, version());
    else
        printf("headers %d; no libcudnn.so.9 here: programs look for it when they start\n",
               CUDNN_VERSION);
    return 0;
}
