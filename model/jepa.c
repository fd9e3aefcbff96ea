/* Opens and closes a model and moves its state in and out.
 *
 * Everything that lives on the device is allocated here, once: flat arrays, sums, rotary tables,
 * index arrays and the activation arena.  Steps are in jepa_step.c. */
#include "model/jepa.h"

#include <stdlib.h>
#include <string.h>

#include "model/jepa_parts.h"
#include "model/rotary.h"

enum { COLOURS = 3 };

static const double norm_eps = 1e-6; /* of all layer norms with gain */

static ls_status check_options(const struct jepa_options *o)
{
    const struct model_shape *s = &o->shape;
    if (o->clips < 1 || o->groups < 1 || o->groups > CONFIG_MASK_GROUPS_MAX)
        return LS_FAIL(LS_USAGE, "%d clips and %d mask groups: at least 1 clip and 1 to %d groups",
                       o->clips, o->groups, CONFIG_MASK_GROUPS_MAX);
    if (o->frames < 1 || o->height < 1 || o->width < 1 || s->tubelet < 1 || s->patch < 1 ||
        o->frames % s->tubelet != 0 || o->height % s->patch != 0 || o->width % s->patch != 0)
        return LS_FAIL(LS_USAGE,
                       "clips of %d x %d x %d: tubelets of %d frames and patches of %d must fit",
                       o->frames, o->height, o->width, s->tubelet, s->patch);
    if (o->forward_only && o->division.ranks > 1)
        return LS_FAIL(LS_USAGE, "a model that is not trained has no state to divide");
    if (s->mask_tokens > 64)
        return LS_FAIL(LS_USAGE, "%d mask tokens: at most 64", s->mask_tokens);
    if (o->bucket_tokens < 0)
        return LS_FAIL(LS_USAGE, "buckets of %d tokens", o->bucket_tokens);
    if (!(o->loss_exponent > 0.0))
        return LS_FAIL(LS_USAGE, "loss exponent %g must be positive", o->loss_exponent);
    return LS_OK;
}

static ls_status set_limits(struct jepa *jepa)
{
    const struct jepa_options *o = &jepa->options;
    const int64_t tokens = (int64_t)(o->frames / o->shape.tubelet) * (o->height / o->shape.patch) *
                           (o->width / o->shape.patch);
    const int64_t rows_max = INT32_MAX / 2;
    if (tokens > rows_max / o->clips / o->groups)
        return LS_FAIL(LS_USAGE, "%d clips of %lld tokens: too many rows", o->clips,
                       (long long)tokens);
    struct layout_limits *l = &jepa->limits;
    *l = (struct layout_limits){
        .clips = o->clips,
        .groups = o->groups,
        .tokens = (int)tokens,
        .row_multiple = jepa->on.ops->row_multiple < 1 ? 1 : jepa->on.ops->row_multiple,
        .bucket = o->bucket_tokens < 1 ? 1 : o->bucket_tokens,
        .whole_target = o->whole_target,
    };
    for (int g = 0; g < o->groups; g++) {
        const bool free_context = o->max_context[g] < 1 || o->max_context[g] > tokens;
        const bool free_predicted = o->max_predicted[g] < 1 || o->max_predicted[g] > tokens;
        l->max_context[g] = free_context ? (int)tokens : o->max_context[g];
        l->max_predicted[g] = free_predicted ? (int)tokens : o->max_predicted[g];
    }
    layout_limits_complete(l);
    return LS_OK;
}

static ls_status take(const struct jepa *jepa, void *out, int64_t count, size_t element_bytes)
{
    void *memory_dev = NULL;
    const ls_status st =
        jepa->on.ops->allocate(jepa->on.device, &memory_dev, (size_t)count * element_bytes);
    memcpy(out, &memory_dev, sizeof memory_dev);
    return st;
}

static ls_status open_flat(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct jepa_held *held = &jepa->held;
    struct jepa_flat *flat = &jepa->flat;
    void *memory = NULL;
    LS_TRY(take(jepa, &flat->weights_dev, held->masters, sizeof(float)));
    if (!jepa->options.forward_only) {
        LS_TRY(take(jepa, &flat->gradient_dev, held->all, sizeof(float)));
        LS_TRY(take(jepa, &flat->moment1_dev, held->moments, sizeof(float)));
        LS_TRY(take(jepa, &flat->moment2_dev, held->moments, sizeof(float)));
    }
    LS_TRY(take(jepa, &flat->ema_dev, held->ema_masters, sizeof(float)));
    flat->weights_compute_dev = flat->weights_dev;
    flat->ema_compute_dev = flat->ema_dev;
    if (jepa->on.dtype != OP_F32) {
        const size_t bytes = arena_element_bytes(jepa->on.dtype);
        flat->weights_compute_dev = flat->ema_compute_dev = NULL;
        LS_TRY(take(jepa, &flat->weights_compute_dev, held->all, bytes));
        LS_TRY(take(jepa, &flat->ema_compute_dev, held->ema_all, bytes));
    }
    if (jepa->on.ops->host_memory) {
        flat->gradient_host = flat->gradient_dev;
    } else if (!jepa->options.device_gradient && !jepa->options.forward_only) {
        LS_TRY(jepa->on.ops->host_allocate(jepa->on.device, &memory,
                                           (size_t)held->all * sizeof(float)));
        flat->gradient_host = memory;
    }
done:
    return st;
}

static ls_status open_sums(struct jepa *jepa)
{
    ls_status st = LS_OK;
    struct jepa_sums *sums = &jepa->sums;
    const int64_t dim = jepa->options.shape.dim;
    void *memory = NULL;
    const int64_t norms =
        jepa->held.divided ? division_buckets(&jepa->options.division, jepa->parameters->flat_count)
                           : 1;
    sums->count = jepa->options.groups + 5 * dim + norms;
    LS_TRY(take(jepa, &sums->loss_dev, sums->count, sizeof(double)));
    LS_TRY(take(jepa, &sums->gram_dev, dim * dim, sizeof(float)));
    LS_TRY(jepa->on.ops->host_allocate(jepa->on.device, &memory,
                                       (size_t)sums->count * sizeof(double)));
    sums->host = memory;
    sums->target_dev = sums->loss_dev + jepa->options.groups;
    sums->target_square_dev = sums->target_dev + dim;
    sums->prediction_dev = sums->target_square_dev + dim;
    sums->prediction_unit_dev = sums->prediction_dev + dim;
    sums->prediction_square_dev = sums->prediction_unit_dev + dim;
    sums->norm_dev = sums->prediction_square_dev + dim;
done:
    return st;
}

/* Rotary tables of encoder and predictor: cosines and sines of the one, then of the other. */
static ls_status open_rotary(struct jepa *jepa, struct block_shape *encoder,
                             struct block_shape *predictor)
{
    ls_status st = LS_OK;
    const struct jepa_options *o = &jepa->options;
    const int grid[3] = {o->frames / o->shape.tubelet, o->height / o->shape.patch,
                         o->width / o->shape.patch};
    int positions = 1;
    for (int i = 0; i < 3; i++)
        positions = grid[i] > positions ? grid[i] : positions;
    const int widths[2] = {rotary_axis_width(encoder->head_width),
                           rotary_axis_width(predictor->head_width)};
    struct block_shape *const shapes[2] = {encoder, predictor};
    const int64_t count = 2 * (int64_t)positions * (widths[0] + widths[1]);
    void *host = NULL;
    /* One element more, so that heads too narrow to turn still have a table. */
    LS_TRY(
        jepa->on.ops->host_allocate(jepa->on.device, &host, ((size_t)count + 1) * sizeof(float)));
    LS_TRY(take(jepa, &jepa->rotary_dev, count + 1, sizeof(float)));
    int64_t at = 0;
    for (int i = 0; i < 2; i++) {
        const int64_t table = (int64_t)positions * widths[i];
        float *values = host;
        rotary_fill(values + at, values + at + table, positions, widths[i]);
        shapes[i]->rotary = (struct op_rotary){
            .axis_width = widths[i],
            .grid_rows = grid[1],
            .grid_columns = grid[2],
            .cos_dev = jepa->rotary_dev + at,
            .sin_dev = jepa->rotary_dev + at + table,
            .positions = positions,
        };
        at += 2 * table;
    }
    LS_TRY(jepa->on.ops->upload(jepa->on.device, jepa->rotary_dev, host,
                                (size_t)count * sizeof(float)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    if (host != NULL)
        jepa->on.ops->host_release(jepa->on.device, host);
    return st;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

int jepa_checkpointable(const struct model_shape *shape)
{
    return shape->depth + shape->pred_depth - 1;
}

static int checkpointed_blocks(const struct jepa_options *options)
{
    if (!options->activation_checkpointing)
        return 0;
    return options->checkpointed_blocks > 0 ? options->checkpointed_blocks
                                            : jepa_checkpointable(&options->shape);
}

static ls_status open_networks(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct model_shape *s = &jepa->options.shape;
    const struct jepa_flat *flat = &jepa->flat;
    const int checkpointed = checkpointed_blocks(&jepa->options);
    const int in_predictor = smaller(checkpointed, s->pred_depth - 1);
    struct block_shape encoder = {.dim = s->dim,
                                  .hidden = s->hidden,
                                  .heads = s->heads,
                                  .head_width = s->dim / s->heads,
                                  .eps = norm_eps};
    struct block_shape predictor = {.dim = s->pred_dim,
                                    .hidden = s->pred_hidden,
                                    .heads = s->pred_heads,
                                    .head_width = s->pred_dim / s->pred_heads,
                                    .eps = norm_eps};
    const struct layer_space trained = {.parameters = jepa->parameters,
                                        .weights_dev = flat->weights_dev,
                                        .compute_dev = flat->weights_compute_dev,
                                        .dtype = jepa->on.dtype,
                                        .gradient_dev = flat->gradient_dev,
                                        .vectors_dev = jepa->held.vectors_dev,
                                        .vector_at = jepa->held.vector_at};
    const struct layer_space ema = {.parameters = jepa->parameters,
                                    .weights_dev = flat->ema_dev,
                                    .compute_dev = flat->ema_compute_dev,
                                    .dtype = jepa->on.dtype,
                                    .vectors_dev =
                                        jepa->held.vectors_dev == NULL
                                            ? NULL
                                            : jepa->held.vectors_dev + jepa->held.weight_vectors,
                                    .vector_at = jepa->held.vector_at};
    LS_TRY(open_rotary(jepa, &encoder, &predictor));
    LS_TRY(encoder_open(&jepa->context, &trained, &encoder));
    LS_TRY(encoder_open(&jepa->target, &ema, &encoder));
    LS_TRY(predictor_open(&jepa->predictor, &trained, &predictor));
    LS_TRY(encoder_context_memory_open(&jepa->context_memory, s->depth,
                                       smaller(checkpointed - in_predictor, s->depth)));
    LS_TRY(predictor_memory_open(&jepa->predictor_memory, s->pred_depth, in_predictor));
done:
    return st;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* `count` rounded up to a multiple. */
static int whole(int count, int multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

static ls_status open_memory(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct jepa_options *o = &jepa->options;
    const struct model_shape *s = &o->shape;
    const struct layout_limits *l = &jepa->limits;
    jepa_arena_lay_out(jepa);
    void *base_dev = NULL;
    LS_TRY(take(jepa, &base_dev, (int64_t)jepa->arena.peak, 1));
    jepa->arena.base_dev = base_dev;
    jepa_arena_lay_out(jepa);

    jepa->pixel_bytes = (size_t)o->frames * (size_t)o->height * (size_t)o->width * COLOURS *
                        (o->float_clips ? sizeof(float) : 1);
    LS_TRY(jepa_slots_open(jepa));

    const int64_t row_limits[] = {l->target_rows, l->query_rows, l->context_rows, l->predictor_rows,
                                  l->prediction_rows};
    const int column_limits[] = {3 * s->dim, s->hidden, 3 * s->pred_dim, s->pred_hidden,
                                 COLOURS * s->tubelet * s->patch * s->patch};
    struct op_limits limits = {
        .heads = larger(s->heads, s->pred_heads),
        .head_width = larger(s->dim / s->heads, s->pred_dim / s->pred_heads),
        .max_length = larger(whole(l->tokens, l->bucket), whole(l->tokens, l->row_multiple)),
        .sequences = o->groups * o->clips,
    };
    for (size_t i = 0; i < sizeof row_limits / sizeof *row_limits; i++)
        if (row_limits[i] > limits.rows)
            limits.rows = row_limits[i];
    for (size_t i = 0; i < sizeof column_limits / sizeof *column_limits; i++)
        if (column_limits[i] > limits.columns)
            limits.columns = column_limits[i];
    LS_TRY(jepa->on.ops->reserve(jepa->on.device, &limits));
done:
    return st;
}

ls_status jepa_open(struct jepa **out, const struct jepa_options *options,
                    const struct op_table *ops, struct op_device *device)
{
    ls_status st = LS_OK;
    struct jepa *jepa = NULL;
    *out = NULL;
    LS_TRY(check_options(options));
    jepa = calloc(1, sizeof *jepa);
    if (jepa == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a model");
        goto done;
    }
    jepa->options = *options;
    jepa->on = (struct layer_device){
        .ops = ops, .device = device, .dtype = options->dtype, .demand = &jepa->demand};
    LS_TRY(parameters_open(&jepa->parameters, &options->shape));
    LS_TRY(set_limits(jepa));
    const size_t count = (size_t)jepa->parameters->count;
    jepa->adam_steps = calloc(count, sizeof *jepa->adam_steps);
    jepa->pieces = calloc(count, sizeof *jepa->pieces);
    jepa->part_pieces = calloc(count, sizeof *jepa->part_pieces);
    if (jepa->adam_steps == NULL || jepa->pieces == NULL || jepa->part_pieces == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %zu parameters", count);
        goto done;
    }
    LS_TRY(jepa_held_open(jepa));
    LS_TRY(open_flat(jepa));
    LS_TRY(jepa_vectors_open(jepa));
    LS_TRY(open_sums(jepa));
    LS_TRY(open_networks(jepa));
    LS_TRY(open_memory(jepa));
    *out = jepa;
    jepa = NULL;
done:
    jepa_close(&jepa);
    return st;
}

static void close_flat(struct jepa *jepa)
{
    const struct op_table *ops = jepa->on.ops;
    struct jepa_flat *flat = &jepa->flat;
    void *const owned[] = {
        flat->weights_dev,
        flat->gradient_dev,
        flat->moment1_dev,
        flat->moment2_dev,
        flat->ema_dev,
        flat->weights_compute_dev == flat->weights_dev ? NULL : flat->weights_compute_dev,
        flat->ema_compute_dev == flat->ema_dev ? NULL : flat->ema_compute_dev,
        jepa->sums.loss_dev,
        jepa->sums.gram_dev,
        jepa->rotary_dev,
        jepa->arena.base_dev,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i] != NULL)
            ops->release(jepa->on.device, owned[i]);
    if (flat->gradient_host != NULL && flat->gradient_host != flat->gradient_dev)
        ops->host_release(jepa->on.device, flat->gradient_host);
    if (jepa->sums.host != NULL)
        ops->host_release(jepa->on.device, jepa->sums.host);
}

void jepa_close(struct jepa **jepa)
{
    struct jepa *j = *jepa;
    if (j == NULL)
        return;
    jepa_slots_close(j);
    encoder_close(&j->context);
    encoder_close(&j->target);
    predictor_close(&j->predictor);
    encoder_context_memory_close(&j->context_memory);
    predictor_memory_close(&j->predictor_memory);
    close_flat(j);
    jepa_held_close(j);
    parameters_close(&j->parameters);
    free(j->adam_steps);
    free(j->pieces);
    free(j->part_pieces);
    free(j);
    *jepa = NULL;
}

const struct parameters *jepa_parameters(const struct jepa *jepa)
{
    return jepa->parameters;
}

void jepa_set_demand(struct jepa *jepa, jepa_demand ask, void *context)
{
    jepa->demand = (struct layer_demand){.ask = ask, .context = context};
}

float *jepa_gradient_host(struct jepa *jepa)
{
    return jepa->flat.gradient_host;
}

float *jepa_gradient_device(struct jepa *jepa)
{
    return jepa->flat.gradient_dev;
}

int jepa_bucket_tokens(int64_t clip_tokens)
{
    enum { BUCKETS_A_CLIP = 64, BUCKET_MIN = 8, BUCKET_MAX = 128 };
    int bucket = BUCKET_MIN;
    while (bucket < BUCKET_MAX && 2 * (int64_t)bucket * BUCKETS_A_CLIP <= clip_tokens)
        bucket *= 2;
    return bucket;
}
