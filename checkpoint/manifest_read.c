/* Reading the manifest: everything in it is checked before anything is used, because offsets and
 * counts from it steer the reads of shards. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "core/files.h"

enum { MANIFEST_LIMIT_BYTES = 256 << 20 };

/* Where a failure is: the manifest's path goes into every message. */
struct reader {
    const char *path;
    ls_status st;
};

static void fail(struct reader *reader, const char *what)
{
    if (reader->st == LS_OK)
        reader->st = LS_FAIL(LS_CHECKPOINT, "%s: %s is missing or wrong", reader->path, what);
}

static int64_t to_number(struct reader *reader, const cJSON *item, const char *name)
{
    const double limit = 9007199254740992.0; /* 2^53: whole numbers are exact up to here */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= limit) ||
        (double)(int64_t)item->valuedouble != item->valuedouble) {
        fail(reader, name);
        return 0;
    }
    return (int64_t)item->valuedouble;
}

static int64_t get_number(struct reader *reader, const cJSON *object, const char *name)
{
    return to_number(reader, cJSON_GetObjectItemCaseSensitive(object, name), name);
}

static const char *get_text(struct reader *reader, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (cJSON_IsString(item))
        return item->valuestring;
    fail(reader, name);
    return "";
}

static struct hash128 get_hash(struct reader *reader, const cJSON *object, const char *name)
{
    struct hash128 hash = {0};
    if (hash_parse(&hash, get_text(reader, object, name)) != LS_OK)
        fail(reader, name);
    return hash;
}

/* A list of 0 to `limit` items and its length. */
static const cJSON *get_list(struct reader *reader, const cJSON *object, const char *name,
                             int limit, int *out_count)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, name);
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
    if (count < 0 || count > limit) {
        fail(reader, name);
        count = 0;
    }
    *out_count = count;
    return count > 0 ? list : NULL;
}

/* Copies `text` to `*next` in the handle's text store, which is as large as the whole manifest. */
static const char *keep_text(char **next, const char *text)
{
    char *kept = *next;
    size_t bytes = strlen(text) + 1;
    memcpy(kept, text, bytes);
    *next += bytes;
    return kept;
}

static void read_arrays(struct reader *reader, struct checkpoint *c, const cJSON *root, char **next)
{
    int a = 0;
    const cJSON *one = NULL;
    const cJSON *list =
        get_list(reader, root, "arrays", CHECKPOINT_ARRAYS_MAX, &c->info.array_count);
    if (c->info.array_count == 0)
        fail(reader, "arrays");
    cJSON_ArrayForEach(one, list)
    {
        struct checkpoint_array *array = &c->info.arrays[a++];
        array->name = keep_text(next, get_text(reader, one, "name"));
        array->total = get_number(reader, one, "total");
        if (strlen(array->name) >= CHECKPOINT_NAME_BYTES)
            fail(reader, "name of an array");
    }
}

static void read_extents(struct reader *reader, struct checkpoint_shard_facts *facts,
                         const cJSON *shard, int array_count)
{
    int count = 0;
    int a = 0;
    const cJSON *one = NULL;
    const cJSON *list = get_list(reader, shard, "ranges", CHECKPOINT_ARRAYS_MAX, &count);
    if (count != array_count) {
        fail(reader, "ranges");
        return;
    }
    cJSON_ArrayForEach(one, list)
    {
        struct checkpoint_extent *extent = &facts->extents[a++];
        extent->offset = get_number(reader, one, "offset");
        extent->count = get_number(reader, one, "count");
        extent->data_at = (uint64_t)get_number(reader, one, "data_at");
        extent->table_at = (uint64_t)get_number(reader, one, "hashes_at");
    }
}

static ls_status read_shards(struct reader *reader, struct checkpoint *c, const cJSON *root)
{
    ls_status st = LS_OK;
    char *name = NULL;
    int count = 0;
    int s = 0;
    const cJSON *one = NULL;
    const cJSON *list = get_list(reader, root, "shards", LAYOUT_SHARDS_MAX, &count);
    if (count == 0)
        fail(reader, "shards");
    LS_TRY(core_alloc(&c->shards, count));
    c->info.shard_count = count;
    cJSON_ArrayForEach(one, list)
    {
        struct checkpoint_shard_facts *facts = &c->shards[s];
        free(name);
        name = NULL;
        LS_TRY(layout_shard(&name, ".", s, count));
        if (strcmp(get_text(reader, one, "file"), name + 2) != 0)
            fail(reader, "file of a shard");
        facts->shard = s++;
        facts->of = count;
        facts->bytes = (uint64_t)get_number(reader, one, "bytes");
        facts->checksum = get_hash(reader, one, "checksum");
        facts->digest = get_hash(reader, one, "digest");
        read_extents(reader, facts, one, c->info.array_count);
        c->info.bytes += facts->bytes;
    }
done:
    free(name);
    return st;
}

static void read_shape(struct reader *reader, struct checkpoint_parameter *p, const cJSON *object)
{
    int64_t count = 1;
    int d = 0;
    const cJSON *one = NULL;
    const cJSON *list = get_list(reader, object, "shape", 5, &p->dimensions);
    cJSON_ArrayForEach(one, list)
    {
        int64_t length = to_number(reader, one, "shape");
        p->shape[d++] = length;
        if (__builtin_mul_overflow(count, length, &count))
            fail(reader, "shape");
    }
    if (count != p->count)
        fail(reader, "shape or count of a parameter");
}

static ls_status read_parameters(struct reader *reader, struct checkpoint *c, const cJSON *root,
                                 char **next)
{
    ls_status st = LS_OK;
    int64_t flat = 0;
    int count = 0;
    int i = 0;
    const cJSON *one = NULL;
    const cJSON *list = get_list(reader, root, "parameters", 1 << 24, &count);
    LS_TRY(core_alloc(&c->parameters, count));
    c->info.parameters = c->parameters;
    c->info.parameter_count = count;
    for (int a = 0; a < c->info.array_count; a++)
        flat = c->info.arrays[a].total > flat ? c->info.arrays[a].total : flat;
    cJSON_ArrayForEach(one, list)
    {
        struct checkpoint_parameter *p = &c->parameters[i++];
        p->name = keep_text(next, get_text(reader, one, "name"));
        p->offset = get_number(reader, one, "offset");
        p->count = get_number(reader, one, "count");
        p->adam_step = get_number(reader, one, "adam_step");
        read_shape(reader, p, one);
        if (p->offset > flat || p->count > flat - p->offset)
            fail(reader, "range of a parameter");
    }
done:
    return st;
}

/* The text of an object that an older program did not write: then empty. */
static ls_status read_object(struct reader *reader, char **out, const cJSON *root, const char *key)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, key);
    if (object == NULL)
        return core_format(out, "{}");
    if (!cJSON_IsObject(object))
        fail(reader, key);
    *out = cJSON_PrintUnformatted(object);
    return *out != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "%s: out of memory", reader->path);
}

static ls_status read_rest(struct reader *reader, struct checkpoint *c, const cJSON *root)
{
    ls_status st = LS_OK;
    int i = 0;
    const cJSON *one = NULL;
    const cJSON *list = get_list(reader, root, "skipped_draws", 1 << 28, &c->info.skipped_count);
    LS_TRY(core_alloc(&c->skipped, c->info.skipped_count));
    cJSON_ArrayForEach(one, list) c->skipped[i++] = to_number(reader, one, "skipped_draws");
    LS_TRY(core_format(&c->config_yaml, "%s", get_text(reader, root, "config")));
    const cJSON *facts = cJSON_GetObjectItemCaseSensitive(root, "facts");
    if (!cJSON_IsObject(facts))
        fail(reader, "facts");
    c->facts_json = cJSON_PrintUnformatted(facts);
    if (c->facts_json == NULL && reader->st == LS_OK) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", reader->path);
        goto done;
    }
    LS_TRY(read_object(reader, &c->metrics_json, root, "metrics"));
    LS_TRY(read_object(reader, &c->draws_json, root, "draws"));
    c->info.metrics_json = c->metrics_json;
    c->info.draws_json = c->draws_json;
    c->info.skipped = c->skipped;
    c->info.config_yaml = c->config_yaml;
    c->info.facts_json = c->facts_json;
done:
    return st;
}

/* The sum of the shards' digests and the table's hash must be the stated digest: a manifest that
 * contradicts itself was not written by us. */
static ls_status check_digest(const char *path, const struct checkpoint *c)
{
    struct hash128 digest;
    ls_status st =
        layout_table_hash(&digest, c->info.step, c->info.parameters, c->info.parameter_count);
    for (int s = 0; s < c->info.shard_count; s++)
        digest = hash_add(digest, c->shards[s].digest);
    if (st == LS_OK && !hash_equal(digest, c->info.digest))
        st = LS_FAIL(LS_CHECKPOINT, "%s: the digest is not that of its parts", path);
    return st;
}

/* The first line's checksum against the bytes after it. */
static bool checksum_holds(const char *text, size_t bytes)
{
    static const char opening[] = "{\"checksum\": \"";
    const size_t head = sizeof opening - 1;
    const size_t line = head + HASH_TEXT_BYTES - 1 + 3;
    char digits[HASH_TEXT_BYTES];
    if (bytes < line || memcmp(text, opening, head) != 0 ||
        memcmp(text + line - 3, "\",\n", 3) != 0)
        return false;
    hash_text(digits, hash_buffer(text + line, bytes - line));
    return memcmp(digits, text + head, HASH_TEXT_BYTES - 1) == 0;
}

static ls_status read_root(struct checkpoint *c, const char *path, const cJSON *root)
{
    ls_status st = LS_OK;
    struct reader reader = {.path = path, .st = LS_OK};
    char *next = c->texts;
    if (strcmp(get_text(&reader, root, "format"), "lockstep checkpoint") != 0)
        fail(&reader, "format");
    int64_t version = get_number(&reader, root, "version");
    if (reader.st == LS_OK && version != LAYOUT_VERSION && version != LAYOUT_VERSION_DIVIDED)
        return LS_FAIL(LS_CHECKPOINT,
                       "%s: version %" PRId64 " of the format; this program reads %d and %d", path,
                       version, LAYOUT_VERSION, LAYOUT_VERSION_DIVIDED);
    if (version == LAYOUT_VERSION_DIVIDED) {
        c->info.slice = get_number(&reader, root, "slice");
        if (c->info.slice == 0)
            fail(&reader, "slice");
    }
    c->info.step = get_number(&reader, root, "step");
    c->info.run_epoch = get_number(&reader, root, "run_epoch");
    c->info.digest = get_hash(&reader, root, "digest");
    if (get_number(&reader, root, "block") != CHECKPOINT_BLOCK)
        fail(&reader, "block");
    read_arrays(&reader, c, root, &next);
    LS_TRY(read_shards(&reader, c, root));
    LS_TRY(read_parameters(&reader, c, root, &next));
    LS_TRY(read_rest(&reader, c, root));
    LS_TRY(reader.st);
    LS_TRY(layout_check_extents(path, c->info.arrays, c->info.array_count, c->shards,
                                c->info.shard_count, c->info.slice));
    LS_TRY(check_digest(path, c));
done:
    return st;
}

ls_status manifest_read(struct checkpoint **out, const char *folder)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    size_t bytes = 0;
    LS_TRY(core_alloc(&c, 1));
    LS_TRY(core_format(&path, "%s/manifest.json", folder));
    if (files_is_folder(folder) && !files_exists(path)) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: no manifest.json: not a finished checkpoint", folder);
        goto done;
    }
    LS_TRY(files_read(&text, &bytes, path, MANIFEST_LIMIT_BYTES));
    root = checksum_holds(text, bytes) ? cJSON_Parse(text) : NULL;
    if (root == NULL) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: damaged: its checksum does not hold", path);
        goto done;
    }
    LS_TRY(core_alloc(&c->texts, bytes));
    LS_TRY(core_format(&c->path, "%s", folder));
    c->info.path = c->path;
    LS_TRY(read_root(c, path, root));
    *out = c;
    c = NULL;
done:
    cJSON_Delete(root);
    free(text);
    free(path);
    checkpoint_close(&c);
    return layout_failure(st);
}

int64_t manifest_epoch(const char *folder)
{
    struct checkpoint *c = NULL;
    ls_status st = manifest_read(&c, folder);
    int64_t epoch = st == LS_OK && c != NULL ? c->info.run_epoch : 0;
    checkpoint_close(&c);
    return epoch;
}

void checkpoint_close(struct checkpoint **checkpoint)
{
    struct checkpoint *c = *checkpoint;
    if (c == NULL)
        return;
    free(c->path);
    free(c->config_yaml);
    free(c->facts_json);
    free(c->metrics_json);
    free(c->draws_json);
    free(c->texts);
    free(c->parameters);
    free(c->skipped);
    free(c->shards);
    free(c);
    *checkpoint = NULL;
}

const struct checkpoint_info *checkpoint_info(const struct checkpoint *checkpoint)
{
    return &checkpoint->info;
}
