/* Ranks that meet in a file (comm/meeting.c, the group of BUNDLE=1), as processes of their own. */
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

#include "comm/comm.h"
#include "core/files.h"

enum { RANKS = 3, MANY = 200001, SLICE = 66668, LEAVES_WITH = 12 };

static char folder[] = "/tmp/lockstep-meeting-XXXXXX";
static char *path;

typedef ls_status (*rank_body)(struct comm_group *group);

static ls_status check(bool good, const char *what)
{
    return good ? LS_OK : LS_FAIL(LS_FAILED, "%s", what);
}

static void tell_rank(int rank, int size)
{
    char text[16];
    assert_true(snprintf(text, sizeof text, "%d", rank) > 0);
    assert_int_equal(setenv("LOCKSTEP_RANK", text, 1), 0);
    assert_true(snprintf(text, sizeof text, "%d", size) > 0);
    assert_int_equal(setenv("LOCKSTEP_RANKS", text, 1), 0);
    assert_int_equal(setenv("LOCKSTEP_MEETING", path, 1), 0);
}

static _Noreturn void run_rank(int rank, double timeout_s, rank_body body)
{
    struct comm_group *group = NULL;
    tell_rank(rank, RANKS);
    ls_status st = comm_open(&group, &(struct comm_options){.timeout_s = timeout_s});
    if (st == LS_OK)
        st = body(group);
    if (st != LS_OK)
        (void)fprintf(stderr, "rank %d: %s\n", rank, status_text());
    else if (!comm_is_broken(group))
        comm_close(&group);
    _exit(st == LS_OK ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Every rank's exit code is `wanted[rank]`. */
static void ranks_end(rank_body body, double timeout_s, const int wanted[RANKS])
{
    pid_t process[RANKS];
    for (int r = 0; r < RANKS; r++) {
        process[r] = fork();
        assert_true(process[r] >= 0);
        if (process[r] == 0)
            run_rank(r, timeout_s, body);
    }
    for (int r = 0; r < RANKS; r++) {
        int state = 0;
        assert_int_equal(waitpid(process[r], &state, 0), process[r]);
        assert_true(WIFEXITED(state));
        if (WEXITSTATUS(state) != wanted[r])
            fail_msg("rank %d ended with %d, not %d", r, WEXITSTATUS(state), wanted[r]);
    }
    assert_false(files_exists(path)); /* the name goes once all have joined */
}

static const int all_good[RANKS];

/* Of rank r: element i, small integers, so that sums are exact. */
static float element(int rank, int64_t i)
{
    return (float)((i % 1000) * (rank + 1));
}

static ls_status bulk(struct comm_group *group)
{
    static float data[MANY];
    static char bytes[MANY];
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    const int rank = comm_rank(group);
    for (int64_t i = 0; i < MANY; i++)
        data[i] = element(rank, i);
    LS_TRY(comm_sum_start(group, &request, data, MANY));
    LS_TRY(comm_wait(group, &request));
    for (int64_t i = 0; i < MANY; i++)
        LS_TRY(check(data[i] == element(0, i) * 6.0F, "a sum is wrong"));
    /* In rank order: (1 - 1e8) + 1e8 in float32 is not what another order gives. */
    data[0] = rank == 0 ? 1.0F : rank == 1 ? -1e8F : 1e8F;
    LS_TRY(comm_sum_start(group, &request, data, 1));
    LS_TRY(check(data[0] == 0.0F, "the order of additions is another one"));

    for (int64_t i = 0; i < MANY; i++)
        data[i] = element(rank, i);
    LS_TRY(comm_sum_slices_start(group, &request, data, MANY, SLICE));
    for (int64_t i = 0; i < MANY; i++) {
        bool own = i / SLICE == rank;
        LS_TRY(check(data[i] == (own ? element(0, i) * 6.0F : element(rank, i)),
                     "a slice is wrong, or another was touched"));
    }
    for (int64_t i = 0; i < MANY; i++)
        bytes[i] = (char)(i / SLICE == rank ? i % 100 + rank : -1);
    LS_TRY(comm_gather_start(group, &request, bytes, MANY, SLICE));
    for (int64_t i = 0; i < MANY; i++)
        LS_TRY(check(bytes[i] == (char)(i % 100 + i / SLICE), "a gathered byte is wrong"));
    LS_TRY(check(comm_counters(group).bytes > 0, "nothing was counted"));
    LS_TRY(check(comm_counters(group).bytes == 0, "counted twice"));
done:
    return st;
}

static ls_status small(struct comm_group *group)
{
    ls_status st = LS_OK;
    const int rank = comm_rank(group);
    int32_t mine = 10 + rank, all[RANKS] = {0};
    double values[2] = {1.0, rank};
    char word[8] = "";
    LS_TRY(check(comm_size(group) == RANKS && comm_local_size(group) == RANKS, "sizes"));
    for (int turn = 0; turn < 200; turn++) {
        mine += turn;
        LS_TRY(comm_exchange(group, &mine, sizeof mine, all));
        for (int r = 0; r < RANKS; r++)
            LS_TRY(check(all[r] == mine - rank + r, "an exchange gives other numbers"));
    }
    LS_TRY(comm_sum_f64(group, values, 2));
    LS_TRY(check(values[0] == 3.0 && values[1] == 3.0, "a sum of doubles"));
    (void)snprintf(word, sizeof word, "%s", rank == 1 ? "root" : "not");
    LS_TRY(comm_broadcast(group, word, sizeof word, 1));
    LS_TRY(check(strcmp(word, "root") == 0, "a broadcast"));
    LS_TRY(check(comm_broadcast(group, word, 1, RANKS) == LS_USAGE, "from no rank"));
    LS_TRY(comm_barrier(group));
    st = comm_agree(group, rank == 2 ? LS_FAIL(LS_DATA, "spoilt") : LS_OK);
    st = check(st == LS_DATA && strstr(status_message(), "rank 2: spoilt") != NULL, "agreement");
done:
    return st;
}

static void collectives_give_what_all_ranks_brought(void **state)
{
    (void)state;
    ranks_end(bulk, 20.0, all_good);
    ranks_end(small, 20.0, all_good);
}

static ls_status absent(struct comm_group *group)
{
    ls_status st = LS_OK;
    if (comm_rank(group) == 1)
        _exit(LEAVES_WITH);
    comm_set_timeout(group, 0.2);
    ls_status first = comm_barrier(group);
    st = check(first == LS_TIMEOUT && strstr(status_message(), "nothing from rank 1") != NULL,
               "a rank that does not come is not named");
    if (st == LS_OK)
        st = check(comm_is_broken(group) && comm_barrier(group) == LS_TIMEOUT,
                   "the group goes on after a failure");
    return st;
}

static void a_rank_that_does_not_come_is_named(void **state)
{
    (void)state;
    static const int wanted[RANKS] = {0, LEAVES_WITH, 0};
    ranks_end(absent, 20.0, wanted);
}

static ls_status aborted(struct comm_group *group)
{
    if (comm_rank(group) == 2)
        comm_abort(group, LEAVES_WITH);
    ls_status st = comm_barrier(group);
    return check(st == LS_COMM && strstr(status_message(), "rank 2 ended the job with code 12"),
                 "a job that was ended goes on");
}

static void a_rank_that_ends_the_job_ends_the_waits(void **state)
{
    (void)state;
    static const int wanted[RANKS] = {0, 0, LEAVES_WITH};
    ranks_end(aborted, 20.0, wanted);
}

static ls_status mismatched(struct comm_group *group)
{
    double value[2] = {0};
    ls_status st = comm_sum_f64(group, value, comm_rank(group) == 1 ? 2 : 1);
    return check(st == LS_COMM && strstr(status_message(), "mismatched collective"),
                 "different collectives are taken for one");
}

static void different_collectives_are_told_apart(void **state)
{
    (void)state;
    ranks_end(mismatched, 20.0, all_good);
}

static void a_path_that_was_used_and_bad_numbers_are_refused(void **state)
{
    (void)state;
    struct comm_group *group = NULL;
    const struct comm_options options = {.timeout_s = 0.1};
    tell_rank(0, RANKS);
    assert_int_equal(files_replace(path, "x", 1), LS_OK);
    assert_int_equal(comm_open(&group, &options), LS_IO);
    assert_non_null(strstr(status_message(), "a path of its own"));
    tell_rank(1, RANKS); /* not as long as three ranks' file */
    assert_int_equal(comm_open(&group, &options), LS_USAGE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(comm_open(&group, &options), LS_TIMEOUT); /* no rank 0 */
    tell_rank(RANKS, RANKS);
    assert_int_equal(comm_open(&group, &options), LS_USAGE);
    assert_non_null(strstr(status_message(), "LOCKSTEP_RANK"));
    tell_rank(0, 1);
    assert_int_equal(comm_open(&group, &options), LS_OK); /* alone: no file is needed */
    assert_int_equal(comm_size(group), 1);
    comm_close(&group);
    assert_null(group);
}

static int open_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    return core_format(&path, "%s/file", folder) == LS_OK ? 0 : -1;
}

static int close_folder(void **state)
{
    (void)state;
    free(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collectives_give_what_all_ranks_brought),
        cmocka_unit_test(a_rank_that_does_not_come_is_named),
        cmocka_unit_test(a_rank_that_ends_the_job_ends_the_waits),
        cmocka_unit_test(different_collectives_are_told_apart),
        cmocka_unit_test(a_path_that_was_used_and_bad_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
