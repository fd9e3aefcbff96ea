/* The emulator's scheduler: runs the threads of one block as cooperative fibers on the calling
 * thread.
 *
 * Between two barriers the threads run one after another, in an order that the test chooses:
 * forward, reverse, or shuffled by a seed (environment
 * EMULATOR_ORDER=forward|reverse|shuffle:SEED).  A kernel with a missing barrier gives other
 * results in another order.  A barrier that not all threads reach is reported with the kernel's
 * name, and the program aborts. */
#ifndef LOCKSTEP_TESTS_EMULATOR_FIBERS_H
#define LOCKSTEP_TESTS_EMULATOR_FIBERS_H

#include <functional>

#include <vector_types.h>

enum class emulator_order { forward, reverse, shuffled };

/* Order of the launches that follow.  Local. */
void emulator_set_order(emulator_order order, unsigned seed);

/* Run all blocks of a launch, now.  Local. */
void emulator_run_grid(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                       const std::function<void()> &body);

#endif
