/* Only the end of the metrics is read: they are long. */
#include "launcher/progress.h"

#include <cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/files.h"

enum { TAIL_BYTES = 65536 };

static double number_of(const cJSON *json, const char *name)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(number) ? number->valuedouble : NAN;
}

/* The last whole line of `tail`, which is cut into a string; NULL: none. */
static char *last_line(char *tail)
{
    char *end = strrchr(tail, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    char *before = strrchr(tail, '\n');
    return before != NULL ? before + 1 : tail;
}

static ls_status read_tail(char **out, const char *path)
{
    ls_status st = LS_OK;
    char *tail = NULL;
    uint64_t bytes = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return LS_FAIL(LS_IO, "%s: cannot open", path);
    LS_TRY(files_size(&bytes, path));
    uint64_t from = bytes > TAIL_BYTES ? bytes - TAIL_BYTES : 0;
    LS_TRY(core_alloc(&tail, bytes - from + 1));
    LS_TRY(files_read_at(file, tail, (size_t)(bytes - from), from, path));
    *out = tail;
    tail = NULL;
done:
    free(tail);
    (void)close(file);
    return st;
}

bool progress_read(struct progress *out, const char *run)
{
    char *path = NULL;
    char *tail = NULL;
    cJSON *json = NULL;
    bool found = false;
    if (core_format(&path, "%s/metrics.jsonl", run) == LS_OK && files_exists(path) &&
        read_tail(&tail, path) == LS_OK) {
        char *line = last_line(tail);
        json = line != NULL ? cJSON_Parse(line) : NULL;
        double step = number_of(json, "step");
        found = step >= 0;
        if (found)
            *out = (struct progress){.step = (int64_t)step,
                                     .loss = number_of(json, "loss"),
                                     .step_s = number_of(json, "step_s"),
                                     .clips_per_s = number_of(json, "clips_per_s")};
    }
    cJSON_Delete(json);
    free(tail);
    free(path);
    return found;
}

int64_t progress_saved_step(const char *run)
{
    struct checkpoint *c = NULL;
    char *latest = NULL;
    int64_t step = -1;
    char message[1024];
    (void)snprintf(message, sizeof message, "%s", status_message());
    if (core_format(&latest, "%s/checkpoints/latest", run) == LS_OK && files_exists(latest) &&
        checkpoint_open(&c, latest) == LS_OK)
        step = checkpoint_info(c)->step;
    checkpoint_close(&c);
    free(latest);
    (void)status_adopt(LS_FAILED, message);
    return step;
}
