/* The plan.  Files stay in list order; a shard is closed by the file that brings its sources to the
 * wanted size, and takes the lowest free number.  Finished shards take their whole run of files out
 * of the list, so that what remains is cut at the same places as before. */
#include "data/pack_plan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files.h"
#include "core/hash.h"
#include "data/index.h"
#include "data/shard.h"
#include "data/table.h"

enum { FILES_PER_SHARD_MAX = 1 << 17 };

struct name_set { /* sorted texts */
    char **names;
    size_t count, room;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ls_status add_name(struct name_set *set, const uint8_t *blob, uint64_t at)
{
    ls_status st = LS_OK;
    LS_TRY(table_grow((void **)&set->names, &set->room, set->count, sizeof *set->names));
    LS_TRY(core_format(&set->names[set->count], "%s", (const char *)blob + at));
    set->count++;
done:
    return st;
}

static ls_status collect_names(struct name_set *set, const char *path)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    LS_TRY(shard_open(&shard, path, 0));
    for (uint64_t v = 0; v < shard.record.videos; v++)
        LS_TRY(add_name(set, shard.blob, shard.videos[v].name_at));
    for (uint64_t s = 0; s < shard.record.skipped; s++)
        LS_TRY(add_name(set, shard.blob, shard.skipped[s].name_at));
done:
    shard_close(&shard);
    return st;
}

/* Names that finished shards hold or have skipped, and the shards' numbers (ascending). */
static ls_status read_finished(struct name_set *set, int64_t **numbers, size_t *number_count,
                               const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(index_list_shards(numbers, number_count, folder));
    for (size_t i = 0; i < *number_count; i++) {
        LS_TRY(index_shard_path(&path, folder, (uint64_t)(*numbers)[i]));
        LS_TRY(collect_names(set, path));
        free(path);
        path = NULL;
    }
    if (set->count > 0)
        qsort(set->names, set->count, sizeof *set->names, compare_texts);
done:
    free(path);
    return st;
}

struct position {
    const char *name;
    size_t entry;
};

static int compare_positions(const void *a, const void *b)
{
    const struct position *x = a;
    const struct position *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->entry > y->entry) - (x->entry < y->entry);
}

/* Marks in `repeated` every entry whose name an earlier one has. */
static ls_status mark_repeated(struct pack_plan *plan, uint8_t *repeated)
{
    ls_status st = LS_OK;
    size_t count = plan->list.count;
    struct position *sorted = NULL;
    LS_TRY(core_alloc(&sorted, count));
    LS_TRY(core_alloc(&plan->duplicates, count));
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct position){plan->list.entries[i].path, i};
    qsort(sorted, count, sizeof *sorted, compare_positions);
    for (size_t i = 1; i < count; i++)
        repeated[sorted[i].entry] = strcmp(sorted[i].name, sorted[i - 1].name) == 0;
    for (size_t i = 0; i < count; i++)
        if (repeated[i])
            plan->duplicates[plan->duplicate_count++] = i;
done:
    free(sorted);
    return st;
}

/* A part belongs to one version of one file with one label. */
static ls_status plan_file(struct pack_plan *plan, const struct list_entry *entry)
{
    ls_status st = LS_OK;
    struct stat info;
    struct plan_file *file = &plan->files[plan->file_count];
    char text[HASH_TEXT_BYTES];
    uint64_t weight;
    memset(&info, 0, sizeof info);
    if (stat(entry->path, &info) != 0)
        memset(&info, 0, sizeof info);
    memcpy(&weight, &entry->weight, sizeof weight);
    uint64_t identity[5] = {(uint64_t)entry->label, weight, (uint64_t)info.st_size,
                            (uint64_t)info.st_mtim.tv_sec, (uint64_t)info.st_mtim.tv_nsec};
    struct hash128 inner = hash_buffer(identity, sizeof identity);
    hash_text(text, hash_buffer_at(entry->path, strlen(entry->path), inner.low, inner.high));
    file->source = (struct pack_source){
        .name = entry->path,
        .path = entry->path,
        .label = entry->label,
        .weight = entry->weight,
        .bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0,
    };
    LS_TRY(core_format(&file->part_path, "%s/%s.part", plan->parts_folder, text));
    plan->bytes += file->source.bytes;
    plan->file_count++;
done:
    return st;
}

static ls_status plan_files(struct pack_plan *plan, const struct name_set *finished)
{
    ls_status st = LS_OK;
    uint8_t *repeated = NULL;
    LS_TRY(core_alloc(&repeated, plan->list.count));
    LS_TRY(mark_repeated(plan, repeated));
    LS_TRY(core_alloc(&plan->files, plan->list.count));
    for (size_t i = 0; i < plan->list.count; i++) {
        char *const *name = &plan->list.entries[i].path;
        if (repeated[i] ||
            (finished->count > 0 && bsearch(name, finished->names, finished->count,
                                            sizeof *finished->names, compare_texts) != NULL))
            continue;
        LS_TRY(plan_file(plan, &plan->list.entries[i]));
    }
done:
    free(repeated);
    return st;
}

static ls_status cut_shards(struct pack_plan *plan, const struct pack_options *options,
                            const int64_t *taken, size_t taken_count)
{
    ls_status st = LS_OK;
    size_t room = 0;
    size_t passed = 0; /* taken numbers below `number` */
    uint32_t number = 0;
    uint64_t limit = options->shard_bytes > 0 ? options->shard_bytes : PACK_SHARD_BYTES;
    for (size_t first = 0; first < plan->file_count;) {
        uint64_t bytes = 0;
        size_t end = first;
        while (end < plan->file_count && end - first < FILES_PER_SHARD_MAX && bytes < limit)
            bytes += plan->files[end++].source.bytes;
        while (passed < taken_count && taken[passed] <= number)
            number += taken[passed++] == number;
        LS_TRY(table_grow((void **)&plan->shards, &room, plan->shard_count, sizeof *plan->shards));
        struct plan_shard *shard = &plan->shards[plan->shard_count];
        *shard = (struct plan_shard){.number = number, .first = first, .count = end - first};
        LS_TRY(index_shard_path(&shard->path, options->output, number));
        plan->shard_count++;
        number++;
        first = end;
    }
done:
    return st;
}

ls_status pack_plan_open(struct pack_plan *out, const struct pack_options *options)
{
    ls_status st = LS_OK;
    struct pack_plan plan = {0};
    struct name_set finished = {0};
    int64_t *numbers = NULL;
    size_t number_count = 0;
    for (int i = 0; i < options->input_count; i++)
        LS_TRY(list_add_input(&plan.list, options->inputs[i]));
    if (plan.list.count == 0) {
        st = LS_FAIL(LS_USAGE, "nothing to pack: %s",
                     options->input_count > 0 ? "no file in what was named" : "no input named");
        goto done;
    }
    LS_TRY(files_make_folder(options->output));
    LS_TRY(core_format(&plan.parts_folder, "%s/parts", options->output));
    LS_TRY(read_finished(&finished, &numbers, &number_count, options->output));
    LS_TRY(plan_files(&plan, &finished));
    LS_TRY(cut_shards(&plan, options, numbers, number_count));
    *out = plan;
    plan = (struct pack_plan){0};
done:
    for (size_t i = 0; i < finished.count; i++)
        free(finished.names[i]);
    free(finished.names);
    free(numbers);
    pack_plan_close(&plan);
    return st;
}

void pack_plan_close(struct pack_plan *plan)
{
    for (size_t i = 0; i < plan->file_count; i++)
        free(plan->files[i].part_path);
    for (size_t i = 0; i < plan->shard_count; i++)
        free(plan->shards[i].path);
    free(plan->files);
    free(plan->shards);
    free(plan->duplicates);
    free(plan->parts_folder);
    list_close(&plan->list);
    *plan = (struct pack_plan){0};
}
