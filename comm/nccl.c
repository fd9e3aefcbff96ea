/* NCCL behind comm/device.h.
 *
 * Every wait polls: an event of the communication stream, NCCL's own error state, and the clock.
 * Nobody here synchronizes a stream, since a peer that died would hold it for ever. */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <pthread.h>
#include <stdlib.h>

#include "comm/device.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"

struct comm_device {
    ncclComm_t communicator;
    cudaStream_t compute, stream;
    cudaEvent_t ready; /* of the compute stream: the data is there */
    cudaEvent_t done;  /* of the communication stream: the sums are there */
    double timeout_s;
    int64_t bytes; /* queued since the last wait, for the message at a deadline */
    bool broken;
};

enum { ABORT_GRACE_S = 5, POLL_US = 20 };

#define CUDA_TRY(call)                                                                             \
    do {                                                                                           \
        cudaError_t cuda_error = (call);                                                           \
        if (cuda_error != cudaSuccess) {                                                           \
            st = LS_FAIL(LS_DEVICE, "CUDA: %s: %s", #call, cudaGetErrorString(cuda_error));        \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#define NCCL_TRY(call)                                                                             \
    do {                                                                                           \
        ncclResult_t nccl_result = (call);                                                         \
        if (nccl_result != ncclSuccess && nccl_result != ncclInProgress) {                         \
            st = LS_FAIL(LS_COMM, "NCCL: %s: %s", #call, ncclGetErrorString(nccl_result));         \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

bool comm_device_available(void)
{
    return true;
}

static void *abort_communicator(void *argument)
{
    (void)ncclCommAbort((ncclComm_t)argument);
    return NULL;
}

/* Abort in a thread, wait for it a little, and never touch the communicator again. */
static void give_up(struct comm_device *device)
{
    pthread_t thread;
    struct timespec until;
    device->broken = true;
    if (device->communicator == NULL ||
        pthread_create(&thread, NULL, abort_communicator, device->communicator) != 0)
        return;
    device->communicator = NULL;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ABORT_GRACE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0)
        (void)pthread_detach(thread);
}

/* Poll NCCL until the last call is through.  LS_TIMEOUT at the deadline. */
static ls_status settle(struct comm_device *device, const char *what)
{
    ls_status st = LS_OK;
    double deadline = clock_now_s() + device->timeout_s;
    ncclResult_t state = ncclInProgress;
    for (;;) {
        NCCL_TRY(ncclCommGetAsyncError(device->communicator, &state));
        if (state == ncclSuccess)
            break;
        if (state != ncclInProgress) {
            st = LS_FAIL(LS_COMM, "NCCL: %s: %s", what, ncclGetErrorString(state));
            goto done;
        }
        if (clock_now_s() > deadline) {
            st = LS_FAIL(LS_TIMEOUT, "NCCL: %s: not through after %.0f s", what, device->timeout_s);
            goto done;
        }
        clock_sleep_s(1e-6 * POLL_US);
    }
done:
    return st;
}

/* The order of sums is a promise only for the ring with the simple protocol.  Settings of the user
 * stay. */
static ls_status make_deterministic(void)
{
    static const char *const setting[][2] = {
        {"NCCL_ALGO", "Ring"}, {"NCCL_PROTO", "Simple"}, {"NCCL_NVLS_ENABLE", "0"}};
    for (int i = 0; i < 3; i++) {
        const char *given = getenv(setting[i][0]);
        if (given != NULL)
            log_warn("nccl_deterministic %s asked=%s used=%s reason=environment", setting[i][0],
                     setting[i][1], given);
        else if (setenv(setting[i][0], setting[i][1], 0) != 0)
            return LS_FAIL(LS_NOMEM, "out of memory for the environment");
    }
    return LS_OK;
}

static ls_status join(struct comm_device *device, struct comm_group *group)
{
    ls_status st = LS_OK;
    ncclUniqueId id = {{0}};
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (comm_rank(group) == 0)
        NCCL_TRY(ncclGetUniqueId(&id));
    LS_TRY(comm_broadcast(group, &id, sizeof id, 0));
    NCCL_TRY(ncclCommInitRankConfig(&device->communicator, comm_size(group), id, comm_rank(group),
                                    &config));
    LS_TRY(settle(device, "join the cards"));
done:
    return st;
}

ls_status comm_device_open(struct comm_device **out, struct comm_group *group,
                           const struct comm_device_options *options)
{
    ls_status st = LS_OK;
    struct comm_device *device = NULL;
    LS_TRY(core_alloc(&device, 1));
    device->compute = (cudaStream_t)options->compute_stream;
    device->timeout_s = options->timeout_s;
    if (options->deterministic)
        LS_TRY(make_deterministic());
    CUDA_TRY(cudaSetDevice(options->card));
    CUDA_TRY(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking));
    CUDA_TRY(cudaEventCreateWithFlags(&device->ready, cudaEventDisableTiming));
    CUDA_TRY(cudaEventCreateWithFlags(&device->done, cudaEventDisableTiming));
    LS_TRY(join(device, group));
    *out = device;
    device = NULL;
done:
    if (device != NULL && st != LS_OK)
        give_up(device);
    comm_device_close(&device);
    return st;
}

void comm_device_close(struct comm_device **pointer)
{
    struct comm_device *device = *pointer;
    if (device == NULL)
        return;
    if (device->communicator != NULL)
        (void)ncclCommDestroy(device->communicator);
    if (!device->broken) { /* a stuck stream would hold these calls */
        (void)cudaEventDestroy(device->ready);
        (void)cudaEventDestroy(device->done);
        (void)cudaStreamDestroy(device->stream);
    }
    free(device);
    *pointer = NULL;
}

ls_status comm_device_sum_start(struct comm_device *device, float *data_dev, int64_t count)
{
    ls_status st = LS_OK;
    if (device->broken)
        return LS_FAIL(LS_COMM, "NCCL: the communicator was aborted");
    CUDA_TRY(cudaEventRecord(device->ready, device->compute));
    CUDA_TRY(cudaStreamWaitEvent(device->stream, device->ready, 0));
    NCCL_TRY(ncclAllReduce(data_dev, data_dev, (size_t)count, ncclFloat32, ncclSum,
                           device->communicator, device->stream));
    LS_TRY(settle(device, "queue a sum"));
    device->bytes += count * (int64_t)sizeof *data_dev;
done:
    if (st != LS_OK)
        give_up(device);
    return st;
}

ls_status comm_device_wait(struct comm_device *device)
{
    ls_status st = LS_OK;
    if (device->broken)
        return LS_FAIL(LS_COMM, "NCCL: the communicator was aborted");
    double deadline = clock_now_s() + device->timeout_s;
    CUDA_TRY(cudaEventRecord(device->done, device->stream));
    CUDA_TRY(cudaStreamWaitEvent(device->compute, device->done, 0));
    for (cudaError_t state = cudaErrorNotReady; state != cudaSuccess;) {
        ncclResult_t fault = ncclSuccess;
        state = cudaEventQuery(device->done);
        if (state != cudaSuccess && state != cudaErrorNotReady) {
            st = LS_FAIL(LS_DEVICE, "CUDA: while summing gradients: %s", cudaGetErrorString(state));
            goto done;
        }
        NCCL_TRY(ncclCommGetAsyncError(device->communicator, &fault));
        if (fault != ncclSuccess && fault != ncclInProgress) {
            st = LS_FAIL(LS_COMM, "NCCL: while summing gradients: %s", ncclGetErrorString(fault));
            goto done;
        }
        if (state != cudaSuccess && clock_now_s() > deadline) {
            st = LS_FAIL(LS_TIMEOUT, "NCCL: sums of %lld bytes are not done after %.0f s",
                         (long long)device->bytes, device->timeout_s);
            goto done;
        }
        if (state != cudaSuccess)
            clock_sleep_s(1e-6 * POLL_US);
    }
    device->bytes = 0;
done:
    if (st != LS_OK)
        give_up(device);
    return st;
}
