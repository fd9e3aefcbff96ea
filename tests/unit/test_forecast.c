/* The forecast of a step on many nodes against sums done by hand, and what is read of samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/files.h"
#include "launcher/forecast.h"
#include "launcher/scale.h"

static const struct forecast_parts parts = {.micro_s = 1.0,
                                            .backward_share = 0.4,
                                            .clips = 8,
                                            .gradient_bytes = 100e6,
                                            .buckets = 10,
                                            .link_bytes_s = 1e9,
                                            .cores = 1,
                                            .workers_a_node = 1};

static void assert_near(double value, double wanted, double by)
{
    if (!(fabs(value - wanted) <= by))
        fail_msg("%.15g is not %.15g", value, wanted);
}

static struct forecast at(const struct forecast_parts *p, int nodes)
{
    struct forecast f;
    forecast_step(&f, p, nodes);
    return f;
}

static void one_node_takes_what_was_measured(void **state)
{
    (void)state;
    struct forecast f = at(&parts, 1);
    assert_near(f.step_s, 1.0, 1e-12);
    assert_near(f.clips_per_s, 8.0, 1e-12);
    assert_near(f.efficiency, 1.0, 1e-12);
    assert_near(f.exposed_s, 0.0, 0);
}

static void a_fast_link_leaves_the_last_bucket(void **state)
{
    (void)state;
    /* 2 x 100 MB / 2 at 1 GB/s: 0.1 s behind 0.36 s of backward; a tenth of it comes after. */
    struct forecast f = at(&parts, 2);
    assert_near(f.network_s, 0.1, 1e-12);
    assert_near(f.exposed_s, 0.01, 1e-12);
    assert_near(f.efficiency, 1 / 1.01, 1e-12);
    assert_string_equal(f.bound, "compute");
}

static void a_slow_link_shows_beyond_backward(void **state)
{
    (void)state;
    struct forecast_parts slow = parts;
    slow.link_bytes_s = 1e8;
    /* 4 nodes: 2 x 100 MB x 3 / 4 at 0.1 GB/s is 1.5 s, of which 0.36 s are hidden. */
    struct forecast f = at(&slow, 4);
    assert_near(f.network_s, 1.5, 1e-12);
    assert_near(f.exposed_s, 1.14, 1e-12);
    assert_near(f.step_s, 2.14, 1e-12);
    assert_string_equal(f.bound, "network");
    slow.workers_a_node = 2; /* twice the bytes leave a node, unless they are summed within it */
    assert_near(at(&slow, 4).network_s, 3.0, 1e-12);
    slow.within_nodes = true;
    assert_near(at(&slow, 4).network_s, 1.5, 1e-12);
}

static void a_fixed_step_is_shared_out(void **state)
{
    (void)state;
    struct forecast_parts strong = parts;
    strong.micro_batches = 6;
    strong.gradient_bytes = 0;
    assert_near(at(&strong, 1).step_s, 6.0, 1e-12);
    assert_near(at(&strong, 2).step_s, 3.0, 1e-12);
    assert_near(at(&strong, 4).step_s, 2.0, 1e-12); /* 6 over 4 workers: two have 2 */
    assert_near(at(&strong, 4).efficiency, 0.75, 1e-12);
}

static void the_slowest_of_many_counts(void **state)
{
    (void)state;
    struct forecast_parts noisy = parts;
    noisy.gradient_bytes = 0;
    noisy.scatter = 0.1;
    assert_near(at(&noisy, 1).ranks_s, 0.0, 0);
    /* Expected largest of 2, 4 and 64 normal values: 0.564, 1.029, 2.38; Blom's is within 5 %. */
    assert_near(at(&noisy, 2).ranks_s, 0.0564, 0.003);
    assert_near(at(&noisy, 4).ranks_s, 0.1029, 0.003);
    assert_near(at(&noisy, 64).ranks_s, 0.238, 0.006);
}

static void the_network_takes_cores_from_compute(void **state)
{
    (void)state;
    struct forecast_parts shared = parts;
    shared.cpu_s_a_byte = 1e-9;
    assert_near(at(&shared, 2).step_s, 1.0 + 0.01 + 0.1, 1e-12);
    shared.cores = 2;
    assert_near(at(&shared, 2).step_s, 1.0 + 0.01 + 0.05, 1e-12);
    shared.cores = 0.5;
    assert_near(at(&shared, 2).step_s, 1.0 + 0.01 + 0.2, 1e-12);
    /* 1 s on the link, of which 0.36 s pass behind backward and 0.2 s behind its own work. */
    shared.link_bytes_s = 1e8;
    assert_near(at(&shared, 2).exposed_s, 0.44, 1e-12);
    assert_near(at(&shared, 2).step_s, 1.64, 1e-12);
}

static void points_are_medians_over_repeats(void **state)
{
    (void)state;
    struct scale_sample list[] = {
        {.nodes = 2, .workers = 4, .clips = 16, .step_s = 2.0, .gradient_bytes = 8},
        {.nodes = 1, .workers = 2, .clips = 8, .step_s = 1.0, .gradient_bytes = 8},
        {.nodes = 2, .workers = 4, .clips = 16, .step_s = 1.6, .comm_wait_s = 0.8},
        {.nodes = 1, .workers = 2, .clips = 8, .step_s = 2.0},
        {.nodes = 2, .workers = 4, .clips = 16, .step_s = 4.0},
        {.nodes = 1, .workers = 2, .clips = 8, .step_s = 0.5}};
    struct scale_point *points = NULL;
    int count = 0;
    assert_int_equal(scale_points(&points, &count, &(struct scale_samples){list, 6}), LS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(points[0].nodes, 1);
    assert_int_equal(points[0].repeats, 3);
    assert_near(points[0].clips_per_s, 8.0, 1e-12);
    assert_near(points[0].slowest, 4.0, 1e-12);
    assert_near(points[0].fastest, 16.0, 1e-12);
    assert_near(points[1].clips_per_s, 8.0, 1e-12);
    assert_near(points[1].efficiency, 0.5, 1e-12);
    assert_near(points[1].comm_share, 0.0, 0); /* the median of 0, 0 and a half */
    free(points);
}

static void steps_are_read_after_the_warm_up(void **state)
{
    (void)state;
    char folder[] = "/tmp/lockstep-scale-XXXXXX";
    char path[64];
    char text[4096] = "";
    size_t used = 0;
    struct scale_sample sample = {0};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    for (int step = 1; step <= 7; step++) /* the first two are slow */
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"step\":%d,\"step_s\":%g,\"clips_per_s\":%g,\"data_wait_s\":0,"
                                 "\"comm_wait_s\":0.25,\"rank_wait_s\":0}\n",
                                 step, step <= 2 ? 9.0 : 2.0, step <= 2 ? 4 / 9.0 : 2.0);
    assert_int_equal(files_replace(path, text, used), LS_OK);
    assert_int_equal(scale_read(&sample, folder, 2, 5), LS_OK);
    assert_near(sample.step_s, 2.0, 1e-12);
    assert_near(sample.clips, 4.0, 1e-9);
    assert_near(sample.comm_wait_s, 0.25, 1e-12);
    assert_near(sample.scatter, 0.0, 1e-12);
    assert_int_equal(scale_read(&sample, folder, 2, 6), LS_DATA);
    assert_int_equal(files_remove(folder), LS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_takes_what_was_measured),
        cmocka_unit_test(a_fast_link_leaves_the_last_bucket),
        cmocka_unit_test(a_slow_link_shows_beyond_backward),
        cmocka_unit_test(a_fixed_step_is_shared_out),
        cmocka_unit_test(the_slowest_of_many_counts),
        cmocka_unit_test(the_network_takes_cores_from_compute),
        cmocka_unit_test(points_are_medians_over_repeats),
        cmocka_unit_test(steps_are_read_after_the_warm_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
