/* Names, grid and hashes of checkpoints.  Blocks lie on a grid that knows nothing of shards, each
 * block's hash is bound to its array and number, and hashes are summed: so any number of shards
 * gives the same digest, and no rank needs another's data for it. */
#include "checkpoint/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/division.h"
#include "core/files.h"

_Static_assert(DIVISION_BLOCK % CHECKPOINT_BLOCK == 0, "slices lie on the grid");

ls_status layout_folder(char **out, const char *folder, struct layout_name name)
{
    switch (name.kind) {
    case LAYOUT_COMMITTED:
        return core_format(out, "%s/step-%09" PRId64, folder, name.step);
    case LAYOUT_PARTIAL:
        return core_format(out, "%s/step-%09" PRId64 ".epoch-%" PRId64 ".partial", folder,
                           name.step, name.run_epoch);
    case LAYOUT_REPLACED:
        break;
    }
    return core_format(out, "%s/step-%09" PRId64 ".epoch-%" PRId64 ".replaced", folder, name.step,
                       name.run_epoch);
}

ls_status layout_shard(char **out, const char *folder, int shard, int of)
{
    return core_format(out, "%s/shard-%04d-of-%04d.h5", folder, shard, of);
}

bool layout_parse(struct layout_name *out, const char *text)
{
    struct layout_name name = {.kind = LAYOUT_COMMITTED, .run_epoch = -1};
    char kind[16] = "";
    int got = sscanf(text, "step-%18" SCNd64 ".epoch-%18" SCNd64 ".%15[a-z]", &name.step,
                     &name.run_epoch, kind);
    if (got < 1 || name.step < 0)
        return false;
    if (got == 3 && strcmp(kind, "partial") == 0)
        name.kind = LAYOUT_PARTIAL;
    else if (got == 3 && strcmp(kind, "replaced") == 0)
        name.kind = LAYOUT_REPLACED;
    else if (got != 1)
        return false;
    /* Only the spelling that we write: "step-7" is not "step-000000007". */
    char *again = NULL;
    if (layout_folder(&again, ".", name) != LS_OK)
        return false;
    bool same = strcmp(again + 2, text) == 0;
    free(again);
    if (same)
        *out = name;
    return same;
}

int64_t layout_blocks(int64_t count)
{
    return count / CHECKPOINT_BLOCK + (count % CHECKPOINT_BLOCK != 0);
}

void checkpoint_range(int64_t *offset, int64_t *count, int64_t total, int shard, int of)
{
    int64_t blocks = layout_blocks(total);
    /* Whole blocks a shard, the remainder spread by Bresenham's rule; no product can overflow. */
    int64_t each = blocks / of;
    int64_t rest = blocks % of;
    int64_t first = each * shard + rest * shard / of;
    int64_t last = each * (shard + 1) + rest * (shard + 1) / of;
    int64_t end = last == blocks ? total : last * CHECKPOINT_BLOCK;
    *offset = first == blocks ? total : first * CHECKPOINT_BLOCK;
    *count = end - *offset;
}

void checkpoint_slices(int64_t *offset, int64_t *count, int64_t total, int64_t slice, int shard,
                       int of)
{
    const struct division division = {.count = total, .slice = slice, .ranks = of};
    *count = division_share(&division, shard, total);
    (void)division_part(offset, &division, 0, shard, total);
}

bool layout_stretch(struct checkpoint_extent *out, const struct checkpoint_extent *extent,
                    int64_t slice, int of, int64_t index)
{
    int64_t held = slice * index;
    if (slice == 0 ? index > 0 : held >= extent->count)
        return false;
    *out = *extent;
    if (slice == 0)
        return true;
    out->offset += held * of;
    out->count = extent->count - held < slice ? extent->count - held : slice;
    out->data_at += (uint64_t)held * sizeof(float);
    out->table_at += (uint64_t)(held / CHECKPOINT_BLOCK) * LAYOUT_HASH_BYTES;
    return true;
}

uint64_t layout_array_hash(const char *name)
{
    return hash_buffer(name, strlen(name)).low;
}

struct hash128 layout_block_hash(uint64_t array, int64_t block, const float *data, int64_t count)
{
    return hash_buffer_at(data, (size_t)count * sizeof *data, array, (uint64_t)block);
}

ls_status layout_table_hash(struct hash128 *out, int64_t step,
                            const struct checkpoint_parameter *parameters, int count)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    char line[256];
    LS_TRY(hash_stream_open(&stream));
    int length = snprintf(line, sizeof line, "step %" PRId64 "\n", step);
    hash_stream_add(stream, line, (size_t)length);
    for (int i = 0; i < count; i++) {
        const struct checkpoint_parameter *p = &parameters[i];
        hash_stream_add(stream, p->name, strlen(p->name));
        length = snprintf(line, sizeof line, " %" PRId64 " %" PRId64 " %" PRId64 " shape",
                          p->offset, p->count, p->adam_step);
        hash_stream_add(stream, line, (size_t)length);
        for (int d = 0; d < p->dimensions; d++) {
            length = snprintf(line, sizeof line, " %" PRId64, p->shape[d]);
            hash_stream_add(stream, line, (size_t)length);
        }
        hash_stream_add(stream, "\n", 1);
    }
    *out = hash_stream_value(stream);
done:
    hash_stream_close(&stream);
    return st;
}

static bool inside(uint64_t at, int64_t count, uint64_t each, uint64_t bytes)
{
    return at <= bytes && (uint64_t)count <= (bytes - at) / each;
}

/* Whether a divided array's extent is what it has to be; a range's follows the one before. */
static bool in_place(const struct checkpoint_extent *e, int64_t next, int64_t total, int64_t slice,
                     int shard, int of)
{
    int64_t offset = 0;
    int64_t count = 0;
    if (slice == 0)
        return e->offset == next && e->count >= 0 && e->count <= total - next &&
               (e->count == 0 || e->offset % CHECKPOINT_BLOCK == 0);
    checkpoint_slices(&offset, &count, total, slice, shard, of);
    return e->offset == offset && e->count == count;
}

ls_status layout_check_extents(const char *path, const struct checkpoint_array *arrays,
                               int array_count, const struct checkpoint_shard_facts *shards, int of,
                               int64_t slice)
{
    if (slice < 0 || slice % CHECKPOINT_BLOCK != 0 || slice > INT64_MAX / 2 / of)
        return LS_FAIL(LS_CHECKPOINT, "%s: slices of %" PRId64 " elements are not on the grid",
                       path, slice);
    for (int a = 0; a < array_count; a++) {
        int64_t next = 0;
        for (int s = 0; s < of; s++) {
            const struct checkpoint_extent *e = &shards[s].extents[a];
            bool fits =
                in_place(e, next, arrays[a].total, slice, s, of) &&
                inside(e->data_at, e->count, sizeof(float), shards[s].bytes) &&
                inside(e->table_at, layout_blocks(e->count), LAYOUT_HASH_BYTES, shards[s].bytes);
            if (!fits)
                return LS_FAIL(LS_CHECKPOINT, "%s: shard %d of %d has a wrong range of %s", path, s,
                               of, arrays[a].name);
            next += e->count;
        }
        if (next != arrays[a].total)
            return LS_FAIL(LS_CHECKPOINT,
                           "%s: the shards hold %" PRId64 " of %" PRId64 " elements of %s", path,
                           next, arrays[a].total, arrays[a].name);
    }
    return LS_OK;
}

ls_status layout_failure(ls_status st)
{
    return st == LS_IO || st == LS_DATA || st == LS_NOMEM ? LS_CHECKPOINT : st;
}
