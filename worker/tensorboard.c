/* Protocol buffers by hand: of TensorFlow's Event only wall_time (1), step (2), file_version (3),
 * summary (5) and session_log (7), of its Summary.Value only tag (1) and simple_value (2). */
#include "worker/tensorboard.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"

enum { RECORD_BYTES = 8192, TAG_BYTES = 96, SESSION_START = 1 };

static const char prefix[] = "events.out.tfevents.";

/* Wire types, and fields with theirs. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
#define FIELD(number, wire) ((number) << 3 | (wire))

struct tensorboard {
    char *path;
    int file;
    off_t end; /* behind the last whole record */
    bool failing;
    unsigned char record[RECORD_BYTES];
    unsigned char framed[RECORD_BYTES + TENSORBOARD_FRAME_BYTES];
};

/* CRC-32C bit by bit: a record has some hundred bytes. */
static uint32_t crc32c(const unsigned char *data, size_t bytes)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

/* A checksum of data that holds checksums is weak, so the format turns and shifts it. */
static uint32_t masked(const unsigned char *data, size_t bytes)
{
    uint32_t crc = crc32c(data, bytes);
    return (crc >> 15 | crc << 17) + UINT32_C(0xa282ead8);
}

static unsigned char *put_little(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *out++ = (unsigned char)(value >> 8 * i);
    return out;
}

size_t tensorboard_frame(unsigned char *out, const void *data, size_t bytes)
{
    unsigned char *at = put_little(out, bytes, 8);
    at = put_little(at, masked(out, 8), 4);
    memcpy(at, data, bytes);
    at = put_little(at + bytes, masked(at, bytes), 4);
    return (size_t)(at - out);
}

static unsigned char *put_varint(unsigned char *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (unsigned char)(value | 0x80);
    *out++ = (unsigned char)value;
    return out;
}

static unsigned char *put_bytes(unsigned char *out, int number, const void *data, size_t bytes)
{
    *out++ = (unsigned char)FIELD(number, BYTES);
    out = put_varint(out, bytes);
    memcpy(out, data, bytes);
    return out + bytes;
}

/* The beginning of an event: now, and its step. */
static unsigned char *put_event(unsigned char *out, int64_t step)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits = 0;
    memcpy(&bits, &seconds, sizeof bits);
    *out++ = FIELD(1, FIXED64);
    out = put_little(out, bits, 8);
    *out++ = FIELD(2, VARINT);
    return put_varint(out, (uint64_t)step);
}

/* A torn record must not stay: the next one would be taken for its end. */
static void write_record(struct tensorboard *files, size_t bytes)
{
    size_t framed = tensorboard_frame(files->framed, files->record, bytes);
    ssize_t written = pwrite(files->file, files->framed, framed, files->end);
    if (written == (ssize_t)framed) {
        files->end += written;
        files->failing = false;
        return;
    }
    int cause = written < 0 ? errno : ENOSPC;
    if (ftruncate(files->file, files->end) != 0 || !files->failing)
        log_warn("tensorboard lost_steps: %s: %s", files->path, strerror(cause));
    files->failing = true;
}

/* One value of a summary, where there is still room for it. */
static unsigned char *put_value(unsigned char *out, const unsigned char *limit, const char *tag,
                                double number)
{
    unsigned char value[TAG_BYTES + 16];
    size_t length = strlen(tag);
    if (length >= TAG_BYTES || (size_t)(limit - out) < sizeof value + 4)
        return out;
    unsigned char *at = put_bytes(value, 1, tag, length);
    float narrow = (float)number;
    uint32_t bits = 0;
    memcpy(&bits, &narrow, sizeof bits);
    *at++ = FIELD(2, FIXED32);
    at = put_little(at, bits, 4);
    return put_bytes(out, 1, value, (size_t)(at - value));
}

static unsigned char *put_list(unsigned char *out, const unsigned char *limit, const cJSON *list)
{
    char tag[TAG_BYTES + 16];
    int number = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        (void)snprintf(tag, sizeof tag, "%.*s/%d", TAG_BYTES, list->string, number++);
        if (cJSON_IsNumber(item))
            out = put_value(out, limit, tag, item->valuedouble);
    }
    return out;
}

void tensorboard_append(struct tensorboard *files, const char *line)
{
    unsigned char summary[RECORD_BYTES / 2];
    unsigned char *at = summary;
    const unsigned char *limit = summary + sizeof summary;
    cJSON *json = cJSON_Parse(line);
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(json, "step");
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, json)
    {
        if (cJSON_IsNumber(item) && item != step)
            at = put_value(at, limit, item->string, item->valuedouble);
        else if (cJSON_IsBool(item))
            at = put_value(at, limit, item->string, cJSON_IsTrue(item) ? 1 : 0);
        else if (cJSON_IsArray(item))
            at = put_list(at, limit, item);
    }
    if (cJSON_IsNumber(step) && step->valuedouble >= 0 && step->valuedouble < 1e15) {
        unsigned char *end = put_event(files->record, (int64_t)step->valuedouble);
        end = put_bytes(end, 5, summary, (size_t)(at - summary));
        write_record(files, (size_t)(end - files->record));
    }
    cJSON_Delete(json);
}

/* Seconds that names of event files begin with: the newest in the folder, 0 without any. */
static ls_status newest_in(int64_t *out, const char *folder)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    *out = 0;
    LS_TRY(files_list(&names, &count, folder));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], prefix, sizeof prefix - 1) != 0)
            continue;
        long long seconds = strtoll(names[i] + sizeof prefix - 1, NULL, 10);
        if (seconds > *out && seconds < INT64_MAX)
            *out = seconds;
    }
done:
    files_list_free(&names, count);
    return st;
}

/* A name that sorts last: by its time, beyond that of a machine whose clock goes ahead. */
static ls_status create(struct tensorboard *files, const char *folder, int64_t newest,
                        int64_t run_epoch)
{
    char host[65] = "";
    int64_t seconds = (int64_t)time(NULL);
    if (gethostname(host, sizeof host - 1) != 0)
        (void)snprintf(host, sizeof host, "host");
    ls_status st = core_format(&files->path, "%s/%s%010" PRId64 ".%s.%06" PRId64, folder, prefix,
                               seconds > newest ? seconds : newest + 1, host, run_epoch);
    if (st != LS_OK)
        return st;
    files->file = open(files->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (files->file < 0)
        return LS_FAIL(LS_IO, "%s: cannot create: %s", files->path, strerror(errno));
    return LS_OK;
}

static void write_head(struct tensorboard *files, int64_t finished)
{
    static const char version[] = "brain.Event:2";
    static const unsigned char start[] = {FIELD(1, VARINT), SESSION_START};
    unsigned char *end = put_event(files->record, 0);
    end = put_bytes(end, 3, version, sizeof version - 1);
    write_record(files, (size_t)(end - files->record));
    end = put_event(files->record, finished + 1);
    end = put_bytes(end, 7, start, sizeof start);
    write_record(files, (size_t)(end - files->record));
}

/* The steps before this start, where no event file has them. */
static ls_status copy_metrics(struct tensorboard *files, const char *run)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *line = NULL;
    size_t room = 0;
    FILE *file = NULL;
    LS_TRY(core_format(&path, "%s/metrics.jsonl", run));
    file = fopen(path, "re");
    while (file != NULL && getline(&line, &room, file) >= 0)
        tensorboard_append(files, line);
done:
    if (file != NULL)
        (void)fclose(file);
    free(line);
    free(path);
    return st;
}

ls_status tensorboard_open(struct tensorboard **out, const char *run, int64_t run_epoch,
                           int64_t finished)
{
    ls_status st = LS_OK;
    struct tensorboard *files = NULL;
    char *folder = NULL;
    int64_t newest = 0;
    LS_TRY(core_alloc(&files, 1));
    files->file = -1;
    LS_TRY(core_format(&folder, "%s/tensorboard", run));
    LS_TRY(files_make_folder(folder));
    LS_TRY(newest_in(&newest, folder));
    LS_TRY(create(files, folder, newest, run_epoch));
    write_head(files, newest > 0 ? finished : 0);
    if (newest == 0)
        LS_TRY(copy_metrics(files, run));
    *out = files;
    files = NULL;
done:
    tensorboard_close(&files);
    free(folder);
    return st;
}

void tensorboard_close(struct tensorboard **files)
{
    if (*files == NULL)
        return;
    if ((*files)->file >= 0)
        (void)close((*files)->file);
    free((*files)->path);
    free(*files);
    *files = NULL;
}
