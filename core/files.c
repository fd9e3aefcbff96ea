/* Durable files and the folder helpers around them.  Every failure names the path and the system's
 * reason, because "No space left on device" without a path helps nobody. */
#include "core/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fault.h"

enum { LARGE_PAGE_BYTES = 2 << 20 };

void core_advise_large_pages(void *memory, size_t bytes)
{
    if (bytes < (size_t)2 * LARGE_PAGE_BYTES)
        return;
    size_t skipped = (LARGE_PAGE_BYTES - (uintptr_t)memory % LARGE_PAGE_BYTES) % LARGE_PAGE_BYTES;
    size_t whole = (bytes - skipped) / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    (void)madvise((char *)memory + skipped, whole, MADV_HUGEPAGE);
}

ls_status core_alloc_bytes(void **out, size_t count, size_t bytes)
{
    bool possible = bytes == 0 || count <= PTRDIFF_MAX / bytes;
    void *memory = possible ? calloc(count > 0 ? count : 1, bytes) : NULL;
    if (memory == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: %zu x %zu bytes", count, bytes);
    *out = memory;
    return LS_OK;
}

ls_status core_alloc_pages(void **out, size_t count, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool possible = bytes == 0 || count <= (PTRDIFF_MAX - page) / bytes;
    size_t whole = possible ? (count * bytes + page - 1) / page * page : 0;
    void *memory = possible ? aligned_alloc(page, whole > 0 ? whole : page) : NULL;
    if (memory == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: %zu x %zu bytes", count, bytes);
    memset(memory, 0, whole);
    *out = memory;
    return LS_OK;
}

ls_status core_format(char **out, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int count = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (count < 0)
        return LS_FAIL(LS_NOMEM, "out of memory for a text");
    *out = text;
    return LS_OK;
}

static ls_status io_failure(const char *path, const char *what)
{
    return LS_FAIL(LS_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

ls_status files_read(char **out, size_t *out_bytes, const char *path, size_t limit_bytes)
{
    ls_status st = LS_OK;
    char *data = NULL;
    struct stat info;
    /* Not blocking: a named pipe without a writer must be refused, not waited for. */
    int file = fault_point("open") != 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &info) != 0) {
        st = io_failure(path, "open");
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        st = LS_FAIL(LS_IO, "%s: not a regular file", path);
        goto done;
    }
    size_t bytes = (size_t)info.st_size;
    if (bytes > limit_bytes) {
        st = LS_FAIL(LS_DATA, "%s: %zu bytes, more than the %zu allowed", path, bytes, limit_bytes);
        goto done;
    }
    LS_TRY(core_alloc(&data, bytes + 1));
    LS_TRY(files_read_at(file, data, bytes, 0, path));
    *out = data;
    data = NULL;
    if (out_bytes != NULL)
        *out_bytes = bytes;
done:
    free(data);
    if (file >= 0)
        (void)close(file);
    return st;
}

ls_status files_write_all(int file, const void *data, size_t bytes, const char *path)
{
    const char *next = data;
    while (bytes > 0) {
        ssize_t written = fault_point("write") != 0 ? -1 : write(file, next, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return io_failure(path, "write");
        next += written;
        bytes -= (size_t)written;
    }
    return LS_OK;
}

ls_status files_read_at(int file, void *out, size_t bytes, uint64_t offset, const char *path)
{
    char *next = out;
    while (bytes > 0) {
        ssize_t got = fault_point("read") != 0 ? -1 : pread(file, next, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_failure(path, "read");
        if (got == 0)
            return LS_FAIL(LS_DATA, "%s: truncated, %zu bytes missing at offset %llu", path, bytes,
                           (unsigned long long)offset);
        next += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return LS_OK;
}

ls_status files_sync(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return io_failure(path, "open");
    ls_status st = LS_OK;
    if (fault_point("fsync") != 0 || fsync(file) != 0)
        st = io_failure(path, "fsync");
    (void)close(file);
    return st;
}

/* The folder that holds `path`, as new text. */
static ls_status folder_of(char **out, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return core_format(out, ".");
    if (slash == path)
        return core_format(out, "/");
    return core_format(out, "%.*s", (int)(slash - path), path);
}

ls_status files_rename(const char *from, const char *to)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    if (fault_point("rename") != 0 || rename(from, to) != 0) {
        st = io_failure(to, "rename to");
        goto done;
    }
    LS_TRY(folder_of(&folder, to));
    LS_TRY(files_sync(folder));
done:
    free(folder);
    return st;
}

ls_status files_replace(const char *path, const void *data, size_t bytes)
{
    ls_status st = LS_OK;
    char *beside = NULL;
    int file = -1;
    LS_TRY(core_format(&beside, "%s.tmp-%ld", path, (long)getpid()));
    file = fault_point("create") != 0
               ? -1
               : open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        st = io_failure(beside, "create");
        goto done;
    }
    LS_TRY(files_write_all(file, data, bytes, beside));
    if (fault_point("fsync") != 0 || fsync(file) != 0) {
        st = io_failure(beside, "fsync");
        goto done;
    }
    int closed = close(file);
    file = -1;
    if (closed != 0) {
        st = io_failure(beside, "close");
        goto done;
    }
    LS_TRY(files_rename(beside, path));
done:
    if (file >= 0)
        (void)close(file);
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(beside);
    return st;
}

/* One folder; an existing one is fine.  A new one is durable in its parent. */
static ls_status make_one(const char *path)
{
    ls_status st = LS_OK;
    char *parent = NULL;
    if (fault_point("mkdir") != 0 || mkdir(path, 0777) != 0) {
        int cause = errno; /* looking at it may set another */
        if (files_is_folder(path))
            return LS_OK;
        errno = cause;
        return io_failure(path, "make folder");
    }
    LS_TRY(folder_of(&parent, path));
    LS_TRY(files_sync(parent));
done:
    free(parent);
    return st;
}

ls_status files_make_folder(const char *path)
{
    ls_status st = LS_OK;
    char *copy = NULL;
    LS_TRY(core_format(&copy, "%s", path));
    for (char *c = copy + 1; copy[0] != '\0'; c++) {
        bool end = *c == '\0';
        if (*c != '/' && !end)
            continue;
        *c = '\0';
        LS_TRY(make_one(copy));
        if (end)
            break;
        *c = '/';
    }
done:
    free(copy);
    return st;
}

ls_status files_remove(const char *path)
{
    struct stat info;
    if (fault_point("remove") != 0)
        return io_failure(path, "remove");
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? LS_OK : io_failure(path, "look at");
    if (!S_ISDIR(info.st_mode))
        return unlink(path) == 0 || errno == ENOENT ? LS_OK : io_failure(path, "remove");
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    char *inner = NULL;
    LS_TRY(files_list(&names, &count, path));
    for (size_t i = 0; i < count; i++) {
        LS_TRY(core_format(&inner, "%s/%s", path, names[i]));
        LS_TRY(files_remove(inner));
        free(inner);
        inner = NULL;
    }
    if (rmdir(path) != 0 && errno != ENOENT)
        st = io_failure(path, "remove");
done:
    free(inner);
    files_list_free(&names, count);
    return st;
}

bool files_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

bool files_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

ls_status files_size(uint64_t *out, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return io_failure(path, "look at");
    *out = (uint64_t)info.st_size;
    return LS_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ls_status files_list(char ***out, size_t *out_count, const char *folder)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    size_t room = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return io_failure(folder, "list");
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count == room) {
            room = room > 0 ? 2 * room : 64;
            char **larger = realloc(names, room * sizeof *names);
            if (larger == NULL) {
                st = LS_FAIL(LS_NOMEM, "out of memory for the names in %s", folder);
                goto done;
            }
            names = larger;
        }
        LS_TRY(core_format(&names[count], "%s", entry->d_name));
        count++;
    }
    if (errno != 0) {
        st = io_failure(folder, "list");
        goto done;
    }
    if (count > 0)
        qsort(names, count, sizeof *names, compare_names);
    *out = names;
    *out_count = count;
    names = NULL;
    count = 0;
done:
    files_list_free(&names, count);
    (void)closedir(dir);
    return st;
}

void files_list_free(char ***names, size_t count)
{
    for (size_t i = 0; i < count && *names != NULL; i++)
        free((*names)[i]);
    free(*names);
    *names = NULL;
}

void files_raise_limit(void)
{
    const rlim_t most = 65536;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= most)
        return;
    limit.rlim_cur = limit.rlim_max < most ? limit.rlim_max : most;
    /* Where it is refused, opening a shard too many says so. */
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

ls_status files_absolute(char **out, const char *path)
{
    ls_status st = LS_OK;
    char *here = path[0] != '/' ? getcwd(NULL, 0) : NULL;
    if (path[0] != '/' && here == NULL)
        return LS_FAIL(LS_IO, "the working folder: %s", strerror(errno));
    st = core_format(out, "%s%s%s", here != NULL ? here : "", here != NULL ? "/" : "", path);
    for (size_t length = st == LS_OK ? strlen(*out) : 0; length > 1 && (*out)[length - 1] == '/';)
        (*out)[--length] = '\0';
    free(here);
    return st;
}
