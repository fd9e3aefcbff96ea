/* A state divided over ranks (optimizer_state: sharded), without any communication: several models
 * in one process, whose slices are copied from one to the other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/jepa_case.h"

enum { RANKS = 3, SLICE = 448, STEPS = 3 };

static struct op_device *device;

static const struct jepa_update plain_update = {
    .lr = 0.01, .weight_decay = 0.1, .ema_keep = 0.9, .gradient_scale = 0.5};

/* The case's model whole, and divided over ranks. */
struct fixture {
    struct jepa_case it;
    struct jepa *whole, *ranks[RANKS];
    struct division division;
    float *buffer, *other; /* [flat_count] each */
};

/* Slice of bucket `b` of every array of the state. */
static struct jepa_state slice_of(const struct fixture *f, int rank, int64_t b)
{
    struct jepa_state state = {0};
    state.count = division_part(&state.offset, &f->division, b, rank, f->division.count);
    return state;
}

static void upload_slices(const struct fixture *f, struct jepa *jepa, int rank)
{
    for (int64_t b = 0; b < division_buckets(&f->division, f->division.count); b++) {
        struct jepa_state state = slice_of(f, rank, b);
        state.weights = f->it.weights + state.offset;
        state.ema = f->it.ema + state.offset;
        assert_int_equal(jepa_state_upload(jepa, &state), LS_OK);
    }
}

static void spread_vectors(struct fixture *f)
{
    int64_t count = 0;
    (void)jepa_vectors(f->ranks[0], &count);
    float *sum = calloc((size_t)count + 1, sizeof *sum);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(jepa_vectors_bring(f->ranks[r]), LS_OK);
        const float *part = jepa_vectors(f->ranks[r], &count);
        for (int64_t i = 0; i < count; i++)
            sum[i] += part[i];
    }
    for (int r = 0; r < RANKS; r++) {
        if (count > 0)
            memcpy(jepa_vectors(f->ranks[r], &count), sum, (size_t)count * sizeof *sum);
        assert_int_equal(jepa_vectors_take(f->ranks[r]), LS_OK);
    }
    free(sum);
}

static void spread_bucket(struct fixture *f, enum jepa_copy which, int64_t bucket)
{
    for (int from = 0; from < RANKS; from++) {
        const struct jepa_copy_place place = jepa_copy_place(f->ranks[from], which);
        int64_t offset = 0;
        const int64_t count = division_part(&offset, &f->division, bucket, from, place.total);
        assert_int_equal(jepa_copy_bring(f->ranks[from], which, bucket), LS_OK);
        for (int to = 0; to < RANKS; to++)
            if (to != from && count > 0)
                memcpy((char *)jepa_copy_place(f->ranks[to], which).data +
                           offset * place.element_bytes,
                       (const char *)place.data + offset * place.element_bytes,
                       (size_t)(count * place.element_bytes));
    }
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(jepa_copy_take(f->ranks[r], which, bucket), LS_OK);
}

static void spread(struct fixture *f, bool ema)
{
    spread_vectors(f);
    for (int c = JEPA_COPIES - 1; c >= 0; c--) {
        const int64_t total = jepa_copy_place(f->ranks[0], (enum jepa_copy)c).total;
        for (int64_t b = 0;
             (c == JEPA_COPY_WEIGHTS || ema) && b < division_buckets(&f->division, total); b++)
            spread_bucket(f, (enum jepa_copy)c, b);
    }
}

static void open_fixture(struct fixture *f, int which, enum op_dtype dtype)
{
    int count = 0;
    assert_int_equal(jepa_case_open(&f->it, &jepa_case_shapes(&count)[which], 5), LS_OK);
    f->it.options.dtype = dtype;
    assert_int_equal(jepa_case_model(&f->whole, &f->it, &op_table_cpu, device), LS_OK);
    f->division =
        (struct division){.count = f->it.parameters->flat_count, .slice = SLICE, .ranks = RANKS};
    assert_true(division_buckets(&f->division, f->division.count) > 3);
    f->buffer = calloc((size_t)f->division.count, sizeof *f->buffer);
    f->other = calloc((size_t)f->division.count, sizeof *f->other);
    for (int r = 0; r < RANKS; r++) {
        struct jepa_options options = f->it.options;
        options.division = f->division;
        options.rank = r;
        assert_int_equal(jepa_open(&f->ranks[r], &options, &op_table_cpu, device), LS_OK);
        upload_slices(f, f->ranks[r], r);
    }
    spread(f, true);
}

static void close_fixture(struct fixture *f)
{
    for (int r = 0; r < RANKS; r++)
        jepa_close(&f->ranks[r]);
    jepa_close(&f->whole);
    free(f->buffer);
    free(f->other);
    jepa_case_close(&f->it);
}

static void assert_same(const struct fixture *f, struct jepa *a, struct jepa *b,
                        struct jepa_state range, size_t array)
{
    struct jepa_state theirs = range;
    memcpy((char *)&range + array, &f->buffer, sizeof f->buffer);
    memcpy((char *)&theirs + array, &f->other, sizeof f->other);
    memset(f->buffer, 0, (size_t)f->division.count * sizeof(float));
    memset(f->other, 0, (size_t)f->division.count * sizeof(float));
    assert_int_equal(jepa_state_download(a, &range), LS_OK);
    assert_int_equal(jepa_state_download(b, &theirs), LS_OK);
    assert_true(jepa_case_same_bits(f->buffer, f->other, f->division.count));
}

/* What all compute with, and what each rank keeps. */
static void assert_same_states(const struct fixture *f)
{
    const struct jepa_state all = {.count = f->division.count, .copies = true};
    for (int r = 0; r < RANKS; r++) {
        assert_same(f, f->whole, f->ranks[r], all, offsetof(struct jepa_state, weights));
        assert_same(f, f->whole, f->ranks[r], all, offsetof(struct jepa_state, ema));
        for (int64_t b = 0; b < division_buckets(&f->division, f->division.count); b++) {
            const struct jepa_state slice = slice_of(f, r, b);
            assert_same(f, f->whole, f->ranks[r], slice, offsetof(struct jepa_state, weights));
            assert_same(f, f->whole, f->ranks[r], slice, offsetof(struct jepa_state, moment1));
            assert_same(f, f->whole, f->ranks[r], slice, offsetof(struct jepa_state, moment2));
            assert_same(f, f->whole, f->ranks[r], slice, offsetof(struct jepa_state, ema));
        }
    }
}

static void take_steps(struct fixture *f)
{
    struct jepa_result want;
    struct jepa_result got;
    for (int step = 0; step < STEPS; step++) {
        double whole_norm = 0;
        double squares = 0;
        f->it.batch.mask_token = step == 0 || f->it.shape->model.mask_tokens < 2 ? 0 : 1;
        assert_int_equal(jepa_case_step(f->whole, &f->it, &want), LS_OK);
        assert_int_equal(jepa_gradient_norm(f->whole, &whole_norm), LS_OK);
        assert_int_equal(jepa_update(f->whole, &plain_update), LS_OK);
        for (int r = 0; r < RANKS; r++) {
            double norm = 0;
            assert_int_equal(jepa_case_step(f->ranks[r], &f->it, &got), LS_OK);
            assert_true(got.loss == want.loss);
            assert_int_equal(jepa_gradient_norm(f->ranks[r], &norm), LS_OK);
            assert_true(norm > 0 && norm < whole_norm);
            squares += norm * norm;
            assert_int_equal(jepa_update(f->ranks[r], &plain_update), LS_OK);
        }
        assert_true(fabs(sqrt(squares) / whole_norm - 1) < 1e-12);
        spread(f, jepa_gathers_ema(f->ranks[0]));
    }
    assert_same_states(f);
}

static void run_case(int which, enum op_dtype dtype)
{
    struct fixture f;
    open_fixture(&f, which, dtype);
    assert_int_equal(jepa_gathers_ema(f.ranks[0]), dtype != OP_F32);
    take_steps(&f);
    close_fixture(&f);
}

static void divided_states_compute_the_bits_of_a_whole_one(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++)
        run_case(which, OP_F32);
}

static void copies_in_bf16_are_those_of_a_whole_state(void **state)
{
    (void)state;
    if (!op_cpu_has_fast_bf16(device))
        skip();
    run_case(0, OP_BF16);
    run_case(2, OP_BF16);
}

static void initial_values_are_those_of_a_whole_state(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 <= (op_cpu_has_fast_bf16(device) ? 1 : 0); bf16++) {
        struct fixture f;
        open_fixture(&f, 0, bf16 ? OP_BF16 : OP_F32);
        take_steps(&f); /* so that there is something to forget */
        assert_int_equal(jepa_initialize(f.whole, 11), LS_OK);
        for (int r = 0; r < RANKS; r++)
            assert_int_equal(jepa_initialize(f.ranks[r], 11), LS_OK);
        assert_same_states(&f);
        take_steps(&f);
        close_fixture(&f);
    }
}

static void a_range_of_another_rank_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 0, OP_F32);
    struct jepa_state range = {.moment1 = f.buffer, .offset = SLICE, .count = SLICE};
    assert_int_equal(jepa_state_download(f.ranks[1], &range), LS_OK);
    assert_int_equal(jepa_state_download(f.ranks[0], &range), LS_USAGE);
    range.count = SLICE + 1;
    assert_int_equal(jepa_state_download(f.ranks[1], &range), LS_USAGE);
    assert_string_equal(status_message(), "state range 448 + 449 is in no slice of rank 1");
    close_fixture(&f);
}

/* Weights that are not there before they are asked for. */
struct late {
    struct jepa *jepa;
    const float *truth[JEPA_COPIES];
    int64_t there[JEPA_COPIES];
    int asked;
};

static ls_status bring_late(void *context, enum jepa_copy which, int64_t end)
{
    struct late *late = context;
    const struct jepa_copy_place place = jepa_copy_place(late->jepa, which);
    const int64_t stop = end < place.total ? end : place.total;
    late->asked++;
    if (stop > late->there[which])
        memcpy((float *)place.data + late->there[which], late->truth[which] + late->there[which],
               (size_t)(stop - late->there[which]) * sizeof(float));
    late->there[which] = stop > late->there[which] ? stop : late->there[which];
    return LS_OK;
}

static void nothing_is_read_before_it_was_asked_for(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct fixture f;
        struct jepa_result want;
        struct jepa_result got;
        open_fixture(&f, which, OP_F32);
        assert_int_equal(jepa_case_step(f.whole, &f.it, &want), LS_OK);
        struct late late = {.jepa = f.ranks[0], .truth = {f.it.weights, f.it.ema}};
        for (int c = 0; c < JEPA_COPIES; c++) {
            const struct jepa_copy_place place = jepa_copy_place(f.ranks[0], (enum jepa_copy)c);
            memset(place.data, 0xFF, (size_t)place.total * sizeof(float)); /* NaN */
        }
        jepa_set_demand(f.ranks[0], bring_late, &late);
        assert_int_equal(jepa_case_step(f.ranks[0], &f.it, &got), LS_OK);
        assert_true(got.loss == want.loss);
        assert_true(late.asked > 6);
        assert_int_equal(late.there[JEPA_COPY_WEIGHTS], f.division.count);
        close_fixture(&f);
    }
}

static void impossible_divisions_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct jepa *jepa = NULL;
    open_fixture(&f, 1, OP_F32);
    struct jepa_options options = f.it.options;
    options.division = f.division;
    options.rank = RANKS;
    assert_int_equal(jepa_open(&jepa, &options, &op_table_cpu, device), LS_USAGE);
    options.rank = 0;
    options.division.count--;
    assert_int_equal(jepa_open(&jepa, &options, &op_table_cpu, device), LS_USAGE);
    options.division.count++;
    options.division.slice = SLICE + 1;
    assert_int_equal(jepa_open(&jepa, &options, &op_table_cpu, device), LS_USAGE);
    assert_null(jepa);
    close_fixture(&f);
}

/* The plan is what a rank keeps: moments by a third, with bf16 all that only the update reads. */
static void less_memory_is_planned(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 0, OP_F32);
    for (int bf16 = 0; bf16 <= 1; bf16++) {
        struct jepa_memory whole;
        struct jepa_memory part;
        struct jepa_options options = f.it.options;
        options.dtype = bf16 ? OP_BF16 : OP_F32;
        assert_int_equal(jepa_plan(&whole, &options, &op_table_cpu, device), LS_OK);
        options.division = f.division;
        assert_int_equal(jepa_plan(&part, &options, &op_table_cpu, device), LS_OK);
        const int64_t buckets = division_buckets(&f.division, f.division.count);
        assert_int_equal(part.moments, 2 * buckets * SLICE * (int64_t)sizeof(float));
        assert_true(whole.moments > 2 * part.moments);
        assert_true(bf16 ? whole.ema > part.ema : whole.ema <= part.ema);
        assert_true(part.device < whole.device);
        assert_true(whole.activations == part.activations);
    }
    close_fixture(&f);
}

static int open_device(void **state)
{
    (void)state;
    return op_cpu_open(&device, 1) == LS_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    op_cpu_close(&device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divided_states_compute_the_bits_of_a_whole_one),
        cmocka_unit_test(copies_in_bf16_are_those_of_a_whole_state),
        cmocka_unit_test(initial_values_are_those_of_a_whole_state),
        cmocka_unit_test(a_range_of_another_rank_is_refused),
        cmocka_unit_test(nothing_is_read_before_it_was_asked_for),
        cmocka_unit_test(impossible_divisions_are_refused),
        cmocka_unit_test(less_memory_is_planned),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
