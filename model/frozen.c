/* The target pass of training without masks: every clip is whole and every token is asked for, so
 * index arrays are made once and every call has the same shapes. */
#include "model/frozen.h"

#include <stdlib.h>
#include <string.h>

#include "model/arena.h"
#include "model/encoder.h"
#include "model/rotary.h"

enum { COLOURS = 3, PADDING = -2 };

static const double norm_eps = 1e-6;

struct frozen {
    struct frozen_options options;
    struct layer_device on;
    struct parameters *parameters;
    struct encoder encoder;
    struct encoder_target_memory memory;
    struct layout layout;
    struct arena arena;
    float *weights_dev;
    void *compute_dev;  /* weights_dev itself with float32 */
    float *rotary_dev;  /* cosines, then sines */
    int32_t *index_dev; /* starts, lengths, positions, patches */
    int32_t *index;     /* the same in host memory */
    void *pixels_dev;   /* NULL where memory is the host's */
    size_t pixel_bytes;
    int grid[3], tokens;
    int64_t rows;
};

static ls_status check(const struct frozen_options *o)
{
    const struct model_shape *s = &o->shape;
    if (o->clips < 1 || o->frames < 1 || o->height < 1 || o->width < 1 ||
        o->frames % s->tubelet != 0 || o->height % s->patch != 0 || o->width % s->patch != 0)
        return LS_FAIL(LS_USAGE,
                       "clips of %d x %d x %d: tubelets of %d frames and patches of %d must fit",
                       o->frames, o->height, o->width, s->tubelet, s->patch);
    return LS_OK;
}

static ls_status take(const struct frozen *frozen, void *out, size_t bytes)
{
    void *memory_dev = NULL;
    const ls_status st = frozen->on.ops->allocate(frozen->on.device, &memory_dev, bytes);
    memcpy(out, &memory_dev, sizeof memory_dev);
    return st;
}

static ls_status open_weights(struct frozen *frozen)
{
    ls_status st = LS_OK;
    const size_t count = (size_t)frozen->parameters->encoder_count;
    LS_TRY(take(frozen, &frozen->weights_dev, count * sizeof(float)));
    frozen->compute_dev = frozen->weights_dev;
    if (frozen->on.dtype != OP_F32) {
        frozen->compute_dev = NULL;
        LS_TRY(take(frozen, &frozen->compute_dev, count * arena_element_bytes(frozen->on.dtype)));
    }
done:
    return st;
}

static ls_status open_rotary(struct frozen *frozen, struct op_rotary *out, int head_width)
{
    ls_status st = LS_OK;
    const struct op_table *ops = frozen->on.ops;
    const int axis = rotary_axis_width(head_width);
    int positions = 1;
    void *host = NULL;
    for (int i = 0; i < 3; i++)
        positions = frozen->grid[i] > positions ? frozen->grid[i] : positions;
    const size_t table = (size_t)positions * (size_t)axis;
    /* One element more: heads too narrow to turn have an empty table. */
    const size_t bytes = (2 * table + 1) * sizeof(float);
    LS_TRY(ops->host_allocate(frozen->on.device, &host, bytes));
    LS_TRY(take(frozen, &frozen->rotary_dev, bytes));
    rotary_fill(host, (float *)host + table, positions, axis);
    LS_TRY(ops->upload(frozen->on.device, frozen->rotary_dev, host, 2 * table * sizeof(float)));
    LS_TRY(ops->synchronize(frozen->on.device));
    *out = (struct op_rotary){.axis_width = axis,
                              .grid_rows = frozen->grid[1],
                              .grid_columns = frozen->grid[2],
                              .cos_dev = frozen->rotary_dev,
                              .sin_dev = frozen->rotary_dev + table,
                              .positions = positions};
done:
    if (host != NULL)
        ops->host_release(frozen->on.device, host);
    return st;
}

/* Clip after clip, all of one length; what the device pads belongs to none. */
static ls_status open_layout(struct frozen *frozen)
{
    ls_status st = LS_OK;
    const int clips = frozen->options.clips;
    const int64_t rows = frozen->rows;
    const int64_t true_rows = (int64_t)clips * frozen->tokens;
    const size_t count = 2 * (size_t)clips + 2 * (size_t)rows;
    void *host = NULL;
    LS_TRY(frozen->on.ops->host_allocate(frozen->on.device, &host, count * sizeof(int32_t)));
    frozen->index = host;
    LS_TRY(take(frozen, &frozen->index_dev, count * sizeof(int32_t)));
    int32_t *start = frozen->index;
    int32_t *length = start + clips;
    int32_t *position = length + clips;
    int32_t *patch = position + rows;
    for (int c = 0; c < clips; c++) {
        start[c] = c * frozen->tokens;
        length[c] = frozen->tokens;
    }
    for (int64_t r = 0; r < rows; r++) {
        position[r] = r < true_rows ? (int32_t)(r % frozen->tokens) : 0;
        patch[r] = r < true_rows ? (int32_t)r : PADDING;
    }
    LS_TRY(frozen->on.ops->upload(frozen->on.device, frozen->index_dev, frozen->index,
                                  count * sizeof(int32_t)));
    LS_TRY(frozen->on.ops->synchronize(frozen->on.device));
    const struct layout_rows all = {
        .sequences = {.count = clips,
                      .rows = rows,
                      .true_rows = true_rows,
                      .head_rows = rows,
                      .step = frozen->tokens,
                      .max_length = frozen->tokens,
                      .start = start,
                      .length = length,
                      .start_dev = frozen->index_dev,
                      .length_dev = frozen->index_dev + clips},
        .positions_dev = frozen->index_dev + 2 * (ptrdiff_t)clips,
    };
    frozen->layout = (struct layout){.clips = clips,
                                     .groups = 1,
                                     .tokens = frozen->tokens,
                                     .target = all,
                                     .queries = all,
                                     .target_patches_dev = all.positions_dev + rows};
done:
    return st;
}

static void lay_out(struct frozen *frozen)
{
    const struct layout_limits limits = {.target_rows = frozen->rows, .query_rows = frozen->rows};
    frozen->arena.used = 0;
    encoder_target_outputs_take(&frozen->memory, &frozen->arena, &frozen->encoder, &limits);
    encoder_target_take(&frozen->memory, &frozen->arena, &frozen->encoder, frozen->on.dtype,
                        &limits);
}

static ls_status open_memory(struct frozen *frozen)
{
    ls_status st = LS_OK;
    const struct frozen_options *o = &frozen->options;
    const struct model_shape *s = &o->shape;
    const int wide[] = {3 * s->dim, s->hidden, COLOURS * s->tubelet * s->patch * s->patch};
    struct op_limits limits = {.rows = frozen->rows,
                               .heads = s->heads,
                               .head_width = s->dim / s->heads,
                               .max_length = frozen->tokens,
                               .sequences = o->clips};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        limits.columns = wide[i] > limits.columns ? wide[i] : limits.columns;
    lay_out(frozen);
    void *base_dev = NULL;
    LS_TRY(take(frozen, &base_dev, frozen->arena.peak));
    frozen->arena.base_dev = base_dev;
    lay_out(frozen);
    frozen->pixel_bytes =
        (size_t)o->clips * (size_t)o->frames * (size_t)o->height * (size_t)o->width * COLOURS;
    if (!frozen->on.ops->host_memory)
        LS_TRY(take(frozen, &frozen->pixels_dev, frozen->pixel_bytes));
    LS_TRY(frozen->on.ops->reserve(frozen->on.device, &limits));
done:
    return st;
}

static ls_status open_encoder(struct frozen *frozen)
{
    ls_status st = LS_OK;
    const struct model_shape *s = &frozen->options.shape;
    struct block_shape shape = {.dim = s->dim,
                                .hidden = s->hidden,
                                .heads = s->heads,
                                .head_width = s->dim / s->heads,
                                .eps = norm_eps};
    const struct layer_space space = {.parameters = frozen->parameters,
                                      .weights_dev = frozen->weights_dev,
                                      .compute_dev = frozen->compute_dev,
                                      .dtype = frozen->on.dtype};
    LS_TRY(open_rotary(frozen, &shape.rotary, shape.head_width));
    LS_TRY(encoder_open(&frozen->encoder, &space, &shape));
done:
    return st;
}

ls_status frozen_open(struct frozen **out, const struct frozen_options *options,
                      const struct op_table *ops, struct op_device *device)
{
    ls_status st = LS_OK;
    const struct model_shape *s = &options->shape;
    struct frozen *frozen = NULL;
    *out = NULL;
    frozen = calloc(1, sizeof *frozen);
    if (frozen == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for an encoder");
        goto done;
    }
    frozen->options = *options;
    frozen->on = (struct layer_device){.ops = ops, .device = device, .dtype = options->dtype};
    LS_TRY(parameters_open(&frozen->parameters, s));
    LS_TRY(check(options));
    frozen->grid[0] = options->frames / s->tubelet;
    frozen->grid[1] = options->height / s->patch;
    frozen->grid[2] = options->width / s->patch;
    const int64_t tokens = (int64_t)frozen->grid[0] * frozen->grid[1] * frozen->grid[2];
    if (tokens > INT32_MAX / 4 / options->clips) {
        st = LS_FAIL(LS_USAGE, "%d clips of %lld tokens: too many rows", options->clips,
                     (long long)tokens);
        goto done;
    }
    frozen->tokens = (int)tokens;
    const int64_t multiple = ops->row_multiple < 1 ? 1 : ops->row_multiple;
    frozen->rows = (options->clips * tokens + multiple - 1) / multiple * multiple;
    LS_TRY(open_weights(frozen));
    LS_TRY(open_encoder(frozen));
    LS_TRY(open_layout(frozen));
    LS_TRY(open_memory(frozen));
    *out = frozen;
    frozen = NULL;
done:
    frozen_close(&frozen);
    return st;
}

void frozen_close(struct frozen **frozen)
{
    struct frozen *f = *frozen;
    if (f == NULL)
        return;
    void *const owned[] = {
        f->weights_dev, f->compute_dev == f->weights_dev ? NULL : f->compute_dev,
        f->rotary_dev,  f->index_dev,
        f->pixels_dev,  f->arena.base_dev,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i] != NULL)
            f->on.ops->release(f->on.device, owned[i]);
    if (f->index != NULL)
        f->on.ops->host_release(f->on.device, f->index);
    encoder_close(&f->encoder);
    parameters_close(&f->parameters);
    free(f);
    *frozen = NULL;
}

const struct parameters *frozen_parameters(const struct frozen *frozen)
{
    return frozen->parameters;
}

int frozen_tokens(const struct frozen *frozen)
{
    return frozen->tokens;
}

int64_t frozen_rows(const struct frozen *frozen)
{
    return frozen->rows;
}

ls_status frozen_weights(struct frozen *frozen, const float *weights)
{
    ls_status st = LS_OK;
    const int64_t count = frozen->parameters->encoder_count;
    const struct op_table *ops = frozen->on.ops;
    LS_TRY(ops->upload(frozen->on.device, frozen->weights_dev, weights,
                       (size_t)count * sizeof(float)));
    if (frozen->compute_dev != frozen->weights_dev)
        LS_TRY(ops->cast(frozen->on.device,
                         layer_matrix(frozen->compute_dev, 1, count, frozen->on.dtype),
                         layer_matrix(frozen->weights_dev, 1, count, OP_F32)));
    LS_TRY(ops->synchronize(frozen->on.device));
done:
    return st;
}

ls_status frozen_encode(struct frozen *frozen, const uint8_t *pixels)
{
    ls_status st = LS_OK;
    const struct frozen_options *o = &frozen->options;
    const struct op_table *ops = frozen->on.ops;
    struct op_clips clips = {.pixels_dev = pixels,
                             .kind = OP_PIXELS_U8_THWC,
                             .clips = o->clips,
                             .frames = o->frames,
                             .height = o->height,
                             .width = o->width,
                             .tubelet = o->shape.tubelet,
                             .patch = o->shape.patch};
    encoder_normalisation(&clips);
    if (frozen->pixels_dev != NULL) {
        LS_TRY(ops->upload(frozen->on.device, frozen->pixels_dev, pixels, frozen->pixel_bytes));
        clips.pixels_dev = frozen->pixels_dev;
    }
    LS_TRY(encoder_target_fwd(&frozen->on, &frozen->encoder, &frozen->memory, clips,
                              &frozen->layout, true));
    LS_TRY(ops->synchronize(frozen->on.device));
done:
    return st;
}

const float *frozen_features(const struct frozen *frozen)
{
    return frozen->memory.raw;
}

ls_status frozen_download(struct frozen *frozen, float *out, int clips)
{
    ls_status st = LS_OK;
    const size_t count = (size_t)clips * (size_t)frozen->tokens * (size_t)frozen->options.shape.dim;
    LS_TRY(frozen->on.ops->download(frozen->on.device, out, frozen->memory.raw,
                                    count * sizeof(float)));
    LS_TRY(frozen->on.ops->synchronize(frozen->on.device));
done:
    return st;
}
