/* The model's shape is the checkpoint's own config's: a probe's config may repeat parts of it, and
 * is refused when they differ. */
#include "worker/frozen_source.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "model/parameters.h"

#define ENCODER_KEYS "model_kwargs.pretrain_kwargs.encoder."

ls_status frozen_source_compare(const struct frozen_source *source,
                                const struct config_probe *probe)
{
    const struct config *config = source->config;
    const struct model_shape *shape = &source->shape;
    if (probe->model_name != NULL && strcmp(probe->model_name, config->model.model_name) != 0)
        return LS_FAIL(LS_USAGE, "%s: " ENCODER_KEYS "model_name is %s, but %s holds a %s",
                       probe->base.source, probe->model_name, source->info->path,
                       config->model.model_name);
    if (probe->patch_size > 0 && probe->patch_size != shape->patch)
        return LS_FAIL(LS_USAGE, "%s: " ENCODER_KEYS "patch_size is %d, but %s has %d",
                       probe->base.source, probe->patch_size, source->info->path, shape->patch);
    if (probe->tubelet_size > 0 && probe->tubelet_size != shape->tubelet)
        return LS_FAIL(LS_USAGE, "%s: " ENCODER_KEYS "tubelet_size is %d, but %s has %d",
                       probe->base.source, probe->tubelet_size, source->info->path, shape->tubelet);
    if (probe->frames_per_clip % shape->tubelet != 0)
        return LS_FAIL(LS_USAGE,
                       "%s: experiment.data.frames_per_clip: %d is no multiple of the encoder's "
                       "tubelet_size (%d)",
                       probe->base.source, probe->frames_per_clip, shape->tubelet);
    if (probe->resolution % shape->patch != 0)
        return LS_FAIL(LS_USAGE,
                       "%s: experiment.data.resolution: %d is no multiple of the encoder's "
                       "patch_size (%d)",
                       probe->base.source, probe->resolution, shape->patch);
    if (shape->dim % probe->pool_heads != 0)
        return LS_FAIL(LS_USAGE,
                       "%s: experiment.classifier.num_heads: %d heads do not divide the encoder's "
                       "width (%d)",
                       probe->base.source, probe->pool_heads, shape->dim);
    return LS_OK;
}

ls_status frozen_source_open(struct frozen_source *out, const char *checkpoint)
{
    ls_status st = LS_OK;
    *out = (struct frozen_source){0};
    LS_TRY(checkpoint_open(&out->checkpoint, checkpoint));
    out->info = checkpoint_info(out->checkpoint);
    LS_TRY(config_open_text(&out->config, out->info->config_yaml, out->info->path));
    LS_TRY(model_shape_of_config(&out->shape, out->config));
done:
    if (st != LS_OK)
        frozen_source_close(out);
    return st;
}

void frozen_source_close(struct frozen_source *source)
{
    checkpoint_close(&source->checkpoint);
    config_close(&source->config);
    source->info = NULL;
}

/* The encoder lies in front of all arrays, and the others behind it, in the order of the table. */
static ls_status match(const struct frozen_source *source, const struct parameters *parameters,
                       bool whole)
{
    const struct checkpoint_info *info = source->info;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *mine = &parameters->table[i];
        const struct checkpoint_parameter *its =
            i < info->parameter_count ? &info->parameters[i] : NULL;
        if ((whole || mine->encoder) && (its == NULL || strcmp(its->name, mine->name) != 0 ||
                                         its->offset != mine->offset || its->count != mine->count))
            return LS_FAIL(LS_CHECKPOINT, "%s: its parameter %s is not where its config puts it",
                           info->path, mine->name);
    }
    return LS_OK;
}

/* The first `count` elements of an array. */
static ls_status read_array(float *out, const struct frozen_source *source, const char *name,
                            int64_t count)
{
    const struct checkpoint_info *info = source->info;
    struct checkpoint_array array = {.name = name, .data = out, .count = count};
    for (int i = 0; i < info->array_count; i++)
        if (strcmp(info->arrays[i].name, name) == 0)
            array.total = info->arrays[i].total;
    return checkpoint_read(source->checkpoint, &array);
}

ls_status frozen_source_read(float *weights, const struct frozen_source *source,
                             const struct parameters *parameters, enum config_network network)
{
    ls_status st = LS_OK;
    LS_TRY(match(source, parameters, false));
    LS_TRY(read_array(weights, source, network == CONFIG_TARGET_ENCODER ? "ema" : "weights",
                      parameters->encoder_count));
done:
    return st;
}

ls_status frozen_source_read_all(float *weights, float *ema, const struct frozen_source *source,
                                 const struct parameters *parameters)
{
    ls_status st = LS_OK;
    LS_TRY(match(source, parameters, true));
    LS_TRY(read_array(weights, source, "weights", parameters->flat_count));
    LS_TRY(read_array(ema, source, "ema", parameters->encoder_count));
done:
    return st;
}

ls_status frozen_source_draw(float *weights, const struct parameters *parameters, uint64_t seed)
{
    ls_status st = LS_OK;
    float *all = NULL;
    LS_TRY(core_alloc(&all, parameters->flat_count));
    parameters_initialize(parameters, all, seed);
    memcpy(weights, all, (size_t)parameters->encoder_count * sizeof *weights);
done:
    free(all);
    return st;
}
