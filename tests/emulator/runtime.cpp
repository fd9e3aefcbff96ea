/* Stand-in for the CUDA runtime: memory, streams, events and graphs, answered on the CPU.
 *
 * Device memory is host memory from malloc, of the exact size, so that AddressSanitizer sees every
 * store outside it, and filled with 0xFF: an unwritten float is a NaN and an unwritten index is -1.
 * One host thread at a time. */
#include "tests/emulator/runtime.h"
#include "tests/emulator/device.h"
#include "tests/emulator/fibers.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <time.h>
#include <unistd.h>
#include <vector>

struct CUevent_st {
    uint64_t recorded;  /* how often cudaEventRecord was called */
    uint64_t completed; /* how many of these records have run */
    double time_ms;
};

struct item {
    std::function<void()> work;
    CUevent_st *event; /* that `work` completes, or null */
    uint64_t record;
    std::function<bool()> ready; /* null: always */
};

struct CUgraph_st {
    std::vector<std::function<void()>> work;
};

struct CUgraphExec_st {
    std::vector<std::function<void()>> work;
};

struct CUstream_st {
    std::deque<item> queue;
    std::unique_ptr<CUgraph_st> capture; /* while capturing */
};

namespace
{

std::recursive_mutex big_lock;
using guard = std::lock_guard<std::recursive_mutex>;

CUstream_st default_stream;
std::vector<CUstream_st *> streams;
std::map<char *, size_t> device_memory, pinned_memory;
std::map<char *, size_t> registered_memory; /* of pinned_memory, what the program allocated */
emulator_counters counters;
cudaError_t last_error = cudaSuccess;
int current_card;

cudaError_t fail(cudaError_t error)
{
    last_error = error;
    return error;
}

double now_ms()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

CUstream_st *resolve(cudaStream_t stream)
{
    return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread
               ? &default_stream
               : stream;
}

/* False when the front waits for another process. */
bool run_front(CUstream_st *stream)
{
    if (stream->queue.front().ready && !stream->queue.front().ready())
        return false;
    item next = std::move(stream->queue.front());
    stream->queue.pop_front();
    next.work();
    return true;
}

void run_front_waiting(CUstream_st *stream)
{
    while (!run_front(stream))
        usleep(200);
}

void drain(CUstream_st *stream)
{
    while (!stream->queue.empty())
        run_front_waiting(stream);
}

void drain_all()
{
    drain(&default_stream);
    for (CUstream_st *stream : streams)
        drain(stream);
}

/* Run the stream that holds a record of an event up to that record, and no other.  Who only polls
 * gets as far as it goes without waiting. */
void reach(CUevent_st *event, uint64_t record, bool wait = true)
{
    std::vector<CUstream_st *> all(streams);
    all.push_back(&default_stream);
    for (CUstream_st *stream : all) {
        bool holds = false;
        for (const item &queued : stream->queue)
            holds = holds || (queued.event == event && queued.record == record);
        while (holds && event->completed < record) {
            if (wait)
                run_front_waiting(stream);
            else if (!run_front(stream))
                return;
        }
    }
}

void enqueue(CUstream_st *stream, item work)
{
    if (stream->capture) {
        stream->capture->work.push_back(std::move(work.work));
        return;
    }
    counters.queued++;
    stream->queue.push_back(std::move(work));
}

bool inside(const std::map<char *, size_t> &ranges, const void *from, size_t bytes)
{
    const char *begin = static_cast<const char *>(from);
    auto after = ranges.upper_bound(const_cast<char *>(begin));
    if (after == ranges.begin())
        return false;
    --after;
    return begin + bytes <= after->first + after->second;
}

/* Memory is pinned by whole pages, and none twice. */
bool shares_a_page(const void *memory, size_t bytes)
{
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    auto first_page = [page](const void *at) { return reinterpret_cast<uintptr_t>(at) / page; };
    auto last_page = [page](const void *at, size_t count) {
        return (reinterpret_cast<uintptr_t>(at) + (count > 0 ? count - 1 : 0)) / page;
    };
    for (const auto &other : registered_memory)
        if (first_page(memory) <= last_page(other.first, other.second) &&
            first_page(other.first) <= last_page(memory, bytes))
            return true;
    return false;
}

/* The host side of a copy must be pinned for the copy to be asynchronous. */
void note_pageable(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    const void *host = kind == cudaMemcpyHostToDevice   ? from
                       : kind == cudaMemcpyDeviceToHost ? to
                                                        : nullptr;
    if (host != nullptr && !inside(pinned_memory, host, bytes))
        counters.pageable_copies++;
}

void copy(void *to, const void *from, size_t bytes)
{
    std::memmove(to, from, bytes);
    counters.copies++;
}

} // namespace

void emulator_enqueue(cudaStream_t stream, std::function<void()> work)
{
    guard hold(big_lock);
    enqueue(resolve(stream), {std::move(work), nullptr, 0, nullptr});
}

void emulator_enqueue_when(cudaStream_t stream, std::function<bool()> ready,
                           std::function<void()> work)
{
    guard hold(big_lock);
    enqueue(resolve(stream), {std::move(work), nullptr, 0, std::move(ready)});
}

void emulator_launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                     cudaStream_t stream, std::function<void()> body)
{
    guard hold(big_lock);
    counters.launches++;
    emulator_enqueue(stream, [=]() { emulator_run_grid(name, grid, block, shared_bytes, body); });
}

emulator_counters emulator_count()
{
    return counters;
}

int emulator_cards()
{
    const char *text = std::getenv("EMULATOR_CARDS");
    return text != nullptr ? std::atoi(text) : 1;
}

size_t emulator_memory_bytes()
{
    const char *text = std::getenv("EMULATOR_MEMORY_MB");
    size_t megabytes = text != nullptr ? std::strtoul(text, nullptr, 10) : 8192;
    return megabytes << 20;
}

extern "C" {

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    guard hold(big_lock);
    if (static_cast<size_t>(counters.live_bytes) + bytes > emulator_memory_bytes())
        return fail(cudaErrorMemoryAllocation);
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, bytes > 0 ? bytes : 1) != 0)
        return fail(cudaErrorMemoryAllocation);
    std::memset(memory, 0xFF, bytes);
    device_memory[static_cast<char *>(memory)] = bytes;
    counters.allocations++;
    counters.live_allocations++;
    counters.live_bytes += static_cast<int64_t>(bytes);
    counters.peak_bytes = std::max(counters.peak_bytes, counters.live_bytes);
    *out = memory;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    guard hold(big_lock);
    drain_all();
    if (memory == nullptr)
        return cudaSuccess;
    auto found = device_memory.find(static_cast<char *>(memory));
    if (found == device_memory.end())
        return fail(cudaErrorInvalidValue);
    counters.live_allocations--;
    counters.live_bytes -= static_cast<int64_t>(found->second);
    device_memory.erase(found);
    std::free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    guard hold(big_lock);
    if (posix_memalign(out, 256, bytes > 0 ? bytes : 1) != 0)
        return fail(cudaErrorMemoryAllocation);
    std::memset(*out, 0xFF, bytes);
    pinned_memory[static_cast<char *>(*out)] = bytes;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return cudaHostAlloc(out, bytes, 0);
}

cudaError_t cudaFreeHost(void *memory)
{
    guard hold(big_lock);
    drain_all();
    pinned_memory.erase(static_cast<char *>(memory));
    std::free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void *memory, size_t bytes, unsigned)
{
    guard hold(big_lock);
    if (shares_a_page(memory, bytes))
        return fail(cudaErrorHostMemoryAlreadyRegistered);
    registered_memory[static_cast<char *>(memory)] = bytes;
    pinned_memory[static_cast<char *>(memory)] = bytes;
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *memory)
{
    guard hold(big_lock);
    drain_all();
    pinned_memory.erase(static_cast<char *>(memory));
    return registered_memory.erase(static_cast<char *>(memory)) == 1
               ? cudaSuccess
               : fail(cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    guard hold(big_lock);
    note_pageable(to, from, bytes, kind);
    emulator_enqueue(stream, [=]() { copy(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    guard hold(big_lock);
    drain(&default_stream);
    copy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    emulator_enqueue(stream, [=]() { std::memset(memory, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes)
{
    guard hold(big_lock);
    drain(&default_stream);
    std::memset(memory, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    guard hold(big_lock);
    *total = emulator_memory_bytes();
    *free_bytes = *total - static_cast<size_t>(counters.live_bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned, int)
{
    guard hold(big_lock);
    *out = new CUstream_st();
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    return cudaStreamCreateWithPriority(out, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithPriority(out, 0, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    guard hold(big_lock);
    drain(stream);
    streams.erase(std::remove(streams.begin(), streams.end(), stream), streams.end());
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    guard hold(big_lock);
    CUstream_st *s = resolve(stream);
    if (s->capture)
        return fail(cudaErrorStreamCaptureUnsupported);
    drain(s);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    guard hold(big_lock);
    CUstream_st *s = resolve(stream);
    if (s->queue.empty())
        return cudaSuccess;
    run_front(s); /* polling sees progress, one piece a call */
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void)
{
    guard hold(big_lock);
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    guard hold(big_lock);
    reach(event, event->recorded);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    guard hold(big_lock);
    CUstream_st *s = resolve(stream);
    if (s->capture)
        return cudaSuccess; /* order inside a graph is the order of capture */
    uint64_t record = ++event->recorded;
    enqueue(s, {[=]() {
                    event->completed = record;
                    event->time_ms = now_ms();
                },
                event, record, nullptr});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    guard hold(big_lock);
    CUstream_st *s = resolve(stream);
    uint64_t record = event->recorded;
    if (!s->capture && record > event->completed)
        enqueue(s, {[=]() { reach(event, record); }, nullptr, 0, nullptr});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    guard hold(big_lock);
    reach(event, event->recorded);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    guard hold(big_lock);
    if (event->completed >= event->recorded)
        return cudaSuccess;
    reach(event, event->recorded, false);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *out, cudaEvent_t start, cudaEvent_t end)
{
    guard hold(big_lock);
    if (start->completed == 0 || end->completed == 0)
        return fail(cudaErrorInvalidResourceHandle);
    *out = static_cast<float>(end->time_ms - start->time_ms);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    guard hold(big_lock);
    resolve(stream)->capture = std::make_unique<CUgraph_st>();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    guard hold(big_lock);
    *out = resolve(stream)->capture.release();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new CUgraphExec_st{graph->work};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    guard hold(big_lock);
    for (const std::function<void()> &work : exec->work)
        emulator_enqueue(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *out)
{
    *out = emulator_cards();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= emulator_cards())
        return fail(cudaErrorInvalidDevice);
    current_card = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *out)
{
    *out = current_card;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device)
{
    std::memset(out, 0, sizeof *out);
    std::strcpy(out->name, "emulated");
    std::snprintf(out->uuid.bytes, sizeof out->uuid.bytes, "emulated-%d", device);
    out->totalGlobalMem = emulator_memory_bytes();
    out->major = 9;
    out->multiProcessorCount = 4; /* few blocks: persistent grids must still cover their work */
    out->warpSize = 32;
    out->maxThreadsPerBlock = 1024;
    out->sharedMemPerBlockOptin = 227 * 1024;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int)
{
    return cudaSuccess;
}

cudaError_t cudaProfilerStart(void)
{
    counters.profiler_starts++;
    return cudaSuccess;
}

cudaError_t cudaProfilerStop(void)
{
    counters.profiler_stops++;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *out)
{
    *out = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *out)
{
    *out = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : "emulated CUDA error";
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaSuccess ? "cudaSuccess" : "cudaErrorEmulated";
}

} /* extern "C" */
