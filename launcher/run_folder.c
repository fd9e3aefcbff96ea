/* Ownership of a run folder.
 *
 * flock is the truth on one machine and on file systems that carry it; owner.json is for people,
 * and for the refusal's text.  Where locks do not reach (another node on a file system without
 * them), run epochs still keep two runs apart: checkpoints of the older one are ignored. */
#include "launcher/run_folder.h"

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
#include "launcher/run_owner.h"

enum { SMALL_FILE_BYTES = 65536, LOCK_TRIES = 10, LOCK_PAUSE_MS = 20 };

struct run_folder {
    char *path;
    int lock; /* open for the handle's life, inherited by children */
};

static ls_status path_in(char **out, const char *folder, const char *name)
{
    return core_format(out, "%s/%s", folder, name);
}

/* Whether the open lock file is (still) the one in the folder. */
static bool is_in_place(int lock, const char *path)
{
    struct stat held;
    struct stat there;
    return fstat(lock, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

/* Another launcher has the lock of the open file `lock`.  SLURM takes its time to answer: by then a
 * third launcher may have taken over, and its lock is not ours to remove. */
static ls_status refuse_or_take_over(const char *folder, int lock, const char *lock_path)
{
    struct run_owner owner = {0};
    ls_status st = LS_OK;
    LS_TRY(run_owner_read(&owner, folder));
    if (run_owner_has_ended(&owner)) {
        if (!is_in_place(lock, lock_path))
            goto done; /* look again */
        log_warn("run_folder_taken_over path=%s from=\"%s\" reason=\"SLURM says that job has "
                 "ended\"",
                 folder, owner.text);
        if (unlink(lock_path) != 0 && errno != ENOENT)
            st = LS_FAIL(LS_IO, "%s: cannot be removed: %s", lock_path, strerror(errno));
        goto done;
    }
    st = LS_FAIL(LS_IO, "%s: the run is in use by %s; wait for it or stop it before starting again",
                 folder, owner.text);
done:
    run_owner_free(&owner);
    return st;
}

/* Whether the lock is ours now, else errno says why not.  Whoever asks for the owner holds the lock
 * for a moment (run_folder_owner): only one that stays is a launcher's. */
static bool lock_it(int lock)
{
    bool ours = flock(lock, LOCK_EX | LOCK_NB) == 0;
    for (int i = 0; i < LOCK_TRIES && !ours && errno == EWOULDBLOCK; i++) {
        clock_sleep_s(LOCK_PAUSE_MS / 1e3);
        ours = flock(lock, LOCK_EX | LOCK_NB) == 0;
    }
    return ours;
}

static ls_status take_lock(int *out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    int lock = -1;
    LS_TRY(path_in(&path, folder, "lock"));
    while (*out < 0) {
        /* Not close-on-exec: mpirun keeps it. */
        lock = open(path, O_RDWR | O_CREAT, 0666);
        if (lock < 0) {
            st = LS_FAIL(LS_IO, "%s: cannot write in the run folder: %s", folder, strerror(errno));
            goto done;
        }
        int reason = lock_it(lock) ? 0 : errno;
        if (reason == EWOULDBLOCK)
            LS_TRY(refuse_or_take_over(folder, lock, path));
        else if (reason != 0)
            log_warn("run_folder_lock path=%s asked=flock used=none reason=%s", path,
                     strerror(reason));
        /* A lock file that another launcher has just replaced is nobody's any more. */
        if (reason != EWOULDBLOCK && is_in_place(lock, path)) {
            *out = lock;
            lock = -1;
        } else {
            (void)close(lock);
            lock = -1;
        }
    }
done:
    if (lock >= 0)
        (void)close(lock);
    free(path);
    return st;
}

ls_status run_folder_open(struct run_folder **out, const char *path)
{
    ls_status st = LS_OK;
    struct run_folder *folder = NULL;
    char *owner_path = NULL;
    struct run_owner owner = {0};
    LS_TRY(files_make_folder(path));
    LS_TRY(core_alloc(&folder, 1));
    folder->lock = -1;
    LS_TRY(core_format(&folder->path, "%s", path));
    LS_TRY(take_lock(&folder->lock, path));
    LS_TRY(path_in(&owner_path, path, "owner.json"));
    if (files_exists(owner_path)) {
        LS_TRY(run_owner_read(&owner, path));
        log_info("run_folder_left_behind path=%s owner=\"%s\" reason=ended_without_letting_go",
                 path, owner.text);
    }
    LS_TRY(run_owner_write(path));
    *out = folder;
    folder = NULL;
done:
    run_folder_close(&folder);
    free(owner_path);
    run_owner_free(&owner);
    return st;
}

void run_folder_close(struct run_folder **folder)
{
    struct run_folder *f = *folder;
    if (f == NULL)
        return;
    char *owner = NULL;
    char *lock = NULL;
    if (f->lock >= 0 && path_in(&owner, f->path, "owner.json") == LS_OK &&
        path_in(&lock, f->path, "lock") == LS_OK && is_in_place(f->lock, lock))
        (void)unlink(owner);
    if (f->lock >= 0)
        (void)close(f->lock);
    free(owner);
    free(lock);
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

/* A launcher that was cut off and came back must not take the run from the one that took over. */
static ls_status check_still_ours(const struct run_folder *folder)
{
    ls_status st = LS_OK;
    char *lock = NULL;
    struct run_owner owner = {0};
    LS_TRY(path_in(&lock, folder->path, "lock"));
    if (!is_in_place(folder->lock, lock)) {
        LS_TRY(run_owner_read(&owner, folder->path));
        st = LS_FAIL(LS_IO, "%s: this launcher has lost the run to %s", folder->path, owner.text);
    }
done:
    free(lock);
    run_owner_free(&owner);
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
    LS_TRY(check_still_ours(folder));
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
    struct run_owner owner = {0};
    int lock = -1;
    *out = NULL;
    LS_TRY(path_in(&file, path, "lock"));
    lock = open(file, O_RDONLY | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        LS_TRY(run_owner_read(&owner, path));
        *out = owner.text;
        owner.text = NULL;
    }
done:
    run_owner_free(&owner);
    if (lock >= 0)
        (void)close(lock);
    free(file);
    return st;
}
