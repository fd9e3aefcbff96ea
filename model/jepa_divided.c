/* A state that is divided over ranks: what of it is here, and how what all ranks compute with gets
 * to where it is gathered and back.
 *
 * Moments are here only in this rank's slices.  With products in another dtype than float32 so are
 * weights and EMA; all ranks have their copies, and of the few parameters that are read as float32
 * (vectors) an array of its own: each rank fills in what lies in its slices and zeros, and the sum
 * over ranks is the whole.  With float32 weights and EMA are whole on every rank, because they are
 * computed with. */
#include <stdlib.h>

#include "model/jepa_parts.h"

enum { NO_ROW = -2 };

static bool is_vector(const struct parameter *parameter)
{
    return parameter->dimensions == 1 || parameter->kind == PARAMETER_MASK_TOKEN;
}

static int64_t vector_rows(const struct parameter *parameter)
{
    return (parameter->count + JEPA_VECTOR_ROW - 1) / JEPA_VECTOR_ROW;
}

/* Places of the vectors, in the table's order. */
static ls_status place_vectors(struct jepa *jepa)
{
    struct jepa_held *held = &jepa->held;
    const struct parameters *p = jepa->parameters;
    int64_t of_encoder = 0;
    held->vector_at = calloc((size_t)p->count, sizeof *held->vector_at);
    if (held->vector_at == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a table of %d parameters", p->count);
    for (int i = 0; i < p->count; i++) {
        const bool vector = is_vector(&p->table[i]);
        held->vector_at[i] = vector ? held->weight_vectors : -1;
        if (vector)
            held->weight_vectors += vector_rows(&p->table[i]) * JEPA_VECTOR_ROW;
        if (p->table[i].encoder)
            of_encoder = held->weight_vectors;
    }
    held->vectors = held->weight_vectors + of_encoder;
    return LS_OK;
}

ls_status jepa_held_open(struct jepa *jepa)
{
    struct jepa_held *held = &jepa->held;
    const struct division *division = &jepa->options.division;
    const int64_t flat = jepa->parameters->flat_count;
    const int64_t encoder = jepa->parameters->encoder_count;
    const int rank = jepa->options.rank;
    *held = (struct jepa_held){
        .all = flat, .ema_all = encoder, .masters = flat, .ema_masters = encoder, .moments = flat};
    if (jepa->options.forward_only)
        held->moments = 0;
    if (division->ranks <= 1)
        return LS_OK;
    if (division->count != flat || division->slice < JEPA_VECTOR_ROW ||
        division->slice % JEPA_VECTOR_ROW != 0 || rank < 0 || rank >= division->ranks)
        return LS_FAIL(LS_USAGE, "rank %d of %d, slices of %lld: no division of %lld parameters",
                       rank, division->ranks, (long long)division->slice, (long long)flat);
    held->divided = true;
    held->parts_only = jepa->on.dtype != OP_F32;
    held->all = held->masters = division_padded(division, flat);
    held->ema_all = held->ema_masters = division_padded(division, encoder);
    /* The last slice has its whole length, whatever it holds: nothing is read beyond an array. */
    held->moments = division_buckets(division, flat) * division->slice;
    if (!held->parts_only)
        return LS_OK;
    held->masters = held->moments;
    held->ema_masters = division_buckets(division, encoder) * division->slice;
    return place_vectors(jepa);
}

int64_t jepa_own_place(const struct jepa *jepa, int64_t offset)
{
    const struct division *division = &jepa->options.division;
    const int64_t slice = offset / division->slice;
    if (slice % division->ranks != jepa->options.rank)
        return -1;
    return slice / division->ranks * division->slice + offset % division->slice;
}

/* Which rows of this rank's masters the rows of the vectors are. */
static void list_rows(const struct jepa *jepa, int32_t *rows)
{
    const struct jepa_held *held = &jepa->held;
    const struct parameters *p = jepa->parameters;
    for (int i = 0; i < p->count; i++) {
        const struct parameter *parameter = &p->table[i];
        if (held->vector_at[i] < 0)
            continue;
        for (int64_t r = 0; r < vector_rows(parameter); r++) {
            const int64_t place = jepa_own_place(jepa, parameter->offset + r * JEPA_VECTOR_ROW);
            const int32_t row = place < 0 ? NO_ROW : (int32_t)(place / JEPA_VECTOR_ROW);
            const int64_t at = held->vector_at[i] / JEPA_VECTOR_ROW + r;
            rows[at] = row;
            if (parameter->encoder)
                rows[held->weight_vectors / JEPA_VECTOR_ROW + at] = row;
        }
    }
}

ls_status jepa_vectors_open(struct jepa *jepa)
{
    ls_status st = LS_OK;
    struct jepa_held *held = &jepa->held;
    const struct op_table *ops = jepa->on.ops;
    struct op_device *device = jepa->on.device;
    const size_t bytes = (size_t)held->vectors * sizeof(float);
    const size_t index_bytes = (size_t)(held->vectors / JEPA_VECTOR_ROW) * sizeof(int32_t);
    void *memory = NULL;
    void *rows = NULL;
    if (held->vectors == 0)
        return LS_OK;
    LS_TRY(ops->allocate(device, &memory, bytes));
    held->vectors_dev = memory;
    LS_TRY(ops->allocate(device, &memory, index_bytes));
    held->vector_rows_dev = memory;
    if (ops->host_memory || jepa->options.device_gradient) {
        held->vectors_host = held->vectors_dev;
    } else {
        LS_TRY(ops->host_allocate(device, &memory, bytes));
        held->vectors_host = memory;
    }
    LS_TRY(ops->host_allocate(device, &rows, index_bytes));
    list_rows(jepa, rows);
    LS_TRY(ops->upload(device, held->vector_rows_dev, rows, index_bytes));
    LS_TRY(ops->synchronize(device));
done:
    if (rows != NULL)
        ops->host_release(device, rows);
    return st;
}

void jepa_held_close(struct jepa *jepa)
{
    struct jepa_held *held = &jepa->held;
    const struct op_table *ops = jepa->on.ops;
    if (held->vectors_host != NULL && held->vectors_host != held->vectors_dev)
        ops->host_release(jepa->on.device, held->vectors_host);
    if (held->vectors_dev != NULL)
        ops->release(jepa->on.device, held->vectors_dev);
    if (held->vector_rows_dev != NULL)
        ops->release(jepa->on.device, held->vector_rows_dev);
    free(held->vector_at);
    held->vector_at = NULL;
}

ls_status jepa_vectors_set(struct jepa *jepa, const float *weights_dev)
{
    ls_status st = LS_OK;
    const struct jepa_held *held = &jepa->held;
    const struct op_table *ops = jepa->on.ops;
    for (int i = 0; i < jepa->parameters->count; i++) {
        const struct parameter *parameter = &jepa->parameters->table[i];
        const size_t bytes = (size_t)parameter->count * sizeof(float);
        float *to_dev = held->vectors_dev + held->vector_at[i];
        if (held->vector_at[i] < 0)
            continue;
        LS_TRY(ops->copy(jepa->on.device, to_dev, weights_dev + parameter->offset, bytes));
        if (parameter->encoder)
            LS_TRY(ops->copy(jepa->on.device, to_dev + held->weight_vectors,
                             weights_dev + parameter->offset, bytes));
    }
done:
    return st;
}

float *jepa_vectors(struct jepa *jepa, int64_t *count)
{
    *count = jepa->held.vectors;
    return jepa->held.vectors_host;
}

static ls_status gather_vectors(struct jepa *jepa, int64_t first, int64_t count,
                                const float *masters_dev, int64_t masters)
{
    const struct jepa_held *held = &jepa->held;
    return jepa->on.ops->gather_rows(
        jepa->on.device,
        layer_matrix(held->vectors_dev + first, count / JEPA_VECTOR_ROW, JEPA_VECTOR_ROW, OP_F32),
        layer_matrix(masters_dev, masters / JEPA_VECTOR_ROW, JEPA_VECTOR_ROW, OP_F32),
        held->vector_rows_dev + first / JEPA_VECTOR_ROW, NULL);
}

ls_status jepa_vectors_bring(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct jepa_held *held = &jepa->held;
    if (held->vectors == 0)
        return LS_OK;
    LS_TRY(gather_vectors(jepa, 0, held->weight_vectors, jepa->flat.weights_dev, held->masters));
    LS_TRY(gather_vectors(jepa, held->weight_vectors, held->vectors - held->weight_vectors,
                          jepa->flat.ema_dev, held->ema_masters));
    if (held->vectors_host == held->vectors_dev)
        goto done;
    LS_TRY(jepa->on.ops->download(jepa->on.device, held->vectors_host, held->vectors_dev,
                                  (size_t)held->vectors * sizeof(float)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

ls_status jepa_vectors_take(struct jepa *jepa)
{
    const struct jepa_held *held = &jepa->held;
    if (held->vectors_host == held->vectors_dev)
        return LS_OK;
    return jepa->on.ops->upload(jepa->on.device, held->vectors_dev, held->vectors_host,
                                (size_t)held->vectors * sizeof(float));
}

bool jepa_gathers_ema(const struct jepa *jepa)
{
    return jepa->held.parts_only;
}

static char *copy_dev(const struct jepa *jepa, enum jepa_copy which)
{
    return which == JEPA_COPY_WEIGHTS ? jepa->flat.weights_compute_dev : jepa->flat.ema_compute_dev;
}

/* The host's copy lies where the gradient's does, which is free between update and backward.  With
 * float32 there is room for one of the two at a time: the EMA is only gathered at a start. */
struct jepa_copy_place jepa_copy_place(struct jepa *jepa, enum jepa_copy which)
{
    const bool weights = which == JEPA_COPY_WEIGHTS;
    const size_t bytes = arena_element_bytes(jepa->on.dtype);
    struct jepa_copy_place out = {.data = copy_dev(jepa, which),
                                  .total = weights ? jepa->parameters->flat_count
                                                   : jepa->parameters->encoder_count,
                                  .element_bytes = (int64_t)bytes};
    if (!jepa->on.ops->host_memory && !jepa->options.device_gradient)
        out.data = (char *)jepa->flat.gradient_host +
                   (weights || !jepa->held.parts_only ? 0 : (size_t)jepa->held.all * bytes);
    return out;
}

ls_status jepa_copy_bring(struct jepa *jepa, enum jepa_copy which, int64_t bucket)
{
    ls_status st = LS_OK;
    const struct jepa_copy_place place = jepa_copy_place(jepa, which);
    int64_t offset = 0;
    const int64_t count =
        division_part(&offset, &jepa->options.division, bucket, jepa->options.rank, place.total);
    const size_t at = (size_t)(offset * place.element_bytes);
    if (place.data == copy_dev(jepa, which))
        return LS_OK;
    /* The gradient was here: the device has taken it back once this is done. */
    if (count > 0)
        LS_TRY(jepa->on.ops->download(jepa->on.device, (char *)place.data + at,
                                      copy_dev(jepa, which) + at,
                                      (size_t)(count * place.element_bytes)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

/* The EMA of the bucket's elements [first, end), which are not this rank's. */
static ls_status move_ema(struct jepa *jepa, int64_t first, int64_t end)
{
    const struct op_update_piece piece = {.offset = first, .count = end - first, .ema = true};
    const struct op_update work = {.pieces = &piece,
                                   .piece_count = 1,
                                   .weights_dev = jepa->flat.weights_dev,
                                   .ema_dev = jepa->flat.ema_dev,
                                   .ema_keep = jepa->held.ema_keep};
    return first < end ? jepa->on.ops->update(jepa->on.device, &work) : LS_OK;
}

static ls_status move_bucket(struct jepa *jepa, int64_t bucket)
{
    ls_status st = LS_OK;
    const struct division *division = &jepa->options.division;
    const int64_t encoder = jepa->parameters->encoder_count;
    const int64_t begin = bucket * division_width(division);
    int64_t stop = begin + division_width(division);
    int64_t own = 0;
    const int64_t count = division_part(&own, division, bucket, jepa->options.rank, encoder);
    stop = stop < encoder ? stop : encoder;
    LS_TRY(move_ema(jepa, begin, own));
    LS_TRY(move_ema(jepa, own + count, stop));
done:
    return st;
}

ls_status jepa_copy_take(struct jepa *jepa, enum jepa_copy which, int64_t bucket)
{
    ls_status st = LS_OK;
    const struct jepa_copy_place place = jepa_copy_place(jepa, which);
    const struct division *division = &jepa->options.division;
    const int64_t begin = bucket * division_width(division);
    const int64_t left = place.total - begin;
    const int64_t count = left < division_width(division) ? left : division_width(division);
    const size_t at = (size_t)(begin * place.element_bytes);
    if (place.data != copy_dev(jepa, which) && count > 0)
        LS_TRY(jepa->on.ops->upload(jepa->on.device, copy_dev(jepa, which) + at,
                                    (const char *)place.data + at,
                                    (size_t)(count * place.element_bytes)));
    if (which == JEPA_COPY_WEIGHTS && jepa->held.moves_ema)
        LS_TRY(move_bucket(jepa, bucket));
done:
    return st;
}
