/* Verification: each shard's whole-file checksum first; only where that fails, the block hashes say
 * which elements of which array are damaged. */
#include "checkpoint/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/layout.h"
#include "core/files.h"

enum { READ_BYTES = 4 << 20, LINE_BYTES = 1024 };

/* Where damages go: to the caller's callback, the first one also into the failure record. */
struct damages {
    verify_report report;
    void *context;
    int count;
    char first[LINE_BYTES];
};

static void LS_PRINTF(2, 3) add_damage(struct damages *damages, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (damages->count++ == 0)
        memcpy(damages->first, line, sizeof line);
    damages->report(damages->context, line);
}

static ls_status hash_file(struct hash128 *out, int file, uint64_t bytes, char *buffer,
                           const char *path)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    LS_TRY(hash_stream_open(&stream));
    for (uint64_t at = 0; at < bytes;) {
        uint64_t left = bytes - at;
        size_t chunk = left < READ_BYTES ? (size_t)left : READ_BYTES;
        LS_TRY(files_read_at(file, buffer, chunk, at, path));
        hash_stream_add(stream, buffer, chunk);
        at += chunk;
    }
    *out = hash_stream_value(stream);
done:
    hash_stream_close(&stream);
    return st;
}

/* Runs of blocks of one stretch of an array that do not match their hashes, one line each. */
static ls_status find_blocks(struct damages *damages, int file, float *buffer, const char *path,
                             const char *name, const struct checkpoint_extent *e)
{
    ls_status st = LS_OK;
    struct hash128 *table = NULL;
    int64_t blocks = layout_blocks(e->count);
    uint64_t array = layout_array_hash(name);
    int64_t bad_from = -1;
    LS_TRY(core_alloc(&table, blocks));
    LS_TRY(files_read_at(file, table, (size_t)blocks * sizeof *table, e->table_at, path));
    for (int64_t b = 0; b <= blocks; b++) {
        bool bad = false;
        if (b < blocks) {
            int64_t first = b * CHECKPOINT_BLOCK;
            int64_t left = e->count - first;
            int64_t count = left < CHECKPOINT_BLOCK ? left : CHECKPOINT_BLOCK;
            LS_TRY(files_read_at(file, buffer, (size_t)count * sizeof *buffer,
                                 e->data_at + (uint64_t)first * sizeof *buffer, path));
            int64_t number = e->offset / CHECKPOINT_BLOCK + b;
            bad = !hash_equal(layout_block_hash(array, number, buffer, count), table[b]);
        }
        if (bad && bad_from < 0)
            bad_from = b;
        if (!bad && bad_from >= 0) {
            int64_t end = b < blocks ? b * CHECKPOINT_BLOCK : e->count;
            add_damage(damages,
                       "%s: damaged: elements %" PRId64 " to %" PRId64 " of %s (or their hashes)",
                       path, e->offset + bad_from * CHECKPOINT_BLOCK, e->offset + end - 1, name);
            bad_from = -1;
        }
    }
done:
    free(table);
    return st;
}

/* Damage of the file itself is a line; only what keeps us from looking is a failure. */
static ls_status verify_file(struct damages *damages, const struct checkpoint *c,
                             const struct checkpoint_shard_facts *facts, const char *path,
                             char *buffer)
{
    ls_status st = LS_OK;
    struct stat info;
    struct hash128 found;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) {
        add_damage(damages, "%s: %s", path, errno == ENOENT ? "missing" : strerror(errno));
        goto done;
    }
    if ((uint64_t)info.st_size != facts->bytes) {
        add_damage(damages, "%s: damaged: %lld bytes, the manifest says %" PRIu64, path,
                   (long long)info.st_size, facts->bytes);
        goto done;
    }
    if (hash_file(&found, file, facts->bytes, buffer, path) != LS_OK) {
        add_damage(damages, "%s", status_message());
        goto done;
    }
    if (hash_equal(found, facts->checksum))
        goto done;
    int before = damages->count;
    for (int a = 0; a < c->info.array_count; a++) {
        struct checkpoint_extent stretch;
        for (int64_t i = 0;
             layout_stretch(&stretch, &facts->extents[a], c->info.slice, c->info.shard_count, i);
             i++)
            LS_TRY(find_blocks(damages, file, (float *)(void *)buffer, path, c->info.arrays[a].name,
                               &stretch));
    }
    if (damages->count == before)
        add_damage(damages, "%s: damaged outside the arrays: its checksum does not hold", path);
done:
    if (file >= 0)
        (void)close(file);
    return st;
}

ls_status verify_shards(const struct checkpoint *c, verify_report report, void *context)
{
    ls_status st = LS_OK;
    struct damages damages = {.report = report, .context = context};
    char *buffer = NULL;
    char *path = NULL;
    LS_TRY(core_alloc(&buffer, READ_BYTES));
    for (int s = 0; s < c->info.shard_count; s++) {
        free(path);
        path = NULL;
        LS_TRY(layout_shard(&path, c->path, s, c->info.shard_count));
        LS_TRY(verify_file(&damages, c, &c->shards[s], path, buffer));
    }
    if (damages.count > 0)
        st = LS_FAIL(LS_CHECKPOINT, "%s", damages.first);
done:
    free(buffer);
    free(path);
    return layout_failure(st);
}

ls_status checkpoint_verify(const char *path, void (*report)(void *context, const char *line),
                            void *context)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    char *real = realpath(path, NULL);
    if (real == NULL) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot open: %s", path, strerror(errno));
        report(context, status_message());
        goto done;
    }
    st = manifest_read(&c, real);
    if (st != LS_OK) {
        report(context, status_message());
        goto done;
    }
    LS_TRY(verify_shards(c, report, context));
done:
    checkpoint_close(&c);
    free(real);
    return st;
}
