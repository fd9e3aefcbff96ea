/* flock(2) on files in the folder of parts. */
#include "data/pack_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"

ls_status pack_lock_take(int *out, const char *path, int how)
{
    *out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*out < 0)
        return LS_FAIL(LS_IO, "%s: cannot create: %s", path, strerror(errno));
    int result;
    do
        result = flock(*out, how);
    while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK) {
        (void)close(*out);
        *out = -1;
    }
    return LS_OK;
}

/* Workers hold copies of the descriptor: closing ours alone would not unlock. */
void pack_lock_drop(int *lock)
{
    if (*lock < 0)
        return;
    (void)flock(*lock, LOCK_UN);
    (void)close(*lock);
    *lock = -1;
}

/* A pack that has just ended may have removed the folder with the lock in it while this one waited:
 * then once more. */
ls_status pack_lock_join(int *presence, const char *parts_folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct stat info;
    LS_TRY(core_format(&path, "%s/pack.lock", parts_folder));
    for (;;) {
        LS_TRY(files_make_folder(parts_folder));
        LS_TRY(pack_lock_take(presence, path, LOCK_SH));
        if (fstat(*presence, &info) != 0 || info.st_nlink > 0)
            break;
        pack_lock_drop(presence);
    }
done:
    free(path);
    return st;
}
