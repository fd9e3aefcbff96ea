/* Once a step's shapes have been seen, a step allocates nothing: neither our code for a moment nor
 * anybody for good.  (oneDNN takes and gives back a few words in every product.)
 *
 * glibc lets a program define its own allocator; whose call it was, the return address tells. Under
 * a sanitizer, which has its own already, the test is skipped. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/jepa_case.h"

static atomic_llong own_calls; /* allocations that this program's code asked for */
static atomic_llong live;      /* allocations of anybody that have not been given back */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool counting = false;
#else
static const bool counting = true;

/* glibc's and the linker's names.  NOLINTBEGIN(bugprone-reserved-identifier) */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *memory);
extern const char __executable_start, etext; /* the linker's: where this program's code lies */
/* NOLINTEND(bugprone-reserved-identifier) */

static void note(const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;
    atomic_fetch_add(&live, 1);
    if (at >= (uintptr_t)&__executable_start && at < (uintptr_t)&etext)
        atomic_fetch_add(&own_calls, 1);
}

void *malloc(size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    if (memory == NULL || bytes == 0)
        note(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}

/* libgomp's, for a team of another number of threads than the last. */
void *memalign(size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    *out = __libc_memalign(alignment, bytes);
    return *out != NULL ? 0 : 12;
}

void free(void *memory)
{
    if (memory != NULL)
        atomic_fetch_sub(&live, 1);
    __libc_free(memory);
}
#endif

static struct op_device *device;

static void whole_step(struct jepa *jepa, const struct jepa_case *it, double *summed, float *gram)
{
    struct jepa_result result;
    double norm = 0.0;
    const struct jepa_update update = {
        .lr = 1e-3, .weight_decay = 0.1, .ema_keep = 0.9, .gradient_scale = 1.0};
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_want_gram(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it->batch, 0.5, NULL, NULL), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it->batch, 0.5, jepa_case_ignore, NULL), LS_OK);
    assert_int_equal(jepa_gradient_norm(jepa, &norm), LS_OK);
    assert_int_equal(jepa_update(jepa, &update), LS_OK);
    assert_int_equal(jepa_result(jepa, &result), LS_OK);
    assert_int_equal(jepa_statistics(jepa, summed), LS_OK);
    assert_int_equal(jepa_gram(jepa, gram), LS_OK);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    static double summed[1024];
    static float gram[1024];
    if (!counting)
        skip();
    for (int which = 0; which < 3; which++) {
        int count = 0;
        struct jepa_case it;
        struct jepa *jepa = NULL;
        assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[which], 9), LS_OK);
        it.options.activation_checkpointing = which == 2;
        assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
        assert_true(atomic_load(&own_calls) > 10); /* the count is alive: opening allocates */
        whole_step(jepa, &it, summed, gram);       /* makes the products' primitives */
        const long long own_before = atomic_load(&own_calls);
        const long long live_before = atomic_load(&live);
        for (int i = 0; i < 3; i++)
            whole_step(jepa, &it, summed, gram);
        assert_int_equal(atomic_load(&own_calls) - own_before, 0);
        assert_int_equal(atomic_load(&live) - live_before, 0);
        jepa_close(&jepa);
        jepa_case_close(&it);
    }
}

static int open_device(void **state)
{
    (void)state;
    return op_cpu_open(&device, 2) == LS_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    op_cpu_close(&device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
