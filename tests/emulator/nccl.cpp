/* Stand-in for NCCL: ranks of one machine meet in files, in a folder under EMULATOR_NCCL_FOLDER
 * (/dev/shm), which stays when ranks abort: others may not have seen yet why.
 *
 * A collective writes this rank's contribution with a header (number, kind, operation, type,
 * count), is ready when all the others have written theirs, and then adds in rank order.  A header
 * that differs is a mismatched collective: reported, and an asynchronous error of the communicator,
 * where real cards would hang or compute nonsense.  A rank that does not come leaves the others
 * unready, as it would on real cards.
 *
 * EMULATOR_NCCL_FAULT=RANK:NUMBER:WHAT makes that rank enter its collective of that number wrongly:
 * with one element less (count), as a maximum (operation), or not at all (skip). */
#include "tests/emulator/device.h"
#include "tests/emulator/runtime.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "comm/nccl_library.h"

namespace
{

enum kind { kind_join, kind_sum, kind_slices, kind_gather, kind_farewell };

struct header {
    uint64_t number, count;
    int kind, operation, type;
};

struct fault {
    int rank = -1;
    unsigned long long number = 0;
    char what[16] = "";
};

fault wanted_fault()
{
    fault wanted;
    const char *text = std::getenv("EMULATOR_NCCL_FAULT");
    if (text != nullptr &&
        std::sscanf(text, "%d:%llu:%15s", &wanted.rank, &wanted.number, wanted.what) != 3)
        wanted.rank = -1;
    return wanted;
}

} // namespace

struct ncclComm {
    std::string folder;
    int rank, size;
    uint64_t number; /* of the next collective: joining was number 0 */
    bool joined, leaving;
    std::atomic<int> error;
};

namespace
{

std::string file_of(const ncclComm *comm, uint64_t number, int rank)
{
    return comm->folder + "/" + std::to_string(number) + "-" + std::to_string(rank);
}

/* Appears whole, by a rename. */
void publish(const ncclComm *comm, const header &head, const void *data, size_t bytes)
{
    std::string path = file_of(comm, head.number, comm->rank);
    std::string beside = path + ".part";
    FILE *file = std::fopen(beside.c_str(), "wb");
    bool good = file != nullptr && std::fwrite(&head, sizeof head, 1, file) == 1 &&
                (bytes == 0 || std::fwrite(data, bytes, 1, file) == 1);
    if (file != nullptr)
        good = std::fclose(file) == 0 && good;
    if (!good || std::rename(beside.c_str(), path.c_str()) != 0)
        std::fprintf(stderr, "emulator: NCCL cannot write %s\n", path.c_str());
}

/* Whether every rank has published its part of collective `number`. */
bool all_came(const ncclComm *comm, uint64_t number)
{
    for (int r = 0; r < comm->size; r++)
        if (access(file_of(comm, number, r).c_str(), F_OK) != 0)
            return false;
    return true;
}

bool fetch(const ncclComm *comm, uint64_t number, int rank, header *head, void *data, size_t bytes)
{
    FILE *file = std::fopen(file_of(comm, number, rank).c_str(), "rb");
    bool good = file != nullptr && std::fread(head, sizeof *head, 1, file) == 1;
    if (good && bytes > 0)
        (void)!std::fread(data, bytes, 1, file); /* shorter when the counts differ */
    if (file != nullptr)
        std::fclose(file);
    return good;
}

/* All ranks have read collective `number` once all have published the next but one. */
void forget(const ncclComm *comm, uint64_t number)
{
    (void)unlink(file_of(comm, number, comm->rank).c_str());
}

const char *name_of(const header &head)
{
    return head.kind == kind_join       ? "join"
           : head.kind == kind_farewell ? "farewell"
           : head.kind == kind_gather   ? "gather"
           : head.kind == kind_slices   ? "sum of slices"
           : head.operation == ncclSum  ? "sum"
                                        : "other reduction";
}

char last_error[256] = "";

bool matches(ncclComm *comm, const header &mine, const header &theirs, int rank)
{
    if (mine.number == theirs.number && mine.count == theirs.count && mine.kind == theirs.kind &&
        mine.operation == theirs.operation && mine.type == theirs.type)
        return true;
    std::snprintf(
        last_error, sizeof last_error,
        "mismatched collective %llu: rank %d has a %s of %llu elements, rank %d a %s of %llu",
        static_cast<unsigned long long>(mine.number), comm->rank, name_of(mine),
        static_cast<unsigned long long>(mine.count), rank, name_of(theirs),
        static_cast<unsigned long long>(theirs.count));
    comm->error = ncclInvalidUsage;
    return false;
}

/* The contribution of rank `r`; false when the communicator is of no more use. */
bool take(ncclComm *comm, const header &mine, int r, void *part, size_t bytes)
{
    header theirs{};
    if (!fetch(comm, mine.number, r, &theirs, part, bytes)) {
        comm->error = ncclRemoteError;
        return false;
    }
    return matches(comm, mine, theirs, r);
}

/* Sums in rank order, of which `to` gets elements [first, first + kept).  Every rank is there, or
 * the communicator is of no more use. */
void sum(ncclComm *comm, const header &mine, float *to, size_t first, size_t kept)
{
    if (comm->error != ncclSuccess)
        return;
    std::vector<float> total(mine.count, 0.0F);
    std::vector<float> part(mine.count);
    for (int r = 0; r < comm->size; r++) {
        if (!take(comm, mine, r, part.data(), mine.count * sizeof(float)))
            return;
        for (size_t i = 0; i < mine.count; i++)
            total[i] = r == 0 ? part[i] : total[i] + part[i];
    }
    if (mine.operation != ncclSum || mine.type != ncclFloat32) {
        comm->error = ncclInvalidArgument;
        return;
    }
    std::memcpy(to, total.data() + first, kept * sizeof(float));
    if (mine.number > 1)
        forget(comm, mine.number - 2);
}

void gather(ncclComm *comm, const header &mine, char *to)
{
    for (int r = 0; r < comm->size && comm->error == ncclSuccess; r++)
        if (!take(comm, mine, r, to + mine.count * static_cast<size_t>(r), mine.count))
            return;
    if (comm->error == ncclSuccess && mine.number > 1)
        forget(comm, mine.number - 2);
}

/* Queue this rank's contribution, and `finish` for when all are there.  False: the fault is that it
 * never enters. */
template <typename Finish>
bool enter(ncclComm_t comm, header mine, const void *from, size_t element, cudaStream_t stream,
           Finish finish)
{
    static const fault wanted = wanted_fault();
    mine.number = comm->number;
    if (wanted.rank == comm->rank && wanted.number == mine.number) {
        if (std::strcmp(wanted.what, "skip") == 0)
            return false;
        if (std::strcmp(wanted.what, "operation") == 0)
            mine.operation = ncclMax;
        else
            mine.count--;
    }
    comm->number++;
    emulator_enqueue(stream, [=]() {
        if (comm->error == ncclSuccess)
            publish(comm, mine, from, mine.count * element);
    });
    emulator_enqueue_when(
        stream, [=]() { return comm->error != ncclSuccess || all_came(comm, mine.number); },
        [=]() { finish(mine); });
    return true;
}

} // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    const char *folder = std::getenv("EMULATOR_NCCL_FOLDER");
    std::memset(id, 0, sizeof *id);
    int length = std::snprintf(id->internal, sizeof id->internal, "%s/lockstep-nccl-XXXXXX",
                               folder != nullptr ? folder : "/dev/shm");
    if (length >= static_cast<int>(sizeof id->internal))
        return ncclInvalidArgument;
    return mkdtemp(id->internal) != nullptr ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *)
{
    *out = new ncclComm{id.internal, rank, size, 1, false, false, {ncclSuccess}};
    header hello{};
    hello.kind = kind_join;
    publish(*out, hello, nullptr, 0);
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *out)
{
    comm->joined = comm->joined || all_came(comm, 0);
    bool busy = !comm->joined || (comm->leaving && !all_came(comm, comm->number - 1));
    int error = comm->error.load();
    *out = error != ncclSuccess ? static_cast<ncclResult_t>(error)
           : busy               ? ncclInProgress
                                : ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream)
{
    header mine{};
    mine.count = count;
    mine.kind = kind_sum;
    mine.operation = operation;
    mine.type = type;
    enter(comm, mine, from, sizeof(float), stream, [=](const header &entered) {
        sum(comm, entered, static_cast<float *>(to), 0, entered.count);
    });
    return ncclInProgress;
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t kept, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream)
{
    header mine{};
    mine.count = kept * static_cast<size_t>(comm->size);
    mine.kind = kind_slices;
    mine.operation = operation;
    mine.type = type;
    enter(comm, mine, from, sizeof(float), stream, [=](const header &entered) {
        sum(comm, entered, static_cast<float *>(to), kept * static_cast<size_t>(comm->rank), kept);
    });
    return ncclInProgress;
}

/* Bytes only: what lockstep gathers. */
ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    if (type != ncclInt8)
        return ncclInvalidArgument;
    header mine{};
    mine.count = count;
    mine.kind = kind_gather;
    mine.type = type;
    enter(comm, mine, from, 1, stream,
          [=](const header &entered) { gather(comm, entered, static_cast<char *>(to)); });
    return ncclInProgress;
}

/* A collective too: a rank that still expects sums finds the farewell in their place. */
ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    header farewell{};
    farewell.number = comm->number++;
    farewell.kind = kind_farewell;
    publish(comm, farewell, nullptr, 0);
    comm->leaving = true;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    /* Who came here has seen all farewells, so that only those may still be looked for by others:
     * they go with the last to leave. */
    uint64_t farewell = comm->number - 1;
    for (uint64_t n = farewell < 2 ? 0 : farewell - 2; n < farewell; n++)
        forget(comm, n);
    header gone{};
    gone.number = farewell + 1;
    publish(comm, gone, nullptr, 0);
    if (all_came(comm, farewell + 1))
        for (int r = 0; r < comm->size; r++)
            for (uint64_t n = farewell; n <= farewell + 1; n++)
                (void)unlink(file_of(comm, n, r).c_str());
    (void)rmdir(comm->folder.c_str()); /* the last to leave succeeds */
    delete comm;
    return ncclSuccess;
}

/* The communicator's memory stays: what is queued on streams still looks at it. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    comm->error = ncclSystemError;
    return ncclSuccess;
}

const char *ncclGetLastError(ncclComm_t)
{
    return last_error;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclInProgress:
        return "in progress";
    case ncclInvalidUsage:
        return "invalid usage";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    default:
        return "emulated NCCL error";
    }
}

ls_status nccl_library_open(struct nccl_calls *out)
{
    *out = nccl_calls{NCCL_VERSION_CODE,
                      ncclGetUniqueId,
                      ncclCommInitRankConfig,
                      ncclCommFinalize,
                      ncclCommDestroy,
                      ncclCommAbort,
                      ncclCommGetAsyncError,
                      ncclAllReduce,
                      ncclReduceScatter,
                      ncclAllGather,
                      ncclGetErrorString,
                      ncclGetLastError};
    return LS_OK;
}

} /* extern "C" */
