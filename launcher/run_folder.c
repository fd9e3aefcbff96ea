/* Ownership of a run folder.
 *
 * flock is the truth on one machine and on file systems that carry it; owner.json is for people,
 * and for the refusal's text.  Where locks do not reach (another node on a file system without
 * them), run epochs still keep two runs apart: checkpoints of the older one are ignored. */
#include "launcher/run_folder.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"

enum { SMALL_FILE_BYTES = 65536, HOST_BYTES = 256 };

struct run_folder {
    char *path;
    int lock; /* open for the handle's life, inherited by children */
};

static ls_status path_in(char **out, const char *folder, const char *name)
{
    return core_format(out, "%s/%s", folder, name);
}

/* "host a, process 17, since 2026-11-25T03:40:00Z" from RUN/owner.json, as far as it can be read.
 */
static ls_status describe_owner(char **out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    LS_TRY(path_in(&path, folder, "owner.json"));
    if (files_read(&text, NULL, path, SMALL_FILE_BYTES) == LS_OK)
        json = cJSON_Parse(text);
    const char *host = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "host"));
    const char *since = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "since"));
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(json, "pid");
    if (host != NULL && since != NULL && cJSON_IsNumber(pid))
        LS_TRY(core_format(out, "process %.0f on host %s since %s", pid->valuedouble, host, since));
    else
        LS_TRY(core_format(out, "another launcher"));
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

static ls_status write_owner(const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    char host[HOST_BYTES] = "unknown";
    char since[CLOCK_TEXT_BYTES];
    cJSON *json = cJSON_CreateObject();
    if (gethostname(host, sizeof host - 1) != 0)
        (void)snprintf(host, sizeof host, "unknown");
    clock_utc_text(since);
    if (cJSON_AddStringToObject(json, "host", host) == NULL ||
        cJSON_AddNumberToObject(json, "pid", getpid()) == NULL ||
        cJSON_AddStringToObject(json, "since", since) == NULL ||
        (text = cJSON_PrintUnformatted(json)) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for RUN/owner.json");
        goto done;
    }
    LS_TRY(path_in(&path, folder, "owner.json"));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

static ls_status refuse(const char *folder)
{
    char *owner = NULL;
    ls_status st = describe_owner(&owner, folder);
    if (st == LS_OK)
        st = LS_FAIL(LS_IO,
                     "%s: the run is in use by %s; wait for it or stop it before starting again",
                     folder, owner);
    free(owner);
    return st;
}

static ls_status take_lock(int *out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(path_in(&path, folder, "lock"));
    /* Not close-on-exec: mpirun keeps it. */
    int lock = open(path, O_RDWR | O_CREAT, 0666);
    if (lock < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot write in the run folder: %s", folder, strerror(errno));
        goto done;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            (void)close(lock);
            st = refuse(folder);
            goto done;
        }
        log_warn("run_folder_lock path=%s asked=flock used=none reason=%s", path, strerror(errno));
    }
    *out = lock;
done:
    free(path);
    return st;
}

ls_status run_folder_open(struct run_folder **out, const char *path)
{
    ls_status st = LS_OK;
    struct run_folder *folder = NULL;
    char *owner_path = NULL;
    char *owner = NULL;
    LS_TRY(files_make_folder(path));
    LS_TRY(core_alloc(&folder, 1));
    folder->lock = -1;
    LS_TRY(core_format(&folder->path, "%s", path));
    LS_TRY(take_lock(&folder->lock, path));
    LS_TRY(path_in(&owner_path, path, "owner.json"));
    if (files_exists(owner_path)) {
        LS_TRY(describe_owner(&owner, path));
        log_info("run_folder_left_behind path=%s owner=\"%s\" reason=ended_without_letting_go",
                 path, owner);
    }
    LS_TRY(write_owner(path));
    *out = folder;
    folder = NULL;
done:
    run_folder_close(&folder);
    free(owner_path);
    free(owner);
    return st;
}

void run_folder_close(struct run_folder **folder)
{
    struct run_folder *f = *folder;
    if (f == NULL)
        return;
    char *owner = NULL;
    if (f->lock >= 0 && path_in(&owner, f->path, "owner.json") == LS_OK) {
        (void)unlink(owner);
        (void)close(f->lock);
    }
    free(owner);
    free(f->path);
    free(f);
    *folder = NULL;
}

const char *run_folder_path(const struct run_folder *folder)
{
    return folder->path;
}

bool run_folder_has_run(const struct run_folder *folder)
{
    static const char *const marks[] = {"config.yaml", "checkpoints", "metrics.jsonl"};
    bool found = false;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        char *path = NULL;
        found = found || (path_in(&path, folder->path, marks[i]) == LS_OK && files_exists(path));
        free(path);
    }
    return found;
}

/* What belongs to the folder rather than to one run in it.  The count of starts goes on, so that
 * workers of the old run that may still live have an older epoch than any of the new one. */
static bool stays(const char *name)
{
    static const char *const names[] = {"lock", "owner.json", "run-epoch", "datasets"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static ls_status old_place(char **out, const char *path)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return core_format(out, "%.*s.old-%s", (int)length, path, stamp);
}

ls_status run_folder_set_aside(char **out, struct run_folder *folder)
{
    ls_status st = LS_OK;
    char *place = NULL;
    char *from = NULL;
    char *to = NULL;
    char **names = NULL;
    size_t count = 0;
    LS_TRY(old_place(&place, folder->path));
    if (files_exists(place)) {
        st = LS_FAIL(LS_IO, "%s: exists already; try again in a second", place);
        goto done;
    }
    LS_TRY(files_list(&names, &count, folder->path));
    LS_TRY(files_make_folder(place));
    for (size_t i = 0; i < count; i++) {
        if (stays(names[i]))
            continue;
        free(from);
        free(to);
        from = NULL;
        to = NULL;
        LS_TRY(path_in(&from, folder->path, names[i]));
        LS_TRY(path_in(&to, place, names[i]));
        LS_TRY(files_rename(from, to));
    }
    *out = place;
    place = NULL;
done:
    files_list_free(&names, count);
    free(place);
    free(from);
    free(to);
    return st;
}

ls_status run_folder_starts(int64_t *out, const char *path)
{
    ls_status st = LS_OK;
    char *file = NULL;
    char *text = NULL;
    char *end = NULL;
    long long value = 0;
    LS_TRY(path_in(&file, path, "run-epoch"));
    if (files_exists(file)) {
        LS_TRY(files_read(&text, NULL, file, SMALL_FILE_BYTES));
        errno = 0;
        value = strtoll(text, &end, 10);
        if (end == text || errno != 0 || value < 0 || strcmp(end, "\n") != 0) {
            st = LS_FAIL(LS_DATA,
                         "%s: damaged; write the number of starts so far into it (see run_epoch in "
                         "the newest checkpoint's manifest.json)",
                         file);
            goto done;
        }
    }
    *out = value;
done:
    free(file);
    free(text);
    return st;
}

ls_status run_folder_next_epoch(int64_t *out, struct run_folder *folder)
{
    ls_status st = LS_OK;
    char *file = NULL;
    char *checkpoints = NULL;
    char text[32];
    int64_t starts = 0;
    int64_t taken = 0;
    LS_TRY(run_folder_starts(&starts, folder->path));
    /* A run that was copied from elsewhere may have come without its count. */
    LS_TRY(path_in(&checkpoints, folder->path, "checkpoints"));
    LS_TRY(checkpoint_last_epoch(&taken, checkpoints));
    if (starts < taken)
        starts = taken;
    LS_TRY(path_in(&file, folder->path, "run-epoch"));
    int length = snprintf(text, sizeof text, "%" PRId64 "\n", starts + 1);
    LS_TRY(files_replace(file, text, (size_t)length));
    *out = starts + 1;
done:
    free(checkpoints);
    free(file);
    return st;
}

ls_status run_folder_owner(char **out, const char *path)
{
    ls_status st = LS_OK;
    char *file = NULL;
    int lock = -1;
    *out = NULL;
    LS_TRY(path_in(&file, path, "lock"));
    lock = open(file, O_RDONLY | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        LS_TRY(describe_owner(out, path));
done:
    if (lock >= 0)
        (void)close(lock);
    free(file);
    return st;
}
