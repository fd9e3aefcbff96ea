/* No weight, bias, gain or mask token is left at a special value such as 0 or 1, so that nothing
 * that a wrong formula would change stays hidden. */
#include "tests/support/jepa_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

static const struct jepa_case_shape shapes[] = {
    {.name = "two groups, head widths 10 and 6",
     .model = {.patch = 3,
               .tubelet = 1,
               .dim = 20,
               .depth = 2,
               .heads = 2,
               .hidden = 33,
               .pred_dim = 18,
               .pred_depth = 2,
               .pred_heads = 3,
               .pred_hidden = 25,
               .mask_tokens = 3,
               .init_std = 0.02},
     .clips = 2,
     .groups = 2,
     .grid = {3, 2, 4},
     .context = {7, 1},
     .predicted = {9, 22},
     .mask_token = 1,
     .exponent = 1.0},
    {.name = "one block each, head width 8, squared loss",
     .model = {.patch = 2,
               .tubelet = 2,
               .dim = 24,
               .depth = 1,
               .heads = 3,
               .hidden = 17,
               .pred_dim = 14,
               .pred_depth = 1,
               .pred_heads = 1,
               .pred_hidden = 29,
               .mask_tokens = 1,
               .init_std = 0.02},
     .clips = 3,
     .groups = 1,
     .grid = {2, 3, 3},
     .context = {5},
     .predicted = {11},
     .mask_token = 0,
     .exponent = 2.0},
    {.name = "three groups, heads too narrow to turn, every token used",
     .model = {.patch = 1,
               .tubelet = 1,
               .dim = 8,
               .depth = 3,
               .heads = 4,
               .hidden = 40,
               .pred_dim = 12,
               .pred_depth = 3,
               .pred_heads = 3,
               .pred_hidden = 7,
               .mask_tokens = 2,
               .init_std = 0.02},
     .clips = 1,
     .groups = 3,
     .grid = {1, 4, 5},
     .context = {19, 3, 10},
     .predicted = {1, 17, 5},
     .mask_token = 1,
     .exponent = 1.5},
};

const struct jepa_case_shape *jepa_case_shapes(int *out_count)
{
    *out_count = sizeof shapes / sizeof *shapes;
    return shapes;
}

/* Spread of a parameter's values: linear maps keep the scale of what they take. */
static double spread(const struct parameter *p)
{
    if (p->kind == PARAMETER_MASK_TOKEN)
        return 1.0;
    if (p->dimensions == 1)
        return 0.3;
    return 1.0 / sqrt((double)p->count / (double)p->shape[0]);
}

static void draw_state(struct jepa_case *it, struct random_stream *stream)
{
    for (int i = 0; i < it->parameters->count; i++) {
        const struct parameter *p = &it->parameters->table[i];
        const double mean = p->kind == PARAMETER_GAIN ? 1.0 : 0.0;
        for (int64_t k = p->offset; k < p->offset + p->count; k++) {
            it->weights[k] = (float)(mean + spread(p) * random_normal(stream));
            if (p->encoder) /* near the weights, as an EMA is, but not equal */
                it->ema[k] = it->weights[k] + (float)(0.05 * random_normal(stream));
        }
    }
}

/* Both lists of a clip and group: disjoint, in no order. */
static void draw_lists(int32_t *context, int contexts, int32_t *predicted, int predictions,
                       int32_t *tokens, int count, struct random_stream *stream)
{
    for (int i = 0; i < count; i++)
        tokens[i] = i;
    for (int i = 0; i < contexts + predictions; i++) {
        const int other = i + (int)random_below(stream, (uint64_t)(count - i));
        const int32_t kept = tokens[i];
        tokens[i] = tokens[other];
        tokens[other] = kept;
        if (i < contexts)
            context[i] = tokens[i];
        else
            predicted[i - contexts] = tokens[i];
    }
}

static void draw_batch(struct jepa_case *it, int32_t *tokens, int count,
                       struct random_stream *stream)
{
    const struct jepa_case_shape *shape = it->shape;
    int32_t *list = it->lists;
    it->batch = (struct jepa_batch){.pixels = it->pixels,
                                    .clips = shape->clips,
                                    .frames = it->options.frames,
                                    .mask_token = shape->mask_token};
    for (int64_t i = 0; i < it->pixel_count; i++)
        it->pixels[i] = (float)random_normal(stream);
    for (int g = 0; g < shape->groups; g++) {
        const int contexts = shape->context[g];
        const int predictions = shape->predicted[g];
        it->batch.context[g] = list;
        it->batch.predicted[g] = list + (ptrdiff_t)shape->clips * contexts;
        it->batch.context_count[g] = contexts;
        it->batch.predicted_count[g] = predictions;
        for (int c = 0; c < shape->clips; c++)
            draw_lists(list + (ptrdiff_t)c * contexts, contexts,
                       list + (ptrdiff_t)shape->clips * contexts + (ptrdiff_t)c * predictions,
                       predictions, tokens, count, stream);
        list += (ptrdiff_t)shape->clips * (contexts + predictions);
    }
}

ls_status jepa_case_open(struct jepa_case *out, const struct jepa_case_shape *shape, uint64_t seed)
{
    ls_status st = LS_OK;
    struct random_stream stream;
    const struct model_shape *m = &shape->model;
    const int tokens = shape->grid[0] * shape->grid[1] * shape->grid[2];
    int32_t *order = calloc((size_t)tokens, sizeof *order);
    random_open(&stream, seed, RANDOM_TEST, 0, 0, 0);
    *out = (struct jepa_case){.shape = shape};
    out->options = (struct jepa_options){.shape = *m,
                                         .clips = shape->clips,
                                         .frames = shape->grid[0] * m->tubelet,
                                         .height = shape->grid[1] * m->patch,
                                         .width = shape->grid[2] * m->patch,
                                         .groups = shape->groups,
                                         .loss_exponent = shape->exponent,
                                         .beta1 = 0.9,
                                         .beta2 = 0.999,
                                         .eps = 1e-8,
                                         .float_clips = true};
    LS_TRY(parameters_open(&out->parameters, m));
    out->pixel_count =
        (int64_t)shape->clips * 3 * out->options.frames * out->options.height * out->options.width;
    const size_t flat = (size_t)out->parameters->flat_count;
    out->pixels = calloc((size_t)out->pixel_count, sizeof *out->pixels);
    out->lists =
        calloc((size_t)shape->clips * (size_t)(shape->groups * tokens), sizeof *out->lists);
    out->weights = calloc(flat, sizeof *out->weights);
    out->ema = calloc(flat, sizeof *out->ema);
    if (order == NULL || out->pixels == NULL || out->lists == NULL || out->weights == NULL ||
        out->ema == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a test case");
        goto done;
    }
    draw_state(out, &stream);
    draw_batch(out, order, tokens, &stream);
done:
    free(order);
    if (st != LS_OK)
        jepa_case_close(out);
    return st;
}

void jepa_case_close(struct jepa_case *it)
{
    parameters_close(&it->parameters);
    free(it->pixels);
    free(it->lists);
    free(it->weights);
    free(it->ema);
    memset(it, 0, sizeof *it);
}

ls_status jepa_case_model(struct jepa **out, const struct jepa_case *it,
                          const struct op_table *table, struct op_device *device)
{
    ls_status st = LS_OK;
    const struct jepa_state state = {
        .weights = it->weights, .ema = it->ema, .count = it->parameters->flat_count};
    LS_TRY(jepa_open(out, &it->options, table, device));
    LS_TRY(jepa_state_upload(*out, &state));
done:
    if (st != LS_OK)
        jepa_close(out);
    return st;
}

ls_status jepa_case_ignore(void *context, int64_t offset, int64_t count)
{
    (void)context;
    (void)offset;
    (void)count;
    return LS_OK;
}

ls_status jepa_case_step(struct jepa *jepa, const struct jepa_case *it, struct jepa_result *out)
{
    ls_status st = LS_OK;
    LS_TRY(jepa_begin_step(jepa));
    LS_TRY(jepa_micro_batch(jepa, &it->batch, 1.0, jepa_case_ignore, NULL));
    if (out != NULL)
        LS_TRY(jepa_result(jepa, out));
done:
    return st;
}

float *jepa_case_copy(const float *values, int64_t count)
{
    float *copy = malloc((size_t)count * sizeof *copy);
    if (copy == NULL)
        abort();
    memcpy(copy, values, (size_t)count * sizeof *copy);
    return copy;
}

bool jepa_case_same_bits(const float *a, const float *b, int64_t count)
{
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

double jepa_case_difference(const float *a, const float *b, int64_t count)
{
    double off = 0.0;
    double size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(off / size);
}
