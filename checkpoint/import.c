/* The first checkpoint of a run from a folder of weights: tensors are matched with the parameter
 * table of the run's model, all mismatches are told, and then one shard after the other is filled
 * from the file and written, so that memory holds one shard. */
#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/export.h"
#include "checkpoint/export_config.h"
#include "checkpoint/export_names.h"
#include "checkpoint/export_origin.h"
#include "checkpoint/misfits.h"
#include "checkpoint/safetensors.h"
#include "core/files.h"

enum { SHARD_ELEMENTS = 16 << 20, ARRAYS = 4 };

static const char mask_stem[] = "predictor.mask_tokens.";

struct import {
    const struct import_options *options;
    struct safetensors *file;
    struct parameters *parameters;
    bool public_names, target;
    struct export_tensors tensors;           /* wanted */
    const struct safetensors_entry **source; /* [tensors.count] where each is */
};

static bool is_mask_token(const struct import *import, const struct export_tensor *tensor)
{
    return import->parameters->table[tensor->parameter].kind == PARAMETER_MASK_TOKEN;
}

/* Whether any tensor of the file begins so. */
static bool holds(const struct safetensors *file, const char *stem)
{
    for (int i = 0; i < file->count; i++)
        if (strncmp(file->entries[i].name, stem, strlen(stem)) == 0)
            return true;
    return false;
}

static const struct safetensors_entry *find_source(const struct import *import,
                                                   const struct export_tensor *tensor)
{
    char name[EXPORT_NAME_BYTES];
    int token = import->options->mask_token;
    if (!import->public_names || !is_mask_token(import, tensor) || token < 0)
        return safetensors_find(import->file, tensor->name);
    (void)snprintf(name, sizeof name, "%s%d", mask_stem, token);
    return safetensors_find(import->file, name);
}

static void shape_text(char *out, size_t bytes, const int64_t *shape, int dimensions)
{
    size_t used = 0;
    out[0] = '\0';
    for (int d = 0; d < dimensions && used < bytes; d++)
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%" PRId64, d > 0 ? " x " : "", shape[d]);
}

static void check_shape(const struct import *import, struct misfits *misfits,
                        const struct export_tensor *tensor, const struct safetensors_entry *entry)
{
    char theirs[160];
    char ours[160];
    int token = import->options->mask_token;
    bool stacked = token >= 0 && !import->public_names && is_mask_token(import, tensor);
    bool same = entry->dimensions == tensor->dimensions;
    for (int d = 0; same && d < tensor->dimensions; d++)
        same = stacked && d == 0 ? entry->shape[0] > token : entry->shape[d] == tensor->shape[d];
    shape_text(theirs, sizeof theirs, entry->shape, entry->dimensions);
    shape_text(ours, sizeof ours, tensor->shape, tensor->dimensions);
    if (!same && stacked)
        misfits_add(misfits, "%s: tensor %s is [%s]: it has no token %d", import->file->path,
                    tensor->name, theirs, token);
    else if (!same)
        misfits_add(misfits, "%s: tensor %s is [%s], the config's model has [%s]",
                    import->file->path, tensor->name, theirs, ours);
    if (entry->type == SAFETENSORS_OTHER)
        misfits_add(misfits, "%s: tensor %s is neither F32 nor BF16 nor F16", import->file->path,
                    tensor->name);
}

/* Every tensor of the file must be wanted, and every wanted one there. */
static ls_status match_tensors(struct import *import, struct misfits *misfits)
{
    ls_status st = LS_OK;
    bool *used = NULL;
    LS_TRY(core_alloc(&used, import->file->count));
    LS_TRY(core_alloc_bytes((void **)&import->source, (size_t)import->tensors.count,
                            sizeof(struct safetensors_entry *)));
    for (int i = 0; i < import->tensors.count; i++) {
        const struct export_tensor *tensor = &import->tensors.list[i];
        import->source[i] = find_source(import, tensor);
        if (import->source[i] == NULL) {
            misfits_add(misfits, "%s: no tensor %s", import->file->path, tensor->name);
            continue;
        }
        used[import->source[i] - import->file->entries] = true;
        check_shape(import, misfits, tensor, import->source[i]);
    }
    for (int i = 0; i < import->file->count; i++) {
        const char *name = import->file->entries[i].name;
        bool other_token =
            import->options->mask_token >= 0 && strncmp(name, mask_stem, strlen(mask_stem)) == 0;
        if (!used[i] && !other_token)
            misfits_add(misfits, "%s: tensor %.100s is none of the config's model",
                        import->file->path, name);
    }
done:
    free(used);
    return st;
}

/* Files of several parts have an index in place of the one file. */
static ls_status open_model(struct import *import)
{
    ls_status st = LS_OK;
    const char *folder = import->options->folder;
    char *path = NULL;
    char *index = NULL;
    LS_TRY(core_format(&path, "%s/model.safetensors", folder));
    LS_TRY(core_format(&index, "%s.index.json", path));
    if (!files_exists(path) && files_exists(index)) {
        st = LS_FAIL(LS_DATA,
                     "%s: the weights are split over several files; save them as one: "
                     "model.save_pretrained(DIR, max_shard_size=\"1TB\")",
                     folder);
        goto done;
    }
    LS_TRY(safetensors_open(&import->file, path));
done:
    free(path);
    free(index);
    return st;
}

static ls_status open_all(struct import *import)
{
    ls_status st = LS_OK;
    const struct import_options *options = import->options;
    struct model_shape shape;
    struct misfits misfits = {0};
    LS_TRY(open_model(import));
    LS_TRY(model_shape_of_config(&shape, options->config));
    LS_TRY(parameters_open(&import->parameters, &shape));
    import->public_names = holds(import->file, "encoder.blocks.");
    import->target = import->public_names && holds(import->file, "target_encoder.");
    if (import->public_names)
        LS_TRY(export_tensors_public(&import->tensors, import->parameters, import->target));
    else
        LS_TRY(export_tensors_transformers(&import->tensors, import->parameters));
    if (!import->public_names)
        LS_TRY(export_config_compare(&misfits, options->folder, options->config, &shape,
                                     options->mask_token >= 0));
    LS_TRY(match_tensors(import, &misfits));
done:
    if (st == LS_OK)
        st = misfits_end(&misfits, LS_DATA);
    free(misfits.first);
    return st;
}

static void close_all(struct import *import)
{
    safetensors_close(&import->file);
    parameters_close(&import->parameters);
    export_tensors_free(&import->tensors);
    free((void *)import->source);
}

/* The part of one piece of a tensor that lies in the range, from the file into the range. */
static ls_status fill_piece(const struct import *import, int number, int piece,
                            const struct checkpoint_array *range)
{
    ls_status st = LS_OK;
    const struct export_tensor *tensor = &import->tensors.list[number];
    const struct safetensors_entry *entry = import->source[number];
    int token = import->options->mask_token;
    int64_t length = tensor->count / tensor->pieces;
    int64_t place = import->parameters->table[tensor->parameter + piece].offset + tensor->skip;
    int64_t from = place > range->offset ? place : range->offset;
    int64_t end = range->offset + range->count;
    int64_t to = place + length < end ? place + length : end;
    bool stacked = token >= 0 && !import->public_names && is_mask_token(import, tensor);
    if (from >= to)
        return LS_OK;
    float *out = range->data + (from - range->offset);
    LS_TRY(safetensors_read(import->file, entry,
                            (stacked ? token : piece) * length + (from - place), to - from, out));
    for (int64_t i = 0; i < to - from; i++)
        if (!isfinite(out[i])) {
            st = LS_FAIL(LS_DATA, "%s: tensor %s holds a value that is not finite",
                         import->file->path, tensor->name);
            goto done;
        }
done:
    return st;
}

static ls_status fill(const struct import *import, unsigned which,
                      const struct checkpoint_array *range)
{
    ls_status st = LS_OK;
    memset(range->data, 0, (size_t)range->count * sizeof *range->data);
    for (int i = 0; i < import->tensors.count; i++)
        for (int k = 0;
             (import->tensors.list[i].arrays & which) != 0 && k < import->tensors.list[i].pieces;
             k++)
            LS_TRY(fill_piece(import, i, k, range));
done:
    return st;
}

/* What all shards have in common. */
static ls_status describe(struct checkpoint_state *state, const struct import *import)
{
    static const char *const names[ARRAYS] = {"weights", "moment1", "moment2", "ema"};
    ls_status st = LS_OK;
    const struct parameters *parameters = import->parameters;
    char *text = NULL;
    LS_TRY(core_alloc(&state->parameters, parameters->count));
    state->parameter_count = parameters->count;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        struct checkpoint_parameter *stored = &state->parameters[i];
        *stored = (struct checkpoint_parameter){
            .name = p->name, .offset = p->offset, .count = p->count, .dimensions = p->dimensions};
        memcpy(stored->shape, p->shape, sizeof stored->shape);
    }
    state->array_count = ARRAYS;
    for (int a = 0; a < ARRAYS; a++)
        state->arrays[a] = (struct checkpoint_array){
            .name = names[a],
            .total = a == ARRAYS - 1 ? parameters->encoder_count : parameters->flat_count};
    LS_TRY(config_dump(&text, import->options->config));
    state->config_yaml = text;
    LS_TRY(export_origin_facts(&text, import->options->folder));
    state->facts_json = text;
done:
    return st;
}

static ls_status write_shard(struct checkpoint_shard_facts *facts, const struct import *import,
                             struct checkpoint_state *state, int shard, int of)
{
    ls_status st = LS_OK;
    for (int a = 0; a < ARRAYS; a++) {
        struct checkpoint_array *array = &state->arrays[a];
        checkpoint_range(&array->offset, &array->count, array->total, shard, of);
    }
    LS_TRY(fill(import, EXPORT_WEIGHTS, &state->arrays[0]));
    LS_TRY(fill(import, EXPORT_EMA, &state->arrays[ARRAYS - 1]));
    LS_TRY(checkpoint_shard_write(facts, import->options->checkpoints, state, shard, of,
                                  import->options->run_epoch));
done:
    return st;
}

static ls_status write_all(const struct import *import, struct checkpoint_state *state)
{
    ls_status st = LS_OK;
    const struct import_options *options = import->options;
    const int64_t total = import->parameters->flat_count;
    const int of = (int)((total + SHARD_ELEMENTS - 1) / SHARD_ELEMENTS);
    const int64_t room = SHARD_ELEMENTS + CHECKPOINT_BLOCK;
    struct checkpoint_shard_facts *facts = NULL;
    float *memory[3] = {NULL, NULL, NULL}; /* weights, zeros for both moments, ema */
    LS_TRY(core_alloc(&facts, of));
    for (int i = 0; i < 3; i++)
        LS_TRY(core_alloc(&memory[i], room));
    state->arrays[0].data = memory[0];
    state->arrays[1].data = memory[1];
    state->arrays[2].data = memory[1];
    state->arrays[3].data = memory[2];
    LS_TRY(files_make_folder(options->checkpoints));
    LS_TRY(checkpoint_take_over(options->checkpoints, options->run_epoch, -1));
    for (int s = 0; s < of; s++)
        LS_TRY(write_shard(&facts[s], import, state, s, of));
    LS_TRY(checkpoint_commit(options->checkpoints, state, facts, of, options->run_epoch));
done:
    for (int i = 0; i < 3; i++)
        free(memory[i]);
    free(facts);
    return st;
}

ls_status checkpoint_import(struct import_result *out, const struct import_options *options)
{
    ls_status st = LS_OK;
    struct import import = {.options = options};
    struct checkpoint_state state;
    memset(&state, 0, sizeof state);
    LS_TRY(open_all(&import));
    LS_TRY(describe(&state, &import));
    LS_TRY(write_all(&import, &state));
    *out = (struct import_result){.tensors = import.file->count, .target = import.target};
done:
    free(state.parameters);
    free((void *)state.config_yaml);
    free((void *)state.facts_json);
    close_all(&import);
    return st;
}
