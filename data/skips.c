/* Skipped files over all shards.  Of several rows with one name the one in the last shard counts,
 * and none when a shard holds a video of that name. */
#include "data/skips.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/index.h"
#include "data/shard.h"
#include "data/table.h"

static int compare_skips(const void *a, const void *b)
{
    const struct skip *x = a;
    const struct skip *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0)
        return order;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static ls_status collect(struct skips *skips, const struct shard *shard, uint64_t number)
{
    ls_status st = LS_OK;
    for (uint64_t s = 0; s < shard->record.skipped; s++) {
        LS_TRY(table_grow((void **)&skips->entries, &skips->room, skips->count,
                          sizeof *skips->entries));
        struct skip *skip = &skips->entries[skips->count];
        *skip = (struct skip){.shard = number, .row = s, .stands = true};
        LS_TRY(
            core_format(&skip->name, "%s", (const char *)shard->blob + shard->skipped[s].name_at));
        skips->count++;
    }
done:
    return st;
}

/* First entry whose name is not below `name`. */
static size_t find_name(const struct skips *skips, const char *name)
{
    size_t low = 0;
    size_t high = skips->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(skips->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void strike_packed(struct skips *skips, const struct shard *shard)
{
    for (uint64_t v = 0; v < shard->record.videos; v++) {
        const char *name = (const char *)shard->blob + shard->videos[v].name_at;
        for (size_t i = find_name(skips, name);
             i < skips->count && strcmp(skips->entries[i].name, name) == 0; i++)
            skips->entries[i].stands = false;
    }
}

ls_status skips_read(struct skips *out, const char *folder)
{
    ls_status st = LS_OK;
    struct skips skips = {0};
    struct shard shard = {0};
    int64_t *numbers = NULL;
    size_t count = 0;
    char *path = NULL;
    LS_TRY(index_list_shards(&numbers, &count, folder));
    for (int pass = 0; pass < 2 && (pass == 0 || skips.count > 0); pass++) {
        for (size_t i = 0; i < count; i++) {
            free(path);
            path = NULL;
            LS_TRY(index_shard_path(&path, folder, (uint64_t)numbers[i]));
            LS_TRY(shard_open(&shard, path, 0));
            if (pass == 0)
                LS_TRY(collect(&skips, &shard, (uint64_t)numbers[i]));
            else
                strike_packed(&skips, &shard);
            shard_close(&shard);
        }
        if (pass == 0 && skips.count > 0)
            qsort(skips.entries, skips.count, sizeof *skips.entries, compare_skips);
    }
    for (size_t i = 0; i + 1 < skips.count; i++)
        if (strcmp(skips.entries[i].name, skips.entries[i + 1].name) == 0)
            skips.entries[i].stands = false;
    *out = skips;
    skips = (struct skips){0};
done:
    shard_close(&shard);
    free(path);
    free(numbers);
    skips_close(&skips);
    return st;
}

void skips_close(struct skips *skips)
{
    for (size_t i = 0; i < skips->count; i++)
        free(skips->entries[i].name);
    free(skips->entries);
    *skips = (struct skips){0};
}

bool skips_stands(const struct skips *skips, const char *name, uint64_t shard, uint64_t row)
{
    for (size_t i = find_name(skips, name);
         i < skips->count && strcmp(skips->entries[i].name, name) == 0; i++)
        if (skips->entries[i].shard == shard && skips->entries[i].row == row)
            return skips->entries[i].stands;
    return false;
}
