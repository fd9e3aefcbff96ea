/* The manifest's text: JSON for people and scripts, with a checksum as its first line. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "core/files.h"

static bool add_number(cJSON *object, const char *name, int64_t value)
{
    return cJSON_AddNumberToObject(object, name, (double)value) != NULL;
}

static bool add_hash(cJSON *object, const char *name, struct hash128 hash)
{
    char text[HASH_TEXT_BYTES];
    hash_text(text, hash);
    return cJSON_AddStringToObject(object, name, text) != NULL;
}

static bool append_number(cJSON *list, int64_t value)
{
    return cJSON_AddItemToArray(list, cJSON_CreateNumber((double)value)) != 0;
}

/* A new object at the end of `list`, or NULL when memory is short. */
static cJSON *append_object(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    return cJSON_AddItemToArray(list, object) != 0 ? object : NULL;
}

static bool add_arrays(cJSON *root, const struct checkpoint_state *state)
{
    cJSON *list = cJSON_AddArrayToObject(root, "arrays");
    bool good = list != NULL;
    for (int a = 0; good && a < state->array_count; a++) {
        cJSON *one = append_object(list);
        good = one != NULL && cJSON_AddStringToObject(one, "name", state->arrays[a].name) != NULL &&
               add_number(one, "total", state->arrays[a].total);
    }
    return good;
}

static bool add_shard(cJSON *list, const struct checkpoint_shard_facts *facts, int array_count)
{
    cJSON *one = append_object(list);
    char *file = NULL;
    if (one == NULL || layout_shard(&file, ".", facts->shard, facts->of) != LS_OK)
        return false;
    bool good = cJSON_AddStringToObject(one, "file", file + 2) != NULL &&
                add_number(one, "bytes", (int64_t)facts->bytes) &&
                add_hash(one, "checksum", facts->checksum) &&
                add_hash(one, "digest", facts->digest);
    free(file);
    cJSON *ranges = cJSON_AddArrayToObject(one, "ranges");
    for (int a = 0; good && a < array_count; a++) {
        const struct checkpoint_extent *extent = &facts->extents[a];
        cJSON *range = append_object(ranges);
        good = range != NULL && add_number(range, "offset", extent->offset) &&
               add_number(range, "count", extent->count) &&
               add_number(range, "data_at", (int64_t)extent->data_at) &&
               add_number(range, "hashes_at", (int64_t)extent->table_at);
    }
    return good;
}

static bool add_parameters(cJSON *root, const struct checkpoint_state *state)
{
    cJSON *list = cJSON_AddArrayToObject(root, "parameters");
    bool good = list != NULL;
    for (int i = 0; good && i < state->parameter_count; i++) {
        const struct checkpoint_parameter *p = &state->parameters[i];
        cJSON *one = append_object(list);
        good = one != NULL && cJSON_AddStringToObject(one, "name", p->name) != NULL &&
               add_number(one, "offset", p->offset) && add_number(one, "count", p->count) &&
               add_number(one, "adam_step", p->adam_step);
        cJSON *shape = good ? cJSON_AddArrayToObject(one, "shape") : NULL;
        for (int d = 0; good && d < p->dimensions; d++)
            good = append_number(shape, p->shape[d]);
    }
    return good;
}

static bool add_rest(cJSON *root, const struct checkpoint_state *state)
{
    const char *config = state->config_yaml != NULL ? state->config_yaml : "";
    cJSON *skipped = cJSON_AddArrayToObject(root, "skipped_draws");
    bool good = skipped != NULL;
    for (int i = 0; good && i < state->skipped_count; i++)
        good = append_number(skipped, state->skipped[i]);
    return good && cJSON_AddStringToObject(root, "config", config) != NULL;
}

static ls_status add_object(cJSON *root, const char *key, const char *text)
{
    cJSON *object = cJSON_Parse(text != NULL ? text : "{}");
    if (!cJSON_IsObject(object)) {
        cJSON_Delete(object);
        return LS_FAIL(LS_USAGE, "the %s of a checkpoint are no JSON object: %.80s", key, text);
    }
    if (cJSON_AddItemToObject(root, key, object) != 0)
        return LS_OK;
    cJSON_Delete(object);
    return LS_FAIL(LS_NOMEM, "out of memory for a manifest");
}

ls_status manifest_write(const char *folder, const struct checkpoint_state *state,
                         const struct checkpoint_shard_facts *shards, int of, int64_t run_epoch,
                         struct hash128 digest)
{
    ls_status st = LS_OK;
    char *body = NULL;
    char *text = NULL;
    char *path = NULL;
    cJSON *root = cJSON_CreateObject();
    bool good =
        cJSON_AddStringToObject(root, "format", "lockstep checkpoint") != NULL &&
        add_number(root, "version", state->slice > 0 ? LAYOUT_VERSION_DIVIDED : LAYOUT_VERSION) &&
        add_number(root, "step", state->step) && add_number(root, "run_epoch", run_epoch) &&
        add_hash(root, "digest", digest) && add_number(root, "block", CHECKPOINT_BLOCK) &&
        (state->slice == 0 || add_number(root, "slice", state->slice)) && add_arrays(root, state);
    cJSON *list = good ? cJSON_AddArrayToObject(root, "shards") : NULL;
    good = list != NULL;
    for (int s = 0; good && s < of; s++)
        good = add_shard(list, &shards[s], state->array_count);
    good = good && add_parameters(root, state) && add_rest(root, state);
    if (good) {
        LS_TRY(add_object(root, "facts", state->facts_json));
        LS_TRY(add_object(root, "metrics", state->metrics_json));
        LS_TRY(add_object(root, "draws", state->draws_json));
    }
    body = good ? cJSON_Print(root) : NULL;
    if (body == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a manifest");
        goto done;
    }
    /* The body begins "{\n": the checksum's line takes the brace's place. */
    const char *rest = body + 2;
    char checksum[HASH_TEXT_BYTES];
    hash_text(checksum, hash_buffer(rest, strlen(rest)));
    LS_TRY(core_format(&text, "{\"checksum\": \"%s\",\n%s", checksum, rest));
    LS_TRY(core_format(&path, "%s/manifest.json", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(root);
    free(body);
    free(text);
    free(path);
    return st;
}
