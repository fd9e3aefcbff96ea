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

/* The parsed file, NULL when there is none. */
static ls_status read_root(cJSON **out, const char *folder, bool check)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    LS_TRY(core_format(&path, "%s/lockstep.json", folder));
    if (!files_exists(path))
        goto done;
    LS_TRY(files_read(&text, NULL, path, ORIGIN_LIMIT_BYTES));
    root = cJSON_Parse(text);
    if (!cJSON_IsObject(root)) {
        st = LS_FAIL(LS_DATA, "%s: no JSON object", path);
        goto done;
    }
    if (check)
        LS_TRY(check_model(folder, root));
    *out = root;
    root = NULL;
done:
    cJSON_Delete(root);
    free(text);
    free(path);
    return st;
}

ls_status export_origin_read(char **out, const char *folder, bool check)
{
    ls_status st = LS_OK;
    cJSON *root = NULL;
    *out = NULL;
    LS_TRY(read_root(&root, folder, check));
    const cJSON *origin = cJSON_GetObjectItemCaseSensitive(root, "origin");
    if (root != NULL)
        *out = cJSON_IsObject(origin) ? cJSON_PrintUnformatted(origin) : strdup("{}");
    if (root != NULL && *out == NULL)
        st = LS_FAIL(LS_NOMEM, "out of memory for lockstep.json");
done:
    cJSON_Delete(root);
    return st;
}

ls_status export_origin_facts(char **out, const char *folder)
{
    ls_status st = LS_OK;
    char *origin = NULL;
    LS_TRY(export_origin_read(&origin, folder, true));
    LS_TRY(core_format(out, "{\"%s\":%s}", imported_key, origin != NULL ? origin : "{}"));
done:
    free(origin);
    return st;
}
