/* The calls of NCCL that comm/nccl.c makes, from libnccl.so.2: looked for when a program starts, so
 * that one machine's programs run on another that lacks it.  The emulated build has a stand-in. */
#ifndef LOCKSTEP_COMM_NCCL_LIBRARY_H
#define LOCKSTEP_COMM_NCCL_LIBRARY_H

#include <nccl.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NCCL_OLDEST_VERSION = 21800 }; /* 2.18: settings of a communicator that does not block */

struct nccl_calls {
    int version; /* 22703 for 2.27.3 */
    ncclResult_t (*get_unique_id)(ncclUniqueId *);
    ncclResult_t (*join)(ncclComm_t *, int, ncclUniqueId, int, ncclConfig_t *);
    ncclResult_t (*finalize)(ncclComm_t);
    ncclResult_t (*destroy)(ncclComm_t);
    ncclResult_t (*abort)(ncclComm_t);
    ncclResult_t (*get_async_error)(ncclComm_t, ncclResult_t *);
    ncclResult_t (*all_reduce)(const void *, void *, size_t, ncclDataType_t, ncclRedOp_t,
                               ncclComm_t, cudaStream_t);
    ncclResult_t (*reduce_scatter)(const void *, void *, size_t, ncclDataType_t, ncclRedOp_t,
                                   ncclComm_t, cudaStream_t);
    ncclResult_t (*all_gather)(const void *, void *, size_t, ncclDataType_t, ncclComm_t,
                               cudaStream_t);
    const char *(*error_string)(ncclResult_t);
    const char *(*last_error)(ncclComm_t);
};

/* Local.  Errors: LS_DEVICE: no library, or one that is too old. */
ls_status nccl_library_open(struct nccl_calls *out) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
