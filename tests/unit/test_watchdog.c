/* The watchdog ends a process that hangs; the records say who was missing. */
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

#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"
#include "core/run.h"
#include "core/watchdog.h"
#include "worker/step_times.h"

static char run[] = "/tmp/lockstep-watchdog.XXXXXX";

static int make_run(void **state)
{
    (void)state;
    return mkdtemp(run) == NULL ? -1 : 0;
}

static int remove_run(void **state)
{
    (void)state;
    return files_remove(run) == LS_OK ? 0 : -1;
}

/* A rank that passes `collectives` collectives of epoch `run_epoch` and hangs, or else ends. */
static int child_code(int64_t run_epoch, int rank, int collectives, double limit_s, bool hangs)
{
    pid_t child = fork();
    if (child == 0) {
        struct watchdog_options options = {.run = run, .run_epoch = run_epoch, .rank = rank};
        if (watchdog_open(&options) != LS_OK)
            _exit(1);
        watchdog_phase("step", 7, limit_s);
        for (int i = 0; i < collectives; i++)
            flight_collective("sum", i, 1024);
        flight_waits(collectives % 2 == 0);
        clock_sleep_s(hangs ? 100 : 0.5);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_hanging_process_ends_with_the_code_of_a_timeout(void **state)
{
    (void)state;
    struct run_end *ends = NULL;
    int count = 0;
    double start_s = clock_now_s();
    assert_int_equal(child_code(1, 0, 1000, 0.2, true), 14);
    assert_true(clock_now_s() - start_s < 50);
    assert_int_equal(run_ends_read(&ends, &count, run, 1), LS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(ends[0].status, LS_TIMEOUT);
    assert_int_equal(ends[0].step, 7);
    assert_non_null(strstr(ends[0].message, "step at step 7 did not end"));
    run_ends_free(&ends, count);
}

static void a_process_within_its_deadline_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(child_code(2, 0, 1, 100, false), 0);
    assert_int_equal(child_code(2, 0, 1, 0, false), 0);
}

static void closing_too_long_is_no_failure(void **state)
{
    (void)state;
    struct run_end *ends = NULL;
    int count = 0;
    pid_t child = fork();
    if (child == 0) {
        struct watchdog_options options = {.run = run, .run_epoch = 5};
        if (watchdog_open(&options) != LS_OK)
            _exit(1);
        watchdog_closing(7, 0.2);
        clock_sleep_s(100);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(run_ends_read(&ends, &count, run, 5), LS_OK);
    assert_int_equal(count, 0);
    run_ends_free(&ends, count);
}

static void a_record_tells_the_place_of_a_rank(void **state)
{
    (void)state;
    struct flight_place place;
    assert_int_equal(child_code(3, 1, 600, 0.2, true), 14);
    assert_true(flight_read(&place, run, 3, 1));
    assert_int_equal(place.rank, 1);
    assert_int_equal(place.step, 7);
    assert_string_equal(place.phase, "step");
    assert_int_equal(place.entered, 600);
    assert_int_equal(place.sequence, 599);
    assert_string_equal(place.kind, "sum");
    assert_true(place.waits);
    assert_true(place.stood_still_s == 0);
    assert_false(flight_read(&place, run, 3, 0));
    assert_false(flight_read(&place, run, 99, 1));
}

static void a_beat_tells_the_same(void **state)
{
    (void)state;
    char line[FLIGHT_BEAT_BYTES];
    struct flight_place place;
    flight_phase("compute", 12);
    flight_bucket(3);
    flight_collective("exchange", 5, 8);
    size_t bytes = flight_beat(line);
    assert_int_equal(bytes, strlen(line));
    assert_int_equal(line[bytes - 1], '\n');
    assert_int_equal(strncmp(line, FLIGHT_BEAT, strlen(FLIGHT_BEAT)), 0);
    assert_true(flight_parse(&place, line + strlen(FLIGHT_BEAT)));
    assert_int_equal(place.step, 12);
    assert_string_equal(place.phase, "compute");
    assert_string_equal(place.kind, "exchange");
    assert_false(place.waits);
}

static void what_is_no_place_is_refused(void **state)
{
    (void)state;
    static const char no_rank[] = "{\"rank\":-1,\"host\":\"a\",\"step\":1,\"phase\":\"x\","
                                  "\"entered\":1,\"sequence\":1,\"kind\":\"sum\","
                                  "\"stood_still_s\":0}";
    static const char *const texts[] = {"", "{", "[]", "{\"rank\":0}", no_rank};
    struct flight_place place;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(flight_parse(&place, texts[i]));
}

/* Three ranks in step 9; rank 2 is the one that each case changes. */
static void three_places(struct flight_place *places)
{
    for (int r = 0; r < 3; r++)
        places[r] = (struct flight_place){.known = true,
                                          .rank = r,
                                          .host = "node0",
                                          .step = 9,
                                          .phase = "decide",
                                          .entered = 40,
                                          .sequence = 21,
                                          .kind = "exchange",
                                          .waits = true};
    memcpy(places[2].host, "node2", 6);
}

static void who_did_not_arrive_is_named(void **state)
{
    (void)state;
    char line[512];
    struct flight_place places[3];
    static const char others[] =
        "; others: rank=0 node=node0 step=9 phase=decide waits_for=\"exchange 21\"";
    three_places(places);
    flight_explain(line, sizeof line, places, 3);
    assert_string_equal(line, "");

    places[2].entered = 39;
    places[2].sequence = 20;
    places[2].waits = false;
    memcpy(places[2].phase, "data", 5);
    flight_explain(line, sizeof line, places, 3);
    assert_non_null(strstr(
        line, "rank=2 node=node2 step=9 phase=data last_collective=\"exchange 20\"; others"));
    assert_non_null(strstr(line, others));

    three_places(places);
    places[2].stood_still_s = 31;
    flight_explain(line, sizeof line, places, 3);
    assert_non_null(strstr(line, "rank=2 node=node2"));
    assert_non_null(strstr(line, "stood_still_s=31"));
    assert_non_null(strstr(line, others));

    three_places(places);
    places[2].silent_s = 62;
    flight_explain(line, sizeof line, places, 3);
    assert_non_null(strstr(line, "rank=2 node=node2"));
    assert_non_null(strstr(line, "silent_s=62"));

    places[1] = (struct flight_place){0};
    flight_explain(line, sizeof line, places, 3);
    assert_non_null(strstr(line, "rank=1 never_heard; rank=2 node=node2"));
    assert_non_null(strstr(line, others));
}

static void a_long_list_is_cut_and_counted(void **state)
{
    (void)state;
    char line[160];
    struct flight_place places[40] = {{.known = true, .kind = "sum", .host = "a", .phase = "b"}};
    flight_explain(line, sizeof line, places, 40);
    assert_non_null(strstr(line, "rank=1 never_heard"));
    char longer[1024];
    flight_explain(longer, sizeof longer, places, 40);
    assert_non_null(strstr(longer, "; and 31 more; others: rank=0"));
}

static void the_deadline_of_a_step_follows_the_median(void **state)
{
    (void)state;
    struct step_times times = {0};
    assert_true(step_times_limit(&times, 5, 300) == 5);
    assert_true(step_times_limit(&times, 0, 300) == 300);
    for (int i = 0; i < 40; i++)
        step_times_add(&times, i % 10 == 0 ? 900 : 2);
    assert_true(step_times_median(&times) == 2);
    assert_true(step_times_limit(&times, 0, 300) == 60);
    for (int i = 0; i < 40; i++)
        step_times_add(&times, 20);
    assert_true(step_times_limit(&times, 0, 300) == 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hanging_process_ends_with_the_code_of_a_timeout),
        cmocka_unit_test(a_process_within_its_deadline_is_left_alone),
        cmocka_unit_test(closing_too_long_is_no_failure),
        cmocka_unit_test(a_record_tells_the_place_of_a_rank),
        cmocka_unit_test(a_beat_tells_the_same),
        cmocka_unit_test(what_is_no_place_is_refused),
        cmocka_unit_test(who_did_not_arrive_is_named),
        cmocka_unit_test(a_long_list_is_cut_and_counted),
        cmocka_unit_test(the_deadline_of_a_step_follows_the_median),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
