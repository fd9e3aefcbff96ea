/* The calls of cuDNN's backend API that are used, found at run time.
 *
 * The library is opened with dlopen, so that a program starts, and runs the plain attention, on a
 * machine without it.  The emulated build fills the table from its stand-in instead. */
#ifndef LOCKSTEP_MODEL_CUDA_CUDNN_LIBRARY_H
#define LOCKSTEP_MODEL_CUDA_CUDNN_LIBRARY_H

#include <cudnn_graph.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Since 9.15 the single forward operation takes sequence lengths. */
enum { CUDNN_OLDEST_VERSION = 91500 };

struct cudnn_calls {
    size_t version; /* 91900: 9.19.0 */
    cudnnStatus_t (*create)(cudnnHandle_t *handle);
    cudnnStatus_t (*destroy)(cudnnHandle_t handle);
    cudnnStatus_t (*set_stream)(cudnnHandle_t handle, cudaStream_t stream);
    cudnnStatus_t (*create_descriptor)(cudnnBackendDescriptorType_t type,
                                       cudnnBackendDescriptor_t *descriptor);
    cudnnStatus_t (*destroy_descriptor)(cudnnBackendDescriptor_t descriptor);
    cudnnStatus_t (*set_attribute)(cudnnBackendDescriptor_t descriptor,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t count,
                                   const void *elements);
    cudnnStatus_t (*get_attribute)(cudnnBackendDescriptor_t descriptor,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t wanted, int64_t *count,
                                   void *elements);
    cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t descriptor);
    cudnnStatus_t (*execute)(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack);
    const char *(*error_string)(cudnnStatus_t status);
    void (*last_error)(char *message, size_t bytes);
};

/* Local.  Errors: LS_DEVICE when the library is not there, lacks a call or is too old. */
ls_status cudnn_library_open(struct cudnn_calls *out) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
