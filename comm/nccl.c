/* NCCL behind comm/device.h.
 *
 * Every wait polls: an event of the communication stream, NCCL's own error state, and the clock.
 * Nobody here synchronizes a stream, since a peer that died would hold it for ever. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/device.h"
#include "comm/nccl_library.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"
#include "core/log.h"

struct comm_device {
    struct nccl_calls nccl;
    ncclComm_t communicator;
    int rank, size;
    comm_share share;
    void *share_context;
    cudaStream_t compute, stream;
    cudaEvent_t ready;  /* of the compute stream: the data is there */
    cudaEvent_t done;   /* of the communication stream: the sums are there */
    cudaEvent_t *marks; /* [mark_count] of the communication stream */
    int64_t mark_count;
    double timeout_s;
    int64_t sums, bytes; /* queued since the last wait, for messages */
    int64_t sequence;
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
            st = LS_FAIL(LS_COMM, "NCCL: %s: %s", #call, device->nccl.error_string(nccl_result));  \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

ls_status comm_device_available(void)
{
    struct nccl_calls calls;
    return nccl_library_open(&calls);
}

struct abortion { /* the thread's own: it may outlive the device */
    ncclResult_t (*abort)(ncclComm_t);
    ncclComm_t communicator;
};

static void *abort_communicator(void *argument)
{
    struct abortion *of = argument;
    (void)of->abort(of->communicator);
    free(of);
    return NULL;
}

void comm_device_abort(struct comm_device *device)
{
    pthread_t thread;
    struct timespec until;
    struct abortion *of = NULL;
    if (device == NULL || device->broken)
        return;
    device->broken = true;
    if (device->communicator == NULL || (of = malloc(sizeof *of)) == NULL)
        return;
    *of = (struct abortion){device->nccl.abort, device->communicator};
    if (pthread_create(&thread, NULL, abort_communicator, of) != 0) {
        free(of);
        return;
    }
    device->communicator = NULL; /* nobody touches it again */
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ABORT_GRACE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0) {
        log_warn("nccl_abort hangs=yes waited_s=%d", ABORT_GRACE_S);
        (void)pthread_detach(thread);
    }
}

/* What NCCL itself says of the communicator.  `what` is what was under way. */
static ls_status check_state(struct comm_device *device, bool *busy, const char *what)
{
    ls_status st = LS_OK;
    ncclResult_t state = ncclSuccess;
    NCCL_TRY(device->nccl.get_async_error(device->communicator, &state));
    *busy = state == ncclInProgress;
    if (state != ncclSuccess && state != ncclInProgress)
        st = LS_FAIL(LS_COMM, "NCCL: %s (rank %d of %d): %s; %s", what, device->rank, device->size,
                     device->nccl.error_string(state),
                     device->nccl.last_error(device->communicator));
done:
    return st;
}

/* Poll NCCL until the last call is through.  LS_TIMEOUT at the deadline. */
static ls_status settle(struct comm_device *device, const char *what)
{
    ls_status st = LS_OK;
    double deadline = clock_now_s() + device->timeout_s;
    bool busy = true;
    while (busy) {
        LS_TRY(check_state(device, &busy, what));
        if (busy && clock_now_s() > deadline) {
            st = LS_FAIL(LS_TIMEOUT, "NCCL: %s: not through after %g s", what, device->timeout_s);
            goto done;
        }
        if (busy)
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
        if (given != NULL && strcmp(given, setting[i][1]) != 0)
            log_warn("nccl_deterministic %s asked=%s used=%s reason=environment", setting[i][0],
                     setting[i][1], given);
        else if (given == NULL && setenv(setting[i][0], setting[i][1], 0) != 0)
            return LS_FAIL(LS_NOMEM, "out of memory for the environment");
    }
    return LS_OK;
}

ls_status comm_device_open(struct comm_device **out, const struct comm_device_options *options)
{
    ls_status st = LS_OK;
    struct comm_device *device = NULL;
    LS_TRY(core_alloc(&device, 1));
    LS_TRY(nccl_library_open(&device->nccl));
    device->rank = options->rank;
    device->size = options->size;
    device->share = options->share;
    device->share_context = options->share_context;
    device->compute = (cudaStream_t)options->compute_stream;
    comm_device_set_timeout(device, options->timeout_s);
    if (options->deterministic)
        LS_TRY(make_deterministic());
    CUDA_TRY(cudaSetDevice(options->card));
    CUDA_TRY(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking));
    CUDA_TRY(cudaEventCreateWithFlags(&device->ready, cudaEventDisableTiming));
    CUDA_TRY(cudaEventCreateWithFlags(&device->done, cudaEventDisableTiming));
    LS_TRY(core_alloc_bytes((void **)&device->marks, (size_t)options->marks, sizeof(cudaEvent_t)));
    for (; device->mark_count < options->marks; device->mark_count++)
        CUDA_TRY(
            cudaEventCreateWithFlags(&device->marks[device->mark_count], cudaEventDisableTiming));
    *out = device;
    device = NULL;
done:
    comm_device_close(&device);
    return st;
}

/* Rank 0's id at every rank.  When rank 0 has none the others get zeros, instead of waiting. */
static ls_status share_id(struct comm_device *device, ncclUniqueId *id)
{
    ls_status st = LS_OK;
    static const ncclUniqueId none;
    ncclResult_t made = device->rank == 0 ? device->nccl.get_unique_id(id) : ncclSuccess;
    if (made != ncclSuccess)
        *id = none;
    LS_TRY(device->share(device->share_context, id, sizeof *id));
    if (made != ncclSuccess)
        st = LS_FAIL(LS_COMM, "NCCL cannot make an id: %s; %s", device->nccl.error_string(made),
                     device->nccl.last_error(NULL));
    else if (memcmp(id, &none, sizeof none) == 0)
        st = LS_FAIL(LS_COMM, "NCCL: rank 0 could not make an id");
done:
    return st;
}

ls_status comm_device_join(struct comm_device *device)
{
    ls_status st = LS_OK;
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    memset(&id, 0, sizeof id);
    LS_TRY(share_id(device, &id));
    NCCL_TRY(device->nccl.join(&device->communicator, device->size, id, device->rank, &config));
    LS_TRY(settle(device, "join the cards"));
done:
    if (st != LS_OK)
        comm_device_abort(device);
    return st;
}

/* All ranks leave together, or the communicator is aborted. */
static void leave(struct comm_device *device)
{
    ncclResult_t result = device->nccl.finalize(device->communicator);
    bool good = result == ncclSuccess || result == ncclInProgress;
    if (good)
        good = settle(device, "leave the cards") == LS_OK;
    if (!good) {
        log_warn("nccl_finalize failed=yes");
        status_clear();
        comm_device_abort(device);
        return;
    }
    (void)device->nccl.destroy(device->communicator);
    device->communicator = NULL;
}

void comm_device_close(struct comm_device **pointer)
{
    struct comm_device *device = *pointer;
    if (device == NULL)
        return;
    if (device->communicator != NULL && !device->broken)
        leave(device);
    /* Of a broken one nothing is freed on the card: a stuck stream would hold the calls. */
    if (!device->broken && device->ready != NULL)
        (void)cudaEventDestroy(device->ready);
    if (!device->broken && device->done != NULL)
        (void)cudaEventDestroy(device->done);
    for (int64_t i = 0; i < device->mark_count && !device->broken; i++)
        (void)cudaEventDestroy(device->marks[i]);
    if (!device->broken && device->stream != NULL)
        (void)cudaStreamDestroy(device->stream);
    free((void *)device->marks);
    free(device);
    *pointer = NULL;
}

void comm_device_set_timeout(struct comm_device *device, double timeout_s)
{
    device->timeout_s = timeout_s > 0 ? timeout_s : 600.0;
}

static ls_status refuse_broken(void)
{
    return LS_FAIL(LS_COMM, "NCCL: the communicator was aborted");
}

/* The next collective comes behind everything that is on the compute stream now. */
static ls_status enter(struct comm_device *device, const char *kind, int64_t bytes)
{
    ls_status st = LS_OK;
    if (device->broken)
        return refuse_broken();
    flight_collective(kind, device->sequence++, bytes);
    CUDA_TRY(cudaEventRecord(device->ready, device->compute));
    CUDA_TRY(cudaStreamWaitEvent(device->stream, device->ready, 0));
    device->sums++;
    device->bytes += bytes;
done:
    return st;
}

ls_status comm_device_sum_start(struct comm_device *device, float *data_dev, int64_t count)
{
    ls_status st = LS_OK;
    LS_TRY(enter(device, "nccl_sum", count * (int64_t)sizeof *data_dev));
    NCCL_TRY(device->nccl.all_reduce(data_dev, data_dev, (size_t)count, ncclFloat32, ncclSum,
                                     device->communicator, device->stream));
    LS_TRY(settle(device, "queue a sum"));
done:
    if (st != LS_OK)
        comm_device_abort(device);
    return st;
}

ls_status comm_device_sum_slices_start(struct comm_device *device, float *data_dev, int64_t slice)
{
    ls_status st = LS_OK;
    LS_TRY(enter(device, "nccl_slices", slice * device->size * (int64_t)sizeof *data_dev));
    NCCL_TRY(device->nccl.reduce_scatter(data_dev, data_dev + slice * device->rank, (size_t)slice,
                                         ncclFloat32, ncclSum, device->communicator,
                                         device->stream));
    LS_TRY(settle(device, "queue a sum of slices"));
done:
    if (st != LS_OK)
        comm_device_abort(device);
    return st;
}

ls_status comm_device_gather_start(struct comm_device *device, void *data_dev, int64_t slice)
{
    ls_status st = LS_OK;
    LS_TRY(enter(device, "nccl_gather", slice * device->size));
    NCCL_TRY(device->nccl.all_gather((const char *)data_dev + slice * device->rank, data_dev,
                                     (size_t)slice, ncclInt8, device->communicator,
                                     device->stream));
    LS_TRY(settle(device, "queue a gather"));
done:
    if (st != LS_OK)
        comm_device_abort(device);
    return st;
}

/* Whether `event` happened.  LS_TIMEOUT after `deadline` (clock_now_s). */
static ls_status look(struct comm_device *device, cudaEvent_t event, bool *done, double deadline)
{
    ls_status st = LS_OK;
    bool busy = false;
    cudaError_t state = cudaEventQuery(event);
    *done = state == cudaSuccess;
    if (state != cudaSuccess && state != cudaErrorNotReady)
        return LS_FAIL(LS_DEVICE, "CUDA: while gradients are summed: %s",
                       cudaGetErrorString(state));
    LS_TRY(check_state(device, &busy, "gradients are summed"));
    if (!*done && clock_now_s() > deadline)
        st = LS_FAIL(LS_TIMEOUT,
                     "NCCL: %lld sums of %lld bytes (rank %d of %d) are not done after %g s",
                     (long long)device->sums, (long long)device->bytes, device->rank, device->size,
                     device->timeout_s);
done:
    return st;
}

static ls_status wait_for(struct comm_device *device, cudaEvent_t event)
{
    ls_status st = LS_OK;
    bool finished = false;
    double deadline = clock_now_s() + device->timeout_s;
    flight_waits(true);
    LS_TRY(look(device, event, &finished, deadline));
    while (!finished) {
        clock_sleep_s(1e-6 * POLL_US);
        LS_TRY(look(device, event, &finished, deadline));
    }
    flight_waits(false); /* after a failure the record says what it waits for */
done:
    return st;
}

static ls_status check_mark(const struct comm_device *device, int64_t number)
{
    if (device->broken)
        return refuse_broken();
    if (number < 0 || number >= device->mark_count)
        return LS_FAIL(LS_USAGE, "mark %lld of %lld between cards", (long long)number,
                       (long long)device->mark_count);
    return LS_OK;
}

ls_status comm_device_mark(struct comm_device *device, int64_t number)
{
    ls_status st = LS_OK;
    LS_TRY(check_mark(device, number));
    CUDA_TRY(cudaEventRecord(device->marks[number], device->stream));
done:
    return st;
}

ls_status comm_device_order(struct comm_device *device, int64_t number)
{
    ls_status st = LS_OK;
    LS_TRY(check_mark(device, number));
    CUDA_TRY(cudaStreamWaitEvent(device->compute, device->marks[number], 0));
done:
    return st;
}

ls_status comm_device_reach(struct comm_device *device, int64_t number)
{
    ls_status st = LS_OK;
    LS_TRY(check_mark(device, number));
    LS_TRY(wait_for(device, device->marks[number]));
done:
    if (st != LS_OK && st != LS_USAGE)
        comm_device_abort(device);
    return st;
}

ls_status comm_device_wait(struct comm_device *device)
{
    ls_status st = LS_OK;
    if (device->broken)
        return refuse_broken();
    CUDA_TRY(cudaEventRecord(device->done, device->stream));
    CUDA_TRY(cudaStreamWaitEvent(device->compute, device->done, 0));
    LS_TRY(wait_for(device, device->done));
    device->sums = 0;
    device->bytes = 0;
done:
    if (st != LS_OK)
        comm_device_abort(device);
    return st;
}
