#include "worker/generation.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"

const char *const saver_array_names[SAVER_ARRAYS] = {"weights", "moment1", "moment2", "ema"};

int64_t saver_array_total(int array, const struct parameters *parameters)
{
    return array == SAVER_ARRAYS - 1 ? parameters->encoder_count : parameters->flat_count;
}

static ls_status describe_parameters(struct checkpoint_state *state,
                                     const struct parameters *parameters)
{
    ls_status st = core_alloc(&state->parameters, parameters->count);
    if (st != LS_OK)
        return st;
    state->parameter_count = parameters->count;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        struct checkpoint_parameter *stored = &state->parameters[i];
        stored->name = p->name;
        stored->offset = p->offset;
        stored->count = p->count;
        stored->dimensions = p->dimensions;
        memcpy(stored->shape, p->shape, sizeof stored->shape);
    }
    return LS_OK;
}

ls_status generation_open(struct generation *generation, const struct saver_options *options,
                          const struct parameters *parameters)
{
    ls_status st = LS_OK;
    struct checkpoint_state *state = &generation->state;
    LS_TRY(describe_parameters(state, parameters));
    state->array_count = SAVER_ARRAYS;
    state->config_yaml = options->config_yaml;
    state->facts_json = options->facts_json;
    state->slice = options->slice;
    for (int a = 0; a < SAVER_ARRAYS; a++) {
        struct checkpoint_array *array = &state->arrays[a];
        array->name = saver_array_names[a];
        array->total = saver_array_total(a, parameters);
        if (options->slice > 0)
            checkpoint_slices(&array->offset, &array->count, array->total, options->slice,
                              options->rank, options->size);
        else
            checkpoint_range(&array->offset, &array->count, array->total, options->rank,
                             options->size);
        LS_TRY(core_alloc(&generation->arrays[a], array->count > 0 ? array->count : 1));
        array->data = generation->arrays[a];
        core_advise_large_pages(array->data, (size_t)array->count * sizeof *array->data);
    }
done:
    return st;
}

ls_status generation_own_lists(struct generation *generation)
{
    ls_status st = LS_OK;
    struct checkpoint_state *state = &generation->state;
    free(generation->skipped);
    free(generation->metrics_json);
    free(generation->draws_json);
    generation->skipped = NULL;
    generation->metrics_json = NULL;
    generation->draws_json = NULL;
    if (state->skipped_count > 0) {
        LS_TRY(core_alloc(&generation->skipped, state->skipped_count));
        memcpy(generation->skipped, state->skipped,
               (size_t)state->skipped_count * sizeof *state->skipped);
    }
    if (state->metrics_json != NULL)
        LS_TRY(core_format(&generation->metrics_json, "%s", state->metrics_json));
    if (state->draws_json != NULL)
        LS_TRY(core_format(&generation->draws_json, "%s", state->draws_json));
done:
    state->skipped = generation->skipped;
    state->metrics_json = generation->metrics_json;
    state->draws_json = generation->draws_json;
    return st;
}

void generation_close(struct generation *generation)
{
    for (int a = 0; a < SAVER_ARRAYS; a++)
        free(generation->arrays[a]);
    free(generation->state.parameters);
    free(generation->skipped);
    free(generation->metrics_json);
    free(generation->draws_json);
}
