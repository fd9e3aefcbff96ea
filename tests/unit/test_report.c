/* The report: what is read back of a run, what is said of it, and that a page holds whatever the
 * run's files hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/collapse.h"
#include "core/files.h"
#include "launcher/html.h"
#include "launcher/report.h"

static char *run;

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

static int make_run(void **state)
{
    (void)state;
    char folder[] = "/tmp/lockstep-test-report.XXXXXX";
    return mkdtemp(folder) != NULL && core_format(&run, "%s", folder) == LS_OK ? 0 : -1;
}

static int remove_run(void **state)
{
    (void)state;
    ls_status st = files_remove(run);
    free(run);
    return st == LS_OK ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    char *path = NULL;
    assert_good(core_format(&path, "%s/%s", run, name));
    assert_good(files_replace(path, text, strlen(text)));
    free(path);
}

static void remove_file(const char *name)
{
    char *path = NULL;
    assert_good(core_format(&path, "%s/%s", run, name));
    (void)remove(path);
    free(path);
}

/* `count` lines of metrics from step `first` on, into `out`; target_std falls from 0.9 to `std`. */
static void print_steps(FILE *out, int first, int count, double std)
{
    for (int i = 0; i < count; i++)
        (void)fprintf(out,
                      "{\"step\":%d,\"epoch\":1,\"loss\":%.4f,\"loss_groups\":[0.5,null],"
                      "\"lr\":0.001,\"target_std\":%.4f,\"target_rank\":null,"
                      "\"prediction_cosine\":0.5,\"clips_per_s\":100,\"step_s\":0.08,"
                      "\"data_wait_s\":0.01,\"comm_wait_s\":0,\"rank_wait_s\":0,"
                      "\"flops_per_s\":1e11,\"grad_norm\":0.1,\"draw_hash\":\"00\"}\n",
                      first + i, 0.9 - 0.001 * (first + i), 0.9 + (std - 0.9) * i / count);
}

static void put_steps(int count, double std)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    print_steps(file, 1, count, std);
    assert_int_equal(fclose(file), 0);
    put("metrics.jsonl", text);
    free(text);
}

/* The page of the run; owned by the caller. */
static char *page_of(int refresh_s)
{
    struct report report;
    char *text = NULL;
    size_t bytes = 0;
    assert_good(report_open(&report, run));
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    report_print(file, &report, refresh_s);
    report_close(&report);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void assert_says(const char *page, const char *words)
{
    if (strstr(page, words) == NULL)
        fail_msg("the page does not say '%s'", words);
}

static void metrics_keep_the_newest_line_of_a_step_and_pass_over_torn_ones(void **unused)
{
    (void)unused;
    struct history history;
    put("metrics.jsonl", "{\"step\":1,\"loss\":1.5,\"loss_groups\":[1,2]}\n"
                         "{\"step\":2,\"loss\":1.25}\n"
                         "{\"step\":3,\"loss\":9}\n"
                         "not a line of ours\n"
                         "{\"step\":-4,\"loss\":9}\n"
                         "{\"step\":2,\"loss\":1.125,\"late\":7}\n"
                         "{\"step\":3,\"loss\":null}\n"
                         "{\"step\":4,\"lo");
    assert_good(history_open(&history, run));
    assert_int_equal(history.count, 3);
    assert_int_equal(history.steps[2], 3);
    assert_int_equal(history.bad_lines, 2);
    const float *loss = history_find(&history, "loss");
    assert_true(loss[0] == 1.5F && loss[1] == 1.125F && isnan(loss[2]));
    const float *group = history_find(&history, "loss_groups/1");
    assert_true(group[0] == 2 && isnan(group[1]));
    const float *late = history_find(&history, "late");
    assert_true(isnan(late[0]) && late[1] == 7 && isnan(late[2]));
    assert_null(history_find(&history, "draw_hash"));
    struct history_range range = history_range(loss, 0, history.count);
    assert_true(range.count == 2 && range.mean == 1.3125 && range.least == 1.125);
    history_close(&history);
    put("metrics.jsonl", "");
    assert_good(history_open(&history, run));
    assert_int_equal(history.count, 0);
    history_close(&history);
}

static void the_log_tells_starts_saves_and_kinds_of_warnings(void **unused)
{
    (void)unused;
    struct run_log *log = NULL;
    put("log",
        "[hwloc/linux] something of MPI's\n"
        "2026-11-25T10:34:44Z level=info rank=0 joined ranks=2\n"
        "2026-11-25T10:34:44Z level=info rank=0 start seed=239\n"
        "2026-11-25T10:35:03Z level=warn rank=0 step=100 slow_rank rank=0 node=vm part=data\n"
        "2026-11-25T10:35:04Z level=warn rank=1 step=120 slow_rank rank=1 node=vm part=data\n"
        "2026-11-25T10:35:05Z level=warn rank=1 video_replaced dataset=d video=3 reason=\"x\"\n"
        "2026-11-25T10:35:07Z level=info rank=0 step=102 checkpoint saved seconds=0.4 "
        "finished_steps=100 mb=1\n"
        "2026-11-25T10:35:08Z level=error rank=1 step=130 no space\n"
        "2026-11-25T10:40:00Z level=info rank=0 joined ranks=3\n"
        "2026-11-25T10:40:01Z level=info rank=0 resume from=\"c\" finished_steps=100\n"
        "2026-11-25T10:41:00Z level=warn rank=0 checkpoint not_saved try=1 of=3: full\n"
        "2026-11-25T10:41:07Z level=info rank=0 step=20");
    assert_good(run_log_open(&log, run));
    assert_int_equal(log->start_count, 2);
    assert_int_equal(log->starts[0].from_step, 0);
    assert_int_equal(log->starts[1].from_step, 100);
    assert_int_equal(log->starts[1].ranks, 3);
    assert_int_equal(log->starts[0].last - log->starts[0].first, 24);
    assert_int_equal(log->save_count, 1);
    assert_int_equal(log->saves[0].step, 100);
    assert_int_equal(log->starts[0].saves, 1);
    assert_int_equal(log->kind_count, 3);
    assert_string_equal(log->kinds[0].name, "slow_rank");
    assert_int_equal(log->kinds[0].count, 2);
    assert_int_equal(log->kinds[0].last_step, 120);
    assert_true(log->kinds[1].error);
    assert_string_equal(log->kinds[2].name, "checkpoint not_saved");
    assert_int_equal(log->videos_replaced, 1);
    assert_string_equal(log->videos[0], "dataset=d video=3 reason=\"x\"");
    run_log_close(&log);
}

/* Three starts, the second of which died before its first event; what rank 0 warned of stands in
 * both files, what others did in the log alone. */
static void events_come_before_the_log_and_nothing_is_lost(void **unused)
{
    (void)unused;
    struct run_log *log = NULL;
    put("log", "2026-11-25T10:00:00Z level=info rank=0 joined ranks=2\n"
               "2026-11-25T10:00:01Z level=info rank=0 start seed=239\n"
               "2026-11-25T10:00:30Z level=warn rank=0 collapse by=target_std now=0.4\n"
               "2026-11-25T10:00:31Z level=warn rank=0 step=31 collapse by=target_rank now=2\n"
               "2026-11-25T10:00:32Z level=warn rank=1 step=32 hiccup rank=1 part=data\n"
               "2026-11-25T10:00:33Z level=warn rank=0 checkpoint not_saved: disk full\n"
               "2026-11-25T10:00:40Z level=info rank=0 step=40 checkpoint saved seconds=0.1 "
               "finished_steps=38\n"
               "2026-11-25T10:00:50Z level=warn workers_lost rank 1 restart=1\n"
               "2026-11-25T10:01:00Z level=info rank=0 joined ranks=2\n"
               "2026-11-25T10:02:00Z level=info rank=0 joined ranks=1\n"
               "2026-11-25T10:02:01Z level=info rank=0 resume from=\"c\" finished_steps=38\n");
    /* 1795600800 is 10:00:00. */
    put("events.jsonl",
        "{\"step\":0,\"start\":1,\"time\":1795600801.2,\"event\":\"start\",\"warning\":false,"
        "\"workers\":2,\"text\":\"began\"}\n"
        "{\"step\":30,\"start\":1,\"time\":1795600830.1,\"event\":\"collapse\",\"warning\":true,"
        "\"by\":\"target_std\",\"text\":\"collapse by=target_std now=0.4\"}\n"
        "torn\n"
        "{\"step\":31,\"start\":1,\"time\":1795600831,\"event\":\"collapse\",\"warning\":true,"
        "\"by\":\"target_rank\",\"text\":\"collapse by=target_rank now=2\"}\n"
        "{\"step\":33,\"start\":1,\"time\":1795600833,\"event\":\"not_saved\",\"warning\":true,"
        "\"text\":\"disk full\"}\n"
        "{\"step\":40,\"start\":1,\"time\":1795600840,\"event\":\"saved\",\"warning\":false,"
        "\"finished_steps\":38,\"text\":\"durable\"}\n"
        "{\"step\":38,\"start\":3,\"time\":1795600921.5,\"event\":\"start\",\"warning\":false,"
        "\"workers\":1,\"text\":\"went on\"}\n");
    for (int with_log = 1; with_log >= 0; with_log--) {
        assert_good(run_log_open(&log, run));
        assert_int_equal(log->start_count, with_log ? 3 : 2);
        const struct run_log_start *last = &log->starts[log->start_count - 1];
        assert_int_equal(log->starts[0].epoch, 1);
        assert_int_equal(log->starts[0].from_step, 0);
        assert_int_equal(log->starts[0].saves, 1);
        assert_int_equal(last->epoch, 3);
        assert_int_equal(last->from_step, 38);
        assert_int_equal(last->ranks, 1);
        assert_int_equal(log->starts[1].epoch, with_log ? 0 : 3);
        assert_int_equal(log->save_count, 1);
        assert_int_equal(log->saves[0].step, 38);
        assert_int_equal(log->kind_count, with_log ? 5 : 2);
        const struct run_log_kind *collapse = &log->kinds[with_log ? 3 : 0];
        assert_string_equal(collapse->name, "collapse by target_std");
        assert_int_equal(collapse->count, 1);
        assert_int_equal(collapse->first_step, 30);
        assert_string_equal(collapse->text, "collapse by=target_std now=0.4");
        assert_int_equal(log->mark_count, with_log ? 5 : 2);
        run_log_close(&log);
        remove_file("log");
    }
    remove_file("events.jsonl");
}

static void rank_times_are_held_against_the_median_rank(void **unused)
{
    (void)unused;
    struct skew skew;
    put("ranks.jsonl",
        "{\"step\":10,\"ranks\":[{\"rank\":0,\"node\":\"a\",\"data_s\":0.1,\"compute_s\":0.1,"
        "\"state\":\"even\"},{\"rank\":1,\"node\":\"b\",\"data_s\":0,\"compute_s\":0.1,"
        "\"state\":\"chronic\"},{\"rank\":7,\"node\":\"c\"}]}\n"
        "{\"step\":20,\"ranks\":[{\"rank\":0,\"data_s\":9,\"compute_s\":0.1}]}\n"
        "{\"step\":20,\"ranks\":\"none\"}\n"
        "{\"step\":20,\"ranks\":[{\"rank\":0,\"data_s\":0.1,\"compute_s\":0.1}]}\n"
        "{\"step\":30,\"ra");
    assert_good(skew_open(&skew, run));
    assert_int_equal(skew.window_count, 2);
    assert_int_equal(skew.rank_count, 3);
    assert_float_equal(skew.windows[0].median_s, 0.1, 1e-6);
    assert_float_equal(skew.windows[1].own_s[0], 0.2, 1e-6);
    assert_true(isnan(skew.windows[0].own_s[2]));
    assert_string_equal(skew.ranks[1].node, "b");
    assert_int_equal(skew.ranks[1].chronic, 1);
    skew_close(&skew);
}

static void measured_runs_are_judged_as_they_were(void **unused)
{
    (void)unused;
    static const struct collapse_limits limits = {.std_share = 0.6, .rank_share = 0.45};
    static const struct {
        struct collapse_signs signs;
        enum collapse_state state;
    } runs[] = {
        {{0.877, 0.637, 9.22, 7.30}, COLLAPSE_NONE}, /* demo config, 600 steps */
        {{0.878, 0.892, 9.62, 11.6}, COLLAPSE_NONE}, /* the same, 3,000 steps */
        {{0.945, 0.645, 6.06, 3.11}, COLLAPSE_NONE}, /* real clips, the lowest of both */
        {{0.877, 0.402, 9.19, 4.80}, COLLAPSE_FULL}, /* EMA 0 */
        {{0.877, 0.170, 9.19, 1.52}, COLLAPSE_FULL}, /* learning rate 30 times too high */
        {{0.94, 0.47, 17.2, 6.1}, COLLAPSE_FULL},    /* K of demo.md */
        {{0.80, 0.74, 10.7, 1.7}, COLLAPSE_FULL},    /* G: directions only */
        {{0.91, 0.59, 8.8, 6.5}, COLLAPSE_NEAR},     /* A */
        {{0.96, 0.83, 12.5, 5.5}, COLLAPSE_FULL},    /* F: directions */
        {{0.96, 0.83, 12.5, 5.7}, COLLAPSE_NEAR},    {{NAN, NAN, NAN, NAN}, COLLAPSE_UNKNOWN},
        {{0.9, 0.2, NAN, NAN}, COLLAPSE_FULL},
    };
    const char *reason = NULL;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        if (collapse_judge(&reason, &runs[i].signs, &limits) != runs[i].state)
            fail_msg("run %zu is judged otherwise", i);
    assert_int_equal(collapse_judge(&reason, &runs[6].signs, &limits), COLLAPSE_FULL);
    assert_string_equal(reason, "target_rank");
    assert_int_equal(collapse_judge(&reason, &runs[3].signs, &limits), COLLAPSE_FULL);
    assert_string_equal(reason, "target_std");
    const struct collapse_limits off = {0};
    assert_int_equal(collapse_judge(&reason, &runs[3].signs, &off), COLLAPSE_NONE);
}

static void a_run_is_judged_once_both_windows_and_the_warm_up_are_over(void **unused)
{
    (void)unused;
    struct collapse_track track;
    collapse_begin(&track);
    for (int step = 1; step <= 60; step++) {
        const struct collapse_limits limits = {.std_share = 0.6, .rank_share = 0.45};
        const struct collapse_limits later = {
            .std_share = 0.6, .rank_share = 0.45, .warmup_steps = 59};
        collapse_take(&track, step,
                      step == 3   ? 1.0
                      : step < 20 ? 0.8
                                  : 0.5,
                      step % 20 == 1 ? 10.0 - 0.1 * (step - 1) : (double)NAN);
        struct collapse_signs signs = collapse_signs(&track, &limits);
        assert_int_equal(isnan(signs.std), step <= 40);
        assert_int_equal(isnan(signs.rank), step <= 40);
        signs = collapse_signs(&track, &later);
        assert_int_equal(isnan(signs.std), step < 60);
    }
    const struct collapse_limits limits = {0};
    const struct collapse_signs signs = collapse_signs(&track, &limits);
    assert_true(signs.early_std == 1.0 && signs.std == 0.5);
    assert_true(signs.early_rank == 10.0 && fabs(signs.rank - (10.0 + 8.0 + 6.0) / 3) < 1e-9);
}

static void the_page_says_whether_the_features_collapse(void **unused)
{
    (void)unused;
    put_steps(100, 0.3);
    char *page = page_of(0);
    assert_says(page, "the features have collapsed");
    assert_says(page, "What helps:");
    assert_says(page, "The loss fell from");
    assert_null(strstr(page, "http-equiv=\"refresh\""));
    free(page);
    put_steps(100, 0.8);
    page = page_of(7);
    assert_says(page, "the features have not collapsed");
    assert_says(page, "http-equiv=\"refresh\" content=\"7\"");
    free(page);
    put("events.jsonl", "{\"step\":60,\"start\":1,\"time\":1795600801,\"event\":\"collapse\","
                        "\"warning\":true,\"by\":\"pooled_direction\",\"text\":\"x\"}\n");
    page = page_of(0);
    assert_says(page, "the run warned of a collapse after step 60</b> (by pooled_direction; now ");
    assert_null(strstr(page, "have not collapsed"));
    free(page);
    remove_file("events.jsonl");
    put_steps(5, 0.1);
    page = page_of(0);
    assert_says(page, "too early to tell");
    free(page);
}

static void what_files_hold_cannot_become_part_of_the_page(void **unused)
{
    (void)unused;
    char *folder = NULL;
    put_steps(30, 0.9);
    put("config.yaml", "app: </pre><script>alert(1)</script>\n");
    put("log", "2026-11-25T10:34:44Z level=info rank=0 joined ranks=1\n"
               "2026-11-25T10:34:44Z level=warn rank=0 <img src=x> at=1\n"
               "2026-11-25T10:34:44Z level=warn rank=0 video_replaced \"<b>\xff\x01&\n");
    put("ranks.jsonl", "{\"step\":10,\"ranks\":[{\"rank\":0,\"node\":\"<i>\",\"data_s\":0,"
                       "\"compute_s\":0.1}]}\n");
    assert_good(core_format(&folder, "%s/probe", run));
    assert_good(files_make_folder(folder));
    put("probe/a.json", "{\"format\":\"lockstep-probe\",\"tag\":\"<u>\",\"init\":\"pretrained\","
                        "\"top1\":0.25}");
    put("probe/b.json", "{\"format\":\"lockstep-probe");
    char *page = page_of(0);
    const char *const evil[] = {"<script", "<img", "<b>\xff", "<i>", "<u>", "\x01"};
    for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++)
        if (strstr(page, evil[i]) != NULL)
            fail_msg("the page holds %s", evil[i]);
    assert_says(page, "&#60;script&#62;alert(1)");
    assert_says(page, "&#60;img src=x&#62;");
    assert_says(page, "&#34;&#60;b&#62;&#xfffd;&#xfffd;&#38;");
    assert_says(page, "on &#60;i&#62;");
    assert_says(page, "<td>&#60;u&#62;</td><td>pretrained");
    free(page);
    assert_good(files_remove(folder));
    free(folder);
    put("log", "");
    put("ranks.jsonl", "");
}

static void probes_stand_beside_the_untrained_encoder(void **unused)
{
    (void)unused;
    char *folder = NULL;
    put_steps(30, 0.9);
    assert_good(core_format(&folder, "%s/probe", run));
    assert_good(files_make_folder(folder));
    put("probe/ssv2-pretrained.json",
        "{\"format\":\"lockstep-probe\",\"tag\":\"ssv2\",\"init\":\"pretrained\",\"step\":1200,"
        "\"top1\":0.75,\"top1_interval95\":0.03,\"top5\":null,\"chance\":0.5,"
        "\"test\":{\"videos\":1024},\"knn\":{\"k\":10,\"top1\":0.7},\"confusion\":[[3,1],[0,4]]}");
    put("probe/ssv2-random.json",
        "{\"format\":\"lockstep-probe\",\"tag\":\"ssv2\",\"init\":\"random\",\"top1\":0.71,"
        "\"top1_interval95\":0.04,\"knn\":null}");
    char *page = page_of(0);
    assert_says(page, "right in 75.0 % of its test videos, of an untrained encoder in 71.0 %");
    assert_says(page, "pretrained, step 1,200</td><td class=\"n\">75.0 &#177; 3.0 %</td>"
                      "<td class=\"n\">-</td><td class=\"n\">70.0 %</td>");
    assert_says(page, "+4.0 points</b> (&#177; 5.0, from the number of test videos alone): no");
    assert_says(page, "class 0 taken for 1: 1 of 4");
    free(page);
    assert_good(files_remove(folder));
    free(folder);
}

static void skipped_videos_are_read_from_the_packs_of_the_run(void **unused)
{
    (void)unused;
    char *folder = NULL;
    assert_good(core_format(&folder, "%s/datasets/list-0", run));
    assert_good(files_make_folder(folder));
    put_steps(30, 0.9);
    put("datasets/list-0/pack-report.csv",
        "file,status,reason,frames\r\n"
        "good.mp4,ok,,10\r\n"
        "\"a, \"\"b\"\".mp4\",skipped,\"no stream,\r\nnothing <at> all\",0\r\n"
        "torn.mp4,skipped,\"half");
    char *page = page_of(0);
    assert_says(page, "<td>a, &#34;b&#34;.mp4</td><td>no stream,\r\nnothing &#60;at&#62; all</td>");
    assert_null(strstr(page, "good.mp4"));
    free(page);
    free(folder);
}

static void ticks_are_round_numbers_within_the_axis(void **unused)
{
    (void)unused;
    static const double axes[][2] = {{0, 1},     {0.48, 0.83}, {1, 600}, {1, 500000},
                                     {-3, 4e-3}, {5, 5.0001},  {0, 3e-4}};
    double ticks[8];
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++) {
        int count = chart_ticks(ticks, 5, axes[i][0], axes[i][1]);
        assert_in_range(count, 2, 5);
        for (int t = 0; t < count; t++)
            assert_true(ticks[t] >= axes[i][0] && ticks[t] <= axes[i][1]);
    }
    assert_int_equal(chart_ticks(ticks, 5, 1, 1), 0);
}

static void numbers_read_well(void **unused)
{
    (void)unused;
    char text[HTML_NUMBER_BYTES];
    assert_string_equal(html_number(text, 0.65354), "0.6535");
    assert_string_equal(html_number(text, 12345), "12.3 k");
    assert_string_equal(html_number(text, 0.99999e12), "1 T");
    assert_string_equal(html_number(text, NAN), "-");
    assert_string_equal(html_count(text, 1234567), "1,234,567");
    assert_string_equal(html_count(text, 999), "999");
    assert_string_equal(html_duration(text, 0.0123), "0.012 s");
    assert_string_equal(html_duration(text, 3725), "62 min 5 s");
    assert_string_equal(html_duration(text, 90000), "25 h 0 min");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_keep_the_newest_line_of_a_step_and_pass_over_torn_ones),
        cmocka_unit_test(the_log_tells_starts_saves_and_kinds_of_warnings),
        cmocka_unit_test(events_come_before_the_log_and_nothing_is_lost),
        cmocka_unit_test(rank_times_are_held_against_the_median_rank),
        cmocka_unit_test(measured_runs_are_judged_as_they_were),
        cmocka_unit_test(a_run_is_judged_once_both_windows_and_the_warm_up_are_over),
        cmocka_unit_test(the_page_says_whether_the_features_collapse),
        cmocka_unit_test(what_files_hold_cannot_become_part_of_the_page),
        cmocka_unit_test(probes_stand_beside_the_untrained_encoder),
        cmocka_unit_test(skipped_videos_are_read_from_the_packs_of_the_run),
        cmocka_unit_test(ticks_are_round_numbers_within_the_axis),
        cmocka_unit_test(numbers_read_well),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
