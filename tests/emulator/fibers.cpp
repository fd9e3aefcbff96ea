/* Fibers with a hand-written switch: ucontext's makes two system calls each, and a warp shuffle is
 * 32 switches.
 *
 * A fiber runs threads of the block one after another as long as they finish without waiting, so
 * that kernels without barriers need no switch at all.  Each waiting thread keeps the fiber it
 * waits on, and a thread that has to wait switches straight to the next one.  AddressSanitizer is
 * not told of switches: it finds bad addresses all the same, and its calls took more time than the
 * switches (only its search for stacks that were left behind would need them, which is off). */
#include "tests/emulator/fibers.h"
#include "tests/emulator/device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <sys/mman.h>

#if !defined(__x86_64__)
#error "the emulator's fiber switch is written for x86-64"
#endif

emulator_thread emulator_now;

/* The linker's names for the section of static shared arrays; null in a program without any. */
extern "C" char __start_emulator_shared[] __attribute__((weak));
extern "C" char __stop_emulator_shared[] __attribute__((weak));

/* Save the callee-saved registers on the old stack, store its pointer, take the new one.
 * Floating-point control words are the same in all fibers. */
extern "C" void emulator_switch_stack(void **save, void *load);
__asm__(".text\n"
        ".globl emulator_switch_stack\n"
        ".type emulator_switch_stack,@function\n"
        "emulator_switch_stack:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size emulator_switch_stack,.-emulator_switch_stack\n");

namespace
{

constexpr size_t stack_bytes = 256 * 1024;
constexpr int warp_lanes = 32;

enum class state { ready, at_block_barrier, at_warp_operation, finished };

struct fiber {
    char *stack;
    void *pointer;
};

struct warp { /* two generations: lanes of one may still read while others write the next */
    uint64_t value[2][warp_lanes];
    unsigned ballot[2];
    unsigned mask, arrived;
    unsigned generation;
};

struct scheduler {
    const std::function<void()> *body;
    const char *name;
    int threads, finished;
    std::vector<state> states;
    std::vector<fiber *> fiber_of; /* of a started, unfinished thread */
    std::vector<warp> warps;
    std::vector<uint3> index_of; /* threadIdx */
    std::vector<int> order;
    size_t started; /* how many of `order` */
    size_t place;   /* in `order`: who ran last */
    std::vector<std::unique_ptr<fiber>> fibers;
    std::vector<fiber *> idle;
    std::vector<uint64_t> shared;
    fiber *current;
    int thread; /* running */
    void *pointer;
};

scheduler now;
emulator_order order_kind = emulator_order::forward;
std::mt19937 order_random(1);

[[noreturn]] void complain(const char *what)
{
    uint3 block = emulator_now.block;
    std::fprintf(stderr, "emulator: kernel %s, block (%u,%u,%u), thread %d: %s\n", now.name,
                 block.x, block.y, block.z, now.thread, what);
    std::abort();
}

void set_thread(int thread)
{
    emulator_now.thread = now.index_of[static_cast<size_t>(thread)];
    now.thread = thread;
}

fiber *next_fiber();

/* From the running fiber to whoever is next, until somebody comes back to it. */
void yield()
{
    fiber *self = now.current;
    fiber *next = next_fiber();
    if (next == self)
        return;
    now.current = next;
    emulator_switch_stack(&self->pointer, next != nullptr ? next->pointer : now.pointer);
}

/* What every fiber does: take the next thread that has not started, run it, and so on. */
void fiber_main()
{
    for (;;) {
        while (now.started < now.order.size()) {
            now.place = now.started;
            int thread = now.order[now.started++];
            now.fiber_of[static_cast<size_t>(thread)] = now.current;
            set_thread(thread);
            (*now.body)();
            now.states[static_cast<size_t>(now.thread)] = state::finished;
            now.finished++;
        }
        now.idle.push_back(now.current);
        yield();
    }
}

fiber *idle_fiber()
{
    if (now.idle.empty()) {
        auto made = std::make_unique<fiber>();
        void *memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            complain("no memory for a fiber's stack");
        made->stack = static_cast<char *>(memory);
        /* Stacks begin at different places of their pages, or they would share a few sets of the
         * cache. The first switch pops six registers and returns into fiber_main; the slot above it
         * keeps the ABI's alignment. */
        size_t colour = now.fibers.size() % 61 * 1088;
        void **top = reinterpret_cast<void **>(made->stack + stack_bytes - colour) - 1;
        *--top = reinterpret_cast<void *>(fiber_main);
        for (int i = 0; i < 6; i++)
            *--top = nullptr;
        made->pointer = top;
        now.idle.push_back(made.get());
        now.fibers.push_back(std::move(made));
    }
    fiber *chosen = now.idle.back();
    now.idle.pop_back();
    return chosen;
}

void choose_order()
{
    if (order_kind == emulator_order::shuffled)
        std::shuffle(now.order.begin(), now.order.end(), order_random);
}

/* All alive threads stand at the barrier: let them on.  Anything else is a barrier that some
 * threads never reach. */
void release_block_barrier()
{
    for (int t : now.order)
        if (now.states[static_cast<size_t>(t)] == state::at_warp_operation) {
            now.thread = t;
            complain("waits in a warp operation that not all lanes of its mask reach");
        }
    for (state &s : now.states)
        if (s == state::at_block_barrier)
            s = state::ready;
    choose_order();
}

/* A fiber for a thread that has not started; else that of the next thread in the order that may go
 * on; else, all being at a barrier, the first of those behind it; null when all have finished. */
fiber *next_fiber()
{
    if (now.started < now.order.size())
        return idle_fiber();
    if (now.finished == now.threads)
        return nullptr;
    size_t threads = now.order.size();
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < threads; i++) {
            now.place = now.place + 1 < threads ? now.place + 1 : 0;
            int thread = now.order[now.place];
            if (now.states[static_cast<size_t>(thread)] == state::ready) {
                set_thread(thread);
                return now.fiber_of[static_cast<size_t>(thread)];
            }
        }
        release_block_barrier();
        now.place = threads - 1;
    }
    complain("no thread can go on");
}

void start_threads(dim3 size)
{
    size_t threads = static_cast<size_t>(size.x) * size.y * size.z;
    now.threads = static_cast<int>(threads);
    now.index_of.clear();
    for (unsigned z = 0; z < size.z; z++)
        for (unsigned y = 0; y < size.y; y++)
            for (unsigned x = 0; x < size.x; x++)
                now.index_of.push_back({x, y, z});
    now.order.resize(threads);
    emulator_now.block_size = size;
}

/* A new block finds NaN in its static shared memory.  Past AddressSanitizer, since the section
 * holds its red zones too. */
void spoil_static_shared()
{
    void *to = __start_emulator_shared;
    size_t bytes = static_cast<size_t>(__stop_emulator_shared - __start_emulator_shared);
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0xFF) : "memory");
}

void run_block()
{
    spoil_static_shared();
    size_t threads = static_cast<size_t>(now.threads);
    now.finished = 0;
    now.started = 0;
    now.states.assign(threads, state::ready);
    now.fiber_of.assign(threads, nullptr);
    now.warps.assign((threads + warp_lanes - 1) / warp_lanes, warp{});
    for (size_t t = 0; t < threads; t++)
        now.order[t] =
            static_cast<int>(order_kind == emulator_order::reverse ? threads - 1 - t : t);
    choose_order();
    now.current = idle_fiber();
    emulator_switch_stack(&now.pointer, now.current->pointer);
}

/* Blocks run in the order of threads too: in reverse, or with a stride that meets each block once.
 */
uint64_t block_at(uint64_t i, uint64_t blocks, uint64_t stride)
{
    if (order_kind == emulator_order::reverse)
        return blocks - 1 - i;
    return order_kind == emulator_order::shuffled ? (i + 1) * stride % blocks : i;
}

uint64_t block_stride(uint64_t blocks)
{
    uint64_t stride = order_random() % blocks + 1;
    while (std::gcd(stride, blocks) != 1)
        stride++;
    return stride;
}

void read_environment()
{
    static bool done = false;
    const char *text = std::getenv("EMULATOR_ORDER");
    if (done || text == nullptr)
        return;
    done = true;
    unsigned seed = 1;
    if (std::strcmp(text, "reverse") == 0)
        order_kind = emulator_order::reverse;
    else if (std::sscanf(text, "shuffle:%u", &seed) == 1)
        emulator_set_order(emulator_order::shuffled, seed);
}

} // namespace

void emulator_set_order(emulator_order order, unsigned seed)
{
    order_kind = order;
    order_random.seed(seed);
}

void emulator_run_grid(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                       const std::function<void()> &body)
{
    read_environment();
    now.body = &body;
    now.name = name;
    start_threads(block);
    if (now.threads < 1 || now.threads > 1024 || grid.x < 1 || grid.y < 1 || grid.z < 1 ||
        grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535 || block.z > 64 ||
        shared_bytes > 227 * 1024)
        complain("launch configuration that a GPU refuses");
    emulator_now.grid_size = grid;
    uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
    uint64_t stride = order_kind == emulator_order::shuffled ? block_stride(blocks) : 1;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t at = block_at(i, blocks, stride);
        emulator_now.block = {static_cast<unsigned>(at % grid.x),
                              static_cast<unsigned>(at / grid.x % grid.y),
                              static_cast<unsigned>(at / grid.x / grid.y)};
        /* A new block finds rubbish (NaN) in its dynamic shared memory, and memory of the exact
         * size. */
        now.shared.assign((shared_bytes + 7) / 8, 0xFFFFFFFFFFFFFFFFULL);
        now.shared.shrink_to_fit();
        run_block();
    }
}

void *emulator_dynamic_shared()
{
    return now.shared.data();
}

int emulator_lane()
{
    return now.thread % warp_lanes;
}

void emulator_block_barrier()
{
    int self = now.thread;
    now.states[static_cast<size_t>(self)] = state::at_block_barrier;
    yield();
}

/* Bring a value to the warp operation under way, wait for all lanes of the mask, and return the
 * generation to read. */
static unsigned join_warp(unsigned mask, uint64_t bits, bool predicate)
{
    int self = now.thread;
    unsigned lane = static_cast<unsigned>(self % warp_lanes);
    size_t first = static_cast<size_t>(self - static_cast<int>(lane));
    warp &w = now.warps[first / warp_lanes];
    if ((mask >> lane & 1U) == 0)
        complain("calls a warp operation whose mask leaves it out");
    if (w.arrived == 0) {
        w.mask = mask;
        w.ballot[w.generation & 1] = 0;
    }
    if (w.mask != mask)
        complain("brings another mask than the other lanes of its warp");
    unsigned generation = w.generation;
    w.value[generation & 1][lane] = bits;
    w.ballot[generation & 1] |= predicate ? 1U << lane : 0U;
    w.arrived |= 1U << lane;
    if (w.arrived != mask) {
        now.states[static_cast<size_t>(self)] = state::at_warp_operation;
        yield();
        return generation & 1;
    }
    w.arrived = 0;
    w.generation++;
    for (size_t l = 0; l < warp_lanes && first + l < now.states.size(); l++)
        if (now.states[first + l] == state::at_warp_operation)
            now.states[first + l] = state::ready;
    return generation & 1;
}

uint64_t emulator_warp_exchange(unsigned mask, uint64_t bits, int source)
{
    int self = now.thread;
    unsigned generation = join_warp(mask, bits, false);
    const warp &w = now.warps[static_cast<size_t>(self / warp_lanes)];
    if ((mask >> source & 1U) == 0)
        complain("reads a lane that its shuffle's mask leaves out");
    return w.value[generation][source];
}

unsigned emulator_warp_ballot(unsigned mask, bool predicate)
{
    int self = now.thread;
    unsigned generation = join_warp(mask, 0, predicate);
    return now.warps[static_cast<size_t>(self / warp_lanes)].ballot[generation];
}
