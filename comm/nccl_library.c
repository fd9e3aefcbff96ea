/* libnccl.so.2 by dlopen.  It is never closed: its threads outlive every communicator. */
#include "comm/nccl_library.h"

#include <dlfcn.h>
#include <string.h>

/* A data pointer from dlsym into a function pointer, as POSIX says it must work. */
static ls_status find(void *library, void *call, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL)
        return LS_FAIL(LS_DEVICE, "libnccl.so.2 has no %s", name);
    memcpy(call, &symbol, sizeof symbol);
    return LS_OK;
}

ls_status nccl_library_open(struct nccl_calls *out)
{
    ls_status st = LS_OK;
    ncclResult_t (*version)(int *) = NULL;
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    *out = (struct nccl_calls){0};
    if (library == NULL)
        return LS_FAIL(LS_DEVICE, "%s", dlerror());
    LS_TRY(find(library, &version, "ncclGetVersion"));
    LS_TRY(find(library, &out->get_unique_id, "ncclGetUniqueId"));
    LS_TRY(find(library, &out->join, "ncclCommInitRankConfig"));
    LS_TRY(find(library, &out->finalize, "ncclCommFinalize"));
    LS_TRY(find(library, &out->destroy, "ncclCommDestroy"));
    LS_TRY(find(library, &out->abort, "ncclCommAbort"));
    LS_TRY(find(library, &out->get_async_error, "ncclCommGetAsyncError"));
    LS_TRY(find(library, &out->all_reduce, "ncclAllReduce"));
    LS_TRY(find(library, &out->reduce_scatter, "ncclReduceScatter"));
    LS_TRY(find(library, &out->all_gather, "ncclAllGather"));
    LS_TRY(find(library, &out->error_string, "ncclGetErrorString"));
    LS_TRY(find(library, &out->last_error, "ncclGetLastError"));
    if (version(&out->version) != ncclSuccess || out->version < NCCL_OLDEST_VERSION)
        st = LS_FAIL(LS_DEVICE, "libnccl.so.2 is of version %d, 2.18 (%d) is needed", out->version,
                     (int)NCCL_OLDEST_VERSION);
done:
    return st;
}
