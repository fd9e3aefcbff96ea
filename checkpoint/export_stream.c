/* The stream of an exported file.
 *
 * Every few hundred MiB the file is synced and a note beside it (progress.json) says how far it is
 * good, with the hash of those bytes and of the plan: what lies behind the last note may be
 * anything after a crash, and is cut off. */
#include "checkpoint/export_stream.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"

enum { PIECE_ELEMENTS = 1 << 20, NOTE_BYTES = 256 << 20, NOTE_LIMIT_BYTES = 4096 };

struct export_stream {
    const struct export_plan *plan;
    char *path; /* of model.safetensors */
    char *note_path;
    int file;
    uint64_t at, noted, resumed; /* bytes */
    struct hash_stream *hash;    /* of what is written */
    char plan_hash[HASH_TEXT_BYTES];
    float *buffer; /* [PIECE_ELEMENTS] */
};

/* Two exports write the same file when these are the same. */
static void hash_plan(char *out, const struct export_plan *plan)
{
    struct hash128 digest = checkpoint_info(plan->checkpoint)->digest;
    int tokens = plan->parameters->shape.mask_tokens;
    struct hash128 sum = hash_buffer_at(plan->header, plan->header_bytes, digest.low, digest.high);
    sum = hash_add(sum, hash_buffer_at(plan->mask_sources, (size_t)tokens * sizeof(int),
                                       plan->options->online, 1));
    hash_text(out, sum);
}

static ls_status io_failure(const char *path, const char *what)
{
    return LS_FAIL(LS_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* Hash of the file's first `bytes`, into stream->hash. */
static ls_status hash_beginning(struct export_stream *stream, uint64_t bytes)
{
    ls_status st = LS_OK;
    const size_t most = PIECE_ELEMENTS * sizeof *stream->buffer;
    for (uint64_t at = 0; at < bytes;) {
        size_t part = bytes - at < most ? (size_t)(bytes - at) : most;
        LS_TRY(files_read_at(stream->file, stream->buffer, part, at, stream->path));
        hash_stream_add(stream->hash, stream->buffer, part);
        at += part;
    }
done:
    return st;
}

/* How far the note says that the file is good, and its hash; false when there is no note of this
 * plan. */
static bool read_note(const struct export_stream *stream, uint64_t *bytes, struct hash128 *hash)
{
    char *text = NULL;
    cJSON *note = NULL;
    if (files_exists(stream->note_path) &&
        files_read(&text, NULL, stream->note_path, NOTE_LIMIT_BYTES) == LS_OK)
        note = cJSON_Parse(text);
    const char *plan = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(note, "plan"));
    const char *sum = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(note, "hash"));
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(note, "bytes");
    bool good = plan != NULL && sum != NULL && strcmp(plan, stream->plan_hash) == 0 &&
                hash_parse(hash, sum) == LS_OK && cJSON_IsNumber(count) &&
                count->valuedouble >= (double)stream->plan->header_bytes &&
                count->valuedouble <= (double)stream->plan->bytes;
    *bytes = good ? (uint64_t)count->valuedouble : 0;
    cJSON_Delete(note);
    free(text);
    return good;
}

static ls_status write_note(struct export_stream *stream)
{
    ls_status st = LS_OK;
    char sum[HASH_TEXT_BYTES];
    char *text = NULL;
    if (fault_point("fsync") != 0 || fsync(stream->file) != 0) {
        st = io_failure(stream->path, "fsync");
        goto done;
    }
    hash_text(sum, hash_stream_value(stream->hash));
    LS_TRY(core_format(&text, "{\"plan\": \"%s\", \"bytes\": %" PRIu64 ", \"hash\": \"%s\"}\n",
                       stream->plan_hash, stream->at, sum));
    LS_TRY(files_replace(stream->note_path, text, strlen(text)));
    stream->noted = stream->at;
done:
    free(text);
    return st;
}

static ls_status put(struct export_stream *stream, const void *data, size_t bytes)
{
    ls_status st = files_write_all(stream->file, data, bytes, stream->path);
    if (st == LS_OK) {
        hash_stream_add(stream->hash, data, bytes);
        stream->at += bytes;
    }
    return st;
}

/* Keep what the note vouches for, or start over. */
static ls_status take_up(struct export_stream *stream)
{
    ls_status st = LS_OK;
    uint64_t bytes = 0;
    uint64_t there = 0;
    struct hash128 noted = {0};
    LS_TRY(files_size(&there, stream->path));
    bool keep = read_note(stream, &bytes, &noted) && bytes <= there;
    if (keep) {
        LS_TRY(hash_beginning(stream, bytes));
        keep = hash_equal(noted, hash_stream_value(stream->hash));
    }
    if (!keep) {
        hash_stream_close(&stream->hash);
        LS_TRY(hash_stream_open(&stream->hash));
        bytes = 0;
    }
    if (ftruncate(stream->file, (off_t)bytes) != 0 ||
        lseek(stream->file, (off_t)bytes, SEEK_SET) < 0) {
        st = io_failure(stream->path, "cut");
        goto done;
    }
    stream->at = bytes;
    stream->noted = bytes;
    stream->resumed = bytes;
    if (bytes == 0)
        LS_TRY(put(stream, stream->plan->header, stream->plan->header_bytes));
done:
    return st;
}

ls_status export_stream_open(struct export_stream **out, const char *folder,
                             const struct export_plan *plan)
{
    ls_status st = LS_OK;
    struct export_stream *stream = NULL;
    LS_TRY(core_alloc(&stream, 1));
    stream->plan = plan;
    stream->file = -1;
    hash_plan(stream->plan_hash, plan);
    LS_TRY(core_format(&stream->path, "%s/" EXPORT_MODEL_NAME, folder));
    LS_TRY(core_format(&stream->note_path, "%s/" EXPORT_NOTE_NAME, folder));
    LS_TRY(core_alloc(&stream->buffer, PIECE_ELEMENTS));
    LS_TRY(hash_stream_open(&stream->hash));
    stream->file =
        fault_point("create") != 0 ? -1 : open(stream->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (stream->file < 0) {
        st = io_failure(stream->path, "create");
        goto done;
    }
    if (flock(stream->file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        st = LS_FAIL(LS_IO, "%s: another export is writing it", stream->path);
        goto done;
    }
    LS_TRY(take_up(stream));
    *out = stream;
    stream = NULL;
done:
    export_stream_close(&stream);
    return st;
}

void export_stream_close(struct export_stream **stream)
{
    struct export_stream *s = *stream;
    if (s == NULL)
        return;
    if (s->file >= 0)
        (void)close(s->file);
    hash_stream_close(&s->hash);
    free(s->buffer);
    free(s->path);
    free(s->note_path);
    free(s);
    *stream = NULL;
}

uint64_t export_stream_resumed(const struct export_stream *stream)
{
    return stream->resumed;
}

/* Elements [first, first + count) of a tensor, all of one piece, into the buffer. */
static ls_status fetch(const struct export_stream *stream, const struct export_tensor *tensor,
                       int64_t first, int64_t count)
{
    const struct export_plan *plan = stream->plan;
    int64_t length = tensor->count / tensor->pieces;
    int piece = (int)(first / length);
    const struct parameter *p = &plan->parameters->table[tensor->parameter + piece];
    if (p->kind == PARAMETER_MASK_TOKEN)
        p = &plan->parameters->table[tensor->parameter + plan->mask_sources[piece]];
    bool ema = p->encoder && !plan->options->online;
    return checkpoint_read(
        plan->checkpoint,
        &(struct checkpoint_array){.name = ema ? "ema" : "weights",
                                   .data = stream->buffer,
                                   .offset = p->offset + tensor->skip + first % length,
                                   .count = count,
                                   .total = ema ? plan->parameters->encoder_count
                                                : plan->parameters->flat_count});
}

/* The largest float that does not become infinite in bfloat16. */
static const float bfloat16_end = 0x1.FEFFFEp127F;

static ls_status check_finite(const struct export_stream *stream,
                              const struct export_tensor *tensor, int64_t count)
{
    float most = stream->plan->options->bfloat16 ? bfloat16_end : 0x1.FFFFFEp127F;
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(stream->buffer[i]) <= most))
            return LS_FAIL(LS_DATA,
                           "%s: tensor %s holds a value of %g: such weights are not "
                           "exported",
                           checkpoint_info(stream->plan->checkpoint)->path, tensor->name,
                           (double)stream->buffer[i]);
    return LS_OK;
}

static ls_status write_tensor(struct export_stream *stream, int number)
{
    ls_status st = LS_OK;
    const struct export_tensor *tensor = &stream->plan->tensors.list[number];
    const struct safetensors_entry *entry = &stream->plan->entries[number];
    const uint64_t each = (uint64_t)safetensors_bytes(entry->type);
    const uint64_t wanted = stream->plan->options->note_bytes;
    const int64_t length = tensor->count / tensor->pieces;
    int64_t first = (int64_t)((stream->at - stream->plan->header_bytes - entry->begin) / each);
    while (first < tensor->count) {
        int64_t count = length - first % length;
        count = count < PIECE_ELEMENTS ? count : PIECE_ELEMENTS;
        LS_TRY(fetch(stream, tensor, first, count));
        LS_TRY(check_finite(stream, tensor, count));
        safetensors_pack(stream->buffer, entry->type, stream->buffer, count);
        LS_TRY(put(stream, stream->buffer, (size_t)count * each));
        first += count;
        if (stream->at - stream->noted >= (wanted > 0 ? wanted : NOTE_BYTES))
            LS_TRY(write_note(stream));
    }
done:
    return st;
}

ls_status export_stream_write(struct export_stream *stream, struct hash128 *checksum)
{
    ls_status st = LS_OK;
    const struct export_plan *plan = stream->plan;
    for (int i = 0; i < plan->tensors.count; i++)
        if (plan->header_bytes + plan->entries[i].end > stream->at)
            LS_TRY(write_tensor(stream, i));
    LS_TRY(write_note(stream));
    *checksum = hash_stream_value(stream->hash);
done:
    return st;
}

ls_status export_stream_finish(struct export_stream *stream)
{
    char *folder = NULL;
    ls_status st = files_remove(stream->note_path);
    if (st == LS_OK)
        st = core_format(&folder, "%.*s", (int)(strrchr(stream->path, '/') - stream->path),
                         stream->path);
    if (st == LS_OK)
        st = files_sync(folder);
    free(folder);
    return st;
}
