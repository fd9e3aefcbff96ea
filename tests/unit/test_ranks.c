/* A slow rank and its slow part are found; a hiccup is not slowness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/files.h"
#include "worker/ranks.h"

enum { SIZE = 4, COUNT = 20, FIRST = 101 };

static struct ranks_step window[COUNT * SIZE];

static void even_window(void)
{
    for (int i = 0; i < COUNT * SIZE; i++)
        window[i] = (struct ranks_step){.parts_s = {0.01, 0.30 + 0.01 * (i % 3), 0.05}};
}

static struct ranks_verdict judge(int rank)
{
    return ranks_judge(window, FIRST, COUNT, SIZE, rank);
}

static void even_ranks_are_left_alone(void **state)
{
    (void)state;
    even_window();
    for (int r = 0; r < SIZE; r++)
        assert_int_equal(judge(r).state, RANKS_EVEN);
}

static void a_slow_rank_and_its_part_are_found(void **state)
{
    (void)state;
    for (int part = 0; part < RANKS_PARTS; part++) {
        even_window();
        for (int i = 0; i < COUNT; i++)
            window[i * SIZE + 2].parts_s[part] += 0.15;
        struct ranks_verdict verdict = judge(2);
        assert_int_equal(verdict.state, RANKS_CHRONIC);
        assert_int_equal(verdict.part, part);
        assert_int_equal(verdict.late_steps, COUNT);
        assert_true(verdict.factor > 1.2);
        assert_int_equal(judge(1).state, RANKS_EVEN);
    }
}

static void of_two_ranks_the_slower_one_is_found(void **state)
{
    (void)state;
    struct ranks_step two[COUNT * 2];
    for (int i = 0; i < COUNT; i++) {
        two[2 * i] = (struct ranks_step){.parts_s = {0, 0.3, 0.1}};
        two[2 * i + 1] = (struct ranks_step){.parts_s = {0, 0.6, 0.1}};
    }
    assert_int_equal(ranks_judge(two, FIRST, COUNT, 2, 0).state, RANKS_EVEN);
    assert_int_equal(ranks_judge(two, FIRST, COUNT, 2, 1).state, RANKS_CHRONIC);
}

static void one_long_step_is_a_hiccup(void **state)
{
    (void)state;
    even_window();
    window[7 * SIZE + 3].parts_s[RANKS_DATA] = 4;
    struct ranks_verdict verdict = judge(3);
    assert_int_equal(verdict.state, RANKS_HICCUP);
    assert_int_equal(verdict.part, RANKS_DATA);
    assert_int_equal(verdict.worst_step, FIRST + 7);
    assert_true(verdict.worst_excess_s > 3.9);
}

static void small_differences_and_short_parts_are_no_slowness(void **state)
{
    (void)state;
    even_window();
    for (int i = 0; i < COUNT; i++)
        window[i * SIZE + 1].parts_s[RANKS_DATA] = 0.02; /* twice the median, 3 % of a step */
    assert_int_equal(judge(1).state, RANKS_EVEN);
}

static void every_window_becomes_a_line(void **state)
{
    (void)state;
    char run[] = "/tmp/lockstep-ranks.XXXXXX";
    static const char hosts[SIZE][RANKS_HOST_BYTES] = {"n0", "n1", "n2", "n3"};
    struct ranks *ranks = NULL;
    char *path = NULL;
    char *text = NULL;
    assert_non_null(mkdtemp(run));
    struct ranks_options options = {
        .run = run, .hosts = hosts[0], .run_epoch = 3, .size = SIZE, .freq = COUNT / 2};
    even_window();
    for (int i = 0; i < COUNT / 2; i++)
        window[i * SIZE + 2].parts_s[RANKS_COMPUTE] = 1;
    assert_int_equal(ranks_open(&ranks, &options), LS_OK);
    for (int i = 0; i < COUNT; i++)
        ranks_take(ranks, FIRST + i, window + (size_t)i * SIZE);
    ranks_close(&ranks);
    assert_int_equal(core_format(&path, "%s/ranks.jsonl", run), LS_OK);
    assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
    assert_non_null(strstr(text, "{\"step\":110,\"steps\":10,\"start\":3,\"ranks\":[{\"rank\":0,"
                                 "\"node\":\"n0\",\"data_s\":0.010000,"));
    assert_non_null(strstr(text, "\"state\":\"chronic\",\"part\":\"compute\",\"late_steps\":10"));
    assert_non_null(strstr(text, "]}\n{\"step\":120,"));
    assert_int_equal(files_remove(run), LS_OK);
    free(path);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_ranks_are_left_alone),
        cmocka_unit_test(a_slow_rank_and_its_part_are_found),
        cmocka_unit_test(of_two_ranks_the_slower_one_is_found),
        cmocka_unit_test(one_long_step_is_a_hiccup),
        cmocka_unit_test(small_differences_and_short_parts_are_no_slowness),
        cmocka_unit_test(every_window_becomes_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
