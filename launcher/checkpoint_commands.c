/* inspect and verify of checkpoints, their shards, and run folders. */
#include <cJSON.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "core/files.h"
#include "core/run.h"
#include "launcher/commands.h"
#include "launcher/json.h"
#include "launcher/page.h"
#include "launcher/run_folder.h"

static bool has_file(const char *folder, const char *name)
{
    char *path = NULL;
    if (core_format(&path, "%s/%s", folder, name) != LS_OK)
        return false;
    bool there = files_exists(path);
    free(path);
    return there;
}

/* The last word of a path whose links are resolved; "" when it leads nowhere. */
static void real_name(char *out, size_t bytes, const char *path)
{
    char *real = realpath(path, NULL);
    (void)snprintf(out, bytes, "%s", real != NULL ? basename(real) : "");
    free(real);
}

static bool is_checkpoint(const char *path)
{
    char name[64];
    real_name(name, sizeof name, path);
    return files_is_folder(path) &&
           (has_file(path, "manifest.json") || strncmp(name, "step-", 5) == 0);
}

static bool is_checkpoint_shard(const char *path)
{
    char name[64];
    int shard = 0;
    int of = 0;
    real_name(name, sizeof name, path);
    return !files_is_folder(path) && sscanf(name, "shard-%d-of-%d.h5", &shard, &of) == 2;
}

static bool is_run(const char *path)
{
    return files_is_folder(path) &&
           (has_file(path, "run-epoch") || has_file(path, "checkpoints")) &&
           !has_file(path, "index.h5");
}

static ls_status no_videos(const char *path, const struct inspect_options *options)
{
    if (options->video == NULL && !options->framemd5)
        return LS_OK;
    return LS_FAIL(LS_USAGE, "%s: --video and --framemd5 are for datasets", path);
}

static void print_digest(const struct checkpoint_info *info)
{
    char digest[HASH_TEXT_BYTES];
    hash_text(digest, info->digest);
    page_row("step", "%" PRId64, info->step);
    page_row("digest", "%s", digest);
}

/* "threads 2, isa avx512": the facts' plain values. */
static void print_facts(const char *facts_json)
{
    cJSON *facts = cJSON_Parse(facts_json);
    const cJSON *item = NULL;
    const char *label = "saved by";
    cJSON_ArrayForEach(item, facts)
    {
        char *text = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
        page_row(label, "%s %s", item->string, text != NULL ? text : cJSON_GetStringValue(item));
        free(text);
        label = "";
    }
    cJSON_Delete(facts);
}

/* Draws so far, where some failed. */
static void print_draws(const char *draws_json)
{
    cJSON *draws = cJSON_Parse(draws_json);
    const cJSON *drawn = cJSON_GetObjectItemCaseSensitive(draws, "drawn");
    const cJSON *bad = cJSON_GetObjectItemCaseSensitive(draws, "bad");
    for (int d = 0; d < cJSON_GetArraySize(bad); d++) {
        const double failed = cJSON_GetNumberValue(cJSON_GetArrayItem(bad, d));
        if (failed > 0)
            page_row("bad draws", "%.0f of %.0f of dataset %d", failed,
                     cJSON_GetNumberValue(cJSON_GetArrayItem(drawn, d)), d + 1);
    }
    cJSON_Delete(draws);
}

static void print_checkpoint(const struct checkpoint_info *info)
{
    int64_t elements = 0;
    for (int i = 0; i < info->parameter_count; i++)
        elements += info->parameters[i].count;
    page_row("checkpoint", "%s", info->path);
    print_digest(info);
    page_row("start", "%" PRId64 " of the run", info->run_epoch);
    page_row("shards", "%d, %.1f MB%s", info->shard_count, (double)info->bytes * 1e-6,
             info->slice > 0 ? ", of a sharded optimizer" : "");
    for (int a = 0; a < info->array_count; a++)
        page_row(a == 0 ? "arrays" : "", "%s, %" PRId64 " float32", info->arrays[a].name,
                 info->arrays[a].total);
    page_row("parameters", "%" PRId64 " in %d tensors", elements, info->parameter_count);
    if (info->skipped_count > 0)
        page_row("skipped draws", "%d", info->skipped_count);
    print_draws(info->draws_json);
    print_facts(info->facts_json);
    (void)printf("\n`--json` also lists shards, parameters and the config.\n");
}

static cJSON *shards_json(const struct checkpoint *c)
{
    const struct checkpoint_info *info = checkpoint_info(c);
    const struct checkpoint_shard_facts *shards = checkpoint_shards(c);
    cJSON *list = cJSON_CreateArray();
    for (int s = 0; s < info->shard_count; s++) {
        char checksum[HASH_TEXT_BYTES];
        cJSON *one = json_append_object(list);
        hash_text(checksum, shards[s].checksum);
        json_number(one, "shard", s);
        json_number(one, "bytes", (double)shards[s].bytes);
        json_text(one, "checksum", checksum);
    }
    return list;
}

static cJSON *parameters_json(const struct checkpoint_info *info)
{
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < info->parameter_count; i++) {
        const struct checkpoint_parameter *p = &info->parameters[i];
        cJSON *one = json_append_object(list);
        json_text(one, "name", p->name);
        json_number(one, "offset", (double)p->offset);
        json_number(one, "count", (double)p->count);
        json_number(one, "adam_step", (double)p->adam_step);
        cJSON *shape = cJSON_AddArrayToObject(one, "shape");
        for (int d = 0; d < p->dimensions; d++)
            (void)cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)p->shape[d]));
    }
    return list;
}

static void add_digest(cJSON *root, const struct checkpoint_info *info)
{
    char digest[HASH_TEXT_BYTES];
    hash_text(digest, info->digest);
    json_number(root, "step", (double)info->step);
    json_text(root, "digest", digest);
}

static ls_status print_checkpoint_json(const struct checkpoint *c)
{
    const struct checkpoint_info *info = checkpoint_info(c);
    cJSON *root = cJSON_CreateObject();
    json_text(root, "kind", "checkpoint");
    json_text(root, "path", info->path);
    add_digest(root, info);
    json_number(root, "run_epoch", (double)info->run_epoch);
    json_number(root, "bytes", (double)info->bytes);
    cJSON *arrays = cJSON_AddArrayToObject(root, "arrays");
    for (int a = 0; a < info->array_count; a++) {
        cJSON *one = json_append_object(arrays);
        json_text(one, "name", info->arrays[a].name);
        json_number(one, "total", (double)info->arrays[a].total);
    }
    if (info->slice > 0)
        json_number(root, "slice", (double)info->slice);
    json_item(root, "shards", shards_json(c));
    json_item(root, "parameters", parameters_json(info));
    cJSON *skipped = cJSON_AddArrayToObject(root, "skipped_draws");
    for (int i = 0; i < info->skipped_count; i++)
        (void)cJSON_AddItemToArray(skipped, cJSON_CreateNumber((double)info->skipped[i]));
    json_item(root, "draws", cJSON_Parse(info->draws_json));
    json_item(root, "facts", cJSON_Parse(info->facts_json));
    json_text(root, "config", info->config_yaml);
    return json_print(&root);
}

static ls_status inspect_checkpoint(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    LS_TRY(no_videos(path, options));
    LS_TRY(checkpoint_open(&c, path));
    if (options->json)
        LS_TRY(print_checkpoint_json(c));
    else
        print_checkpoint(checkpoint_info(c));
done:
    checkpoint_close(&c);
    return st;
}

/* A shard is a part of its checkpoint: the page is the checkpoint's, with a line about the shard.
 */
static ls_status inspect_shard(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    char *real = realpath(path, NULL);
    char name[64];
    int shard = -1;
    real_name(name, sizeof name, path);
    if (real == NULL || sscanf(name, "shard-%d", &shard) != 1) {
        st = LS_FAIL(LS_IO, "%s: cannot open", path);
        goto done;
    }
    LS_TRY(no_videos(path, options));
    LS_TRY(checkpoint_open(&c, dirname(real)));
    const struct checkpoint_info *info = checkpoint_info(c);
    if (shard < 0 || shard >= info->shard_count) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: not a shard of its checkpoint", path);
        goto done;
    }
    if (options->json) {
        LS_TRY(print_checkpoint_json(c));
        goto done;
    }
    page_row("shard", "%d of %d, %.1f MB", shard, info->shard_count,
             (double)checkpoint_shards(c)[shard].bytes * 1e-6);
    for (int a = 0; a < info->array_count; a++) {
        const struct checkpoint_extent *extent = &checkpoint_shards(c)[shard].extents[a];
        page_row("", "%s: %" PRId64 " elements%s from %" PRId64, info->arrays[a].name,
                 extent->count, info->slice > 0 ? " in slices" : "", extent->offset);
    }
    print_checkpoint(info);
done:
    checkpoint_close(&c);
    free(real);
    return st;
}

static void print_damage(void *context, const char *line)
{
    int *count = context;
    ++*count;
    (void)printf("%s\n", line);
}

/* Damage is what `verify` looks for: it is told on stdout, and the exit code is 1 whatever it was.
 */
static ls_status verify_checkpoint(const char *path, const struct verify_options *options)
{
    (void)options;
    int damages = 0;
    ls_status st = checkpoint_verify(path, print_damage, &damages);
    if (damages > 0)
        return LS_FAIL(LS_FAILED, "%s: %d damage%s", path, damages, damages == 1 ? "" : "s");
    if (st == LS_OK)
        (void)printf("%s: good\n", path);
    return st;
}

static ls_status inspect_run(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    char *latest = NULL;
    char *owner = NULL;
    int64_t starts = 0;
    cJSON *root = NULL;
    LS_TRY(no_videos(path, options));
    LS_TRY(core_format(&latest, "%s/checkpoints/latest", path));
    LS_TRY(run_folder_starts(&starts, path));
    LS_TRY(run_folder_owner(&owner, path));
    if (files_exists(latest))
        LS_TRY(checkpoint_open(&c, latest));
    if (options->json) {
        root = cJSON_CreateObject();
        json_text(root, "kind", "run");
        json_text(root, "path", path);
        json_number(root, "starts", (double)starts);
        if (owner != NULL)
            json_text(root, "owner", owner);
        if (c != NULL) {
            add_digest(root, checkpoint_info(c));
            json_text(root, "checkpoint", checkpoint_info(c)->path);
        }
        LS_TRY(json_print(&root));
        goto done;
    }
    page_row("run", "%s", path);
    page_row("starts", "%" PRId64, starts);
    page_row("in use by", "%s", owner != NULL ? owner : "nobody");
    if (c == NULL)
        page_row("checkpoint", "none yet");
    else
        print_checkpoint(checkpoint_info(c));
done:
    cJSON_Delete(root);
    checkpoint_close(&c);
    free(latest);
    free(owner);
    return st;
}

/* Every checkpoint of the run. */
static ls_status verify_run(const char *path, const struct verify_options *options)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *one = NULL;
    char **names = NULL;
    size_t count = 0;
    int bad = 0;
    int seen = 0;
    LS_TRY(core_format(&folder, "%s/checkpoints", path));
    if (files_exists(folder))
        LS_TRY(files_list(&names, &count, folder));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], "step-", 5) != 0 || strstr(names[i], ".partial") != NULL)
            continue;
        free(one);
        one = NULL;
        LS_TRY(core_format(&one, "%s/%s", folder, names[i]));
        seen++;
        if (verify_checkpoint(one, options) != LS_OK)
            bad++;
    }
    if (bad > 0)
        st = LS_FAIL(LS_FAILED, "%s: %d of %d checkpoints damaged", path, bad, seen);
    else
        (void)printf("%s: %d checkpoint%s, all good\n", path, seen, seen == 1 ? "" : "s");
done:
    files_list_free(&names, count);
    free(folder);
    free(one);
    return st;
}

const struct path_kind path_kind_checkpoint = {"checkpoint", is_checkpoint, inspect_checkpoint,
                                               verify_checkpoint};
const struct path_kind path_kind_checkpoint_shard = {"checkpoint shard", is_checkpoint_shard,
                                                     inspect_shard, NULL};
const struct path_kind path_kind_run = {"run folder", is_run, inspect_run, verify_run};
