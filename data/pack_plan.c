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

/* What a finished shard says of a file. */
struct finished_file {
    char *name;
    bool skipped;
    uint64_t bytes; /* of a skipped one, as it was then */
    int64_t mtime_ns;
};

struct finished { /* by name */
    struct finished_file *files;
    size_t count, room;
};

static int compare_finished(const void *a, const void *b)
{
    return strcmp(((const struct finished_file *)a)->name, ((const struct finished_file *)b)->name);
}

static ls_status add_finished(struct finished *finished, const uint8_t *name,
                              const struct skipped_record *skipped)
{
    ls_status st = LS_OK;
    LS_TRY(table_grow((void **)&finished->files, &finished->room, finished->count,
                      sizeof *finished->files));
    struct finished_file *file = &finished->files[finished->count];
    *file = (struct finished_file){.skipped = skipped != NULL};
    if (skipped != NULL) {
        file->bytes = skipped->source_bytes;
        file->mtime_ns = skipped->source_mtime_ns;
    }
    LS_TRY(core_format(&file->name, "%s", (const char *)name));
    finished->count++;
done:
    return st;
}

/* The index, which has been hashed as a whole, knows this shard with these videos. */
static bool is_vouched_for(const struct index_file *index, const struct shard *shard,
                           int64_t number)
{
    struct video_record row;
    const struct shard_record *known = index_find_shard(index, (uint32_t)number);
    if (known == NULL || known->file_bytes != shard->record.file_bytes ||
        known->hash_low != shard->record.hash_low || known->hash_high != shard->record.hash_high ||
        known->videos != shard->record.videos)
        return false;
    for (uint64_t v = 0; v < known->videos; v++) {
        if (index_video(&row, index, known->first_video + v) != LS_OK) {
            status_clear();
            return false;
        }
        if (strcmp((const char *)index->blob + row.name_at,
                   (const char *)shard->blob + shard->videos[v].name_at) != 0)
            return false;
    }
    return true;
}

/* What the index does not vouch for, such as shards of a pack that was killed, is read as a whole
 * against its checksum before its names are believed. */
static ls_status collect_finished(struct finished *finished, const struct index_file *index,
                                  const char *path, int64_t number)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    LS_TRY(shard_open(&shard, path, 0));
    if (!is_vouched_for(index, &shard, number)) {
        shard_close(&shard);
        LS_TRY(shard_open(&shard, path, 1));
    }
    for (uint64_t v = 0; v < shard.record.videos; v++)
        LS_TRY(add_finished(finished, shard.blob + shard.videos[v].name_at, NULL));
    for (uint64_t s = 0; s < shard.record.skipped; s++)
        LS_TRY(add_finished(finished, shard.blob + shard.skipped[s].name_at, &shard.skipped[s]));
done:
    shard_close(&shard);
    return st;
}

static void close_finished(struct finished *finished)
{
    for (size_t i = 0; i < finished->count; i++)
        free(finished->files[i].name);
    free(finished->files);
}

/* Whether there is nothing to do for a file: it is packed, or it was skipped as it still is.  One
 * that was missing or has been repaired is tried again. */
static bool is_finished(const struct finished *finished, const struct pack_source *source)
{
    size_t low = 0;
    size_t high = finished->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(finished->files[middle].name, source->name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < finished->count && strcmp(finished->files[low].name, source->name) == 0; low++) {
        const struct finished_file *file = &finished->files[low];
        if (!file->skipped || (file->bytes == source->bytes && file->mtime_ns == source->mtime_ns))
            return true;
    }
    return false;
}

/* What finished shards hold or have skipped, and the shards' numbers (ascending). */
static ls_status read_finished(struct finished *finished, int64_t **numbers, size_t *number_count,
                               const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct index_file index = {0};
    LS_TRY(core_format(&path, "%s/%s", folder, INDEX_NAME));
    if (index_open(&index, path) != LS_OK)
        status_clear(); /* it is made again at the end */
    free(path);
    path = NULL;
    LS_TRY(index_list_shards(numbers, number_count, folder));
    for (size_t i = 0; i < *number_count; i++) {
        LS_TRY(index_shard_path(&path, folder, (uint64_t)(*numbers)[i]));
        LS_TRY(collect_finished(finished, &index, path, (*numbers)[i]));
        free(path);
        path = NULL;
    }
    if (finished->count > 0)
        qsort(finished->files, finished->count, sizeof *finished->files, compare_finished);
done:
    index_close(&index);
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

static void describe_source(struct pack_source *out, const struct list_entry *entry)
{
    struct stat info;
    *out = (struct pack_source){
        .name = entry->path,
        .path = entry->path,
        .label = entry->label,
        .weight = entry->weight,
        .rate = entry->rate,
    };
    if (stat(entry->path, &info) != 0)
        return;
    out->bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    out->mtime_ns = info.st_mtim.tv_sec * (int64_t)1000000000 + info.st_mtim.tv_nsec;
}

/* A part belongs to one version of one file with one label, stored one way. */
static ls_status add_file(struct pack_plan *plan, const struct pack_source *source)
{
    ls_status st = LS_OK;
    struct plan_file *file = &plan->files[plan->file_count];
    char text[HASH_TEXT_BYTES];
    uint64_t weight;
    uint64_t rate;
    memcpy(&weight, &source->weight, sizeof weight);
    memcpy(&rate, &source->rate, sizeof rate);
    double limits[2] = {source->encoding.gop_s, source->encoding.dear};
    uint64_t identity[9] = {(uint64_t)source->label,
                            weight,
                            rate,
                            source->bytes,
                            (uint64_t)source->mtime_ns,
                            (uint64_t)source->frame_side,
                            (uint64_t)source->encoding.short_side};
    memcpy(identity + 7, limits, sizeof limits);
    struct hash128 inner = hash_buffer(identity, sizeof identity);
    hash_text(text, hash_buffer_at(source->name, strlen(source->name), inner.low, inner.high));
    file->source = *source;
    LS_TRY(core_format(&file->part_path, "%s/%s.part", plan->parts_folder, text));
    plan->bytes += source->bytes;
    plan->file_count++;
done:
    return st;
}

static ls_status plan_files(struct pack_plan *plan, const struct finished *finished,
                            const struct pack_options *options)
{
    ls_status st = LS_OK;
    uint8_t *repeated = NULL;
    LS_TRY(core_alloc(&repeated, plan->list.count));
    LS_TRY(mark_repeated(plan, repeated));
    LS_TRY(core_alloc(&plan->files, plan->list.count));
    for (size_t i = 0; i < plan->list.count; i++) {
        struct pack_source source;
        if (repeated[i])
            continue;
        describe_source(&source, &plan->list.entries[i]);
        source.frame_side = options->frame_side;
        source.encoding = options->encoding;
        if (!is_finished(finished, &source))
            LS_TRY(add_file(plan, &source));
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
    struct finished finished = {0};
    int64_t *numbers = NULL;
    size_t number_count = 0;
    for (int i = 0; i < options->input_count; i++)
        LS_TRY(list_add_input(&plan.list, options->inputs[i]));
    if (options->input_count > 0 && plan.list.count == 0) {
        st = LS_FAIL(LS_USAGE, "nothing to pack: no file in what was named");
        goto done;
    }
    LS_TRY(files_make_folder(options->output));
    LS_TRY(core_format(&plan.parts_folder, "%s/parts", options->output));
    LS_TRY(read_finished(&finished, &numbers, &number_count, options->output));
    if (options->input_count == 0 && number_count == 0) {
        st =
            LS_FAIL(LS_USAGE, "%s: nothing to pack: name folders, lists or files", options->output);
        goto done;
    }
    LS_TRY(plan_files(&plan, &finished, options));
    LS_TRY(cut_shards(&plan, options, numbers, number_count));
    *out = plan;
    plan = (struct pack_plan){0};
done:
    close_finished(&finished);
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
