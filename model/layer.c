/* Binding is by name, once, at open: nobody but parameters.c knows the order of the table. */
#include "model/layer.h"

#include <stdio.h>

#include "model/arena.h"

struct op_matrix layer_matrix(const void *data_dev, int64_t rows, int64_t columns,
                              enum op_dtype dtype)
{
    return (struct op_matrix){
        .data_dev = (void *)data_dev, .rows = rows, .columns = columns, .dtype = dtype};
}

static ls_status find(const struct parameter **out, const struct layer_space *space,
                      const char *prefix, const char *part)
{
    char name[sizeof((struct parameter){0}.name)];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, part);
    *out = parameters_find(space->parameters, name);
    return *out != NULL ? LS_OK : LS_FAIL(LS_FAILED, "no parameter is called %s", name);
}

const float *layer_vector(const struct layer_space *space, const struct parameter *parameter)
{
    if (space->vectors_dev == NULL)
        return space->weights_dev + parameter->offset;
    return space->vectors_dev + space->vector_at[parameter - space->parameters->table];
}

ls_status layer_want(const struct layer_device *on, enum jepa_copy which, int64_t end)
{
    if (on->demand == NULL || on->demand->ask == NULL)
        return LS_OK;
    return on->demand->ask(on->demand->context, which, end);
}

ls_status layer_linear_bind(struct layer_linear *out, const struct layer_space *space,
                            const char *prefix)
{
    ls_status st = LS_OK;
    const struct parameter *weight = NULL;
    const struct parameter *bias = NULL;
    LS_TRY(find(&weight, space, prefix, "weight"));
    LS_TRY(find(&bias, space, prefix, "bias"));
    const char *compute = space->compute_dev;
    const int64_t rows = weight->shape[0];
    *out = (struct layer_linear){
        .w = layer_matrix(compute + (size_t)weight->offset * arena_element_bytes(space->dtype),
                          rows, weight->count / rows, space->dtype),
        .b_dev = layer_vector(space, bias),
        .offset = weight->offset,
    };
    if (space->gradient_dev != NULL) {
        out->dw_dev = space->gradient_dev + weight->offset;
        out->db_dev = space->gradient_dev + bias->offset;
    }
done:
    return st;
}

ls_status layer_norm_bind(struct layer_norm *out, const struct layer_space *space,
                          const char *prefix)
{
    ls_status st = LS_OK;
    const struct parameter *gain = NULL;
    const struct parameter *bias = NULL;
    LS_TRY(find(&gain, space, prefix, "weight"));
    LS_TRY(find(&bias, space, prefix, "bias"));
    *out = (struct layer_norm){
        .gain_dev = layer_vector(space, gain),
        .bias_dev = layer_vector(space, bias),
        .offset = gain->offset,
    };
    if (space->gradient_dev != NULL) {
        out->dgain_dev = space->gradient_dev + gain->offset;
        out->dbias_dev = space->gradient_dev + bias->offset;
    }
done:
    return st;
}

struct layer_linear layer_linear_outputs(const struct layer_linear *linear, int64_t first,
                                         int64_t count)
{
    struct layer_linear part = *linear;
    const int64_t skipped = first * linear->w.columns;
    part.w.data_dev =
        (char *)linear->w.data_dev + (size_t)skipped * arena_element_bytes(linear->w.dtype);
    part.w.rows = count;
    part.b_dev += first;
    if (linear->dw_dev != NULL) {
        part.dw_dev += skipped;
        part.db_dev += first;
    }
    return part;
}

ls_status layer_linear_bwd_weight(const struct layer_device *on, const struct layer_linear *linear,
                                  struct op_matrix dy, struct op_matrix x)
{
    return on->ops->linear_bwd_weight(on->device, linear->dw_dev, linear->db_dev, dy, x);
}

ls_status layer_gradient_final(struct layer_report *report, int64_t offset)
{
    ls_status st = LS_OK;
    const int64_t count = report->end - offset;
    if (report->ready == NULL || count == 0)
        return LS_OK;
    if (report->gradient_host != NULL && report->gradient_host != report->gradient_dev) {
        LS_TRY(report->ops->download(report->device, report->gradient_host + offset,
                                     report->gradient_dev + offset, (size_t)count * sizeof(float)));
        LS_TRY(report->ops->synchronize(report->device));
    }
    LS_TRY(report->ready(report->context, offset, count));
    report->end = offset;
done:
    return st;
}
