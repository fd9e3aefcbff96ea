/* libcudnn.so.9 by dlopen.  It is never closed: its threads and exit handlers outlive every device.
 */
#include "model/cuda/cudnn_library.h"

#include <dlfcn.h>
#include <string.h>

/* A data pointer from dlsym into a function pointer, as POSIX says it must work. */
static ls_status find(void *library, void *call, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL)
        return LS_FAIL(LS_DEVICE, "libcudnn.so.9 has no %s", name);
    memcpy(call, &symbol, sizeof symbol);
    return LS_OK;
}

ls_status cudnn_library_open(struct cudnn_calls *out)
{
    ls_status st = LS_OK;
    size_t (*version)(void) = NULL;
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    *out = (struct cudnn_calls){0};
    if (library == NULL)
        return LS_FAIL(LS_DEVICE, "%s", dlerror());
    LS_TRY(find(library, &version, "cudnnGetVersion"));
    LS_TRY(find(library, &out->create, "cudnnCreate"));
    LS_TRY(find(library, &out->destroy, "cudnnDestroy"));
    LS_TRY(find(library, &out->set_stream, "cudnnSetStream"));
    LS_TRY(find(library, &out->create_descriptor, "cudnnBackendCreateDescriptor"));
    LS_TRY(find(library, &out->destroy_descriptor, "cudnnBackendDestroyDescriptor"));
    LS_TRY(find(library, &out->set_attribute, "cudnnBackendSetAttribute"));
    LS_TRY(find(library, &out->get_attribute, "cudnnBackendGetAttribute"));
    LS_TRY(find(library, &out->finalize, "cudnnBackendFinalize"));
    LS_TRY(find(library, &out->execute, "cudnnBackendExecute"));
    LS_TRY(find(library, &out->error_string, "cudnnGetErrorString"));
    LS_TRY(find(library, &out->last_error, "cudnnGetLastErrorString"));
    out->version = version();
    if (out->version < CUDNN_OLDEST_VERSION)
        st = LS_FAIL(LS_DEVICE, "cuDNN %zu.%zu is older than 9.15", out->version / 10000,
                     out->version / 100 % 100);
done:
    return st;
}
