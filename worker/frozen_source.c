/* The model's shape is the checkpoint's own config's: a probe's config may repeat parts of it, and
 * is refused when they differ. */
#include "worker/frozen_source.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "model/parameters.h"

#define ENCODER_KEYS "model_kwargs.pretrain_kwargs.encoder."

static ls_status compare(const struct frozen_source *source, const struct config_probe *probe)
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

ls_status frozen_source_open(struct frozen_source *out, const struct config_probe *probe)
{
    ls_status st = LS_OK;
    *out = (struct frozen_source){0};
    LS_TRY(checkpoint_open(&out->checkpoint, probe->checkpoint));
    out->info = checkpoint_info(out->checkpoint);
    LS_TRY(config_open_text(&out->config, out->info->config_yaml, out->info->path));
    LS_TRY(model_shape_of_config(&out->shape, out->config));
    LS_TRY(compare(out, probe));
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

/* The encoder lies in front of all arrays, in the order of the table. */
static ls_status match(const struct frozen_source *source, const struct parameters *parameters)
{
    const struct checkpoint_info *info = source->info;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *mine = &parameters->table[i];
        const struct checkpoint_parameter *its =
            i < info->parameter_count ? &info->parameters[i] : NULL;
        if (mine->encoder && (its == NULL || strcmp(its->name, mine->name) != 0 ||
                              its->offset != mine->offset || its->count != mine->count))
            return LS_FAIL(LS_CHECKPOINT, "%s: its parameter %s is not where its config puts it",
                           info->path, mine->name);
    }
    return LS_OK;
}

ls_status frozen_source_read(float *weights, const struct frozen_source *source,
                             const struct parameters *parameters, enum config_network network)
{
    ls_status st = LS_OK;
    const struct checkpoint_info *info = source->info;
    struct checkpoint_array array = {.name = network == CONFIG_TARGET_ENCODER ? "ema" : "weights",
                                     .data = weights,
                                     .count = parameters->encoder_count};
    LS_TRY(match(source, parameters));
    for (int i = 0; i < info->array_count; i++)
        if (strcmp(info->arrays[i].name, array.name) == 0)
            array.total = info->arrays[i].total;
    LS_TRY(checkpoint_read(source->checkpoint, &array));
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
