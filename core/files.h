/* Files that survive a crash: write beside, fsync, rename, fsync the folder.  Also small path and
 * memory helpers. */
#ifndef LOCKSTEP_CORE_FILES_H
#define LOCKSTEP_CORE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* Zeroed memory for `count` objects of `bytes`, checked for overflow.  `*out` is owned by the
 * caller (free).  Local. Errors: LS_NOMEM.  Use through core_alloc: LS_TRY(core_alloc(&array,
 * count)); */
ls_status core_alloc_bytes(void **out, size_t count, size_t bytes) LS_MUST_CHECK;
/* The same on whole pages that hold nothing else, so that the memory can be pinned for a card:
 * pages are pinned whole, and none twice. */
ls_status core_alloc_pages(void **out, size_t count, size_t bytes) LS_MUST_CHECK;
/* Arrays of pointers are meant.  NOLINTNEXTLINE(bugprone-sizeof-expression) */
/* A path that does not depend on the working folder, without / at its end; it need not exist. Owned
 * by the caller. Local.  Errors: LS_IO, LS_NOMEM. */
ls_status files_absolute(char **out, const char *path) LS_MUST_CHECK;

/* Ask for large pages under memory that nobody has touched yet: passes that are bound by memory get
 * 2 to 10 % faster (measured), the first touch many times.  Small memory and systems without them:
 * nothing happens.  Local. */
void core_advise_large_pages(void *memory, size_t bytes);

#define core_alloc(out, count) core_alloc_bytes((void **)(out), (size_t)(count), sizeof **(out))

/* Formatted text in new memory, owned by the caller.  Local.  Errors: LS_NOMEM. */
ls_status core_format(char **out, const char *format, ...) LS_PRINTF(2, 3) LS_MUST_CHECK;

/* Whole file into memory, closed by a 0 byte that is not counted.  `*out` is owned by the caller.
 * Local. Errors: LS_IO, LS_NOMEM; LS_DATA when larger than `limit_bytes`. */
ls_status files_read(char **out, size_t *out_bytes, const char *path,
                     size_t limit_bytes) LS_MUST_CHECK;

/* Replace `path` by `bytes` of `data` so that a crash leaves the old or the new file: writes
 * PATH.tmp-PID, fsync, rename, fsync of the folder.  Local.  Errors: LS_IO. */
ls_status files_replace(const char *path, const void *data, size_t bytes) LS_MUST_CHECK;

/* fsync an existing file or folder by name.  Local.  Errors: LS_IO. */
ls_status files_sync(const char *path) LS_MUST_CHECK;

/* rename(2) and fsync of the folder of `to`.  Local.  Errors: LS_IO. */
ls_status files_rename(const char *from, const char *to) LS_MUST_CHECK;

/* Make a folder and its parents, each durable in its own parent; existing ones are fine.  Local.
 * Errors: LS_IO. */
ls_status files_make_folder(const char *path) LS_MUST_CHECK;

/* Remove a file or a whole folder; nothing there is fine.  Never follows links.  Local.  Errors:
 * LS_IO. */
ls_status files_remove(const char *path) LS_MUST_CHECK;

/* Whether something exists at `path`; whether it is a folder.  Local. */
bool files_exists(const char *path);
bool files_is_folder(const char *path);

/* Size of a file in bytes.  Local.  Errors: LS_IO. */
ls_status files_size(uint64_t *out, const char *path) LS_MUST_CHECK;

/* Names in a folder, sorted by byte, without "." and "..".  Free with files_list_free.  Local.
 * Errors: LS_IO. */
ls_status files_list(char ***out, size_t *out_count, const char *folder) LS_MUST_CHECK;
void files_list_free(char ***names, size_t count);

/* Let this process have as many files open as the system allows it, 65536 at most: the usual soft
 * limit of 1024 is less than the shards of a large dataset, which stay open.  Local, once. */
void files_raise_limit(void);

/* write(2) until all is written, or pread(2) until all is read.  Local.  Errors: LS_IO naming
 * `path`; LS_DATA when the file ends early. */
ls_status files_write_all(int file, const void *data, size_t bytes, const char *path) LS_MUST_CHECK;
ls_status files_read_at(int file, void *out, size_t bytes, uint64_t offset,
                        const char *path) LS_MUST_CHECK;

#endif
