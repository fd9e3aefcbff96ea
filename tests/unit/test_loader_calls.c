/* What loading asks of a file system: once a loader is warm it only reads from handles that are
 * open, and readers take no locks.  On a parallel file system each other call goes to its metadata
 * server, and locks may be missing. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config.h"
#include "data/loader.h"
#include "tests/support/packed.h"

enum { BATCH = 2, WARM_STEPS = 2, STEPS = 60, SMALL_SHARD = 20000, CALLS_MAX = 40 };

/* Calls that look at, open or close files, or lock them. */
static const int metadata_calls[] = {
#ifdef __NR_open
    __NR_open,       __NR_stat,       __NR_lstat,      __NR_access, __NR_readlink,  __NR_creat,
#endif
    __NR_openat,     __NR_openat2,    __NR_newfstatat, __NR_statx,  __NR_faccessat, __NR_faccessat2,
    __NR_readlinkat, __NR_getdents64, __NR_fstat,      __NR_statfs, __NR_fstatfs,   __NR_flock,
    __NR_close,
};
static const int lock_calls[] = {__NR_flock};

static int open_fixture(void **state)
{
    struct packed *packed = calloc(1, sizeof *packed);
    struct pack_summary summary;
    assert_non_null(packed);
    *state = packed;
    assert_int_equal(packed_open(packed), LS_OK);
    assert_int_equal(packed_make_all(packed), LS_OK);
    if (packed_pack(&summary, packed, 2, SMALL_SHARD) != LS_OK)
        fail_msg("%s", status_message());
    assert_true(summary.shards > 3);
    return 0;
}

static int close_fixture(void **state)
{
    struct packed *packed = *state;
    assert_int_equal(packed_close(packed), LS_OK);
    free(packed);
    return 0;
}

static volatile sig_atomic_t trapped; /* the first call that was, 0: none */

static void take_trap(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (trapped == 0)
        trapped = info->si_syscall;
}

/* From here on, in all threads of this process, these calls are not done: they raise SIGSYS, or
 * fail with `error` when it is not 0.  False where the system has no such filters. */
static bool forbid(const int *calls, int count, int error)
{
    struct sock_filter code[2 * CALLS_MAX + 4];
    unsigned short n = 0;
    const uint32_t answer =
        error != 0 ? SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA) : SECCOMP_RET_TRAP;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             (uint32_t)offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = n, .filter = code};
    const struct sigaction action = {.sa_sigaction = take_trap, .sa_flags = SA_SIGINFO};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_TRAPPED = 2, EXIT_NO_FILTERS = 77 };

static ls_status take(struct loader *loader, int steps)
{
    ls_status st = LS_OK;
    struct loader_batch *batch;
    for (int s = 0; s < steps; s++) {
        LS_TRY(loader_next(loader, &batch, 60));
        loader_release(loader, batch);
    }
done:
    return st;
}

/* In a process of its own: a filter can't be taken off again. */
static int load(const char *dataset_path, bool without_locks)
{
    static const struct config_mask mask = {.num_blocks = 2,
                                            .spatial_scale = {0.3, 0.3},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    struct config_dataset config_dataset = {.frames_per_clip = 8};
    const struct config config = {
        .micro_batches = 1,
        .masks = {mask},
        .mask_count = 1,
        .data = {.datasets = &config_dataset,
                 .dataset_count = 1,
                 .batch_size = BATCH,
                 .crop_height = 32,
                 .crop_width = 32,
                 .patch_size = 16,
                 .tubelet_size = 2,
                 .fps = 8.0,
                 .num_workers = 2},
        .data_aug = {.random_resize_scale = {0.3, 1.0}, .random_resize_aspect_ratio = {0.75, 1.35}},
        .run = {.prefetch = 2}};
    struct dataset *dataset = NULL;
    struct loader *loader = NULL;
    if (without_locks && !forbid(lock_calls, 1, ENOLCK))
        return EXIT_NO_FILTERS;
    if (dataset_open(&dataset, dataset_path) != LS_OK ||
        loader_open(&loader, &config, &dataset, 0, 0, 1, NULL, 0) != LS_OK ||
        take(loader, WARM_STEPS) != LS_OK) {
        (void)fprintf(stderr, "%s\n", status_text());
        return EXIT_FAILED;
    }
    if (!without_locks &&
        !forbid(metadata_calls, sizeof metadata_calls / sizeof *metadata_calls, 0))
        return EXIT_NO_FILTERS;
    if (take(loader, STEPS) != LS_OK) {
        (void)fprintf(stderr, "%s\n", status_text());
        return EXIT_FAILED;
    }
    if (trapped != 0)
        (void)fprintf(stderr, "system call %d\n", (int)trapped);
    return trapped != 0 ? EXIT_TRAPPED : EXIT_GOOD;
}

static void expect_good(const struct packed *packed, bool without_locks)
{
    int how = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(load(packed->dataset, without_locks));
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    if (WEXITSTATUS(how) == EXIT_NO_FILTERS)
        skip();
    assert_int_equal(WEXITSTATUS(how), EXIT_GOOD);
}

static void a_warm_loader_only_reads(void **state)
{
    expect_good(*state, false);
}

static void a_loader_needs_no_file_locks(void **state)
{
    expect_good(*state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warm_loader_only_reads),
        cmocka_unit_test(a_loader_needs_no_file_locks),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
