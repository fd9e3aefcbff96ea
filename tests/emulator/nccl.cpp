/* Stand-in for NCCL: ranks of one machine meet in files under /dev/shm.
 *
 * A collective writes this rank's contribution with a header (number, operation, type, count),
 * waits for the others' and adds in rank order.  A header that differs is a mismatched collective:
 * reported, and an asynchronous error of the communicator, as hanging would be on a real card. */
#include "tests/emulator/device.h"
#include "tests/emulator/runtime.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vector>

#include <nccl.h>

namespace
{

struct header {
    uint64_t sequence, count;
    int operation, type;
};

constexpr double wait_limit_s = 60.0;

double now_s()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

} // namespace

struct ncclComm {
    std::string folder;
    int rank, size;
    uint64_t sequence;
    std::atomic<int> error;
};

namespace
{

std::string file_of(const ncclComm *comm, uint64_t sequence, int rank)
{
    return comm->folder + "/" + std::to_string(sequence) + "-" + std::to_string(rank);
}

/* Appears whole, by a rename. */
void publish(const std::string &path, const header &head, const void *data, size_t bytes)
{
    std::string beside = path + ".part";
    FILE *file = std::fopen(beside.c_str(), "wb");
    bool good = file != nullptr && std::fwrite(&head, sizeof head, 1, file) == 1 &&
                (bytes == 0 || std::fwrite(data, bytes, 1, file) == 1);
    if (file != nullptr)
        good = std::fclose(file) == 0 && good;
    if (!good || std::rename(beside.c_str(), path.c_str()) != 0)
        std::fprintf(stderr, "emulator: NCCL cannot write %s\n", path.c_str());
}

bool fetch(ncclComm *comm, uint64_t sequence, int rank, header *head, void *data, size_t bytes)
{
    std::string path = file_of(comm, sequence, rank);
    double until = now_s() + wait_limit_s;
    FILE *file = nullptr;
    while ((file = std::fopen(path.c_str(), "rb")) == nullptr && now_s() < until &&
           comm->error == ncclSuccess)
        usleep(200);
    bool good = file != nullptr && std::fread(head, sizeof *head, 1, file) == 1;
    if (good && bytes > 0)
        (void)!std::fread(data, bytes, 1, file);
    if (file != nullptr)
        std::fclose(file);
    return good;
}

/* All ranks have read collective `sequence` once they published the next one. */
void forget(const ncclComm *comm, uint64_t sequence)
{
    (void)unlink(file_of(comm, sequence, comm->rank).c_str());
}

void sum(ncclComm *comm, uint64_t sequence, const float *from, float *to, size_t count)
{
    header mine{sequence, count, ncclSum, ncclFloat32};
    publish(file_of(comm, sequence, comm->rank), mine, from, count * sizeof(float));
    std::vector<float> total(count, 0.0F);
    std::vector<float> part(count);
    for (int r = 0; r < comm->size; r++) {
        header theirs{};
        if (!fetch(comm, sequence, r, &theirs, part.data(), count * sizeof(float))) {
            comm->error = ncclRemoteError;
            return;
        }
        if (std::memcmp(&mine, &theirs, sizeof mine) != 0) {
            std::fprintf(stderr,
                         "emulator: mismatched collective %llu: rank %d has %llu elements, rank %d "
                         "%llu\n",
                         static_cast<unsigned long long>(sequence), comm->rank,
                         static_cast<unsigned long long>(count), r,
                         static_cast<unsigned long long>(theirs.count));
            comm->error = ncclInvalidUsage;
            return;
        }
        for (size_t i = 0; i < count; i++)
            total[i] = r == 0 ? part[i] : total[i] + part[i];
    }
    std::memcpy(to, total.data(), count * sizeof(float));
    if (sequence > 1)
        forget(comm, sequence - 2);
}

} // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    std::memset(id, 0, sizeof *id);
    std::snprintf(id->internal, sizeof id->internal, "/dev/shm/lockstep-nccl-XXXXXX");
    return mkdtemp(id->internal) != nullptr ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *)
{
    *out = new ncclComm{id.internal, rank, size, 0, {ncclSuccess}};
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *out)
{
    *out = static_cast<ncclResult_t>(comm->error.load());
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream)
{
    if (type != ncclFloat32 || operation != ncclSum)
        return ncclInvalidArgument;
    uint64_t sequence = comm->sequence++;
    emulator_enqueue(stream, [=]() {
        sum(comm, sequence, static_cast<const float *>(from), static_cast<float *>(to), count);
    });
    return ncclInProgress;
}

static ncclResult_t leave(ncclComm_t comm)
{
    for (uint64_t s = comm->sequence < 2 ? 0 : comm->sequence - 2; s < comm->sequence; s++)
        if (comm->size == 1 || comm->error != ncclSuccess)
            forget(comm, s);
    (void)rmdir(comm->folder.c_str()); /* the last to leave succeeds */
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    /* Everybody has read everything once all have published a farewell. */
    uint64_t farewell = comm->sequence++;
    publish(file_of(comm, farewell, comm->rank), {farewell, 0, 0, 0}, nullptr, 0);
    header theirs{};
    for (int r = 0; r < comm->size; r++)
        (void)fetch(comm, farewell, r, &theirs, nullptr, 0);
    for (uint64_t s = farewell < 2 ? 0 : farewell - 2; s < farewell; s++)
        forget(comm, s);
    /* The farewells themselves go with rank 0, last. */
    publish(file_of(comm, farewell + 1, comm->rank), {farewell + 1, 0, 0, 0}, nullptr, 0);
    for (int r = 0; comm->rank == 0 && r < comm->size; r++)
        (void)fetch(comm, farewell + 1, r, &theirs, nullptr, 0);
    for (int r = 0; comm->rank == 0 && r < comm->size; r++)
        for (uint64_t s = farewell; s <= farewell + 1; s++)
            (void)unlink(file_of(comm, s, r).c_str());
    if (comm->rank == 0)
        (void)rmdir(comm->folder.c_str());
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    comm->error = ncclSystemError;
    return leave(comm);
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclInProgress:
        return "in progress";
    case ncclInvalidUsage:
        return "invalid usage (mismatched collective)";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    default:
        return "emulated NCCL error";
    }
}

} /* extern "C" */
