/* lockstep.json: which encoder, which mask tokens, which checkpoint, and the checksum that the
 * safetensors format lacks. */
#include "checkpoint/export_origin.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"

enum { ORIGIN_VERSION = 1, ORIGIN_LIMIT_BYTES = 1 << 20, READ_BYTES = 4 << 20 };

static const char imported_key[] = "imported";

/* The origin that an imported, untrained state carries; NULL when there is none. */
static cJSON *carried_origin(const struct checkpoint_info *info)
{
    cJSON *facts = info->step == 0 ? cJSON_Parse(info->facts_json) : NULL;
    cJSON *imported = cJSON_DetachItemFromObjectCaseSensitive(facts, imported_key);
    cJSON_Delete(facts);
    if (cJSON_IsObject(imported) && imported->child != NULL)
        return imported;
    cJSON_Delete(imported);
    return NULL;
}

static cJSON *new_origin(const struct checkpoint_info *info, const struct export_origin *origin)
{
    char digest[HASH_TEXT_BYTES];
    cJSON *root = cJSON_CreateObject();
    hash_text(digest, info->digest);
    bool good = cJSON_AddStringToObject(root, "encoder", origin->online ? "online" : "target");
    cJSON *tokens = cJSON_AddArrayToObject(root, "mask_tokens");
    for (int i = 0; i < origin->mask_tokens; i++)
        good =
            good && cJSON_AddItemToArray(tokens, cJSON_CreateNumber(origin->mask_sources[i])) != 0;
    cJSON *checkpoint = cJSON_AddObjectToObject(root, "checkpoint");
    good = good && cJSON_AddNumberToObject(checkpoint, "step", (double)info->step) != NULL &&
           cJSON_AddStringToObject(checkpoint, "digest", digest) != NULL;
    if (good)
        return root;
    cJSON_Delete(root);
    return NULL;
}

static bool add_model(cJSON *root, const struct export_origin *origin)
{
    char checksum[HASH_TEXT_BYTES];
    hash_text(checksum, origin->model_checksum);
    cJSON *model = cJSON_AddObjectToObject(root, "model.safetensors");
    return cJSON_AddNumberToObject(model, "bytes", (double)origin->model_bytes) != NULL &&
           cJSON_AddStringToObject(model, "checksum", checksum) != NULL;
}

ls_status export_origin_write(const char *folder, const struct checkpoint_info *info,
                              const struct export_origin *origin)
{
    ls_status st = LS_OK;
    char *text = NULL;
    char *path = NULL;
    cJSON *root = cJSON_CreateObject();
    cJSON *source = carried_origin(info);
    if (source == NULL)
        source = new_origin(info, origin);
    bool good = source != NULL &&
                cJSON_AddStringToObject(root, "format", "lockstep export") != NULL &&
                cJSON_AddNumberToObject(root, "version", ORIGIN_VERSION) != NULL;
    if (good && (good = cJSON_AddItemToObject(root, "origin", source) != 0))
        source = NULL;
    good = good && add_model(root, origin);
    text = good ? cJSON_Print(root) : NULL;
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for lockstep.json");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/lockstep.json", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(source);
    cJSON_Delete(root);
    free(text);
    free(path);
    return st;
}

static ls_status file_hash(struct hash128 *out, const char *path)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    char *buffer = NULL;
    uint64_t bytes = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
    LS_TRY(files_size(&bytes, path));
    LS_TRY(hash_stream_open(&stream));
    LS_TRY(core_alloc(&buffer, READ_BYTES));
    for (uint64_t at = 0; at < bytes; at += READ_BYTES) {
        size_t part = bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES;
        LS_TRY(files_read_at(file, buffer, part, at, path));
        hash_stream_add(stream, buffer, part);
    }
    *out = hash_stream_value(stream);
done:
    hash_stream_close(&stream);
    free(buffer);
    (void)close(file);
    return st;
}

/* The model's file against the checksum in lockstep.json. */
static ls_status check_model(const char *folder, const cJSON *root)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct hash128 told;
    struct hash128 found;
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model.safetensors");
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(model, "checksum"));
    if (text == NULL || hash_parse(&told, text) != LS_OK)
        return LS_FAIL(LS_DATA, "%s/lockstep.json: holds no checksum of model.safetensors", folder);
    LS_TRY(core_format(&path, "%s/model.safetensors", folder));
    LS_TRY(file_hash(&found, path));
    if (!hash_equal(told, found))
        st = LS_FAIL(LS_DATA,
                     "%s: not the file that lockstep.json describes: damaged, or changed since "
                     "(remove lockstep.json to use it all the same)",
                     path);
done:
    free(path);
    return st;
}

ls_status export_origin_facts(char **out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    cJSON *facts = cJSON_CreateObject();
    LS_TRY(core_format(&path, "%s/lockstep.json", folder));
    if (files_exists(path)) {
        LS_TRY(files_read(&text, NULL, path, ORIGIN_LIMIT_BYTES));
        root = cJSON_Parse(text);
        LS_TRY(check_model(folder, root));
    }
    cJSON *origin = cJSON_DetachItemFromObjectCaseSensitive(root, "origin");
    if (!cJSON_IsObject(origin)) {
        cJSON_Delete(origin);
        origin = cJSON_CreateObject();
    }
    if (cJSON_AddItemToObject(facts, imported_key, origin) == 0) {
        cJSON_Delete(origin);
        st = LS_FAIL(LS_NOMEM, "out of memory for the facts of a checkpoint");
        goto done;
    }
    *out = cJSON_PrintUnformatted(facts);
    if (*out == NULL)
        st = LS_FAIL(LS_NOMEM, "out of memory for the facts of a checkpoint");
done:
    cJSON_Delete(root);
    cJSON_Delete(facts);
    free(text);
    free(path);
    return st;
}
