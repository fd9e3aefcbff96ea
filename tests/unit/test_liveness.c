/* The launcher misses workers that are silent, and says which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/flight.h"
#include "launcher/liveness.h"

static struct liveness *open_for(int workers, double start_s, double silence_s)
{
    struct liveness *liveness = NULL;
    struct liveness_options options = {
        .workers = workers, .start_s = start_s, .silence_s = silence_s};
    assert_int_equal(liveness_open(&liveness, &options), LS_OK);
    return liveness;
}

static void beat(struct liveness *liveness, int rank, const char *host)
{
    char line[FLIGHT_BEAT_BYTES];
    (void)snprintf(line, sizeof line,
                   FLIGHT_BEAT "{\"rank\":%d,\"host\":\"%s\",\"step\":5,\"phase\":\"data\","
                               "\"entered\":9,\"sequence\":4,\"kind\":\"sum\",\"waits\":false,"
                               "\"stood_still_s\":0.0}",
                   rank, host);
    assert_true(liveness_take(liveness, line));
}

/* Look until it is lost, for a minute: where this machine is busy, its own pauses do not count. */
static bool look_until_lost(struct liveness *liveness, int beating)
{
    for (int i = 0; i < 600; i++) {
        for (int r = 0; r < beating; r++)
            beat(liveness, r, "a");
        if (liveness_lost(liveness))
            return true;
        clock_sleep_s(0.1);
    }
    return false;
}

static void beats_keep_a_start_alive(void **state)
{
    (void)state;
    struct liveness *liveness = open_for(2, 0.5, 2);
    for (int i = 0; i < 22; i++) {
        beat(liveness, 0, "a");
        beat(liveness, 1, "b");
        assert_false(liveness_lost(liveness));
        clock_sleep_s(0.1);
    }
    assert_int_equal(liveness_failure(liveness), LS_OK);
    liveness_close(&liveness);
}

static void other_lines_are_no_beats(void **state)
{
    (void)state;
    struct liveness *liveness = open_for(1, 10, 10);
    assert_false(liveness_take(liveness, "2026-11-25T03:40:00Z level=info rank=0 x"));
    assert_true(liveness_take(liveness, FLIGHT_BEAT "{\"torn"));
    assert_true(liveness_take(liveness, FLIGHT_BEAT "{}"));
    beat(liveness, 5, "beyond"); /* of no rank of this start */
    liveness_close(&liveness);
}

static void a_silent_rank_is_named_with_its_node(void **state)
{
    (void)state;
    char line[LIVENESS_TEXT_BYTES];
    struct liveness *liveness = open_for(2, 10, 2.5);
    beat(liveness, 0, "a");
    beat(liveness, 1, "b");
    assert_true(look_until_lost(liveness, 1));
    assert_false(liveness_lost(liveness)); /* said once */
    assert_int_equal(liveness_failure(liveness), LS_TIMEOUT);
    assert_non_null(strstr(status_message(), "rank 1 on node b"));
    assert_string_equal(liveness_lost_node(liveness), "b");
    liveness_explain(liveness, line, sizeof line, "/nonexistent", 1);
    assert_non_null(strstr(line, "rank=1 node=b step=5 phase=data"));
    assert_non_null(strstr(line, "others: rank=0 node=a"));
    liveness_close(&liveness);
}

static void a_rank_that_never_starts_is_named(void **state)
{
    (void)state;
    struct liveness *liveness = open_for(2, 0.2, 10);
    beat(liveness, 0, "a");
    assert_true(look_until_lost(liveness, 1));
    assert_int_equal(liveness_failure(liveness), LS_TIMEOUT);
    assert_non_null(strstr(status_message(), "rank 1 has not started within 0.2 s"));
    liveness_close(&liveness);
}

static void silence_of_all_blames_no_node(void **state)
{
    (void)state;
    struct liveness *liveness = open_for(2, 10, 2.2);
    beat(liveness, 0, "a");
    beat(liveness, 1, "a");
    assert_true(look_until_lost(liveness, 0));
    assert_int_equal(liveness_failure(liveness), LS_TIMEOUT);
    assert_non_null(strstr(status_message(), "nothing was heard of any worker"));
    assert_string_equal(liveness_lost_node(liveness), "");
    liveness_close(&liveness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beats_keep_a_start_alive),
        cmocka_unit_test(other_lines_are_no_beats),
        cmocka_unit_test(a_silent_rank_is_named_with_its_node),
        cmocka_unit_test(a_rank_that_never_starts_is_named),
        cmocka_unit_test(silence_of_all_blames_no_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
