/* The emulator's streams: work is queued and runs as late as the program's own waits allow.
 *
 * cudaMemcpyAsync, kernels and library calls only queue.  A queue runs when somebody waits for it
 * (cudaStreamSynchronize, cudaEventSynchronize, cudaDeviceSynchronize, a synchronous copy,
 * cudaFree), and then no further than asked.  A program that forgets a wait therefore reads what
 * was there before: poison, or last step's data. */
#ifndef LOCKSTEP_TESTS_EMULATOR_RUNTIME_H
#define LOCKSTEP_TESTS_EMULATOR_RUNTIME_H

#include <cstddef>
#include <cstdint>
#include <functional>

#include <cuda_runtime_api.h>

/* Queue a piece of work on a stream (null: the default stream).  Stand-ins for libraries use it. */
void emulator_enqueue(cudaStream_t stream, std::function<void()> work);

/* The same for work that depends on other processes: it runs once `ready` says so.  Who polls sees
 * that it is not done; who waits, waits. */
void emulator_enqueue_when(cudaStream_t stream, std::function<bool()> ready,
                           std::function<void()> work);

/* What the emulator has seen since the start; tests read it. */
struct emulator_counters {
    int64_t queued; /* pieces of work on streams: kernels, products, copies, fills, events */
    int64_t launches, copies, allocations, live_allocations;
    int64_t pageable_copies; /* asynchronous ones whose host side is not pinned: the real runtime
                              * stages them, and the caller waits */
    int64_t live_bytes, peak_bytes;
    int64_t profiler_starts, profiler_stops;
};
emulator_counters emulator_count();

/* Cards that the process sees (environment EMULATOR_CARDS, default 1).  They differ in name only: a
 * process that uses one of them has it to itself. */
int emulator_cards();

/* Device memory the emulated card has; allocations beyond it fail (environment EMULATOR_MEMORY_MB,
 * default 8192). */
size_t emulator_memory_bytes();

#endif
