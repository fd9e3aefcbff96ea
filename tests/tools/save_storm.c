/* A process that saves without a pause is killed with SIGKILL at random moments, COUNT times: after
 * each the newest checkpoint is whole, and not older than the last one that was reported as
 * committed.
 *
 *     save_storm FOLDER COUNT SEED
 *
 * Exit code 1 and one line when one is not.  Each process is a new start of the run: it takes over
 * and goes on from the newest step, in 1 to 4 shards. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/random.h"
#include "tests/support/checkpoints.h"

enum { SAVES_A_PROCESS = 1000, KEPT = 3, LONGEST_MS = 120 };

struct found {
    int64_t step; /* of the newest checkpoint; 0: none */
};

static ls_status newest(struct found *out, const char *folder)
{
    struct checkpoint *checkpoint = NULL;
    out->step = 0;
    ls_status st = checkpoint_open_newest(&checkpoint, folder);
    if (st == LS_EOF) {
        status_clear();
        return LS_OK;
    }
    if (st == LS_OK)
        out->step = checkpoint_info(checkpoint)->step;
    checkpoint_close(&checkpoint);
    return st;
}

/* The victim: saves step after step, and tells its parent of each that is committed. */
static ls_status save_on(const char *folder, int64_t run_epoch, int report)
{
    ls_status st = LS_OK;
    struct found found;
    LS_TRY(newest(&found, folder));
    LS_TRY(checkpoint_take_over(folder, run_epoch, found.step > 0 ? found.step : -1));
    for (int64_t step = found.step + 1; step <= found.step + SAVES_A_PROCESS; step++) {
        struct support_state state;
        support_state_open_small(&state, step);
        st = support_save(folder, &state, 1 + (int)(step % 4), run_epoch);
        support_state_close(&state);
        if (st != LS_OK)
            goto done;
        if (write(report, &step, sizeof step) != (ssize_t)sizeof step)
            _exit(3);
        LS_TRY(checkpoint_retain(folder, KEPT, 0, run_epoch));
    }
done:
    return st;
}

/* The last step that came through the pipe; `before` when none did. */
static int64_t last_reported(int report, int64_t before)
{
    int64_t step = 0;
    ssize_t bytes = 0;
    while ((bytes = read(report, &step, sizeof step)) == (ssize_t)sizeof step ||
           (bytes < 0 && errno == EINTR))
        if (bytes > 0)
            before = step;
    return before;
}

static ls_status kill_one(const char *folder, int64_t run_epoch, double after_s, int64_t *committed)
{
    int report[2];
    int status = 0;
    if (pipe(report) != 0)
        return LS_FAIL(LS_FAILED, "no pipe");
    pid_t child = fork();
    if (child < 0)
        return LS_FAIL(LS_FAILED, "no process");
    if (child == 0) {
        (void)close(report[0]);
        ls_status st = save_on(folder, run_epoch, report[1]);
        if (st != LS_OK)
            log_error("%s", status_text());
        _exit(st == LS_OK ? 0 : 4);
    }
    (void)close(report[1]);
    clock_sleep_s(after_s);
    (void)kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    *committed = last_reported(report[0], *committed);
    (void)close(report[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 4)
        return LS_FAIL(LS_FAILED, "start %" PRId64 ": a save failed", run_epoch);
    return LS_OK;
}

static ls_status storm(const char *folder, int64_t count, uint64_t seed)
{
    ls_status st = LS_OK;
    struct random_stream random;
    struct found found = {0};
    int64_t committed = 0;
    random_open(&random, seed, RANDOM_TEST, 0, 0, 0);
    for (int64_t start = 1; start <= count; start++) {
        double after_s = 1e-3 * (random_u32(&random) % LONGEST_MS);
        LS_TRY(kill_one(folder, start, after_s, &committed));
        LS_TRY(newest(&found, folder));
        /* One more than was reported is a commit that had no time to be told. */
        if (found.step < committed || found.step > committed + 1) {
            st = LS_FAIL(LS_CHECKPOINT,
                         "kill %" PRId64 ": step %" PRId64 " was committed, the newest is %" PRId64,
                         start, committed, found.step);
            goto done;
        }
        committed = found.step;
    }
    printf("%" PRId64 " kills, %" PRId64 " checkpoints, none lost\n", count, committed);
done:
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fputs("usage: save_storm FOLDER COUNT SEED\n", stderr);
        return 2;
    }
    log_open(0, LOG_LEVEL_ERROR);
    ls_status st = storm(argv[1], strtoll(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    if (st != LS_OK)
        (void)fprintf(stderr, "save_storm: %s\n", status_text());
    return st == LS_OK ? 0 : 1;
}
