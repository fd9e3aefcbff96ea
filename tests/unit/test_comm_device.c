/* Sums between cards, by two processes that meet through a file: no MPI is used.  Runs where the
 * build has NCCL and two cards are there, or the emulator, which also catches what a card would
 * hang on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/device.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "model/device.h"

enum {
    RANKS = 2,
    COUNT = 1000,
    MARKS = 2,
    /* Of what is awaited in vain, and of what comes however busy the machine is. */
    TIMEOUT_S = 1,
    ENOUGH_S = 100
};

static const bool emulated = sizeof LOCKSTEP_GPU == sizeof "emulated";
static char folder[] = "/tmp/lockstep-comm-XXXXXX";
static char *meeting_path;
static char *over_path; /* is there once the rank that waits in vain has done so */

/* One rank's device, its part of the sums, and what a case makes of it. */
struct rank {
    int rank;
    struct model_device device;
    struct comm_device *comm;
    float host[COUNT];
    float *data_dev;
};
typedef ls_status (*rank_body)(struct rank *rank);

static ls_status join_within(struct rank *it, bool deterministic, double timeout_s)
{
    ls_status st = LS_OK;
    void *memory_dev = NULL;
    struct comm_meeting meeting = {.path = meeting_path, .rank = it->rank, .timeout_s = timeout_s};
    LS_TRY(model_device_open(&it->device, emulated ? CONFIG_DEVICE_EMULATED : CONFIG_DEVICE_CUDA, 1,
                             it->rank, deterministic));
    const struct comm_device_options options = {
        .rank = it->rank,
        .size = RANKS,
        .share = comm_share_by_file,
        .share_context = &meeting,
        .card = it->device.card,
        .compute_stream = it->device.stream,
        .deterministic = deterministic,
        .timeout_s = timeout_s,
        .marks = MARKS,
    };
    LS_TRY(comm_device_open(&it->comm, &options));
    LS_TRY(comm_device_join(it->comm));
    LS_TRY(it->device.table->allocate(it->device.device, &memory_dev, sizeof it->host));
    it->data_dev = memory_dev;
    for (int i = 0; i < COUNT; i++)
        it->host[i] = (float)(i + 1) * (float)(it->rank + 1);
    LS_TRY(it->device.table->upload(it->device.device, it->data_dev, it->host, sizeof it->host));
done:
    return st;
}

static ls_status join(struct rank *it, bool deterministic)
{
    return join_within(it, deterministic, ENOUGH_S);
}

static ls_status say_over(void)
{
    return files_replace(over_path, "x", 1);
}

static ls_status expect(ls_status got, ls_status wanted, const char *words)
{
    if (got == wanted && (words == NULL || strstr(status_message(), words) != NULL))
        return LS_OK;
    (void)fprintf(stderr, "status %d, not %d: %s\n", (int)got, (int)wanted,
                  got == LS_OK ? "" : status_message());
    return LS_FAIL(LS_FAILED, "another status than expected");
}

/* The process of one rank; its exit code is 0 when all was as expected. */
static _Noreturn void run_rank(int rank, rank_body body)
{
    static struct rank it;
    log_open(rank, LOG_LEVEL_WARN);
    it.rank = rank;
    ls_status st = body(&it);
    if (st != LS_OK)
        (void)fprintf(stderr, "rank %d: %s\n", rank, status_text());
    _exit(st == LS_OK ? 0 : 1);
}

/* CUDA must not be used before a fork: a process of its own counts. */
static int count_cards(void)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(gpu_build.count());
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* Run `bodies`, one a rank; skipped without cards. */
static void run_ranks(const rank_body *bodies)
{
    pid_t child[RANKS];
    if (count_cards() < RANKS)
        skip();
    assert_int_equal(files_remove(meeting_path), LS_OK);
    assert_int_equal(files_remove(over_path), LS_OK);
    for (int r = 0; r < RANKS; r++) {
        child[r] = fork();
        assert_true(child[r] >= 0);
        if (child[r] == 0)
            run_rank(r, bodies[r]);
    }
    int bad = 0;
    for (int r = 0; r < RANKS; r++) {
        int status = 0;
        assert_int_equal(waitpid(child[r], &status, 0), child[r]);
        bad += status != 0 ? 1 : 0;
    }
    assert_int_equal(bad, 0);
}

/* Two buckets, twice, and what they came to. */
static ls_status sum_twice(struct rank *it)
{
    ls_status st = LS_OK;
    const struct op_table *ops = NULL;
    LS_TRY(join(it, true));
    ops = it->device.table;
    for (int step = 0; step < 2; step++) {
        LS_TRY(comm_device_sum_start(it->comm, it->data_dev + COUNT / 2, COUNT - COUNT / 2));
        LS_TRY(comm_device_sum_start(it->comm, it->data_dev, COUNT / 2));
        LS_TRY(comm_device_wait(it->comm));
    }
    LS_TRY(ops->download(it->device.device, it->host, it->data_dev, sizeof it->host));
    LS_TRY(ops->synchronize(it->device.device));
    for (int i = 0; i < COUNT; i++)
        if (it->host[i] != 6.0F * (float)(i + 1)) /* 1 + 2, then 3 + 3 */
            return LS_FAIL(LS_FAILED, "element %d is %g", i, (double)it->host[i]);
    comm_device_close(&it->comm);
    ops->release(it->device.device, it->data_dev);
    model_device_close(&it->device);
    if (strcmp(getenv("NCCL_ALGO"), "Ring") != 0)
        st = LS_FAIL(LS_FAILED, "NCCL_ALGO is %s", getenv("NCCL_ALGO"));
done:
    return st;
}

static void two_processes_that_meet_through_a_file_sum_on_their_cards(void **state)
{
    (void)state;
    (void)unsetenv("NCCL_ALGO");
    run_ranks((const rank_body[]){sum_twice, sum_twice});
}

/* Every rank gets the sums of its slice only; then all get all slices. */
static ls_status sum_and_gather_slices(struct rank *it)
{
    ls_status st = LS_OK;
    const int64_t slice = COUNT / RANKS;
    LS_TRY(join(it, true));
    const struct op_table *ops = it->device.table;
    LS_TRY(comm_device_reach(it->comm, 1)); /* never set */
    LS_TRY(comm_device_sum_slices_start(it->comm, it->data_dev, slice));
    LS_TRY(comm_device_mark(it->comm, 0));
    LS_TRY(comm_device_order(it->comm, 0));
    LS_TRY(ops->download(it->device.device, it->host, it->data_dev, sizeof it->host));
    LS_TRY(comm_device_reach(it->comm, 0));
    LS_TRY(ops->synchronize(it->device.device));
    for (int i = (int)slice * it->rank; i < (int)slice * (it->rank + 1); i++)
        if (it->host[i] != 3.0F * (float)(i + 1))
            return LS_FAIL(LS_FAILED, "element %d of the own slice is %g", i, (double)it->host[i]);
    LS_TRY(comm_device_gather_start(it->comm, it->data_dev, slice * (int64_t)sizeof(float)));
    LS_TRY(comm_device_mark(it->comm, 1));
    LS_TRY(comm_device_reach(it->comm, 1));
    LS_TRY(comm_device_order(it->comm, 1));
    LS_TRY(ops->download(it->device.device, it->host, it->data_dev, sizeof it->host));
    LS_TRY(ops->synchronize(it->device.device));
    for (int i = 0; i < COUNT; i++)
        if (it->host[i] != 3.0F * (float)(i + 1))
            return LS_FAIL(LS_FAILED, "element %d of all is %g", i, (double)it->host[i]);
    LS_TRY(expect(comm_device_mark(it->comm, MARKS), LS_USAGE, "mark 2 of 2"));
    comm_device_close(&it->comm);
    ops->release(it->device.device, it->data_dev);
    model_device_close(&it->device);
done:
    return st;
}

static void slices_are_summed_by_one_rank_and_gathered_by_all(void **state)
{
    (void)state;
    run_ranks((const rank_body[]){sum_and_gather_slices, sum_and_gather_slices});
}

/* A rank that does not come to a gather is told as in a sum. */
static ls_status gather_alone(struct rank *it)
{
    ls_status st = LS_OK;
    LS_TRY(join(it, false));
    comm_device_set_timeout(it->comm, TIMEOUT_S);
    LS_TRY(comm_device_gather_start(it->comm, it->data_dev, 500));
    LS_TRY(comm_device_mark(it->comm, 0));
    LS_TRY(expect(comm_device_reach(it->comm, 0), LS_TIMEOUT, "1 sums of 1000 bytes"));
    LS_TRY(expect(comm_device_mark(it->comm, 0), LS_COMM, "was aborted"));
    comm_device_close(&it->comm);
    LS_TRY(say_over());
done:
    return st;
}

static ls_status sum_elements(struct rank *it, int64_t count, ls_status wanted, const char *words)
{
    ls_status st = LS_OK;
    LS_TRY(join(it, false));
    if (wanted == LS_TIMEOUT)
        comm_device_set_timeout(it->comm, TIMEOUT_S);
    LS_TRY(comm_device_sum_start(it->comm, it->data_dev, count));
    LS_TRY(expect(comm_device_wait(it->comm), wanted, words));
    LS_TRY(expect(comm_device_sum_start(it->comm, it->data_dev, count), LS_COMM, "was aborted"));
    LS_TRY(expect(comm_device_wait(it->comm), LS_COMM, "was aborted"));
    comm_device_close(&it->comm);
done:
    return st;
}

static ls_status sum_all(struct rank *it)
{
    return sum_elements(it, COUNT, LS_COMM, "mismatched collective");
}

static ls_status sum_all_but_one(struct rank *it)
{
    return sum_elements(it, COUNT - 1, LS_COMM, "mismatched collective");
}

static void sums_of_different_lengths_are_caught(void **state)
{
    (void)state;
    if (!emulated)
        skip(); /* NCCL does not notice */
    run_ranks((const rank_body[]){sum_all, sum_all_but_one});
}

static ls_status leave_at_once(struct rank *it)
{
    ls_status st = LS_OK;
    LS_TRY(join(it, false));
    comm_device_close(&it->comm); /* a farewell in place of the sum */
done:
    return st;
}

static void a_rank_that_leaves_early_is_caught(void **state)
{
    (void)state;
    if (!emulated)
        skip();
    run_ranks((const rank_body[]){sum_all, leave_at_once});
}

static ls_status wait_for_nobody(struct rank *it)
{
    ls_status st =
        sum_elements(it, COUNT, LS_TIMEOUT, "1 sums of 4000 bytes (rank 0 of 2) are not done");
    return st == LS_OK ? say_over() : st;
}

static ls_status join_only(struct rank *it)
{
    ls_status st = join(it, false);
    for (double until = clock_now_s() + ENOUGH_S;
         st == LS_OK && !files_exists(over_path) && clock_now_s() < until;)
        clock_sleep_s(0.05);
    return st;
}

static void a_peer_that_does_not_come_ends_the_wait_at_its_deadline(void **state)
{
    (void)state;
    run_ranks((const rank_body[]){wait_for_nobody, join_only});
}

static void a_gather_without_a_peer_ends_at_its_deadline(void **state)
{
    (void)state;
    run_ranks((const rank_body[]){gather_alone, join_only});
}

static ls_status join_alone(struct rank *it)
{
    return expect(join_within(it, false, TIMEOUT_S), LS_TIMEOUT,
                  "join the cards: not through after 1 s");
}

static ls_status stay_away(struct rank *it)
{
    (void)it;
    return LS_OK;
}

static void joining_ends_at_its_deadline(void **state)
{
    (void)state;
    run_ranks((const rank_body[]){join_alone, stay_away});
}

static ls_status give_no_id(struct rank *it)
{
    if (setenv("EMULATOR_NCCL_FOLDER", "/nowhere", 1) != 0)
        return LS_FAIL(LS_FAILED, "the environment is full");
    return expect(join(it, false), LS_COMM, "NCCL cannot make an id");
}

static ls_status get_no_id(struct rank *it)
{
    return expect(join(it, false), LS_COMM, "rank 0 could not make an id");
}

static void no_rank_waits_for_an_id_that_cannot_be_made(void **state)
{
    (void)state;
    if (!emulated)
        skip();
    run_ranks((const rank_body[]){give_no_id, get_no_id});
}

static ls_status find_no_file(struct rank *it)
{
    return expect(join_within(it, false, TIMEOUT_S), LS_TIMEOUT,
                  "rank 0 has not written its id within 1 s");
}

static void a_missing_meeting_file_ends_at_its_deadline(void **state)
{
    (void)state;
    run_ranks((const rank_body[]){stay_away, find_no_file});
}

static int make_folder(void **state)
{
    (void)state;
    bool good = mkdtemp(folder) != NULL && setenv("EMULATOR_NCCL_FOLDER", folder, 1) == 0 &&
                setenv("EMULATOR_CARDS", "2", 1) == 0 &&
                core_format(&meeting_path, "%s/meeting", folder) == LS_OK &&
                core_format(&over_path, "%s/over", folder) == LS_OK;
    return good ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    free(meeting_path);
    free(over_path);
    return files_remove(folder) == LS_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_processes_that_meet_through_a_file_sum_on_their_cards),
        cmocka_unit_test(slices_are_summed_by_one_rank_and_gathered_by_all),
        cmocka_unit_test(sums_of_different_lengths_are_caught),
        cmocka_unit_test(a_rank_that_leaves_early_is_caught),
        cmocka_unit_test(a_peer_that_does_not_come_ends_the_wait_at_its_deadline),
        cmocka_unit_test(a_gather_without_a_peer_ends_at_its_deadline),
        cmocka_unit_test(joining_ends_at_its_deadline),
        cmocka_unit_test(no_rank_waits_for_an_id_that_cannot_be_made),
        cmocka_unit_test(a_missing_meeting_file_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
