/* Feature statistics: against a direct computation from the model's outputs, and on feature sets
 * whose answer is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/jepa_case.h"

static struct op_device *device;

static double *room(int64_t count)
{
    double *values = calloc((size_t)count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

static float *output_of(struct jepa *jepa, enum jepa_output which, int group, int64_t count)
{
    float *values = calloc((size_t)count + 1, sizeof *values);
    assert_non_null(values);
    assert_int_equal(jepa_output(jepa, which, group, values), LS_OK);
    return values;
}

/* Rows [count][dim] of the case's targets and predictions at all predicted tokens. */
struct features {
    int64_t rows, dim;
    double *targets, *predictions;
};

static void collect(struct features *out, struct jepa *jepa, const struct jepa_case *it)
{
    const struct jepa_batch *batch = &it->batch;
    const int *grid = it->shape->grid;
    const int64_t tokens = (int64_t)grid[0] * grid[1] * grid[2];
    const int64_t dim = it->options.shape.dim;
    *out = (struct features){.dim = dim};
    for (int g = 0; g < it->options.groups; g++)
        out->rows += (int64_t)batch->clips * batch->predicted_count[g];
    out->targets = room(out->rows * dim);
    out->predictions = room(out->rows * dim);
    float *goals = output_of(jepa, JEPA_TARGET_NORM, 0, batch->clips * tokens * dim);
    int64_t row = 0;
    for (int g = 0; g < it->options.groups; g++) {
        const int64_t predicted = batch->predicted_count[g];
        float *z = output_of(jepa, JEPA_PREDICTION, g, batch->clips * predicted * dim);
        for (int64_t i = 0; i < batch->clips * predicted; i++, row++)
            for (int64_t c = 0; c < dim; c++) {
                const int64_t token = i / predicted * tokens + batch->predicted[g][i];
                out->targets[row * dim + c] = (double)goals[token * dim + c];
                out->predictions[row * dim + c] = (double)z[i * dim + c];
            }
        free(z);
    }
    free(goals);
}

static double mean_of(const struct features *f, const double *values, int64_t channel)
{
    double sum = 0.0;
    for (int64_t r = 0; r < f->rows; r++)
        sum += values[r * f->dim + channel];
    return sum / (double)f->rows;
}

static double covariance(const struct features *f, int64_t a, int64_t b)
{
    const double mean_a = mean_of(f, f->targets, a);
    const double mean_b = mean_of(f, f->targets, b);
    double sum = 0.0;
    for (int64_t r = 0; r < f->rows; r++)
        sum += (f->targets[r * f->dim + a] - mean_a) * (f->targets[r * f->dim + b] - mean_b);
    return sum / (double)f->rows;
}

static double direct_cosine(const struct features *f)
{
    double *mean = room(f->dim);
    double sum = 0.0;
    double length = 0.0;
    for (int64_t c = 0; c < f->dim; c++) {
        mean[c] = mean_of(f, f->predictions, c);
        length += mean[c] * mean[c];
    }
    for (int64_t r = 0; r < f->rows; r++) {
        double product = 0.0;
        double own = 0.0;
        for (int64_t c = 0; c < f->dim; c++) {
            const double z = f->predictions[r * f->dim + c];
            product += z * mean[c];
            own += z * z;
        }
        sum += product / sqrt(own * length);
    }
    free(mean);
    return sum / (double)f->rows;
}

static void sums_give_what_the_features_give_directly(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        int count = 0;
        struct jepa_case it;
        struct jepa *jepa = NULL;
        struct features features;
        double std = 0.0;
        double cosine = 0.0;
        double trace = 0.0;
        double squares = 0.0;
        double direct_std = 0.0;
        assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[which], 9), LS_OK);
        it.options.whole_target = true;
        assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
        assert_int_equal(jepa_begin_step(jepa), LS_OK);
        assert_int_equal(jepa_want_gram(jepa), LS_OK);
        assert_int_equal(jepa_micro_batch(jepa, &it.batch, 0.5, NULL, NULL), LS_OK);
        assert_int_equal(jepa_micro_batch(jepa, &it.batch, 0.5, NULL, NULL), LS_OK);
        collect(&features, jepa, &it);
        const int64_t dim = features.dim;
        double *summed = room(jepa_statistics_count(jepa));
        float *gram = calloc((size_t)(dim * dim), sizeof *gram);
        assert_non_null(gram);
        assert_int_equal(jepa_statistics(jepa, summed), LS_OK);
        assert_int_equal(jepa_gram(jepa, gram), LS_OK);
        assert_true(summed[4 * dim] == 2.0 * (double)features.rows);
        jepa_statistics_reduce(jepa, summed, &std, &cosine);
        for (int64_t a = 0; a < dim; a++) {
            direct_std += sqrt(covariance(&features, a, a)) / (double)dim;
            trace += covariance(&features, a, a);
            for (int64_t b = 0; b < dim; b++)
                squares += pow(covariance(&features, a, b), 2.0);
        }
        assert_true(fabs(std - direct_std) < 1e-6 * direct_std);
        assert_true(fabs(cosine - direct_cosine(&features)) < 1e-6);
        const double rank = jepa_target_rank(jepa, summed, gram);
        assert_true(fabs(rank - trace * trace / squares) < 1e-4 * rank);
        free(summed);
        free(gram);
        free(features.targets);
        free(features.predictions);
        jepa_close(&jepa);
        jepa_case_close(&it);
    }
}

/* Sums and second moments of `rows` features that take +-scale[c] in channel c in turn: independent
 * channels of mean `mean`. */
static void known_sums(double *summed, float *gram, int64_t dim, const double *scale, double mean,
                       bool together)
{
    const double rows = 1024.0;
    memset(summed, 0, (size_t)(4 * dim + 1) * sizeof *summed);
    for (int64_t a = 0; a < dim; a++) {
        summed[a] = rows * mean;
        summed[dim + a] = rows * (mean * mean + scale[a] * scale[a]);
        for (int64_t b = 0; b < dim; b++) {
            const double shared = together || a == b ? scale[a] * scale[b] : 0.0;
            gram[a * dim + b] = (float)(rows * (mean * mean + shared));
        }
    }
    summed[4 * dim] = rows;
}

static void rank_and_spread_tell_a_collapse(void **state)
{
    (void)state;
    int count = 0;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    double std = 0.0;
    double cosine = 0.0;
    assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[0], 9), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    const int64_t dim = it.options.shape.dim;
    double *summed = room(jepa_statistics_count(jepa));
    double *scale = room(dim);
    float *gram = calloc((size_t)(dim * dim), sizeof *gram);
    assert_non_null(gram);
    for (int64_t c = 0; c < dim; c++)
        scale[c] = 0.5;
    known_sums(summed, gram, dim, scale, 0.25, false); /* all directions alike */
    assert_true(fabs(jepa_target_rank(jepa, summed, gram) - (double)dim) < 1e-4 * (double)dim);
    jepa_statistics_reduce(jepa, summed, &std, &cosine);
    assert_true(fabs(std - 0.5) < 1e-9);
    known_sums(summed, gram, dim, scale, 0.25, true); /* one direction: the spread stays */
    assert_true(fabs(jepa_target_rank(jepa, summed, gram) - 1.0) < 1e-4);
    jepa_statistics_reduce(jepa, summed, &std, &cosine);
    assert_true(fabs(std - 0.5) < 1e-9);
    for (int64_t c = 0; c < dim; c++)
        scale[c] = 0.0;
    known_sums(summed, gram, dim, scale, 0.25, false); /* all features alike */
    jepa_statistics_reduce(jepa, summed, &std, &cosine);
    assert_true(std < 1e-6);
    assert_true(cosine == 0.0);
    free(summed);
    free(scale);
    free(gram);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void second_moments_are_there_only_when_asked_for(void **state)
{
    (void)state;
    int count = 0;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[0], 9), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    const int64_t dim = it.options.shape.dim;
    float *gram = calloc((size_t)(dim * dim), sizeof *gram);
    assert_non_null(gram);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    assert_int_equal(jepa_gram(jepa, gram), LS_USAGE);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_want_gram(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it.batch, 1.0, NULL, NULL), LS_OK);
    assert_int_equal(jepa_gram(jepa, gram), LS_OK);
    assert_true(gram[0] > 0.0F);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK); /* the next step does not */
    assert_int_equal(jepa_gram(jepa, gram), LS_USAGE);
    free(gram);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static int open_device(void **state)
{
    (void)state;
    return op_cpu_open(&device, 2) == LS_OK ? 0 : -1;
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
        cmocka_unit_test(sums_give_what_the_features_give_directly),
        cmocka_unit_test(rank_and_spread_tell_a_collapse),
        cmocka_unit_test(second_moments_are_there_only_when_asked_for),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
