/* When workers are started again, and where; SLURM's words; which signals hurry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/allocation.h"
#include "launcher/ask.h"
#include "launcher/restart_policy.h"
#include "launcher/starter.h"
#include "launcher/stop_signals.h"

static struct allocation *hosts_of(const char *list)
{
    struct allocation *a = NULL;
    if (allocation_open(&a, list) != LS_OK)
        fail_msg("%s", status_text());
    return a;
}

static struct restart_policy *policy_of(int most, double window_s, int workers, int least,
                                        const struct allocation *a)
{
    struct restart_policy *policy = NULL;
    if (restart_policy_open(&policy, most, window_s, workers, least, a) != LS_OK)
        fail_msg("%s", status_text());
    return policy;
}

static void restarts_are_counted_within_a_sliding_window(void **unused)
{
    (void)unused;
    struct allocation *a = hosts_of(NULL);
    struct restart_policy *policy = policy_of(2, 100, 4, 0, a);
    double pause = 0;
    assert_true(restart_policy_failed(policy, &pause, 0, NULL, false));
    assert_true(restart_policy_failed(policy, &pause, 50, NULL, false));
    assert_false(restart_policy_failed(policy, &pause, 99, NULL, false));
    assert_int_equal(restart_policy_used(policy), 2);
    assert_true(restart_policy_failed(policy, &pause, 101, NULL, false)); /* the first is old */
    assert_false(restart_policy_failed(policy, &pause, 120, NULL, false));
    restart_policy_close(&policy);
    policy = policy_of(0, 100, 4, 0, a);
    assert_false(restart_policy_failed(policy, &pause, 0, NULL, true));
    restart_policy_close(&policy);
    allocation_close(&a);
}

static void the_pause_grows_until_there_is_progress(void **unused)
{
    (void)unused;
    static const double wanted[] = {1, 2, 4, 8, 16, 32, 60, 60};
    struct allocation *a = hosts_of(NULL);
    struct restart_policy *policy = policy_of(100, 1000, 4, 0, a);
    double pause = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_true(restart_policy_failed(policy, &pause, (double)i, NULL, false));
        assert_true(pause == wanted[i]);
    }
    assert_true(restart_policy_failed(policy, &pause, 10, NULL, true));
    assert_true(pause == 1);
    restart_policy_close(&policy);
    allocation_close(&a);
}

static void a_node_that_failed_twice_is_left_out_of_one_start(void **unused)
{
    (void)unused;
    struct allocation *a = hosts_of("n1,n2:2,n3");
    struct restart_policy *policy = policy_of(100, 1000, 4, 2, a);
    const bool *left_out = NULL;
    double pause = 0;
    assert_int_equal(restart_policy_choose(policy, &left_out), 4);
    assert_null(left_out);
    assert_true(restart_policy_failed(policy, &pause, 0, "n2", false));
    assert_int_equal(restart_policy_choose(policy, &left_out), 4);
    assert_true(restart_policy_failed(policy, &pause, 1, "n2", false));
    assert_int_equal(restart_policy_choose(policy, &left_out), 2);
    assert_non_null(left_out);
    assert_true(!left_out[0] && left_out[1] && !left_out[2]);
    /* Another node's failure: n2 is back. */
    assert_true(restart_policy_failed(policy, &pause, 2, "n1", true));
    assert_int_equal(restart_policy_choose(policy, &left_out), 4);
    assert_null(left_out);
    /* One more is enough for n2. */
    assert_true(restart_policy_failed(policy, &pause, 3, "n2", true));
    assert_int_equal(restart_policy_choose(policy, &left_out), 2);
    restart_policy_close(&policy);
    allocation_close(&a);
}

static void a_node_that_slurm_took_stays_out(void **unused)
{
    (void)unused;
    struct allocation *a = hosts_of("n1,n2:2,n3");
    struct restart_policy *policy = policy_of(100, 1000, 4, 2, a);
    const bool *left_out = NULL;
    restart_policy_gone(policy, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(restart_policy_choose(policy, &left_out), 2);
        assert_true(!left_out[0] && left_out[1] && !left_out[2]);
    }
    restart_policy_close(&policy);
    allocation_close(&a);
}

static void nobody_is_left_out_where_too_few_would_remain(void **unused)
{
    (void)unused;
    struct allocation *a = hosts_of("n1,n2:2,n3");
    for (int least = 0; least <= 3; least += 3) { /* 0: all of them */
        struct restart_policy *policy = policy_of(100, 1000, 4, least, a);
        const bool *left_out = NULL;
        double pause = 0;
        for (int i = 0; i < 3; i++)
            assert_true(restart_policy_failed(policy, &pause, i, "n2", false));
        assert_int_equal(restart_policy_choose(policy, &left_out), 4);
        assert_null(left_out);
        restart_policy_close(&policy);
    }
    allocation_close(&a);
}

static void lists_of_hosts_are_checked(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {"", "a,", ",a", "a:", "a:0", "a:x", ":2", "a:2:3", "a:-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct allocation *a = NULL;
        assert_int_equal(allocation_open(&a, wrong[i]), LS_USAGE);
        assert_null(a);
    }
    struct allocation *a = hosts_of("a,b:3");
    assert_int_equal(a->host_count, 2);
    assert_string_equal(a->hosts[1].name, "b");
    assert_int_equal(a->hosts[1].slots, 3);
    assert_int_equal(a->tasks, 4);
    allocation_close(&a);
}

static void slurms_task_list_is_read(void **unused)
{
    (void)unused;
    const char *list = "2(x3),1,4(x2)";
    static const int wanted[] = {2, 2, 2, 1, 4, 4, 0};
    for (int i = 0; i < 7; i++)
        assert_int_equal(allocation_slots(list, i), wanted[i]);
    assert_int_equal(allocation_slots("2(x", 0), 0);
    assert_int_equal(allocation_slots("junk", 0), 0);
    assert_int_equal(allocation_slots(NULL, 0), 0);
}

static bool has_pair(char **words, const char *first, const char *second)
{
    for (char **word = words; *word != NULL && word[1] != NULL; word++)
        if (strcmp(word[0], first) == 0 && strcmp(word[1], second) == 0)
            return true;
    return false;
}

static void command_lines_name_the_hosts_that_take_part(void **unused)
{
    (void)unused;
    struct allocation *a = hosts_of("n1,n2:2,n3");
    const bool left_out[] = {false, true, false};
    struct starter starter = {.program = "/x/mpirun",
                              .worker = "/x/worker",
                              .shield = "/x/lockstep",
                              .container = "box  run"};
    struct starter_job job = {.run = "RUN",
                              .run_epoch = 3,
                              .workers = 2,
                              .allocation = a,
                              .left_out = left_out,
                              .note = "RUN/note"};
    char **words = NULL;
    assert_int_equal(starter_words(&words, &starter, &job), LS_OK);
    assert_string_equal(words[0], "/x/mpirun");
    assert_true(has_pair(words, "--host", "n1:1,n3:1"));
    assert_true(has_pair(words, "-n", "2"));
    assert_true(has_pair(words, "orte_launch_agent", "/x/lockstep shield orted"));
    assert_true(has_pair(words, "oob_tcp_keepalive_time", "2"));
    assert_true(has_pair(words, "box", "run"));
    assert_true(has_pair(words, "run", "/x/worker"));
    assert_true(has_pair(words, "--run-epoch", "3"));
    starter_words_free(&words);
    starter.srun = true;
    assert_int_equal(starter_words(&words, &starter, &job), LS_OK);
    assert_true(has_pair(words, "--exclude", "n2"));
    assert_true(has_pair(words, "--ntasks", "2"));
    assert_true(has_pair(words, "--mpi=pmix", "--kill-on-bad-exit=1"));
    starter_words_free(&words);
    allocation_close(&a);
}

/* In a process of its own: 1 asked, 2 hurried. */
static int after_signals(const int *signals, const char *slurm_job)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (slurm_job != NULL && setenv("SLURM_JOB_ID", slurm_job, 1) != 0)
            _exit(9);
        if (stop_signals_catch() != LS_OK || stop_asked())
            _exit(9);
        for (; *signals != 0; signals++)
            if (raise(*signals) != 0)
                _exit(9);
        _exit((stop_asked() ? 1 : 0) + (stop_hurried() ? 2 : 0));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_a_person_hurries(void **unused)
{
    (void)unused;
    assert_int_equal(after_signals((const int[]){0}, NULL), 0);
    assert_int_equal(after_signals((const int[]){SIGUSR1, SIGUSR1, SIGUSR2, 0}, NULL), 1);
    assert_int_equal(after_signals((const int[]){SIGUSR1, SIGTERM, 0}, NULL), 1);
    assert_int_equal(after_signals((const int[]){SIGTERM, SIGINT, 0}, NULL), 3);
    assert_int_equal(after_signals((const int[]){SIGTERM, SIGTERM, 0}, NULL), 3);
    assert_int_equal(after_signals((const int[]){SIGUSR1, SIGTERM, SIGTERM, 0}, "7"), 1);
    assert_int_equal(after_signals((const int[]){SIGINT, SIGINT, 0}, "7"), 3);
}

static void other_programs_answer_or_say_why_not(void **unused)
{
    (void)unused;
    char *text = NULL;
    const char *const good[] = {"sh", "-c", "echo one; echo two", NULL};
    const char *const bad[] = {"sh", "-c", "echo no; echo because >&2; echo more >&2; exit 3",
                               NULL};
    const char *const none[] = {"no-such-program-here", NULL};
    const char *const long_one[] = {"sh", "-c", "yes | head -c 200000", NULL};
    assert_int_equal(ask(&text, good), LS_OK);
    assert_string_equal(text, "one\ntwo");
    free(text);
    text = NULL;
    assert_int_equal(ask(&text, bad), LS_FAILED);
    assert_string_equal(status_message(), "sh: because");
    assert_int_equal(ask(&text, none), LS_USAGE);
    assert_null(text);
    assert_int_equal(ask(&text, long_one), LS_OK);
    assert_int_equal(strlen(text), 199999);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarts_are_counted_within_a_sliding_window),
        cmocka_unit_test(the_pause_grows_until_there_is_progress),
        cmocka_unit_test(a_node_that_failed_twice_is_left_out_of_one_start),
        cmocka_unit_test(a_node_that_slurm_took_stays_out),
        cmocka_unit_test(nobody_is_left_out_where_too_few_would_remain),
        cmocka_unit_test(lists_of_hosts_are_checked),
        cmocka_unit_test(slurms_task_list_is_read),
        cmocka_unit_test(command_lines_name_the_hosts_that_take_part),
        cmocka_unit_test(only_a_person_hurries),
        cmocka_unit_test(other_programs_answer_or_say_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
